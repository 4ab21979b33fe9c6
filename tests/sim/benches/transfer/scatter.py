"""Working rows back to their tables."""

import cocotb
import numpy as np
from benches.common import (
    CONFIG,
    STALLS,
    TIMINGS,
    Memory,
    drive_model,
    rng,
    small_model,
)
from benches.masters import WithMasters

from hotline_rtl.interfaces.control import fault_layout
from hotline_rtl.interfaces.keys import listed_key_layout
from hotline_rtl.interfaces.layouts import Status
from hotline_rtl.transfer.frontend.scatter import Scatter, scatter_job_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


@cocotb.test()
async def each_row_goes_back_to_its_table(dut):
    for n, timing in enumerate(TIMINGS):
        for row_bytes in (16, 100, CONFIG.max_row_bytes):
            host = Memory(dut, "host", {"tables": 1200 * row_bytes}, timing)
            device = Memory(dut, "device", {"rows": 64 * row_bytes}, timing.with_seed(4))
            model = small_model(host.image.base + 4, row_bytes)
            host.model.allow({"tables"})
            source = StreamSource(dut, "keys", listed_key_layout(CONFIG), STALLS[n % len(STALLS)][0], n)
            jobs = StreamSource(dut, "jobs", scatter_job_layout(CONFIG), STALLS[n % len(STALLS)][1], n)
            results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
            await start(dut)
            await drive_model(dut, model)
            r = rng(n)
            every = [(t, row) for t in (1, 2, 4) for row in range(model.tables[t].rows)]
            for count, bad in ((1, None), (50, None), (40, 17), (3, None)):
                results.got.clear()
                keys = r.sample(every, count)
                if bad is not None:
                    keys[bad] = (2, 5000)
                expected = host.image.data.copy()
                for k, (t, row) in enumerate(keys[:bad]):
                    at = model.row_address(t, row) - host.image.base
                    words = device.image.words(device.address("rows") + k * row_bytes, row_bytes // 4)
                    expected[at : at + row_bytes] = words.view(np.uint8)
                jobs.put([{"count": count, "base": device.address("rows")}])
                source.put({"key": {"table": t, "row": row}, "number": k} for k, (t, row) in enumerate(keys))
                source.put([{"end": 1}])
                await until(dut, lambda r=results: r.got, "scatter")
                assert np.array_equal(host.image.data, expected), f"{count} rows of {row_bytes} bytes"
                fault = results.got[0]
                assert fault.valid == (bad is not None)
                if bad is not None:
                    assert (fault.status, fault.index) == (Status.ROW_OUTSIDE_TABLE, bad)
            host.check()
            device.check()


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "scatter": (lambda c: WithMasters(c, Scatter(c), {"read": "device"}, {"write": "host"}), ""),
}
