"""Each error bit interrupts once; interrupts wait to be cleared."""

from hotline_rtl.control.interrupts import RING_ERRORS, Interrupts

from ..simulated import cycles, simulate


def test_each_error_bit_raises_the_interrupt_once_when_it_is_set():
    block = Interrupts()

    async def bench(ctx):
        events = 0

        async def run(count: int) -> int:
            nonlocal events
            before = events
            for _ in range(count):
                await cycles(ctx)
                events += ctx.get(block.error)
            return events - before

        assert await run(4) == 0 and not ctx.get(block.stopped)
        for name in RING_ERRORS:
            ctx.set(getattr(block, name), 1)
            assert await run(6) == 1 and ctx.get(block.stopped)
        for bit in range(len(block.model_errors)):
            ctx.set(block.model_errors, (1 << bit + 1) - 1)
            assert await run(6) == 1
        ctx.set(block.model_errors, 0)
        assert await run(6) == 0
        ctx.set(block.model_errors, 3)
        assert await run(6) == 1, "two bits at once are one interrupt"

    simulate(block, bench)


def test_the_line_is_high_while_an_enabled_interrupt_is_pending():
    block = Interrupts()

    async def bench(ctx):
        for mask in range(16):
            pending, enabled = mask & 3, mask >> 2
            for n, name in enumerate(("completion", "error")):
                ctx.set(getattr(block, f"{name}_pending"), pending >> n & 1)
                ctx.set(getattr(block, f"{name}_enable"), enabled >> n & 1)
            assert ctx.get(block.irq) == bool(pending & enabled)

    simulate(block, bench)
