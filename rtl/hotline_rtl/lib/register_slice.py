"""Register slices: everything that leaves one, in both directions, comes from a register."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .logic import without_reset


class RegisterSlice(wiring.Component):
    """No path goes through, in either direction. Latency 1 cycle, a payload per cycle.

    ``keeps_gaps``: as long as ``o.ready`` is low the output stays as it is, even if nothing is there; so it has one enable
    with whatever else moves by ``o.ready``.

    Members: ``i``, ``o``, streams of ``shape``; ``drop`` forgets what is inside, and what comes.
    """

    def __init__(self, shape, *, keeps_gaps: bool = False):
        self.shape = shape
        self.keeps_gaps = keeps_gaps
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "drop": In(1)})

    def elaborate(self, platform):
        m = Module()
        spare = Signal(self.shape, reset_less=True)  # taken although the output was not
        spare_valid = Signal()
        out = without_reset(m, self.o.p)
        # Written without conditions, each is a LUT before its flip-flop; else synthesis makes enables and resets of them.
        some = self.i.valid | spare_valid
        if self.keeps_gaps:
            stays = ~self.o.ready
            valid = Mux(stays, self.o.valid, some)
        else:
            stays = self.o.valid & ~self.o.ready
            valid = some | stays
        m.d.comb += self.i.ready.eq(~spare_valid)
        m.d.sync += [self.o.valid.eq(valid & ~self.drop), spare_valid.eq(some & stays & ~self.drop)]
        with m.If(~stays):
            m.d.sync += out.eq(Mux(spare_valid, spare, self.i.p))
        with m.If(self.i.ready):  # whatever comes: whether it counts is known later than this
            m.d.sync += spare.eq(self.i.p)
        return m


class HalfSlice(wiring.Component):
    """A register slice with one register for the payload: no path goes through, in either direction. Latency 1 cycle, a payload
    in two cycles.

    Members: ``i``, ``o``, streams of ``shape``.
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        out = without_reset(m, self.o.p)
        m.d.comb += self.i.ready.eq(~self.o.valid)
        m.d.sync += self.o.valid.eq(Mux(self.o.valid, ~self.o.ready, self.i.valid))
        with m.If(~self.o.valid):
            m.d.sync += out.eq(self.i.p)
        return m
