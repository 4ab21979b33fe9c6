"""How long nothing has been answered that should be."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .words import delayed


class Patience(wiring.Component):
    """Counts cycles that are not ``calm``. A few cycles late: an answer that is calm just then may find it ended.

    Members
    -------
    timeout : In(32)
        Cycles after which it ends; 0: never.
    calm : In(1)
        Something is answered, or nothing has to be: it begins anew.
    ended : Out(1)
        Until the second cycle after ``calm`` at most.
    """

    def __init__(self):
        super().__init__({"timeout": In(32), "calm": In(1), "ended": Out(1)})

    def elaborate(self, platform):
        m = Module()
        cycles, late = Signal(32), Signal()
        # Resets are far from what is calm: each comes from a register.
        calm, limited = delayed(m, self.calm), delayed(m, self.timeout != 0)
        m.d.sync += [late.eq((cycles >= self.timeout) & ~calm), self.ended.eq(limited & late & ~calm)]
        with m.If(calm):
            m.d.sync += cycles.eq(0)
        with m.Else():
            m.d.sync += cycles.eq(cycles + 1)
        return m
