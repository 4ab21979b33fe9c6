"""The order of a reset, and what a soft reset waits for."""

import random

from hotline_rtl.control.reset import DOMAINS, PORTS, QUIET_CYCLES, ResetSequencer

from ..simulated import simulate


def run(bench) -> None:
    simulate(block := ResetSequencer(), lambda ctx: bench(ctx, block), ("boot", "port"), ("boot",))


async def next_cycle(ctx) -> None:
    await ctx.tick("boot")


def test_resets_begin_together_and_end_takers_first():
    async def bench(ctx, block):
        everything = (1 << 1 + len(DOMAINS)) - 1
        assert ctx.get(block.resets) == everything, "high at power-up"
        for length in (1, 2, 7):
            for _ in range(12):
                await next_cycle(ctx)
            assert ctx.get(block.resets) == 0
            ctx.set(block.rst, 1)
            for _ in range(length):
                await next_cycle(ctx)
            ctx.set(block.rst, 0)
            assert ctx.get(block.resets) & 1 and ctx.get(block.resets) >> 1 & 1, "after one cycle of rst"
            seen = []
            for _ in range(10):
                await next_cycle(ctx)
                seen.append(ctx.get(block.resets))
            # Bit 0 is domain port; takers, misses, lanes and sync end one after the other.
            ends = [
                next(n for n, value in enumerate(seen) if not value >> bit & 1) for bit in range(1, 1 + len(DOMAINS))
            ]
            assert ends == sorted(set(ends)) and all(value & 1 == 0 for value in seen)

    run(bench)


def test_a_soft_reset_waits_until_all_ports_have_been_quiet():
    async def bench(ctx, block):
        r = random.Random(1)
        for _ in range(12):
            await next_cycle(ctx)
        ctx.set(block.control_written, 1)
        await next_cycle(ctx)
        ctx.set(block.control_written, 0)
        await next_cycle(ctx)
        assert ctx.get(block.armed)
        ctx.set(block.soft_reset, 1)
        await next_cycle(ctx)
        ctx.set(block.soft_reset, 0)
        assert ctx.get(block.resetting) and not ctx.get(block.armed)
        drains = []
        for _ in range(60):
            ctx.set(block.drained, r.choice([0, 1, 7, 15]) if r.random() < 0.9 else 15)
            await next_cycle(ctx)
            drains.append(ctx.get(block.drain))
            assert ctx.get(block.resetting), "not while a port is busy"
            assert ctx.get(block.resets) & 1 == 0, "the ports are not reset"
        assert drains[:PORTS] == [(1 << n + 1) - 1 for n in range(PORTS)], "one port after the other"
        ctx.set(block.drained, 15)
        for _ in range(QUIET_CYCLES + 2):
            await next_cycle(ctx)
        assert not ctx.get(block.resetting)
        for _ in range(20):
            await next_cycle(ctx)
        assert ctx.get(block.resets) == 0 and ctx.get(block.drain) == 0
        assert not ctx.get(block.armed), "software must write control first"

    run(bench)
