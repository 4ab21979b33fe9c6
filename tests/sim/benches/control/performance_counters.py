"""Counters add up."""

import cocotb
from benches.common import rng
from cocotb.triggers import RisingEdge

from hotline_rtl.control.performance_counters import PerformanceCounters
from hotline_sim.engine.cocotb_streams import start


@cocotb.test()
async def counters_add_up(dut):
    dut.add_a.value = dut.add_b.value = 0
    await start(dut)
    r, a, b = rng(), 0, 0
    for _ in range(300):
        x, y = r.getrandbits(1), r.getrandbits(5)
        dut.add_a.value, dut.add_b.value = x, y
        a, b = a + x, b + y
        await RisingEdge(dut.clk)
    dut.add_a.value = dut.add_b.value = 0
    for _ in range(3):
        await RisingEdge(dut.clk)
    assert (int(dut.a.value), int(dut.b.value)) == (a, b)


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "performance_counters": (lambda c: PerformanceCounters({"a": 1, "b": 5}), ""),
}
