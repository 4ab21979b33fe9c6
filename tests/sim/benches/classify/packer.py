"""Keys packed into rows."""

import cocotb
import numpy as np
from benches.common import (
    CONFIG,
    KEYS,
    STALLS,
    small_model,
)
from benches.samples import BEAT, random_samples, record_beats

from hotline_golden.layouts import NO_ACCESS
from hotline_rtl.classify.packer import Packer, row_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


@cocotb.test()
async def keys_are_packed_into_rows_in_trace_order(dut):
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", BEAT, a, n)
        sink = StreamSink(dut, "rows", row_layout(CONFIG), b, n)
        await start(dut)
        model = small_model()
        samples = random_samples(model, 60, n)
        rows = samples[:, model.payload_words :]
        tables = np.broadcast_to(np.array(model.table_of), rows.shape)
        tracked = (rows != NO_ACCESS) & (np.random.default_rng(n).random(rows.shape) < (1.0 if n else 0.3))
        source.put(record_beats(model, samples, tracked))
        of_sample = np.nonzero(tracked)[0]
        first = np.r_[True, of_sample[1:] != of_sample[:-1]]
        expected = list(zip(KEYS.pack(tables[tracked], rows[tracked]).tolist(), first.tolist(), strict=True))
        got = []

        def all_here(sink=sink, got=got, expected=expected):
            while sink.got:
                row = sink.got.pop(0)
                present, first = row.extra & (1 << CONFIG.lanes) - 1, row.extra >> CONFIG.lanes
                count = int(present).bit_count()
                assert present == (1 << count) - 1 and count >= 1, "lanes are filled from 0 on"
                got += [(int(row.keys[lane]), bool(first >> lane & 1)) for lane in range(count)]
            return len(got) >= len(expected)

        await until(dut, all_here, "packer")
        assert got == expected
        assert int(dut.busy.value) == 0


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "packer": (Packer, ""),
}
