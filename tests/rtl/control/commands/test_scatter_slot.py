"""A SCATTER from its job to its completion."""

import pytest

from hotline_rtl.config import preset
from hotline_rtl.control.commands.scatter_slot import ScatterSlot
from hotline_rtl.interfaces.layouts import Opcode, Status

from ...simulated import cycles, none_comes, put, simulate, take

CONFIG = preset("tiny")
COMMAND = {"opcode": Opcode.SCATTER, "tag": 9, "samples": 30, "working_keys": 256, "working_rows": 320}


@pytest.mark.parametrize("passes", [0, 1])
@pytest.mark.parametrize("status", [Status.OK, Status.READ_ERROR])
def test_it_completes_when_its_rows_are_in_memory(passes, status):
    block = ScatterSlot(CONFIG)

    async def bench(ctx):
        await put(ctx, block.i, {"command": COMMAND, "passes": passes})
        assert not ctx.get(block.free) and ctx.get(block.passes) == ctx.get(block.needs_working_set) == passes
        job = await take(ctx, block.jobs)
        assert (job.rows, job.keys, job.count, job.passes) == (320, 256, 30, passes)
        if passes:
            await put(ctx, block.looked_up, 0)
            assert not ctx.get(block.needs_working_set)
        assert await none_comes(ctx, block.o)
        ctx.set(block.results.payload, {"valid": status != Status.OK, "status": status, "address": 5})
        ctx.set(block.results.valid, 1)
        assert ctx.get(block.scattered) == passes
        await cycles(ctx)
        ctx.set(block.results.valid, 0)
        got = await take(ctx, block.o)
        well = status == Status.OK
        assert (got.tag, got.status, got.working_rows, got.address) == (
            9,
            status,
            30 if well else 0,
            0 if well else 5,
        )
        assert ctx.get(block.completed) and not ctx.get(block.free)
        ctx.set(block.ended, 1)
        await cycles(ctx)
        assert ctx.get(block.free)

    simulate(block, bench)


def test_when_commands_no_longer_make_progress_it_ends_with_timeout():
    block = ScatterSlot(CONFIG)

    async def bench(ctx):
        await put(ctx, block.i, {"command": COMMAND})
        await take(ctx, block.jobs)
        ctx.set(block.expired, 1)
        assert (await take(ctx, block.o)).status == Status.TIMEOUT

    simulate(block, bench)
