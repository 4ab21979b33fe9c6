"""A delay line gives what came some cycles ago."""

import cocotb
from benches.common import rng
from cocotb.triggers import RisingEdge

from hotline_rtl.lib.delay_line import DelayLine
from hotline_sim.engine.cocotb_streams import start


@cocotb.test()
async def delay_line_gives_what_came_five_cycles_ago(dut):
    dut.i.value = 0
    await start(dut)
    given = [rng().getrandbits(37) + k & (1 << 37) - 1 for k in range(100)]
    got = []
    for value in given:
        dut.i.value = value
        await RisingEdge(dut.clk)
        got.append(int(dut.o.value))
    assert got[5:] == given[:-5]


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "delay_line": (lambda c: DelayLine(37, 5), ""),
}
