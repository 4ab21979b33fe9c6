"""A stream FIFO loses nothing."""

import cocotb
from benches.streams import passes_payloads

from hotline_rtl.lib.fifo import StreamFifo


@cocotb.test()
async def fifo_keeps_order_and_loses_nothing(dut):
    async for _ in passes_payloads(dut):
        assert int(dut.level.value) == 0


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "fifo": (lambda c: StreamFifo(37, 8), ""),
}
