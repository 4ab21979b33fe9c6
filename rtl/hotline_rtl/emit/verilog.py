"""Verilog emission: one self-contained file for a configuration, the same bytes every time."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from .. import VERSION
from ..accelerator import Accelerator
from ..config import AcceleratorConfig
from ..lib.logic import CHECK
from ..lib.shared_module import SharedModulePlatform, ports
from .rtlil import rtlil_to_verilog

#: Modules that are written in Verilog, by name; instances of them are in what Amaranth emits.
MODULE_FILES = {name: Path(__file__).parents[1] / "lib" / "verilog" / f"{name}.v" for name in ("hotline_ram", CHECK)}
#: The top module's name, unless another one is asked for.
TOP = "hotline"
#: From so many queues of each kind in the crossbar on its queues, and the tracker's banks, are instances of one module each.
MANY_QUEUES = 128

#: Verilator warnings that generated Verilog gives by its nature, and why each is harmless here.
WAIVERS = {
    "DECLFILENAME": "one file holds all modules",
    "UNUSEDSIGNAL": "carries and fields that a configuration does not need stay in sight",
    "WIDTHEXPAND": "operands of unlike widths are meant: unsigned values are zero-extended",
    "WIDTHTRUNC": "a reduction to one bit is written as a logical operator on a vector",
    "PROCASSINIT": "registers have a reset value and the same initial value",
    "CASEINCOMPLETE": "cases without an entry keep the value that was assigned before them",
    "CMPCONST": "comparisons at the end of a range are constant in some configurations",
}


def plain_names(text: str) -> str:
    """Verilog whose escaped identifiers (of fields, and of what has no name) have become plain ones.

    They are awkward to read, and Yosys 0.70 takes ``\\x[0]`` for bit 0 of ``x`` when it maps to LUTs.
    """
    escaped = re.compile(r"\\(\S+)\s")
    taken = set(re.findall(r"[A-Za-z_][A-Za-z0-9_$]*", text))
    plain: dict[str, str] = {}
    for name in dict.fromkeys(escaped.findall(text)):
        candidate = re.sub(r"\W+", "_", name).strip("_")
        candidate = base = candidate if re.match(r"[A-Za-z]", candidate) else f"n{candidate}"
        number = 0
        while candidate in taken:
            number += 1
            candidate = f"{base}_{number}"
        taken.add(candidate)
        plain[name] = candidate
    return escaped.sub(lambda match: f"{plain[match[1]]} ", text)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector: the millions of objects that a netlist is made of live until its end, and
    it would look at them over and over (two fifths of the time)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def component_rtlil(component: wiring.Component, name: str, platform: SharedModulePlatform | None = None) -> str:
    """Amaranth's netlist of a block, its ports flattened to names joined by single underscores; and of each block that
    ``platform`` made an instance of."""
    with _no_collection():
        texts = [_convert(component, name, platform)]
        for module, block in platform.blocks.items() if platform else ():
            texts.append(_convert(block, module, None))
    return "".join(texts)


def _convert(block: wiring.Component, name: str, platform: SharedModulePlatform | None) -> str:
    members = {port: (value, None) for port, value in ports(block).items()}
    return rtlil.convert(block, name=name, platform=platform, ports=members, emit_src=False)


def _file(netlist: str, name: str = TOP) -> str:
    """The Verilog of a netlist and of the modules in MODULE_FILES, whose names begin with ``name``, too."""
    text = "\n".join([plain_names(rtlil_to_verilog(netlist)), *(file.read_text() for file in MODULE_FILES.values())])
    if name != TOP:
        text = re.sub(rf"\b({'|'.join(MODULE_FILES)})\b", lambda found: name + found[0].removeprefix(TOP), text)
    return text


def component_verilog(component: wiring.Component, name: str, platform: SharedModulePlatform | None = None) -> str:
    """Verilog of any block, its ports flattened to names joined by single underscores; with ``platform``, repeated blocks in it
    are instances."""
    return _file(component_rtlil(component, name, platform))


def check_name(name: str) -> None:
    """Raises ValueError for a ``name`` that no Verilog module can have."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", name):
        raise ValueError(f"--name {name[:40]!r}: use letters, digits and underscores, and begin with no digit")
    # Yosys knows the reserved words: it escapes them.
    if f"module {name}(" not in rtlil_to_verilog(f"module \\{name}\nend\n"):
        raise ValueError(f"--name {name!r}: that is a reserved word of Verilog")


def _accelerator_rtlil(config: AcceleratorConfig, name: str) -> str:
    many = config.lanes * config.banks >= MANY_QUEUES
    return component_rtlil(Accelerator(config), name, SharedModulePlatform(name) if many else None)


@lru_cache(maxsize=8)
def accelerator_verilog(config: AcceleratorConfig, name: str = TOP) -> str:
    """Verilog of the accelerator, top module ``name``, after a header with version and sizes. The names of all other modules
    begin with ``name`` and an underscore, so that two configurations fit into one design.

    Takes 5 to 10 s for ``tiny``, 20 to 60 s and 1.1 GB for ``alveo``. Raises ValueError for a name that no module can have.
    """
    if name != TOP:
        check_name(name)
    netlist = _accelerator_rtlil(config, name)
    header = [f"// Hotline accelerator {VERSION}, BSD-2-Clause. Configuration {config.digest()}:"]
    header += [f"//   {name} = {value}" for name, value in asdict(config).items()]
    header += [""]
    header += [f"/* verilator lint_off {name} */  // {why}" for name, why in WAIVERS.items()]
    return "\n".join(header) + "\n\n" + _file(netlist, name)
