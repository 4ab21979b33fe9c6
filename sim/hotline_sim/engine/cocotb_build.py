"""Builds and runs cocotb benches on Verilator, through cocotb's own runner, called from plain Python.

Only the ports of the top module are made visible to cocotb: the runner's default makes every signal
public, which slows model and build several times. Builds are cached by content.
"""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Collection
from pathlib import Path

from .toolchain import ToolError, cached_build, find_verilator, include_precompiled, python_tag

#: Compiling takes most of the time of a bench, and cocotb's Python most of the rest.
MAKE_OPTIONS = ["OPT_SLOW=-O0", "OPT_GLOBAL=-O0", "VM_PARALLEL_BUILDS=0"]
#: What every model includes, and cocotb's main program.
HEADER = '#include "verilated.h"\n#include "verilated_vpi.h"\n'


def _runner(header: Path = Path(), compiled: Collection[str] = ()):
    """cocotb's Verilator runner without ``--public-flat-rw``, which compiles with ``header`` precompiled. If no object file is
    ``compiled`` yet, it precompiles the header, too; those that are stay as they are: Verilator's makefile has its runtime
    compiled again whenever it is written itself."""
    from cocotb_tools.runner import Verilator

    class PortsOnlyVerilator(Verilator):
        def _build_command(self):
            verilate, make = super()._build_command()
            keep = [f"--old-file={file}" for file in compiled]
            precompile = [*make, *MAKE_OPTIONS, "OPT_FAST=-O0", f"{header}.fast.gch"]
            return [
                [argument for argument in verilate if argument != "--public-flat-rw"],
                *([] if compiled else [precompile]),
                [*make, *keep, *MAKE_OPTIONS, f"OPT_FAST=-O0 {include_precompiled(header, 'fast')}"],
            ]

    return PortsOnlyVerilator()


def _ports(verilog: str, top: str) -> list[str]:
    """Port names of module ``top``."""
    header = re.search(rf"^module {re.escape(top)}\((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    if not header:
        raise ToolError(f"no module {top} in the Verilog")
    return [name.strip() for name in header[1].split(",")]


def run_cocotb(
    verilog: str,
    top: str,
    test_module: str,
    *,
    environment: dict[str, str] | None = None,
    waves: Path | None = None,
    test: str | None = None,
    search_path: list[Path] | None = None,
    timeout: float = 1500,
) -> None:
    """Builds ``verilog`` and runs the cocotb tests of ``test_module`` (or just ``test``) on it.

    The runner works in a child process, so that its environment changes stay there. Raises ToolError
    with the end of the log when a build or a test fails, or no test has run.
    """
    verilator = find_verilator()
    control = "`verilator_config\n" + "".join(
        f'public_flat_rw -module "{top}" -var "{port}"\n' for port in _ports(verilog, top)
    )
    options = [
        "-DHOTLINE_CHECKS",
        "-Wno-fatal",
        "-Wno-lint",
        "-Wno-style",
        "--x-initial",
        "unique",
        "--x-assign",
        "unique",
        "-O3",
        "--timescale",
        "1ns/1ps",
    ]
    env = verilator.env()
    parts = (verilog, control, str(bool(waves)), verilator.description, *options, *MAKE_OPTIONS)
    with cached_build("cocotb", *parts) as (folder, built):
        if not built:
            (folder / f"{top}.v").write_text(verilog)
            (folder / f"{top}.vlt").write_text(control)
            _child(["build", str(folder), top, str(int(bool(waves))), *options], env, folder, 1500)
    import tempfile

    with tempfile.TemporaryDirectory() as where:
        results = Path(where) / "results.xml"
        env = env | (environment or {})
        arguments = ["test", str(folder), top, str(int(bool(waves))), test_module, str(results), test or ""]
        log = _child(arguments, env, Path(where), timeout, search_path)
        cases = list(xml.etree.ElementTree.parse(results).iter("testcase")) if results.exists() else []
        failed = [c.get("name") for c in cases if c.find("failure") is not None or c.find("error") is not None]
        if failed or not cases:
            tail = "\n".join(log.splitlines()[-60:])
            raise ToolError(
                f"cocotb, {test_module}: {'failed: ' + ', '.join(map(str, failed)) if failed else 'no test ran'}\n{tail}"
            )
        if waves and (Path(where) / "dump.vcd").exists():
            (Path(where) / "dump.vcd").replace(waves)


def _child(
    arguments: list[str], env: dict[str, str], cwd: Path, timeout: float, search_path: list[Path] | None = None
) -> str:
    path = [str(p) for p in search_path or []] + [p for p in sys.path if p]
    env = {**env, "PYTHONPATH": os.pathsep.join(path)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hotline_sim.engine.cocotb_build", *arguments],
            env=env,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as e:
        raise ToolError(f"cocotb, {arguments[0]}: no end within {timeout:.0f} s\n{e.output or ''}") from e
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-60:])
        raise ToolError(f"cocotb, {arguments[0]} failed (exit code {done.returncode}):\n{tail}")
    return done.stdout


def _build(folder: Path, top: str, waves: str, options: list[str]) -> None:
    """Verilates and compiles. What is always the same, and most of the work, is compiled by the first build: Verilator's
    runtime, and the headers that every model includes."""

    def compile_all(compiled: Collection[str]) -> None:
        _runner(header, compiled).build(
            sources=[folder / f"{top}.vlt", folder / f"{top}.v"],
            hdl_toplevel=top,
            build_dir=target,
            build_args=options,
            waves=waves == "1",
            always=True,
        )

    target = folder / "build"
    target.mkdir(exist_ok=True)
    with cached_build(
        "verilated", waves, HEADER, *options, *MAKE_OPTIONS, find_verilator().description, python_tag()
    ) as (
        shared,
        built,
    ):
        header = shared / "model.h"
        if not built:
            header.write_text(HEADER)
            compile_all([])
        here, there = (shared, target) if built else (target, shared)
        compiled = [file.name for file in here.glob("verilated*.o")]
        for name in compiled:
            shutil.copyfile(here / name, there / name)
    if built:
        compile_all(compiled)


def _main(arguments: list[str]) -> None:
    """The child process: ``build FOLDER TOP WAVES OPTIONS`` or ``test FOLDER TOP WAVES MODULE RESULTS TEST``."""
    verb, folder, top, waves, *rest = arguments
    if verb == "build":
        _build(Path(folder), top, waves, rest)
    else:
        module, results, test = rest
        seed = os.environ.get("HOTLINE_SEED")
        _runner().test(
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            test_module=module,
            build_dir=f"{folder}/build",
            test_dir=os.getcwd(),
            results_xml=results,
            testcase=test or None,
            waves=waves == "1",
            seed=int(seed) if seed else None,
            plusargs=["+verilator+rand+reset+2"],
        )


if __name__ == "__main__":
    _main(sys.argv[1:])
