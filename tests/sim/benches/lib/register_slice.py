"""Register slices lose nothing."""

import cocotb
from benches.streams import passes_payloads

from hotline_rtl.lib.register_slice import HalfSlice, RegisterSlice


@cocotb.test()
async def register_slice_keeps_order_and_loses_nothing(dut):
    async for _ in passes_payloads(dut):
        pass


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "half_slice": (lambda c: HalfSlice(37), ""),
    "register_slice": (lambda c: RegisterSlice(37), ""),
}
