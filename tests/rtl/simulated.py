"""Small blocks, which need no compiled model, in Amaranth's own simulator."""

from collections.abc import Callable

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator


def simulate(block, bench: Callable, domains: tuple[str, ...] = ("sync",), reset_less: tuple[str, ...] = ()) -> None:
    """Runs ``bench(ctx)``, an async function, on ``block``; all ``domains`` have one clock."""
    top = Module()
    top.submodules.block = block
    for name in domains:
        top.domains += ClockDomain(name, reset_less=name in reset_less)
    simulator = Simulator(top)
    for name in domains:
        simulator.add_clock(1e-6, domain=name)
    done = []

    async def testbench(ctx):
        await bench(ctx)
        done.append(True)

    simulator.add_testbench(testbench)
    simulator.run()
    assert done, "the bench has not come to its end"


async def cycles(ctx, count: int = 1, domain: str = "sync") -> None:
    await ctx.tick(domain).repeat(count)
