"""Ends commands that no longer make progress, whatever they wait for.

A memory that does not answer is the business of its port, whose watchdog ends what is unanswered after ``timeout`` cycles. Here
it is twice that: a port that takes no addresses or data, or a fault of the accelerator itself. Then nothing inside can be
trusted, and all that is left is to end the commands with TIMEOUT, and to stop the rings until a soft reset.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..lib.watchdog import Watchdog


class CommandWatchdog(wiring.Component):
    """``sources``: how many parts there are that tell of their progress.

    Members
    -------
    timeout : In(32)
        Of the memory ports; 0: commands may wait for ever.
    busy : In(1)
        A command is under way.
    waits : In(1)
        It waits for the host, which may take its time.
    progress : In(sources)
        A part has done something, a bit for each.
    expired : Out(1)
        There has been none for twice ``timeout`` cycles. Stays until reset.
    """

    def __init__(self, sources: int):
        super().__init__({
            "timeout": In(32), "busy": In(1), "waits": In(1), "progress": In(sources), "expired": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.watchdog = watchdog = Watchdog()
        # The parts lie all over the accelerator: a register for each.
        progress = Signal.like(self.progress)
        m.d.sync += [
            progress.eq(self.progress),
            watchdog.timeout.eq(Mux(self.timeout[31], ~0, self.timeout << 1)),
            watchdog.progress.eq(progress.any() | ~self.busy | self.waits),
        ]
        with m.If(watchdog.expired):
            m.d.sync += self.expired.eq(1)
        return m
