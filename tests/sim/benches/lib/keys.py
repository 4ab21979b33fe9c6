"""The key permutation against golden."""

import cocotb
import numpy as np
from benches.common import CONFIG, KEYS, STALLS

from hotline_rtl.lib.keys import Permutation
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


@cocotb.test()
async def permutation_equals_golden(dut):
    from hotline_rtl.lib.keys import Permutation

    layout = Permutation(CONFIG, 2, 5).i.p.shape()
    for n, (a, b) in enumerate(STALLS[:3]):
        source, sink = StreamSource(dut, "i", layout, a, n), StreamSink(dut, "o", layout, b, n + 9)
        await start(dut)
        keys = np.random.default_rng(n).integers(0, 1 << CONFIG.key_bits, (150, 2)).astype(np.uint64)
        keys[0] = 0
        keys[1] = (1 << CONFIG.key_bits) - 1
        source.put({"keys": row.tolist(), "extra": k % 32} for k, row in enumerate(keys))
        await until(dut, lambda s=sink: len(s.got) >= 150, "permutation")
        expected = KEYS.permute(keys)
        for k, got in enumerate(sink.got):
            assert [got.keys[0], got.keys[1]] == expected[k].tolist()
            assert got.extra == k % 32


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "keys": (lambda c: Permutation(c, 2, 5), ""),
}
