"""Payloads through a block, in order."""

from benches.common import STALLS, rng
from cocotb.triggers import RisingEdge

from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start


async def passes_payloads(dut):
    """200 payloads go from ``i`` to ``o`` in order, none is lost; yields how back-pressure was, and how many cycles it took."""
    for n, (a, b) in enumerate(STALLS):
        source, sink = StreamSource(dut, "i", 37, a, n), StreamSink(dut, "o", 37, b, n + 50)
        await start(dut)
        expected = [rng(n).getrandbits(37) + k & (1 << 37) - 1 for k in range(200)]
        source.put(expected)
        cycles = 0
        while len(sink.got) < 200:
            await RisingEdge(dut.clk)
            cycles += 1
            assert cycles < 20000, "payloads are missing"
        assert sink.got == expected
        yield (a, b), cycles
