"""When the next mini-batch's records are decoded."""

import pytest

from hotline_rtl.control.record_scheduler import RecordScheduler

from ..simulated import cycles, simulate

#: Decoding begins within so many cycles of what it waited for.
SOON = 5


async def begins(ctx, block, within: int = SOON) -> bool:
    for _ in range(within):
        await cycles(ctx)
        if ctx.get(block.begin):
            return True
    return False


def test_records_are_decoded_at_once_when_no_command_is_there():
    block = RecordScheduler()

    async def bench(ctx):
        assert not await begins(ctx, block)
        ctx.set(block.asked, 1)
        assert await begins(ctx, block)
        await cycles(ctx)
        assert ctx.get(block.ahead) and not await begins(ctx, block), "once"
        ctx.set(block.batch_begins, 1)
        await cycles(ctx)
        assert not ctx.get(block.ahead) and not ctx.get(block.hold)

    simulate(block, bench)


@pytest.mark.parametrize("split, next_split", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_behind_a_command_they_wait_for_its_own_and_for_the_lanes_unless_both_are_splits(split, next_split):
    block = RecordScheduler()

    async def bench(ctx):
        for name, value in {"active": 1, "asked": 1, "coming": 1, "split": split, "next_split": next_split}.items():
            ctx.set(getattr(block, name), value)
        assert not await begins(ctx, block), "its records are still being decoded"
        ctx.set(block.decoded, 1)
        assert not await begins(ctx, block), "and read"
        ctx.set(block.read_over, 1)
        both = split and next_split
        assert await begins(ctx, block) == both, "accesses are still on their way to the lanes"
        ctx.set(block.coming, 0)
        if not both:
            assert await begins(ctx, block)
        await cycles(ctx)
        assert ctx.get(block.ahead) and ctx.get(block.hold) == (not both)

    simulate(block, bench)
