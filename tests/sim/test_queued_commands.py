"""Commands that wait in the ring while others run, on configurations whose every depth is small or odd.

Whatever waits for whatever, each command ends, and golden agrees with every byte.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.layouts import Opcode, Status
from hotline_rtl.config import preset
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.engine.memory_model import MemoryTiming
from hotline_sim.run.job import Job, output_buffers

from ..configurations import LEAST, ODD
from .conftest import cold_job
from .lockstep import Lockstep, random_rows

#: Shapes in which another resource binds each time.
CONFIGURATIONS = {
    "least": LEAST,
    "least-wide": [*LEAST, "bus_bits=256", "max_record_words=32"],
    "odd": ODD,
    "lanes": [
        "lanes=4",
        "banks_per_lane=1",
        "lane_rows=4",
        "working_rows=64",
        "outstanding_writes=4",
        "read_ahead_beats=16",
    ],
    "policy": [*LEAST, "policy=srrip", "tracker_arrays=1", "tracker_sets=2", "working_rows=32"],
}
LATENCIES = {"ideal": (1, 0), "usual": (100, 50), "far": (500, 100)}


def timing(latency: str, seed: int) -> MemoryTiming:
    first, answer = LATENCIES[latency]
    return MemoryTiming((first, first), (answer, answer), seed=seed)


def run_queued(job: Job, latency: str, seed: int) -> None:
    """All SPLITs wait in the ring at once; then their SCATTERs, with LEARNs between."""
    host, device = timing(latency, seed), timing(latency, seed + 100)
    with CosimTransport(job.config, job.host, job.device, host_timing=host, device_timing=device) as transport:
        lockstep = Lockstep(job, transport)
        lockstep.driver.cycle_limit = 400_000
        lockstep.submit(job.learn(0))
        splits = [lockstep.submit(job.split(n, into=n)) for n in range(job.batches)]
        done = {c.tag: c for c in lockstep.collect()}
        for n, command in enumerate(splits):
            rows = done[command.tag].working_rows
            if not rows:
                continue
            address = job.device.buffers[output_buffers(n)[3]].address
            random_rows(lockstep.both(), address, rows * job.dim, seed + n)
            lockstep.submit(job.scatter(rows, into=n))
            if n % 2:
                lockstep.submit(job.learn(n))
        lockstep.collect()
        lockstep.submit(job.hot_list(Opcode.DUMP))
        lockstep.collect()
        lockstep.compare()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("latency", LATENCIES)
def test_queued_splits_whose_sets_nearly_fill_the_working_set(latency, seed):
    """59 to 63 working rows of 64, and the next one's keys behind them: a key once fell out of their queue, for ever."""
    config = preset("tiny").with_settings(ODD)
    run_queued(cold_job(config, batches=6, samples=7, accesses=9, seed=seed), latency, seed)


@pytest.mark.parametrize("latency", LATENCIES)
def test_queued_splits_that_overflow_hang_nothing(latency):
    """More distinct keys than the working set holds, six times; then a SPLIT that fits gives golden's bytes."""
    config = preset("tiny").with_settings(ODD)
    job = cold_job(config, batches=7, samples=9, accesses=9, seed=3)
    host, device = timing(latency, 3), timing(latency, 103)
    with CosimTransport(job.config, job.host, job.device, host_timing=host, device_timing=device) as transport:
        lockstep = Lockstep(job, transport)
        lockstep.driver.cycle_limit = 400_000
        for n in range(6):
            lockstep.submit(job.split(n, into=n))
        statuses = [c.status for c in lockstep.collect()]
        assert statuses == [Status.OK, Status.WORKING_SET_OVERFLOW] * 6
        lockstep.submit(replace(job.split(6, into=6), samples=6))
        assert lockstep.collect()[-1].status == Status.OK
        for name in output_buffers(6):
            buffer = job.device.buffers[name]
            ours, golden = (image.words(buffer.address, buffer.size // 4) for image in lockstep.both())
            assert np.array_equal(ours, golden), name


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("least", "odd") else pytest.mark.slow) for name in CONFIGURATIONS],
)
@pytest.mark.parametrize("latency", LATENCIES)
def test_queued_commands_on_small_and_odd_configurations(name, latency):
    config = preset("tiny").with_settings(CONFIGURATIONS[name])
    r = random.Random(name)
    accesses = r.randint(3, 9)
    samples = max(2, config.working_rows // accesses - r.randint(0, 1))
    row_bytes = r.choice([16, 36, 64, config.max_row_bytes])
    run_queued(
        cold_job(config, batches=6, samples=samples, accesses=accesses, seed=5, row_bytes=row_bytes), latency, 5
    )
