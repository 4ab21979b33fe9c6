"""Performance counters: 64 bits each, cleared by reset only. An event counts two cycles after it."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class PerformanceCounters(wiring.Component):
    """``widths``: name -> bits of the number that is added in every cycle.

    Members
    -------
    add_NAME : In(width)
    NAME : Out(64)
    """

    def __init__(self, widths: dict[str, int]):
        self.names = list(widths)
        members = {f"add_{name}": In(width) for name, width in widths.items()}
        super().__init__(members | {name: Out(64) for name in widths})

    def elaborate(self, platform):
        m = Module()
        for name in self.names:
            total = getattr(self, name)
            step = Signal.like(getattr(self, f"add_{name}"), name=f"step_{name}")
            m.d.sync += [step.eq(getattr(self, f"add_{name}")), total.eq(total + step)]
        return m

    def connect_registers(self, m: Module, registers) -> None:
        """Connects each counter with the registers of its name in the register block."""
        for name in self.names:
            total = getattr(self, name)
            m.d.comb += [
                getattr(registers, f"{name}_lo_value").eq(total[:32]),
                getattr(registers, f"{name}_hi_value").eq(total[32:]),
            ]
