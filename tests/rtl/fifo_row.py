"""A design with blocks that it has more than one of: what tests of the emission convert."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hotline_rtl.lib.fifo import StreamFifo
from hotline_rtl.lib.shared_module import SharedModule

#: FIFOs in the row: the name of one begins with another's.
FIFOS = 11


class FifoRow(wiring.Component):
    """FIFOs in a row, in turn of two kinds."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        deep = SharedModule("deep", lambda: StreamFifo(8, 16), platform)
        shallow = SharedModule("shallow", lambda: StreamFifo(8, 8), platform)
        source = wiring.flipped(self.i)
        for number in range(FIFOS):
            fifo = (shallow if number % 2 else deep).add(m, f"fifo_{number}")
            wiring.connect(m, source, fifo.i)
            source = fifo.o
        wiring.connect(m, source, wiring.flipped(self.o))
        return m
