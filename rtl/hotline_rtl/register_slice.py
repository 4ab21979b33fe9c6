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
        # Written without conditions, each is a LUT before its flip-flop; else synthesis makes enables and resets of them.
        some, stays = self.i.valid | spare_valid, self.o.valid & ~self.o.ready
        m.d.comb += self.i.ready.eq(~spare_valid)
        m.d.sync += [self.o.valid.eq((some | stays) & ~self.drop), spare_valid.eq(some & stays & ~self.drop)]
        with m.If(~stays):
            m.d.sync += self.o.p.eq(Mux(spare_valid, spare, self.i.p))
        with m.If(self.i.ready):  # whatever comes: whether it counts is known later than this
            m.d.sync += spare.eq(self.i.p)
        return m
