"""The ``hotline`` command in a process of its own, forked from one that has imported what commands import.

Importing PyTorch takes longer than most of what tests ask of the command. That a command runs on imports of its own is shown by
those tests that start Python for it.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "hotline_cli.main",
        "hotline_rtl.accelerator",
        "hotline_sim.run.session",
        "hotline_sim.run.timeline",
        "matplotlib.pyplot",
        "sklearn.metrics",
        "torch",
        "torch._dynamo",
        "torch.distributed.checkpoint",
        "hotline_train.experiment",
    ]
)
#: What a terminal has in which every line of a command has room; read when the command is imported.
COLUMNS = "150"


class Command:
    """``hotline`` with ``arguments``, which has been started; ``environment`` comes on top of this process's own."""

    def __init__(self, *arguments, **environment: str):
        self.arguments = ["hotline", *map(str, arguments)]
        self.folder = tempfile.TemporaryDirectory()
        environment = {**os.environ, "COLUMNS": COLUMNS, **environment}
        self.process = FORKS.Process(target=_run, args=(self.arguments, self.folder.name, environment))
        # The first one starts what is forked.
        with patch.dict(os.environ, COLUMNS=COLUMNS):
            self.process.start()

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess:
        """What has become of it. Raises TimeoutError when it takes longer than ``timeout`` seconds; it is killed then."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        said = [(Path(self.folder.name) / name).read_text() for name in ("stdout", "stderr")]
        self.folder.cleanup()
        if code is None:
            raise TimeoutError(f"{' '.join(self.arguments)}: no end within {timeout:.0f} s\n{''.join(said)}")
        return subprocess.CompletedProcess(self.arguments, code, *said)


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """The child: ends with the exit code of the command."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(os.path.join(folder, name), "w") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    from hotline_cli.main import main

    main()


def hotline(*arguments, check: int | None = 0) -> subprocess.CompletedProcess:
    """Runs the command to its end; fails unless it exits with ``check``."""
    done = Command(*arguments).wait()
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done
