"""A payload, a fixed number of cycles later: in memory instead of in a chain of registers."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .ram import Ram


class DelayLine(wiring.Component):
    """``cycles``, at least 2, from ``i`` to ``o``; ``o`` comes from a register.

    Members
    -------
    i : In(shape), o : Out(shape)
    """

    def __init__(self, shape, cycles: int):
        if cycles < 2:
            raise ValueError(f"a delay line takes at least 2 cycles, not {cycles!r}")
        self.cycles = cycles
        super().__init__({"i": In(shape), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        depth = 1 << ceil_log2(self.cycles)
        m.submodules.ram = ram = Ram(Cat(self.i).shape().width, depth)
        w_addr, r_addr = Signal(range(depth)), Signal(range(depth), init=(1 - self.cycles) % depth)
        m.d.sync += [w_addr.eq(w_addr + 1), r_addr.eq(r_addr + 1)]
        m.d.comb += [
            ram.w_en.eq(1),
            ram.w_addr.eq(w_addr),
            ram.w_data.eq(Cat(self.i)),
            ram.r_en.eq(1),
            ram.r_addr.eq(r_addr),
            Cat(self.o).eq(ram.r_data),
        ]
        return m
