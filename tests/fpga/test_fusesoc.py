"""FuseSoC generates, lints and simulates the accelerator from ``hotline.core``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hotline_rtl import VERSION
from hotline_sim.engine.toolchain import find_verilator

from ..configurations import LEAST

CORES = Path(__file__).parents[2] / "fpga"
BIN = Path(sys.executable).parent


def fusesoc(folder: Path, *arguments: str, cores: Path = CORES) -> subprocess.CompletedProcess:
    verilator = find_verilator()
    env = verilator.env()
    env["PATH"] = os.pathsep.join(
        [str(Path(verilator.executable).parent), str(BIN), env.get("PATH", os.environ["PATH"])]
    )
    # Nothing of it lands in the user's cache, configuration or library.
    env |= {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    command = [str(BIN / "fusesoc"), "--cores-root", str(cores), *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900)


def changed_cores(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the cores in ``folder``, with the second of each of ``changes`` in place of the first."""
    shutil.copytree(CORES, folder, ignore=shutil.ignore_patterns("hotline_fpga", "baselines", "ecp5"))
    for file in filter(Path.is_file, folder.rglob("*")):
        text = file.read_text()
        for old, new in changes:
            text = text.replace(old, new)
        file.write_text(text)
    return folder


def test_the_core_has_the_version_of_the_rtl():
    core = yaml.safe_load((CORES / "hotline.core").read_text())
    assert core["name"] == f"hotline:accelerator:hotline:{VERSION}"


@pytest.mark.fpga
def test_fusesoc_lints_and_simulates(tmp_path):
    for target, expected in (
        ("lint", "verilator -f"),
        ("sim", "registers, three commands and their interrupts: passed"),
    ):
        done = fusesoc(tmp_path, "run", "--target", target, "hotline")
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout and "%Warning" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_test_bench_can_fail(tmp_path):
    """The same, of a core whose generator gives another version away."""
    cores = changed_cores(tmp_path / "cores", ("{VERSION_NUMBER:08x}", "{VERSION_NUMBER + 1:08x}"))
    done = fusesoc(tmp_path, "run", "--target", "sim", "hotline", cores=cores)
    assert done.returncode != 0 and "register 004 is" in done.stdout + done.stderr


#: In the core: an accelerator that takes less time to emit.
SMALL = ("{preset: alveo}", f"{{preset: tiny, settings: [{', '.join(LEAST)}]}}")


def test_vivado_gets_a_project(tmp_path):
    """Without Vivado: FuseSoC writes what Vivado would read."""
    cores = changed_cores(tmp_path / "cores", SMALL)
    done = fusesoc(tmp_path, "run", "--setup", "--target", "alveo", "hotline", cores=cores)
    assert done.returncode == 0, done.stderr
    project = "".join(file.read_text() for file in tmp_path.glob("build/*/alveo/*.tcl"))
    assert "hotline.v" in project and "hotline.xdc" in project and "xcu250" in project


def test_verilog_is_that_of_the_sources_as_they_are(tmp_path):
    """The core says what is generated; when only the generator's answer changes, as with other RTL, the old is not served."""
    project = "build/*/alveo/src/**/hotline.v"
    for n in (1, 2):
        emitted = ("text = accelerator_verilog(config, name)", f"text = '// the RTL of today, {n}\\n'")
        cores = changed_cores(tmp_path / f"cores{n}", SMALL, emitted)
        os.utime(cores / "fusesoc" / "generator.py", (1, 1))
        done = fusesoc(tmp_path, "run", "--setup", "--target", "alveo", "hotline", cores=cores)
        assert done.returncode == 0, done.stderr
        (verilog,) = tmp_path.glob(project)
        assert verilog.read_text() == f"// the RTL of today, {n}\n"
    assert not list((tmp_path / "cache").rglob("*.v"))


def run_generator(folder: Path, **parameters) -> subprocess.CompletedProcess:
    request = folder / "request.yml"
    request.write_text(yaml.safe_dump({"vlnv": "a:b:c:1", "parameters": parameters}))
    command = [sys.executable, str(CORES / "fusesoc" / "generator.py"), str(request)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_another_name_is_that_of_files_macros_and_modules(tmp_path):
    done = run_generator(tmp_path, name="acme", settings=LEAST)
    assert done.returncode == 0, done.stderr
    assert "module acme(" in (tmp_path / "acme.v").read_text()
    assert "`define ACME_BUS_BITS 64" in (tmp_path / "acme_sizes.svh").read_text()
    assert "acme.v" in (tmp_path / "c.core").read_text()
    assert run_generator(tmp_path, name="2x").stderr.startswith("hotline_verilog: --name '2x': use letters")


def test_a_setting_that_cannot_be_ends_with_a_reason(tmp_path):
    done = run_generator(tmp_path, settings=["lanes=3"])
    assert done.returncode == 1 and done.stderr.startswith("hotline_verilog: lanes must be 1, 2, 4, 8 or 16")
    assert not (tmp_path / "hotline.v").exists()
