"""Cases of which a random run meets few: the very value at which something changes, and who must wait for whom."""

from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.layouts import Command, Kind, Opcode, Status
from hotline_golden.tracker import sample_scorer as golden_scorer
from hotline_golden.tracker.sample_scorer import BEST_PART, SampleScorer
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.engine.memory_model import HELD, Fault, MemoryTiming
from hotline_sim.host.limits import RING_ENTRIES
from hotline_sim.run.job import output_buffers
from hotline_sim.run.session import Session

from ..configurations import MAIN_FROZEN, ODD, tiny
from .conftest import HOSTILE, IDEAL, learn, small_job
from .lockstep import Lockstep, random_rows


def learnt(job, transport, batches: list[int]) -> np.ndarray:
    """The hot list after a LEARN of each of ``batches``; golden has the same."""
    lockstep = Lockstep(job, transport)
    lockstep.submit(Command(Opcode.CLEAR))
    for batch in batches:
        lockstep.submit(job.learn(batch))
        lockstep.collect()
    lockstep.submit(job.hot_list(Opcode.DUMP))
    lockstep.collect()
    lockstep.compare()
    return lockstep.golden.tracker.dump()


class LaterFall(SampleScorer):
    """A threshold that falls only when more than an eighth of the samples is below it: one sample later."""

    def note(self, misses: np.ndarray) -> bool:
        n, q = len(misses), self.threshold
        exactly = BEST_PART * int((misses < q).sum()) == n and BEST_PART * int((misses <= q).sum()) >= n
        aged = super().note(misses)
        if exactly:
            self.threshold += 1
        return aged


def test_the_threshold_falls_when_just_an_eighth_of_the_samples_is_below_it(monkeypatch):
    """Blocks of eight samples: one of them is an eighth."""
    config = tiny(ODD)
    job = small_job(config, "synthetic:ratings,samples=640", batch_size=8, resident=None)
    with CosimTransport(config, job.host, job.device) as transport:
        found = learnt(job, transport, list(range(job.batches)))
    monkeypatch.setattr("hotline_golden.tracker.tracker.SampleScorer", LaterFall)
    other = job.golden()
    for batch in range(job.batches):
        other.execute(job.learn(batch))
    assert isinstance(other.tracker.scorer, LaterFall) and golden_scorer.BEST_PART == 8
    assert not np.array_equal(found, other.tracker.dump()), "the hot list would be another, so this test can fail"


@pytest.mark.parametrize("timing", [IDEAL, HOSTILE], ids=["ideal", "hostile"])
@pytest.mark.parametrize("opcode", [Opcode.SCATTER, Opcode.GATHER])
@pytest.mark.parametrize("beyond", [0, 1, 1 << 20])
def test_a_listed_key_one_row_past_the_end_of_its_table_is_refused(timing, opcode, beyond):
    job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=80")
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        session = learn(Session(job, transport))
        session._allow(
            {"completion ring"} | {f"table {n}" for n in range(len(job.model.tables))}, set(job.device.buffers)
        )
        driver, golden = session.driver, session.golden
        _, done = driver.execute(job.split(0))
        golden.execute(job.split(0))
        keys = job.device.buffers["working keys"].address
        for number in (2, 19):
            for image in (transport.device, golden.device):
                image.words(keys + 8 * 7, 2)[:] = (number, job.model.tables[number].rows + beyond)
            command = replace(job.scatter(done.working_rows), opcode=opcode)
            (mine,), (theirs,) = driver.execute(command, checked=False), golden.execute(command)
            assert mine.untimed() == theirs.untimed()
            assert (mine.status, mine.index) == (Status.ROW_OUTSIDE_TABLE, 7)
            for image in (transport.device, golden.device):
                image.words(keys + 8 * 7, 2)[:] = (number, job.model.tables[number].rows - 1)
            (mine,), (theirs,) = driver.execute(command, checked=False), golden.execute(command)
            assert mine.untimed() == theirs.untimed() and mine.status == Status.OK
            session._compare_everything()


def test_a_scatter_completes_after_the_popular_part_of_the_split_that_it_passes():
    """Memory is long in acknowledging the popular records; the SCATTER is over before."""
    job = small_job(tiny(MAIN_FROZEN), "synthetic:ratings,samples=148", output_sets=2, resident=100)
    timing = MemoryTiming((1, 1), (1, 1))
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        lockstep = Lockstep(job, transport)
        for batch in (3, 3):
            lockstep.submit(job.learn(batch))
        first = lockstep.submit(job.split(2, into=0))
        rows = lockstep.collect()[-1].working_rows
        random_rows(lockstep.both(), job.device.buffers[output_buffers(0)[3]].address, rows * job.dim, 1)
        popular = job.device.buffers[output_buffers(1)[0]]
        transport.device_memory.inject([Fault(popular.address, popular.size, on_read=False, response=HELD)])
        tail = lockstep.driver.read("completion_tail")
        names = {"flags": 1, "after": first.tag}
        second = lockstep.submit(job.split(3, into=1), **names)
        scatter = lockstep.submit(job.scatter(rows, into=0), **names)
        transport.run_cycles(30_000)
        assert lockstep.driver.read("completion_tail") == tail, "the popular part has not been acknowledged"
        transport.device_memory.inject([])
        order = [(c.tag, c.kind, c.status) for c in lockstep.collect()]
        expected = [(second.tag, Kind.POPULAR), (scatter.tag, Kind.WHOLE), (second.tag, Kind.NON_POPULAR)]
        assert order == [(*which, Status.OK) for which in expected]
        assert len(lockstep.golden.last_split.popular), "this test needs popular samples"
        lockstep.compare()


@pytest.mark.parametrize("word", range(0, 16, 3))
def test_an_error_in_any_beat_of_a_ring_entry_is_seen(word):
    """Not only one in the last."""
    job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=40")
    with CosimTransport(job.config, job.host, job.device) as transport:
        session = Session(job, transport)
        driver = session.driver
        entry = driver.command_ring.address + driver.submitted % RING_ENTRIES * 64
        transport.host_memory.inject([Fault(entry + 4 * word, 4, on_write=False)])
        (done,) = driver.execute(Command(Opcode.CLEAR), checked=False)
        assert (done.status, done.opcode, done.address) == (Status.READ_ERROR, 0, entry)
