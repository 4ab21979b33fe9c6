"""Several ranks on one machine train as one process does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from hotline_train.checkpoint import read  # noqa: E402

from ..command import Command  # noqa: E402
from ..configurations import MAIN, options  # noqa: E402

OPTIONS = [
    *options(MAIN),
    "--trace",
    "synthetic:ratings,samples=1500",
    "--batch-size",
    "24",
    "--resident",
    "100",
    "--double",
    "--optimizer",
    "rowwise-adagrad",
    "--lr",
    "0.05",
]


def torchrun(ranks: int, *arguments, script: Path | None = None) -> subprocess.Popen:
    """``hotline train`` with ``ranks``, or a ``script`` in its place, started as a user does."""
    program = [str(script)] if script else ["-m", "hotline_cli"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(ranks),
        *program,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "train", *OPTIONS, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


def train(ranks: int, *arguments) -> str:
    """``hotline train``, alone or with ``ranks`` whose environment is that which torchrun gives; what all have said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    every = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
    environments = [{**every, "RANK": rank, "LOCAL_RANK": rank} for rank in range(ranks)] or [{}]
    commands = [
        Command("train", *OPTIONS, *arguments, **{name: str(value) for name, value in environment.items()})
        for environment in environments
    ]
    done = [command.wait(300) for command in commands]
    output = "".join(one.stdout + one.stderr for one in done)
    assert not any(one.returncode for one in done), output[-4000:]
    return output


def numbers(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "ranks, more",
    [(2, []), (4, ["--frozen"])],
    ids=["2", "4-frozen"],
)
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
    process = torchrun(2, "--steps", 100_000, "--checkpoint", kept, "--every", 7)
    while not kept.exists() and process.poll() is None:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "SIGKILL" in output, output[-2000:]
    whole, keys, rows = read(kept)
    assert whole["step"] % 7 == 0 and len(keys) == len(rows) > 0
    assert len(list(kept.glob("__*_0.distcp"))) == 2, "each rank has written its own rows"
    steps = whole["step"] + 20
    train(4, "--checkpoint", kept, "--resume", "auto", "--steps", steps, "--json", tmp_path / "rest.json")
    train(0, "--steps", steps, "--json", tmp_path / "one.json")
    rest, alone = numbers(tmp_path / "rest.json"), numbers(tmp_path / "one.json")
    assert rest["losses"] == pytest.approx(alone["losses"][-20:], rel=1e-8)
    assert rest["held_out"] == pytest.approx(alone["held_out"], rel=1e-8)


COUNTED = """
import sys
import torch.distributed as dist
from hotline_train.distributed import ranks, source

calls, steps, read = [0], [], []

def counted(name):
    real = getattr(dist, name)
    def call(*arguments, **more):
        calls[0] += 1
        return real(*arguments, **more)
    setattr(dist, name, call)

for name in ("all_gather", "all_reduce", "all_to_all_single", "broadcast", "barrier", "all_gather_object", "reduce"):
    counted(name)
step, part = ranks.DistributedTrainer._step, source.RankSource._part

def counting_step(self, *arguments):
    before = calls[0]
    found = step(self, *arguments)
    steps.append(calls[0] - before)
    return found

def counting_part(self, batch):
    found = part(self, batch)
    read.append((len(found.rows), self.samples_of(batch)))
    return found

ranks.DistributedTrainer._step, source.RankSource._part = counting_step, counting_part
sys.argv[0] = "hotline"
try:
    from hotline_cli.main import main
    main()
except SystemExit as e:
    assert not e.code, e.code
follows = "--frozen" not in sys.argv
steps[0] -= 2  # it agrees on itself and the next
steps[-1] += 2  # it agrees on no next one
# Rows that enter the hot set go to all ranks, where there are any.
assert set(steps) <= {5, 5 + follows} and steps[0] == 5 + follows, steps
assert all(abs(2 * mine - all) <= 1 for mine, all in read), read
print(f"rank {ranks.os.environ['RANK']} has made {len(steps)} steps")
"""


@pytest.mark.parametrize("more", [[], ["--frozen"]], ids=["following", "frozen"])
def test_a_step_is_five_collectives_and_a_rank_splits_its_own_samples_only(tmp_path, more):
    """Six where the hot set changes."""
    script = tmp_path / "counted.py"
    script.write_text(COUNTED)
    process = torchrun(2, "--steps", 12, "--held-out", 0, *more, script=script)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    assert "rank 0 has made 12 steps" in output and "rank 1 has made 12 steps" in output
    assert output.count("step 12 of 12: loss") <= 1, "one rank tells how far it is, in lines"
