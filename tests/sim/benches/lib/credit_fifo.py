"""A pipeline with credits loses nothing, and no cycle."""

import cocotb
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from benches.streams import passes_payloads

from hotline_rtl.lib.credit_fifo import CreditFifo
from hotline_rtl.lib.logic import delayed


class Pipeline(wiring.Component):
    """Five registers that never wait, and what lets them: a ``CreditFifo``."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(37)), "o": Out(stream.Signature(37))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.out_fifo = out_fifo = CreditFifo(37, 5)
        wiring.connect(m, out_fifo.o, wiring.flipped(self.o))
        valid, payload = self.i.valid & out_fifo.credit, self.i.p
        m.d.comb += [self.i.ready.eq(out_fifo.credit), out_fifo.spend.eq(valid)]
        for _ in range(5):
            valid, payload = delayed(m, valid), delayed(m, payload)
        m.d.comb += [out_fifo.i.valid.eq(valid), out_fifo.i.p.eq(payload)]
        return m


@cocotb.test()
async def credit_fifo_pipeline_keeps_order_and_pace(dut):
    async for stalls, cycles in passes_payloads(dut):
        if stalls == ("always", "always"):
            assert cycles < 225, "a payload a cycle"


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "credit_fifo": (lambda c: Pipeline(), ""),
}
