"""When a command in the commit slot completes, and how."""

import pytest

from hotline_rtl.config import preset
from hotline_rtl.control.commands.commit_slot import CommitSlot
from hotline_rtl.interfaces.jobs import Ask
from hotline_rtl.interfaces.layouts import Kind, Opcode, Status

from ...simulated import cycles, none_comes, put, put_together, simulate_run, take

CONFIG = preset("tiny")
FINE = {"valid": 0}
COUNTS = {"popular": 3, "non_popular": 4, "working_rows": 5, "accesses": 60, "hot_accesses": 50}


def failed(status: Status, address: int = 0) -> dict:
    return {"valid": 1, "status": status, "address": address}


class Run:
    def __init__(self, ctx, block):
        self.ctx, self.block = ctx, block

    async def enter(self, opcode: Opcode, **fields) -> None:
        await put(self.ctx, self.block.i, {"tag": 9, "opcode": opcode, "after": 77, **COUNTS} | fields)

    async def give(self, **results) -> None:
        """Results of that name, taken together."""
        await put_together(
            self.ctx, [(getattr(self.block, f"{name}_results"), result) for name, result in results.items()]
        )

    async def pulse(self, name: str) -> None:
        self.ctx.set(getattr(self.block, name), 1)
        await cycles(self.ctx)
        self.ctx.set(getattr(self.block, name), 0)

    async def completion(self, last: bool = True) -> tuple:
        """Kind, status, and whether all counts are shown."""
        got = await take(self.ctx, self.block.o)
        assert got.tag == 9
        if last:
            assert self.ctx.get(self.block.completed)
            await self.pulse("ended")
            assert self.ctx.get(self.block.free)
        return got.kind, got.status, got.working_rows == COUNTS["working_rows"], got.accesses == COUNTS["accesses"]


def run(bench) -> None:
    simulate_run(Run, CommitSlot(CONFIG), bench)


@pytest.mark.parametrize("opcode", [Opcode.CLEAR, Opcode.LEARN, Opcode.SWAP])
@pytest.mark.parametrize("status", [Status.OK, Status.READ_ERROR])
def test_what_waits_for_nothing_completes_at_once(opcode, status):
    async def bench(r):
        await r.enter(opcode, fault=failed(status) if status else FINE)
        assert r.ctx.get(r.block.alone) == (opcode != Opcode.LEARN)
        well = status == Status.OK
        assert await r.completion() == (Kind.WHOLE, status, well, well)

    run(bench)


def test_a_gather_waits_for_its_rows():
    async def bench(r):
        await r.enter(Opcode.GATHER)
        assert await none_comes(r.ctx, r.block.o)
        await r.give(gather=FINE)
        assert await r.completion() == (Kind.WHOLE, Status.OK, True, True)

    run(bench)


def test_a_split_completes_when_its_popular_part_is_there_and_when_all_is():
    async def bench(r):
        await r.enter(Opcode.SPLIT)
        assert await none_comes(r.ctx, r.block.o)
        await r.give(popular=FINE)
        assert await r.completion(last=False) == (Kind.POPULAR, Status.OK, False, True)
        assert r.ctx.get(r.block.second) and await none_comes(r.ctx, r.block.o)
        await r.give(non_popular=FINE, gather=FINE)
        assert await r.completion() == (Kind.NON_POPULAR, Status.OK, True, True)

    run(bench)


@pytest.mark.parametrize(
    "popular, non_popular, gather, fields, first, second",
    [
        (failed(Status.WRITE_ERROR), FINE, FINE, {}, Status.WRITE_ERROR, Status.WRITE_ERROR),
        (FINE, failed(Status.WRITE_ERROR), failed(Status.READ_ERROR), {}, Status.OK, Status.WRITE_ERROR),
        (FINE, FINE, failed(Status.READ_ERROR), {}, Status.OK, Status.READ_ERROR),
        (FINE, failed(Status.WRITE_ERROR), FINE, {"overflow": 1}, Status.OK, Status.WORKING_SET_OVERFLOW),
        (
            FINE,
            failed(Status.WRITE_ERROR),
            FINE,
            {"fault": failed(Status.ROW_OUTSIDE_TABLE)},
            Status.ROW_OUTSIDE_TABLE,
            Status.ROW_OUTSIDE_TABLE,
        ),
    ],
)
def test_what_went_wrong_first_counts(popular, non_popular, gather, fields, first, second):
    async def bench(r):
        await r.enter(Opcode.SPLIT, **fields)
        await r.give(popular=popular)
        assert (await r.completion(last=False))[1] == first
        await r.give(non_popular=non_popular, gather=gather)
        assert (await r.completion())[1] == second

    run(bench)


def test_a_refused_split_completes_twice_and_waits_for_nothing():
    async def bench(r):
        await r.enter(Opcode.SPLIT, refused=1, fault=failed(Status.MISALIGNED_ADDRESS, 1 << 63))
        got = await take(r.ctx, r.block.o)
        assert (got.kind, got.status, got.address) == (Kind.POPULAR, Status.MISALIGNED_ADDRESS, 1 << 63)
        assert (await r.completion())[:2] == (Kind.NON_POPULAR, Status.MISALIGNED_ADDRESS)

    run(bench)


@pytest.mark.parametrize("comes", [True, False])
def test_a_split_that_names_another_one_waits_for_its_scatter(comes):
    async def bench(r):
        r.ctx.set(r.block.i.payload, {"opcode": Opcode.SPLIT, "tag": 9, "after": 77, "names": 1, **COUNTS})
        r.ctx.set(r.block.i.valid, 1)
        assert r.ctx.get(r.block.add) and r.ctx.get(r.block.new_tag) == 9
        await cycles(r.ctx)
        r.ctx.set(r.block.i.valid, 0)
        assert r.ctx.get(r.block.named) and r.ctx.get(r.block.name) == 77 and r.ctx.get(r.block.owes)
        assert await none_comes(r.ctx, r.block.gathers)
        await r.pulse("passes" if comes else "abandon")
        assert not r.ctx.get(r.block.named)
        if comes:
            assert await none_comes(r.ctx, r.block.gathers), "its rows are not in memory"
            await r.pulse("scattered")
        assert (await take(r.ctx, r.block.gathers)).ask == (Ask.AGAIN if comes else Ask.NO_MORE)
        assert not r.ctx.get(r.block.owes)
        await r.give(popular=FINE)
        await r.completion(last=False)
        await r.give(non_popular=FINE, gather=FINE)
        assert (await r.completion())[1] == (Status.OK if comes else Status.SCATTER_MISSING)

    run(bench)


def test_a_split_that_fails_gets_no_scatter():
    async def bench(r):
        await r.enter(Opcode.SPLIT, names=1, overflow=1)
        assert not r.ctx.get(r.block.named)
        assert (await take(r.ctx, r.block.gathers)).ask == Ask.NO_MORE

    run(bench)


def test_when_commands_no_longer_make_progress_it_ends_both_parts_with_timeout():
    async def bench(r):
        await r.enter(Opcode.SPLIT)
        await cycles(r.ctx, 5)
        r.ctx.set(r.block.expired, 1)
        assert (await r.completion(last=False))[:2] == (Kind.POPULAR, Status.TIMEOUT)
        assert (await r.completion())[:2] == (Kind.NON_POPULAR, Status.TIMEOUT)

    run(bench)
