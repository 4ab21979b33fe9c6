"""A down-counter that says in time whether few are left, although it counts late.

Comparing a wide counter takes most of a cycle, and so does deciding whether to count. Here the counter runs two cycles behind. It
is compared with every small number in advance, and what was taken in the last two cycles selects the right comparison.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .logic import delayed, pick


class Countdown(wiring.Component):
    """Counts down from a number of ``bits`` bits, by at most one a cycle.

    Members
    -------
    start : In(1), count : In(bits)
        Begins with ``count``, which must have been stable for two cycles.
    take : In(1)
        Counts down by one.
    left : Out(shown)
        Bit ``n``: ``n`` are left, before ``take`` of this cycle. Valid from the cycle after ``start`` on.
    begins : Out(shown)
        Bit ``n``: ``start`` in this cycle begins with ``n``.
    """

    def __init__(self, bits: int, shown: int):
        self.bits, self.shown = bits, shown
        super().__init__({"start": In(1), "count": In(bits), "take": In(1), "left": Out(shown), "begins": Out(shown)})

    def elaborate(self, platform):
        m = Module()
        counter = Signal(self.bits, reset_less=True)  # two cycles late
        took, took_before = Signal(), Signal()
        # The counter in the cycle before was n.
        was = [Signal(name=f"was_{n}", reset_less=True) for n in range(self.shown + 2)]
        m.d.sync += [
            took.eq(self.take & ~self.start),
            took_before.eq(took & ~self.start),
            *(one.eq(counter == n) for n, one in enumerate(was)),
        ]
        with m.If(took):
            m.d.sync += counter.eq(counter - 1)
        taken = took + took_before
        m.d.comb += [self.left[n].eq(pick(was[n : n + 3], taken)) for n in range(self.shown)]
        starts_with = [delayed(m, self.count == n) for n in range(len(was))]
        m.d.comb += self.begins.eq(Cat(starts_with[: self.shown]))
        with m.If(self.start):
            m.d.sync += [
                counter.eq(self.count),
                *(one.eq(starts) for one, starts in zip(was, starts_with, strict=True)),
            ]
        return m
