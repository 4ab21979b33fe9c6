"""Which commands begin, where, and when."""

import pytest

from hotline_rtl.config import preset
from hotline_rtl.control.commands.admission import Admission
from hotline_rtl.interfaces.layouts import Opcode, Status

from ...simulated import cycles, put, simulate_run, take

CONFIG = preset("tiny")
#: A command begins, or is refused, within so many cycles.
SOON = 60


class Run:
    """An admission with free slots, and what it sends where."""

    def __init__(self, ctx, block):
        self.ctx, self.block = ctx, block
        self.set(
            model_valid=1, sample_words=8, row_bytes=64, issue_free=1, commit_free=1, scatter_free=1, looked_up=1
        )

    def set(self, **values: int) -> None:
        for name, value in values.items():
            self.ctx.set(getattr(self.block, name), value)

    async def give(self, opcode: int, **fields) -> None:
        command = {"opcode": opcode, "samples": 3, **fields}
        await put(self.ctx, self.block.i, {"command": command, "status": 0})

    async def next(self, within: int = SOON):
        """What happens next: "issue", "scatter" or "abandon", and what is sent; None if nothing does."""
        for _ in range(within):
            for name in ("issue", "scatter"):
                if self.ctx.get(getattr(self.block, name).valid):
                    sent = self.ctx.get(getattr(self.block, name).payload)
                    await cycles(self.ctx)
                    return name, sent
            if self.ctx.get(self.block.abandon):
                await cycles(self.ctx)
                self.set(named=0)
                return "abandon", None
            await cycles(self.ctx)
        return None, None

    async def went_well(self, tag: int, rows: int) -> None:
        """A SPLIT enters the commit slot."""
        self.set(add=1, new_tag=tag, new_rows=rows)
        await cycles(self.ctx)
        self.set(add=0)


def run(bench) -> None:
    simulate_run(Run, Admission(CONFIG), bench)


def test_a_mini_batch_begins_behind_the_request_for_its_records():
    async def bench(r):
        await r.give(Opcode.SPLIT, source=1 << 20)
        assert (await r.next())[0] is None, "its records have not been asked for"
        fetch = await take(r.ctx, r.block.fetches)
        assert (fetch.records.address, fetch.records.samples, fetch.splits) == (1 << 20, 3, 1)
        assert (await r.next())[0] == "issue"

    run(bench)


@pytest.mark.parametrize("busy", ["issue_free", "commit_free", "scatter_free"])
@pytest.mark.parametrize("opcode", [Opcode.LEARN, Opcode.CLEAR, Opcode.SCATTER])
def test_a_command_waits_for_what_it_cannot_run_beside(busy, opcode):
    async def bench(r):
        r.ctx.set(r.block.fetches.ready, 1)
        r.set(**{busy: 0})
        await r.give(opcode)
        runs_beside = opcode == Opcode.LEARN and busy != "issue_free"
        assert ((await r.next())[0] is not None) == runs_beside
        r.set(**{busy: 1})
        if not runs_beside:
            assert (await r.next())[0] == ("scatter" if opcode == Opcode.SCATTER else "issue")

    run(bench)


def test_no_records_are_asked_for_while_a_command_runs_alone():
    async def bench(r):
        r.ctx.set(r.block.fetches.ready, 1)
        r.set(alone=1)
        await r.give(Opcode.LEARN)
        assert (await r.next())[0] is None
        r.set(alone=0)
        assert (await r.next())[0] == "issue"

    run(bench)


def test_a_refused_command_goes_to_the_issue_slot_with_what_is_wrong():
    async def bench(r):
        for opcode, fields, status in [
            (99, {}, Status.UNKNOWN_OPCODE),
            (Opcode.SCATTER, {"working_rows": 4}, Status.MISALIGNED_ADDRESS),
            (Opcode.SPLIT, {"samples": 0}, Status.BAD_COUNT),
        ]:
            await r.give(opcode, **fields)
            where, sent = await r.next()
            assert (where, sent.refusal.valid, sent.refusal.status) == ("issue", 1, status)

    run(bench)


def test_only_splits_that_went_well_can_be_named():
    async def bench(r):
        r.ctx.set(r.block.fetches.ready, 1)
        await r.went_well(tag=5, rows=10)
        for after, samples, opcode, status in [
            (6, 3, Opcode.SPLIT, Status.NO_SUCH_SPLIT),
            (5, 3, Opcode.SPLIT, None),
            (5, 11, Opcode.SCATTER, Status.BAD_COUNT),
            (5, 10, Opcode.SCATTER, None),
            (5, 10, Opcode.SCATTER, Status.NO_SUCH_SPLIT),
        ]:
            await r.give(opcode, flags=1, after=after, samples=samples)
            where, sent = await r.next()
            assert where == ("scatter" if opcode == Opcode.SCATTER and status is None else "issue")
            assert (sent.refusal.valid, sent.refusal.status) == (status is not None, status or 0)

    run(bench)


def test_the_scatter_that_a_split_waits_for_passes_it():
    async def bench(r):
        await r.went_well(tag=5, rows=10)
        await r.went_well(tag=6, rows=20)
        r.set(named=1, name=5, commit_free=0)
        await r.give(Opcode.SCATTER, flags=1, after=5, samples=10)
        where, sent = await r.next()
        assert (where, sent.passes) == ("scatter", 1)

    run(bench)


@pytest.mark.parametrize(
    "opcode, fields",
    [
        (Opcode.SCATTER, {"after": 6, "flags": 1}),
        (Opcode.SCATTER, {"after": 5}),
        (Opcode.SCATTER, {"after": 5, "flags": 1, "samples": 11}),
        (Opcode.LEARN, {}),
        (Opcode.CLEAR, {}),
        (99, {}),
    ],
)
def test_anything_else_ends_the_waiting(opcode, fields):
    async def bench(r):
        r.ctx.set(r.block.fetches.ready, 1)
        await r.went_well(tag=5, rows=10)
        await r.went_well(tag=6, rows=20)
        r.set(named=1, name=5)
        await r.give(opcode, **fields)
        assert (await r.next())[0] == "abandon"
        where, sent = await r.next()
        assert where is not None
        # The SPLIT that waited can no longer be named.
        if fields.get("after") == 6:
            assert sent.refusal.status == Status.NO_SUCH_SPLIT

    run(bench)


@pytest.mark.parametrize("timeout", [0, 50])
def test_without_a_next_command_a_split_waits_as_long_as_it_may(timeout):
    async def bench(r):
        r.set(named=1, name=5, scatter_timeout=timeout)
        assert (await r.next(within=40))[0] is None
        assert (await r.next(within=40))[0] == ("abandon" if timeout else None)

    run(bench)
