"""A contiguous buffer as a stream."""

import cocotb
from benches.common import (
    CONFIG,
    STALLS,
    TIMINGS,
    WORDS,
    Memory,
    words_of,
)
from benches.masters import WithMasters
from cocotb.triggers import RisingEdge

from hotline_rtl.interfaces.layouts import words_layout
from hotline_rtl.transfer.frontend.stream_reader import StreamReader
from hotline_sim.engine.cocotb_streams import StreamSink, pulse, start, until

LAYOUT = words_layout(CONFIG)


@cocotb.test()
async def reader_delivers_the_buffer(dut):
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {"gap": 64 * 61, "buffer": 8192}, timing)
        sink = StreamSink(dut, "o", LAYOUT, STALLS[n % len(STALLS)][1], n)
        dut.abort.value, dut.start_valid.value, dut.go.value = 0, 0, 1
        await start(dut)
        for words in (1, WORDS, WORDS + 1, 33, 700, 2048):
            sink.got.clear()
            dut.start_payload.value = memory.address("buffer") | words << CONFIG.address_bits
            await pulse(dut, start_valid=1)
            await until(dut, lambda: int(dut.busy.value) == 1, "begin")
            await until(dut, lambda: int(dut.busy.value) == 0, "reader")
            got = [w for g in sink.got for w in words_of(g)]
            assert got == memory.words("buffer", words).tolist()
            assert int(dut.error.value) == 0
        # A transfer waits behind the current one, and its words come only after `go`.
        sink.got.clear()
        dut.go.value = 0
        for words in (300, 77):
            await until(dut, lambda: int(dut.start_ready.value) == 1, "requests")
            dut.start_payload.value = memory.address("buffer") | words << CONFIG.address_bits
            await pulse(dut, start_valid=1)
            if words == 300:
                await pulse(dut, go=1)
        await until(dut, lambda: int(dut.busy.value) == 0, "the first of two")
        for _ in range(20):
            await RisingEdge(dut.clk)
        assert [w for g in sink.got for w in words_of(g)] == memory.words("buffer", 300).tolist()
        assert int(dut.waiting.value) == 1
        sink.got.clear()
        await pulse(dut, go=1)
        await until(dut, lambda s=sink: sum(g.count for g in s.got) >= 77, "the second of two")
        assert [w for g in sink.got for w in words_of(g)] == memory.words("buffer", 77).tolist()
        dut.go.value = 1
        # An abort in the middle ends the transfer cleanly, and the next one works.
        dut.start_payload.value = memory.address("buffer") | 2048 << CONFIG.address_bits
        await pulse(dut, start_valid=1)
        for _ in range(15):
            await RisingEdge(dut.clk)
        dut.abort.value = 1
        await until(dut, lambda: int(dut.busy.value) == 0, "abort")
        dut.abort.value = 0
        sink.got.clear()
        dut.start_payload.value = memory.address("buffer") | 100 << CONFIG.address_bits
        await pulse(dut, start_valid=1)
        await until(dut, lambda s=sink: sum(g.count for g in s.got) >= 100, "after an abort")
        assert [w for g in sink.got for w in words_of(g)] == memory.words("buffer", 100).tolist()
        memory.check()


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "stream_reader": (lambda c: WithMasters(c, StreamReader(c), {"client": "bus"}, {}), ""),
}
