"""Which rows the gather engine fetches for whom."""

from hotline_rtl.config import preset
from hotline_rtl.control.gather_scheduler import GatherScheduler
from hotline_rtl.interfaces.jobs import Ask
from hotline_rtl.interfaces.layouts import Status

from ..simulated import is_not_taken, none_comes, put, put_together, simulate_run, take

CONFIG = preset("tiny")
FINE = {"valid": 0}


def failed(status: Status, address: int = 0) -> dict:
    return {"valid": 1, "status": status, "address": address}


class Run:
    """A scheduler, and what surrounds it."""

    def __init__(self, ctx, block):
        self.ctx, self.block = ctx, block

    async def ask(self, ask: Ask, rows: int = 0, keys: int = 0, more: int = 0) -> None:
        await put(self.ctx, self.block.jobs, {"ask": ask, "rows": rows, "keys": keys, "more": more}, within=20)

    async def split(self, rows: int, keys: int, more: int = 0) -> None:
        """A SPLIT's rows are asked for, and the engine and the writer get their jobs, in whatever order they come."""
        self.ctx.set(self.block.gather.ready, 1)
        self.ctx.set(self.block.keys.ready, 1)
        await self.ask(Ask.SPLIT, rows, keys, more)
        self.ctx.set(self.block.gather.ready, 0)
        self.ctx.set(self.block.keys.ready, 0)

    async def both(self, rows: dict = FINE, keys: dict = FINE) -> None:
        """The results of engine and writer, which are taken."""
        await put_together(self.ctx, [(self.block.gather_results, rows), (self.block.keys_results, keys)])

    def offer(self, rows: dict | None = None, keys: dict | None = None) -> None:
        for sink, result in ((self.block.gather_results, rows), (self.block.keys_results, keys)):
            if result is not None:
                self.ctx.set(sink.payload, result)
                self.ctx.set(sink.valid, 1)

    async def result(self, rows: dict | None = None, keys: dict | None = None):
        """The scheduler's result, once engine and writer offer theirs."""
        self.offer(rows, keys)
        result = await take(self.ctx, self.block.results, within=20)
        self.ctx.set(self.block.gather_results.valid, 0)
        self.ctx.set(self.block.keys_results.valid, 0)
        return result


def run(bench) -> None:
    simulate_run(Run, GatherScheduler(CONFIG), bench)


def test_a_split_is_there_when_its_rows_and_keys_are():
    async def bench(r):
        r.ctx.set(r.block.jobs.payload, {"ask": Ask.SPLIT, "rows": 64, "keys": 128})
        r.ctx.set(r.block.jobs.valid, 1)
        job = await take(r.ctx, r.block.gather)
        assert (job.base, job.lists) == (64, 1)
        assert await take(r.ctx, r.block.keys) == 128
        r.ctx.set(r.block.jobs.valid, 0)
        r.offer(rows=FINE)
        assert await none_comes(r.ctx, r.block.results), "the keys are not there"
        assert not (await r.result(FINE, FINE)).valid

    run(bench)


def test_a_gather_has_no_list_of_its_own():
    async def bench(r):
        r.ctx.set(r.block.gather.ready, 1)
        await r.ask(Ask.GATHER, rows=64)
        result = await r.result(rows=failed(Status.READ_ERROR, 5))
        assert (result.valid, result.status, result.address) == (1, Status.READ_ERROR, 5)

    run(bench)


def test_rows_that_a_passing_scatter_has_too_are_fetched_again_when_the_first_are_there():
    async def bench(r):
        await r.split(64, 128, more=1)
        again = {"ask": Ask.AGAIN}
        assert await is_not_taken(r.ctx, r.block.jobs, again), "the first rows are not there"
        r.ctx.set(r.block.gather.ready, 1)
        await r.both()
        await put(r.ctx, r.block.jobs, again, within=20)
        assert await none_comes(r.ctx, r.block.results)
        assert not (await r.result(rows=FINE)).valid

    run(bench)


def test_the_second_set_goes_where_the_first_went_and_into_no_list():
    async def bench(r):
        await r.split(64, 128, more=1)
        await r.both()
        r.ctx.set(r.block.jobs.payload, {"ask": Ask.AGAIN, "rows": 999})
        r.ctx.set(r.block.jobs.valid, 1)
        job = await take(r.ctx, r.block.gather, within=20)
        assert (job.base, job.lists) == (64, 0)

    run(bench)


def test_a_split_whose_scatter_does_not_come_is_done_without_it():
    async def bench(r):
        await r.split(64, 128, more=1)
        await r.ask(Ask.NO_MORE)
        await r.both()
        assert not (await r.result()).valid

    run(bench)


def test_what_went_wrong_first_counts_of_keys_before_rows():
    async def bench(r):
        await r.split(0, 0)
        result = await r.result(rows=failed(Status.READ_ERROR), keys=failed(Status.WRITE_ERROR))
        assert (result.valid, result.status) == (1, Status.WRITE_ERROR)
        await r.split(0, 0, more=1)
        await r.both(rows=failed(Status.READ_ERROR, 7))
        await r.ask(Ask.NO_MORE)
        result = await r.result()
        assert (result.valid, result.status, result.address) == (1, Status.READ_ERROR, 7)
        await r.split(0, 0)
        assert not (await r.result(FINE, FINE)).valid, "a fault is forgotten with its SPLIT"

    run(bench)


def test_the_next_split_is_asked_for_while_the_one_before_is_under_way():
    async def bench(r):
        await r.split(64, 128)
        await r.split(256, 512)
        for _ in range(2):
            assert not (await r.result(FINE, FINE)).valid

    run(bench)
