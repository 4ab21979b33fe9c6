"""How many are left of a number, where what is compared may lie far from what counts.

The number is compared a cycle before it is asked for; what has been taken since then chooses among the outcomes. Nothing that
decides waits for the counter: a decision goes into one register, from which the counter is told.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .words import delayed, no_reset, pick


class Countdown(wiring.Component):
    """Counts down from a number of ``bits`` bits, by at most one a cycle; ``left`` is right from the cycle after ``start`` on.

    Members
    -------
    start : In(1), count : In(bits)
        Begins with ``count``, which has been so for two cycles.
    take : In(1)
        One less.
    left : Out(shown)
        Bit ``n``: ``n`` are left; what is taken in this cycle is still among them.
    begins : Out(shown)
        Bit ``n``: ``start`` in this cycle begins with ``n``.
    """

    def __init__(self, bits: int, shown: int):
        self.bits, self.shown = bits, shown
        super().__init__({"start": In(1), "count": In(bits), "take": In(1), "left": Out(shown), "begins": Out(shown)})

    def elaborate(self, platform):
        m = Module()
        counter = Signal(self.bits)  # two cycles late
        took, took_before = Signal(), Signal()
        was = [Signal(name=f"was_{n}") for n in range(self.shown + 2)]  # the counter in the cycle before
        no_reset(counter, *was)
        m.d.sync += [
            took.eq(self.take & ~self.start), took_before.eq(took & ~self.start),
            *(one.eq(counter == n) for n, one in enumerate(was)),
        ]  # fmt: skip
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
