"""When commands count as stuck."""

import pytest

from hotline_rtl.control.command_watchdog import CommandWatchdog

from ..simulated import cycles, simulate

TIMEOUT = 20


async def expires(ctx, block, within: int) -> bool:
    for _ in range(within):
        if ctx.get(block.expired):
            return True
        await cycles(ctx)
    return False


def test_a_command_without_progress_is_ended_after_twice_the_timeout_and_that_stays():
    block = CommandWatchdog(3)

    async def bench(ctx):
        ctx.set(block.timeout, TIMEOUT)
        ctx.set(block.busy, 1)
        assert not await expires(ctx, block, 2 * TIMEOUT)
        assert await expires(ctx, block, 10)
        ctx.set(block.progress, 7)
        await cycles(ctx, 3 * TIMEOUT)
        assert ctx.get(block.expired)

    simulate(block, bench)


@pytest.mark.parametrize("part", range(3))
def test_progress_of_any_part_lets_it_go_on(part):
    block = CommandWatchdog(3)

    async def bench(ctx):
        ctx.set(block.timeout, TIMEOUT)
        ctx.set(block.busy, 1)
        for _ in range(10):
            assert not await expires(ctx, block, TIMEOUT)
            ctx.set(block.progress, 1 << part)
            await cycles(ctx)
            ctx.set(block.progress, 0)

    simulate(block, bench)


@pytest.mark.parametrize("timeout, busy, waits", [(0, 1, 0), (TIMEOUT, 0, 0), (TIMEOUT, 1, 1)])
def test_it_may_wait_for_ever_without_a_timeout_without_a_command_and_for_the_host(timeout, busy, waits):
    block = CommandWatchdog(3)

    async def bench(ctx):
        ctx.set(block.timeout, timeout)
        ctx.set(block.busy, busy)
        ctx.set(block.waits, waits)
        assert not await expires(ctx, block, 10 * TIMEOUT)

    simulate(block, bench)
