"""Rows of any length and alignment."""

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
from cocotb.triggers import RisingEdge

from hotline_rtl.transfer.midend.row_mover import RowMover, move_layout
from hotline_sim.engine.cocotb_streams import StreamSource, background, start, until, wavering


@cocotb.test()
async def rows_are_moved_to_where_they_belong(dut):
    for n, timing in enumerate(TIMINGS):
        for row_bytes in (16, 52, CONFIG.max_row_bytes):
            host = Memory(dut, "host", {"table": 100 * row_bytes + 4}, timing)
            device = Memory(dut, "device", {"rows": 100 * row_bytes}, timing.with_seed(9))
            device.model.allow({"rows"})
            source = StreamSource(dut, "i", move_layout(CONFIG), STALLS[n % len(STALLS)][0], n)
            wavering(dut, STALLS[n % len(STALLS)][1], n, "hold_writes")
            dut.row_bytes.value = row_bytes
            done = {0: 0, 1: 0}

            async def count_rows(done=done):
                edge = RisingEdge(dut.clk)
                while True:
                    await edge
                    if dut.rst.value == 1:
                        continue
                    assert int(dut.read_failed.value) == int(dut.write_failed.value) == 0
                    if dut.done.value == 1:
                        done[int(dut.done_set.value)] += 1

            background(count_rows())
            await start(dut)
            order = rng(n).sample(range(100), 60)
            expected = device.image.data.copy()
            for k, row in enumerate(order):
                at = device.address("rows") - device.image.base + k * row_bytes
                words = host.image.words(host.address("table") + 4 + row * row_bytes, row_bytes // 4)
                expected[at : at + row_bytes] = words.view(np.uint8)
            source.put(
                {"source": host.address("table") + 4 + row * row_bytes, "destination": device.address("rows") + k * row_bytes,
                 "tag": k, "set": k % 3 == 0} for k, row in enumerate(order)
            )  # fmt: skip
            await until(dut, lambda d=done: sum(d.values()) == 60, "rows")
            assert np.array_equal(device.image.data, expected), f"{row_bytes} bytes"
            assert done == {1: 20, 0: 40}
            host.check()
            device.check()


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "row_mover": (lambda c: WithMasters(c, RowMover(c), {"read": "host"}, {"write": "device"}, "read"), ""),
}
