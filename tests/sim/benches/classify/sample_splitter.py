"""Rows cut where samples begin."""

import cocotb
import numpy as np
from benches.common import (
    CONFIG,
    STALLS,
)

from hotline_rtl.classify.packer import row_layout
from hotline_rtl.classify.sample_splitter import SampleSplitter, piece_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


@cocotb.test()
async def pieces_hold_keys_of_one_sample(dut):
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", row_layout(CONFIG), a, n)
        sink = StreamSink(dut, "o", piece_layout(CONFIG), b, n)
        g = np.random.default_rng(n)
        for cut in (1, 0):
            dut.cut.value = cut
            await start(dut)
            rows, expected = [], []
            for _ in range(120):
                keys = g.integers(0, 1 << CONFIG.key_bits, CONFIG.lanes).tolist()
                present = int(g.integers(1, 1 << CONFIG.lanes))
                firsts = int(g.integers(0, 1 << CONFIG.lanes)) & present
                rows.append({"keys": keys, "extra": present | firsts << CONFIG.lanes})
                pieces: list = []
                for lane in (lane for lane in range(CONFIG.lanes) if present >> lane & 1):
                    begins = bool(firsts >> lane & 1)
                    if not pieces or (begins and cut):
                        pieces.append((begins, []))
                    pieces[-1][1].append((lane, keys[lane]))
                expected += pieces
            source.put(rows)
            await until(dut, lambda sink=sink, expected=expected: len(sink.got) >= len(expected), "pieces")
            got = [
                (bool(p.first), [(lane, int(p.keys[lane])) for lane in range(CONFIG.lanes) if p.present >> lane & 1])
                for p in sink.got
            ]
            assert got == expected
            sink.got.clear()


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "sample_splitter": (SampleSplitter, ""),
}
