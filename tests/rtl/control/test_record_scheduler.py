"""When the next mini-batch's records are decoded."""

import pytest

from hotline_rtl.config import preset
from hotline_rtl.control.record_scheduler import RecordScheduler

from ..simulated import cycles, is_not_taken, none_comes, put, simulate_run, take

CONFIG = preset("tiny")


class Run:
    def __init__(self, ctx, block):
        self.ctx, self.block = ctx, block

    async def fetch(self, splits: int, samples: int = 7) -> None:
        """The next mini-batch is known, and its records are asked for."""
        await put(
            self.ctx,
            self.block.fetches,
            {"records": {"address": 0x1000 + samples, "samples": samples}, "splits": splits, "follows": samples % 2},
        )
        records = await take(self.ctx, self.block.reads)
        assert (records.address, records.samples) == (0x1000 + samples, samples)

    async def arrive(self) -> int:
        """Its beats come next: whether they wait in front of the lanes."""
        return await take(self.ctx, self.block.arrivals)

    async def decode(self, samples: int = 7) -> None:
        decodes = await take(self.ctx, self.block.decodes)
        assert (decodes.samples, decodes.follows) == (samples, samples % 2)
        await take(self.ctx, self.block.begins)

    async def job(self) -> None:
        await put(self.ctx, self.block.jobs, 0)
        assert not self.ctx.get(self.block.ahead)


def run(bench) -> None:
    simulate_run(Run, RecordScheduler(CONFIG), bench)


def test_records_are_decoded_at_once_when_there_is_no_mini_batch_before():
    async def bench(r):
        await r.fetch(1)
        assert await r.arrive() == 1
        await r.decode()
        await cycles(r.ctx)
        assert r.ctx.get(r.block.ahead)
        await r.job()

    run(bench)


def test_a_job_waits_until_its_records_are_being_decoded():
    async def bench(r):
        assert await is_not_taken(r.ctx, r.block.jobs, 0)
        await r.fetch(0)
        await r.arrive()
        assert await is_not_taken(r.ctx, r.block.jobs, 0)
        await r.decode()
        await r.job()

    run(bench)


@pytest.mark.parametrize("splits, next_splits", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_the_next_one_is_decoded_behind_the_current_one_and_enters_the_lanes_if_both_are_splits(splits, next_splits):
    async def bench(r):
        await r.fetch(splits)
        await r.arrive()
        await r.decode()
        await r.job()
        await r.fetch(next_splits, samples=9)
        assert await none_comes(r.ctx, r.block.arrivals), "the current one's records are still being decoded"
        r.ctx.set(r.block.decoded, 1)
        assert await r.arrive() == (not (splits and next_splits))
        await r.decode(9)
        assert await is_not_taken(r.ctx, r.block.jobs, 0), "the current one is not over"
        r.ctx.set(r.block.decoded, 0)
        r.ctx.set(r.block.over, 1)
        await cycles(r.ctx)
        r.ctx.set(r.block.over, 0)
        await r.job()

    run(bench)


def test_behind_a_bad_mini_batch_records_are_decoded_when_that_is_over():
    async def bench(r):
        await r.fetch(1)
        await r.arrive()
        await r.decode()
        await r.job()
        await r.fetch(1)
        assert await none_comes(r.ctx, r.block.arrivals)
        r.ctx.set(r.block.over, 1)
        await cycles(r.ctx)
        r.ctx.set(r.block.over, 0)
        assert await r.arrive() == 1

    run(bench)
