"""What the issue slot asks of the units, and when a command leaves it."""

import pytest

from hotline_rtl.config import preset
from hotline_rtl.control.commands.issue_slot import IssueSlot
from hotline_rtl.interfaces.jobs import Ask
from hotline_rtl.interfaces.layouts import Opcode, Status

from ...simulated import cycles, is_not_taken, none_comes, put, simulate, take

CONFIG = preset("tiny").with_settings(["shadow=1"])
RESULT = {"popular": 3, "non_popular": 4, "working_rows": 5, "accesses": 60, "hot_accesses": 50}


async def enter(ctx, block, opcode: Opcode, refusal: dict | None = None, **fields) -> None:
    command = {"opcode": opcode, "tag": 9, "samples": 30, "working_limit": 1 << 31, "source": 64, "popular": 128,
               "non_popular": 192, "working_keys": 256, "working_rows": 320, **fields}  # fmt: skip
    await put(ctx, block.i, {"command": command, "refusal": refusal or {"valid": 0}})


def run(bench) -> None:
    block = IssueSlot(CONFIG)

    async def testbench(ctx):
        await bench(ctx, block)

    simulate(block, testbench)


def test_a_split_leaves_when_it_is_on_its_way_and_the_gather_has_been_asked():
    async def bench(ctx, block):
        await enter(ctx, block, Opcode.SPLIT, flags=1, after=7)
        assert not ctx.get(block.free) and not ctx.get(block.alone)
        job = await take(ctx, block.batches)
        assert (job.splits, job.limit, job.popular, job.non_popular) == (1, CONFIG.working_rows, 128, 192)
        assert await none_comes(ctx, block.gathers), "a SCATTER is under way"
        assert await is_not_taken(ctx, block.batch_results, RESULT)
        assert not ctx.get(block.gathers_own)
        ctx.set(block.may_gather, 1)
        ask = await take(ctx, block.gathers)
        assert (ask.ask, ask.more, ask.rows, ask.keys) == (Ask.SPLIT, 1, 320, 256)
        assert ctx.get(block.gathers_own)
        await put(ctx, block.batch_results, RESULT)
        out = await take(ctx, block.o)
        assert (out.tag, out.names, out.after, out.refused, out.fault.valid) == (9, 1, 7, 0, 0)
        assert {name: out[name] for name in RESULT} == RESULT
        assert ctx.get(block.free)

    run(bench)


def test_a_learn_asks_no_gather():
    async def bench(ctx, block):
        ctx.set(block.may_gather, 1)
        await enter(ctx, block, Opcode.LEARN)
        assert not (await take(ctx, block.batches)).splits
        assert await none_comes(ctx, block.gathers)
        await put(ctx, block.batch_results, {"fault": {"valid": 1, "status": Status.READ_ERROR}})
        assert (await take(ctx, block.o)).fault.status == Status.READ_ERROR

    run(bench)


def test_a_gather_leaves_when_it_has_been_asked():
    async def bench(ctx, block):
        await enter(ctx, block, Opcode.GATHER)
        assert ctx.get(block.alone) and await none_comes(ctx, block.o)
        ctx.set(block.may_gather, 1)
        ask = await take(ctx, block.gathers)
        assert (ask.ask, ask.count, ask.rows, ask.keys) == (Ask.GATHER, 30, 320, 256)
        assert (await take(ctx, block.o)).working_rows == 30

    run(bench)


@pytest.mark.parametrize("limit, room", [(1 << 31, 12), (5, 5)])
def test_a_swap_takes_no_more_than_its_limit_and_the_register_allow(limit, room):
    async def bench(ctx, block):
        ctx.set(block.swap_limit, 12)
        ctx.set(block.swap_worth, 3)
        await enter(ctx, block, Opcode.SWAP, working_limit=limit)
        job = await take(ctx, block.lists)
        assert (job.opcode, job.address, job.limit, job.worth) == (Opcode.SWAP, 64, room, 3)
        await put(ctx, block.list_results, {"changed": 4, "left": 2})
        out = await take(ctx, block.o)
        assert (out.working_rows, out.accesses) == (4, 2)

    run(bench)


def test_a_refused_command_asks_nothing():
    async def bench(ctx, block):
        ctx.set(block.may_gather, 1)
        await enter(ctx, block, Opcode.SPLIT, refusal={"valid": 1, "status": Status.NO_MODEL, "index": 3})
        out = await take(ctx, block.o)
        assert (out.refused, out.fault.status, out.fault.index) == (1, Status.NO_MODEL, 3)
        assert await none_comes(ctx, block.batches) and await none_comes(ctx, block.gathers)

    run(bench)


@pytest.mark.parametrize("taken", [False, True])
def test_when_commands_no_longer_make_progress_it_leaves_with_timeout(taken):
    async def bench(ctx, block):
        await enter(ctx, block, Opcode.SPLIT)
        if taken:
            await take(ctx, block.batches)
        await cycles(ctx, 5)
        ctx.set(block.expired, 1)
        assert (await take(ctx, block.o)).fault.status == Status.TIMEOUT

    run(bench)
