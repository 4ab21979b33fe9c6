"""Several ranks on one machine train as one process does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

OPTIONS = [
    "--preset", "tiny", "--set", "working_rows=2048", "--trace", "synthetic:ratings,samples=1500", "--batch-size", "24",
    "--resident", "100", "--double", "--optimizer", "rowwise-adagrad", "--lr", "0.05",
]  # fmt: skip


def start(ranks: int, *arguments) -> subprocess.Popen:
    """``hotline train``, alone or with ``ranks``."""
    module = ["-m", "hotline_cli", "train"]
    if ranks:
        module = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *module]
    command = [sys.executable, *module, *OPTIONS, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def train(ranks: int, *arguments) -> str:
    process = start(ranks, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-4000:]
    return output


def numbers(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("ranks, more", [(2, ["--relearn", "5", "--swap-every", "10", "--swap-worth", "1"]), (4, [])],
                         ids=["2-relearn", "4"])  # fmt: skip
def test_ranks_give_the_parameters_of_one_process(tmp_path, ranks, more):
    output = train(ranks, "--check", *more, "--json", tmp_path / "ranks.json")
    assert output.count("against whole mini-batches") == 1, "one rank speaks"
    train(0, *more, "--json", tmp_path / "one.json")
    together, alone = numbers(tmp_path / "ranks.json"), numbers(tmp_path / "one.json")
    assert together["difference"] < 1e-10
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-10)
    assert together["popular_share"] == alone["popular_share"]
    assert together["held_out"] == pytest.approx(alone["held_out"], rel=1e-8)


def test_a_dead_rank_stops_the_job_which_resumes_with_another_number(tmp_path):
    kept = tmp_path / "kept"
    process = start(2, "--steps", 100_000, "--checkpoint", kept, "--every", 7)
    while not kept.exists() and process.poll() is None:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "SIGKILL" in output, output[-2000:]
    reached = torch.load(kept, weights_only=True)["step"]
    assert reached % 7 == 0
    train(4, "--checkpoint", kept, "--resume", "--steps", reached + 20, "--json", tmp_path / "rest.json")
    train(0, "--steps", reached + 20, "--json", tmp_path / "one.json")
    rest, alone = numbers(tmp_path / "rest.json"), numbers(tmp_path / "one.json")
    assert rest["losses"] == pytest.approx(alone["losses"][-20:], rel=1e-8)
    assert rest["held_out"] == pytest.approx(alone["held_out"], rel=1e-8)
