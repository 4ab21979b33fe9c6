"""Small blocks, which need no compiled model, in Amaranth's own simulator."""

import random
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


def simulate_run(kind: Callable, block, bench: Callable) -> None:
    """Runs ``bench(run)`` on ``block``; ``run`` is ``kind(ctx, block)``, what surrounds the block."""

    async def testbench(ctx):
        await bench(kind(ctx, block))

    simulate(block, testbench)


async def cycles(ctx, count: int = 1, domain: str = "sync") -> None:
    await ctx.tick(domain).repeat(count)


async def put(ctx, source, payload, within: int = 200) -> None:
    """Gives ``payload`` (a value, or a dictionary of fields) to a stream; fails if it is not taken ``within`` so many cycles."""
    ctx.set(source.payload, payload)
    ctx.set(source.valid, 1)
    for _ in range(within):
        taken = ctx.get(source.ready)
        await cycles(ctx)
        if taken:
            ctx.set(source.valid, 0)
            return
    raise AssertionError("the payload has not been taken")


async def take(ctx, sink, within: int = 200):
    """The next payload of a stream; fails if none comes ``within`` so many cycles."""
    ctx.set(sink.ready, 1)
    for _ in range(within):
        valid, payload = ctx.get(sink.valid), ctx.get(sink.payload)
        await cycles(ctx)
        if valid:
            ctx.set(sink.ready, 0)
            return payload
    raise AssertionError("no payload has come")


async def none_comes(ctx, sink, within: int = 20) -> bool:
    """Whether a stream has no payload for so many cycles."""
    for _ in range(within):
        if ctx.get(sink.valid):
            return False
        await cycles(ctx)
    return True


async def is_not_taken(ctx, source, payload, within: int = 20) -> bool:
    """Whether a stream does not take ``payload`` for so many cycles. It stays offered."""
    ctx.set(source.payload, payload)
    ctx.set(source.valid, 1)
    for _ in range(within):
        if ctx.get(source.ready):
            return False
        await cycles(ctx)
    return True


async def put_together(ctx, offers: list[tuple], within: int = 20) -> None:
    """Offers a payload to each of several streams until all are taken in one cycle; fails if they are not, ``within`` so many."""
    for source, payload in offers:
        ctx.set(source.payload, payload)
        ctx.set(source.valid, 1)
    for _ in range(within):
        taken = all(ctx.get(source.ready) for source, _ in offers)
        await cycles(ctx)
        if taken:
            for source, _ in offers:
                ctx.set(source.valid, 0)
            return
    raise AssertionError("the payloads have not been taken")


async def pass_through(ctx, source, sinks: dict, payloads: list, r: random.Random) -> dict[str, list]:
    """What arrives at each sink while all stall at random. The rules of streams are checked."""
    got: dict[str, list] = {name: [] for name in sinks}
    waiting: dict = {}
    queue = list(payloads)
    for _ in range(20 * len(payloads)):
        if queue and not ctx.get(source.valid) and r.random() < 0.7:
            ctx.set(source.payload, queue.pop(0))
            ctx.set(source.valid, 1)
        for sink in sinks.values():
            ctx.set(sink.ready, r.random() < 0.5)
        for name, sink in sinks.items():
            valid, ready, payload = ctx.get(sink.valid), ctx.get(sink.ready), ctx.get(sink.payload)
            assert name not in waiting or (valid and payload == waiting[name]), (
                f"{name}: a valid payload stays until it is taken"
            )
            waiting.pop(name, None)
            if valid and ready:
                got[name].append(payload)
            elif valid:
                waiting[name] = payload
        taken = ctx.get(source.valid) and ctx.get(source.ready)
        await cycles(ctx)
        if taken:
            ctx.set(source.valid, 0)
    return got
