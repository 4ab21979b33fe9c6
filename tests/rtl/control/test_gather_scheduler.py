"""Whose rows the gather engine fetches."""

from hotline_rtl.control.gather_scheduler import GatherScheduler

from ..simulated import cycles, simulate

#: The engine begins, or something is known, within so many cycles.
SOON = 10


class Run:
    """A scheduler, and what surrounds it."""

    def __init__(self, ctx, block):
        self.ctx, self.block, self.starts = ctx, block, 0

    def set(self, **values: int) -> None:
        for name, value in values.items():
            self.ctx.set(getattr(self.block, name), value)

    def get(self, name: str) -> int:
        return self.ctx.get(getattr(self.block, name))

    async def pulse(self, name: str) -> None:
        self.set(**{name: 1})
        await self.wait(1)
        self.set(**{name: 0})

    async def wait(self, count: int = SOON) -> int:
        """How often the engine began meanwhile."""
        before = self.starts
        for _ in range(count):
            await cycles(self.ctx)
            self.starts += self.get("start")
        return self.starts - before

    async def issue(self, rows: int) -> int:
        self.set(split_active=1, count=rows)
        await self.pulse("split_begins")
        return await self.wait()

    async def commit(self, names: int = 0) -> None:
        """``names``: the SPLIT names an earlier one."""
        self.set(commit_names=names)
        await self.pulse("swaps")
        self.set(commit_split=1, split_active=0)
        await self.wait()


def run(bench) -> None:
    block = GatherScheduler()

    async def testbench(ctx):
        r = Run(ctx, block)
        r.set(keys_flushed=1, keys_drained=1, keys_idle=1)
        await r.wait()
        await bench(r)

    simulate(block, testbench)


def test_the_first_split_has_the_engine_at_once_and_a_scatter_delays_it():
    async def bench(r):
        r.set(scatters=1)
        assert await r.issue(5) == 0 and r.get("waits") and r.get("hold")
        r.set(scatters=0)
        assert await r.wait() == 1 and not r.get("waits") and r.get("total") == 5

    run(bench)


def test_the_next_split_waits_until_all_keys_of_the_one_before_have_been_taken():
    async def bench(r):
        await r.issue(5)
        await r.commit()
        assert r.get("own") and r.get("total") == 5
        assert await r.issue(9) == 0 and r.get("total") == 5, "the count is still that of the one before"
        r.set(keys_done=1)
        assert await r.wait() == 1 and r.get("moved_on") and not r.get("own") and r.get("total") == 9
        assert not r.get("done"), "rows of the one before still come"
        r.set(earlier_idle=1)
        await r.wait()
        assert r.get("done")

    run(bench)


def test_rows_that_a_passing_scatter_has_too_are_fetched_again_after_it():
    async def bench(r):
        await r.issue(5)
        await r.commit(names=1)
        for _ in range(3):
            await r.pulse("found")
        r.set(keys_done=1)
        await r.wait()
        assert not r.get("done") and not r.get("refetches") and r.get("total") == 5, "the SCATTER has not passed"
        assert await r.issue(2) == 0, "nor may the next one begin"
        r.set(scattered=1)
        await r.wait()
        assert not r.get("refetches"), "the first rows are still on their way"
        r.set(idle=1)
        await r.wait(3)
        assert r.get("refetches") and not r.get("done")
        r.set(keys_done=0, idle=0)  # as the engine does when more keys are counted
        await r.wait()
        assert r.get("total") == 8 and not r.get("done")
        r.set(keys_done=1, idle=1)
        assert await r.wait() == 1 and r.get("moved_on"), "now the next one begins"
        r.set(earlier_idle=1)
        await r.wait()
        assert r.get("done")

    run(bench)


def test_a_split_whose_scatter_will_not_come_is_done_without_it():
    async def bench(r):
        await r.issue(5)
        await r.commit(names=1)
        r.set(keys_done=1, idle=1)
        await r.wait()
        assert not r.get("done")
        r.set(missed=1)
        await r.wait()
        assert r.get("done") and not r.get("refetches")

    run(bench)


def test_a_gather_has_the_engine_for_its_list():
    async def bench(r):
        r.set(gathers_list=1, list_count=77)
        await r.pulse("gather_begins")
        assert (
            await r.wait() >= 0 and r.starts == 1 and r.get("total") == 77 and r.get("active") and r.get("complete")
        )

    run(bench)
