"""How streams are connected: to several sinks, and with registers between."""

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hotline_rtl.config import preset
from hotline_rtl.lib.streams import fork, link

from ..simulated import cycles, pass_through, simulate


class Forked(wiring.Component):
    """The low bits of a payload say which of three sinks want it."""

    def __init__(self):
        byte = stream.Signature(8)
        super().__init__({"i": In(byte), "a": Out(byte), "b": Out(byte), "c": Out(byte)})

    def elaborate(self, platform):
        m = Module()
        sinks = [self.a, self.b, self.c]
        fork(m, self.i, sinks, [self.i.p[n] for n in range(3)])
        m.d.comb += [sink.p.eq(self.i.p) for sink in sinks]
        return m


class Linked(wiring.Component):
    """Ten links, one behind the other."""

    def __init__(self, link_slices: int):
        self.config = preset("tiny").with_settings([f"link_slices={link_slices}"])
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        streams = [stream.Signature(8).create() for _ in range(9)]
        sources = [wiring.flipped(self.i), *streams]
        sinks = [*(wiring.flipped(each) for each in streams), wiring.flipped(self.o)]
        for n, (source, sink) in enumerate(zip(sources, sinks, strict=True)):
            link(m, self.config, f"link {n}", source, sink)
        return m


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_sink_takes_once_what_it_shall_have(seed):
    block, r = Forked(), random.Random(seed)
    payloads = [r.getrandbits(8) for _ in range(60)]

    async def bench(ctx):
        sinks = {"a": block.a, "b": block.b, "c": block.c}
        got = await pass_through(ctx, block.i, sinks, payloads, r)
        assert got == {name: [p for p in payloads if p >> n & 1] for n, name in enumerate(sinks)}

    simulate(block, bench)


def latency(link_slices: int) -> int:
    """Cycles from the first to the last of ten links."""
    block, found = Linked(link_slices), []

    async def bench(ctx):
        ctx.set(block.o.ready, 1)
        ctx.set(block.i.valid, 1)
        for n in itertools.count():
            if ctx.get(block.o.valid):
                found.append(n)
                return
            await cycles(ctx)

    simulate(block, bench)
    return found[0]


def test_some_links_have_a_register_slice_if_the_configuration_says_so():
    assert latency(0) == 0
    assert all(0 < latency(seed) < 10 for seed in range(1, 6)) and len({latency(seed) for seed in range(1, 6)}) > 1


@pytest.mark.parametrize("link_slices", [0, 1, 2])
def test_links_lose_nothing(link_slices):
    block, r = Linked(link_slices), random.Random(link_slices)
    payloads = [r.getrandbits(8) for _ in range(60)]

    async def bench(ctx):
        assert await pass_through(ctx, block.i, {"o": block.o}, payloads, r) == {"o": payloads}

    simulate(block, bench)
