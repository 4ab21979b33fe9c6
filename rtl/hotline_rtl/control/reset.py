"""The order of a reset: the memory ports stop, then all that uses them is reset, then blocks begin again, takers first.

One reset register for all blocks would have to cross the part in a cycle. So each clock domain has a register of its own. All
resets begin together; they end one after the other, and a block that takes from another is out of reset before that one.

    rst, drained ─► takers ─► misses ─► lanes ─► sync      (each ends a cycle after the one before)
    soft reset   ─► drain 0 ─► drain 1 ─► drain 2 ─► drain 3, one memory port each ─► all of the above

A soft reset waits until nothing is under way at the memory ports, which it leaves alone.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: Clock domains in the order in which their resets end. ``port`` is reset by ``rst`` alone.
DOMAINS = ("takers", "misses", "lanes", "sync")
#: Memory ports, each with its managers for reads or for writes.
PORTS = 4
#: Cycles with nothing under way after which a soft reset ends.
QUIET_CYCLES = 16


class ResetSequencer(wiring.Component):
    """Works in the domains ``boot``, which is never reset, and ``port``.

    Members
    -------
    rst : In(1)
        The accelerator's reset.
    resets : Out(1 + len(DOMAINS))
        Of domain ``port``, then of DOMAINS in order; from registers, one cycle after their causes, and high at power-up.
    soft_reset, control_written : In(1)
        Software asks for a soft reset; has written register ``control``.
    drained : In(PORTS)
        Nothing is under way at a port.
    drain : Out(PORTS)
        The port takes no more requests; one port after the other.
    resetting : Out(1)
        A soft reset is under way.
    armed : Out(1)
        ``control`` has been written since the last soft reset: the rings may run.
    """

    def __init__(self):
        super().__init__({
            "rst": In(1), "resets": Out(1 + len(DOMAINS)), "soft_reset": In(1), "control_written": In(1),
            "drained": In(PORTS), "drain": Out(PORTS), "resetting": Out(1), "armed": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        port = Signal(init=1)
        domains = [Signal(init=1, name=f"{name}_reset") for name in DOMAINS]
        cause = self.rst | self.drain[-1]
        m.d.boot += port.eq(self.rst)
        before: list[Signal] = []
        for domain in domains:
            m.d.boot += domain.eq(Cat(cause, *before).any())
            before = [domain]
        m.d.comb += self.resets.eq(Cat(port, *domains))

        quiet, all_drained = Signal(range(QUIET_CYCLES)), Signal()
        m.d.port += [self.drain.eq(Cat(self.resetting, self.drain)), all_drained.eq(self.drained.all())]
        with m.If(self.soft_reset):
            m.d.port += [self.resetting.eq(1), quiet.eq(0), self.armed.eq(0)]
        with m.Elif(self.resetting):
            m.d.port += quiet.eq(Mux(all_drained, quiet + 1, 0))
            with m.If(all_drained & (quiet == QUIET_CYCLES - 1)):
                m.d.port += self.resetting.eq(0)
        with m.Elif(self.control_written):
            m.d.port += self.armed.eq(1)
        return m
