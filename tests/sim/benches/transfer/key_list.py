"""Lists of keys."""

import cocotb
import numpy as np
from benches.common import (
    CONFIG,
    STALLS,
    TIMINGS,
    Memory,
    rng,
)
from benches.masters import WithMasters

from hotline_rtl.interfaces.keys import routed_key_layout
from hotline_rtl.transfer.frontend.key_list import KeyList, key_list_job_layout, key_list_result_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


@cocotb.test()
async def keys_come_with_their_numbers(dut):
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {"keys": 8 * 300}, timing)
        sink = StreamSink(dut, "o", routed_key_layout(CONFIG), STALLS[n % len(STALLS)][1], n)
        jobs = StreamSource(dut, "jobs", key_list_job_layout(CONFIG), "half", n)
        results = StreamSink(dut, "results", key_list_result_layout(CONFIG), "half", n)
        await start(dut)
        for count in (1, 2, 123):
            sink.got.clear()
            results.got.clear()
            r = rng(count)
            keys = [(r.randrange(1 << CONFIG.table_bits), r.randrange(1 << CONFIG.row_bits)) for _ in range(count)]
            if count > 2:
                keys[40], keys[50] = (1 << CONFIG.table_bits, 5), (3, 1 << CONFIG.row_bits)
            memory.words("keys", 2 * count)[:] = np.array(keys, np.uint32).reshape(-1)
            scatters = count % 2
            jobs.put([{"base": memory.address("keys"), "count": count, "scatters": scatters, "looks_up": 1}])
            await until(dut, lambda r=results: r.got, "the end of the list")
            assert not results.got[0].fault.valid and results.got[0].scatters == scatters
            assert all((g.scatters, g.looks_up) == (scatters, 1) for g in sink.got)
            *listed, end = [g.listed for g in sink.got]
            assert end.end and not any(g.end for g in listed)
            assert [g.number for g in listed] == list(range(count))
            for g, (table, row) in zip(listed, keys, strict=True):
                inside = table < 1 << CONFIG.table_bits and row < 1 << CONFIG.row_bits
                assert g.outside != inside and (not inside or (g.key.table, g.key.row) == (table, row))
        memory.check()


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "key_list": (lambda c: WithMasters(c, KeyList(c), {"read": "bus"}, {}), ""),
}
