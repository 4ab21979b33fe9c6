"""Bursts keep the rules of AXI."""

import cocotb
from benches.common import CONFIG, STALLS, WORDS, rng

from hotline_rtl.interfaces.memory import transfer_layout
from hotline_rtl.transfer.backend.burst_splitter import BurstSplitter, burst_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


@cocotb.test()
async def bursts_keep_the_rules_of_axi(dut):
    """Every size at every offset around a 4 KiB boundary, and random long transfers."""
    bus = CONFIG.bus_bytes
    transfers = []
    r = rng()
    for offset in range(-20, 20, 3):
        for words in (1, 2, WORDS - 1, WORDS, WORDS + 1, 3 * WORDS, 256, 1000):
            transfers.append((0x20000 + 4 * offset, max(1, words)))
    transfers += [(r.randrange(0, 1 << 30) & ~3, r.randrange(1, 5000)) for _ in range(40)]
    for n, (a, b) in enumerate(STALLS[:3]):
        source = StreamSource(dut, "i", transfer_layout(CONFIG, 3), a, n)
        sink = StreamSink(dut, "o", burst_layout(CONFIG, 3), b, n)
        await start(dut)
        source.put({"address": x, "words": w, "tag": k % 8} for k, (x, w) in enumerate(transfers))
        expected = []
        for k, (address, words) in enumerate(transfers):
            first, end = address // bus * bus, -(-(address + 4 * words) // bus) * bus
            while first < end:
                boundary = min(end, first // 4096 * 4096 + 4096, first + CONFIG.burst_limit * bus)
                expected.append((first, (boundary - first) // bus - 1, k % 8, int(boundary == end)))
                first = boundary
        await until(dut, lambda s=sink, e=expected: len(s.got) >= len(e), "bursts")
        assert [(g.address, g.length, g.tag, g.last) for g in sink.got] == expected


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "burst_splitter": (lambda c: BurstSplitter(c, 3), ""),
}
