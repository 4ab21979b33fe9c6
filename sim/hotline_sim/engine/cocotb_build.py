"""Builds and runs cocotb benches on Verilator, through cocotb's own runner, called from plain Python.

Only the ports of the top module are made visible to cocotb: the runner's default makes every signal
public, which slows model and build several times. Builds are cached by content.
"""

import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import xml.etree.ElementTree
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from .toolchain import ToolError, cached_build, find_verilator, include_precompiled, python_tag

#: Compiling takes most of the time of a bench, and cocotb's Python most of the rest.
MAKE_OPTIONS = ["OPT_SLOW=-O0", "OPT_GLOBAL=-O0", "VM_PARALLEL_BUILDS=0"]
#: What every model includes, and cocotb's main program.
HEADER = '#include "verilated.h"\n#include "verilated_vpi.h"\n'


def _builder(header: Path, compiled: Collection[str]):
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


def _assertions(test_module: str) -> dict[str, str]:
    """The environment in which a failed ``assert`` of ``test_module``, or of the package that it is in, shows its values.

    cocotb has pytest rewrite assertions. By default it does so in every module that is imported, NumPy's too, and loads pytest's
    plug-ins before: that takes longer than most benches.
    """
    package, dot, _ = test_module.partition(".")
    return {
        "COCOTB_REWRITE_ASSERTION_FILES": f"*/{package}/*.py" if dot else f"*/{package}.py",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


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

    The runner takes its environment from the process that it works in, so it has one of its own. Raises ToolError
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
            _apart("build", _build, (folder, top, bool(waves), options), env, folder, 1500)
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        results = where / "results.xml"
        env = env | _assertions(test_module) | (environment or {})
        log = _apart(
            "test",
            _test,
            (folder, top, bool(waves), test_module, results, test, search_path or []),
            env,
            where,
            timeout,
        )
        cases = list(xml.etree.ElementTree.parse(results).iter("testcase")) if results.exists() else []
        failed = [c.get("name") for c in cases if c.find("failure") is not None or c.find("error") is not None]
        if failed or not cases:
            tail = "\n".join(log.splitlines()[-60:])
            raise ToolError(
                f"cocotb, {test_module}: {'failed: ' + ', '.join(map(str, failed)) if failed else 'no test ran'}\n{tail}"
            )
        if waves and (where / "dump.vcd").exists():
            (where / "dump.vcd").replace(waves)


def _apart(what: str, work: Callable, arguments: tuple, env: dict[str, str], cwd: Path, timeout: float) -> str:
    """Calls ``work`` in a process forked from this one, with an environment and a folder of its own; returns what it and
    the tools that it ran printed. Raises ToolError when it fails, or has not ended within ``timeout`` seconds: then all of
    them are stopped."""
    from cocotb_tools import runner  # noqa: F401  so that it need not be imported by each process

    with tempfile.TemporaryFile("w+") as printed:
        process = multiprocessing.get_context("fork").Process(
            target=_child, args=(work, arguments, env, cwd, printed.fileno())
        )
        process.start()
        group = int(process.pid or 0)
        with suppress(OSError):  # it does so, too: whoever is first
            os.setpgid(group, group)
        try:
            process.join(timeout)
        finally:
            ended = process.exitcode is not None
            if not ended:
                os.killpg(group, signal.SIGKILL)
                process.join()
        printed.seek(0)
        log = printed.read()
    if not ended:
        raise ToolError(f"cocotb, {what}: no end within {timeout:.0f} s\n{log}")
    if process.exitcode:
        tail = "\n".join(log.splitlines()[-60:])
        raise ToolError(f"cocotb, {what} failed (exit code {process.exitcode}):\n{tail}")
    return log


def _child(work: Callable, arguments: tuple, env: dict[str, str], cwd: Path, printed: int) -> None:
    """The process that :func:`_apart` forks. Its group is its own, so that it can be stopped with all that it runs."""
    os.setpgid(0, 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(env)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # with it, the runner would end the process when a test fails
    os.chdir(cwd)
    work(*arguments)


def _build(folder: Path, top: str, waves: bool, options: list[str]) -> None:
    """Verilates and compiles. What is always the same, and most of the work, is compiled by the first build: Verilator's
    runtime, and the headers that every model includes."""

    def compile_all(compiled: Collection[str]) -> None:
        _builder(header, compiled).build(
            sources=[folder / f"{top}.vlt", folder / f"{top}.v"],
            hdl_toplevel=top,
            build_dir=target,
            build_args=options,
            waves=waves,
            always=True,
        )

    target = folder / "build"
    target.mkdir(exist_ok=True)
    with cached_build(
        "verilated", str(waves), HEADER, *options, *MAKE_OPTIONS, find_verilator().description, python_tag()
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


def _test(folder: Path, top: str, waves: bool, module: str, results: Path, test: str | None, search_path: list[Path]):
    """Runs the tests of ``module``, or just ``test``, in the current folder."""
    from cocotb_tools.runner import Verilator

    sys.path[:0] = map(str, search_path)
    seed = os.environ.get("HOTLINE_SEED")
    Verilator().test(
        hdl_toplevel=top,
        hdl_toplevel_lang="verilog",
        test_module=module,
        build_dir=folder / "build",
        test_dir=os.getcwd(),
        results_xml=str(results),
        testcase=test,
        waves=waves,
        seed=int(seed) if seed else None,
        plusargs=["+verilator+rand+reset+2"],
    )
