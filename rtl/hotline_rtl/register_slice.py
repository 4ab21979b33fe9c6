"""A register slice: everything that leaves it, in both directions, comes from a register."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .words import no_reset


class RegisterSlice(wiring.Component):
    """No path goes through, in either direction. Latency 1 cycle, a payload per cycle.

    Members: ``i``, ``o``, streams of ``shape``; ``drop`` forgets what is inside, and what comes.
    """

    def __init__(self, shape):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "drop": In(1)})

    def elaborate(self, platform):
        m = Module()
        spare = Signal(self.shape)  # taken although the output was not
        spare_valid = Signal()
        no_reset(spare, self.o.p)
        m.d.comb += self.i.ready.eq(~spare_valid)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.p.eq(Mux(spare_valid, spare, self.i.p)),
                self.o.valid.eq(spare_valid | self.i.valid),
                spare_valid.eq(0),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += spare_valid.eq(1)
        with m.If(self.i.ready):  # whatever comes: whether it counts is known later than this
            m.d.sync += spare.eq(self.i.p)
        with m.If(self.drop):
            m.d.sync += [self.o.valid.eq(0), spare_valid.eq(0)]
        return m
