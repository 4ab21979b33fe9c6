"""How long there has been no progress."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .logic import delayed


class Watchdog(wiring.Component):
    """Counts cycles without progress.

    Members
    -------
    timeout : In(32)
        Cycles after which it expires; 0: never.
    progress : In(1)
        Something happens, or nothing has to: it begins anew.
    expired : Out(1)
        Comes three cycles after the last of ``timeout`` cycles, and goes two cycles after ``progress`` at most: so progress
        of just then may find it high.
    """

    def __init__(self):
        super().__init__({"timeout": In(32), "progress": In(1), "expired": Out(1)})

    def elaborate(self, platform):
        m = Module()
        cycles, late = Signal(32), Signal()
        # What resets the counter may lie far from it, so it comes from a register.
        progress, limited = delayed(m, self.progress), delayed(m, self.timeout != 0)
        m.d.sync += [late.eq((cycles >= self.timeout) & ~progress), self.expired.eq(limited & late & ~progress)]
        with m.If(progress):
            m.d.sync += cycles.eq(0)
        with m.Else():
            m.d.sync += cycles.eq(cycles + 1)
        return m
