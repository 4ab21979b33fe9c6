"""The SystemRDL file is the one description of the registers."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from hotline_golden.layouts import ModelError, RingError
from hotline_rtl.control.interrupts import RING_ERRORS
from hotline_rtl.control.model_store import ERRORS as MODEL_ERRORS
from hotline_rtl.control.registers.register_map import registers

ROOT = Path(__file__).parents[2]


def test_identification_comes_first_and_addresses_do_not_clash():
    found = registers()
    assert [found[n].address for n in ("id", "version", "capability")] == [0, 4, 8]
    addresses = [r.address for r in found.values()]
    assert len(set(addresses)) == len(addresses) and all(a % 4 == 0 for a in addresses)
    assert max(addresses) < 4096


def test_registers_of_the_model_are_those_that_describe_it():
    names = {name for name, register in registers().items() if register.model}
    assert names == {
        "payload_words",
        "accesses",
        "row_bytes",
        "model_reset",
        "table_base_lo",
        "table_base_hi",
        "table_rows",
        "table_stride",
        "table_first_slot",
        "table_flags",
        "table_commit",
        "access_commit",
    }


@pytest.mark.parametrize(
    "register, names, enumeration",
    [("ring_error", RING_ERRORS, RingError), ("model_error", MODEL_ERRORS, ModelError)],
)
def test_error_bits_are_called_and_numbered_alike_everywhere(register, names, enumeration):
    expected = {member.name.lower(): member.value for member in enumeration}
    assert {name: 1 << n for n, name in enumerate(names)} == expected
    fields = {field.name: 1 << field.low for field in registers()[register].fields if field.width == 1}
    assert fields == expected


def test_fields_do_not_overlap():
    for register in registers().values():
        used = 0
        for field in register.fields:
            bits = ((1 << field.width) - 1) << field.low
            assert not used & bits and bits < 1 << 32, register.name
            used |= bits


def test_c_header_compiles_and_agrees_with_the_rtl(tmp_path):
    generate().export(tmp_path)
    names = [n for n in registers() if not re.search(r"_(lo|hi)$", n) or registers()[n].address < 0x100]
    lines = [f'printf("%zu {name}\\n", offsetof(hotline_t, {name}));' for name in names]
    program = tmp_path / "offsets.c"
    program.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "hotline.h"\nint main(void) {\n'
        + "\n".join(lines)
        + "\nreturn 0;\n}\n"
    )
    subprocess.run(["gcc", "-o", tmp_path / "offsets", program], check=True)
    printed = subprocess.run([tmp_path / "offsets"], capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines():
        offset, name = line.split()
        assert int(offset) == registers()[name].address


def generate():
    """The module docs/generate.py."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_register_page_is_up_to_date():
    assert (ROOT / "docs" / "registers.md").read_text() == generate().register_page(), "run `make registers`"


def test_ipxact_has_every_register_and_its_fields(tmp_path):
    _, path = generate().export(tmp_path)
    tree = ElementTree.parse(path).getroot()
    space = {"i": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}
    found = {}

    def walk(node, prefix: str, base: int) -> None:
        for file in node.findall("i:registerFile", space):
            walk(
                file,
                f"{prefix}{file.find('i:name', space).text}_",
                base + number(file.find("i:addressOffset", space)),
            )
        for register in node.findall("i:register", space):
            fields = {f.find("i:name", space).text for f in register.findall("i:field", space)}
            name = prefix + register.find("i:name", space).text
            found[name] = base + number(register.find("i:addressOffset", space)), fields

    def number(node) -> int:
        return int(node.text.replace("'h", "0x"), 0)

    walk(tree.find(".//i:addressBlock", space), "", 0)
    assert found == {r.name: (r.address, {f.name for f in r.fields}) for r in registers().values()}
