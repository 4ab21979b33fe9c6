"""Lets a pipeline run without stalls: a FIFO behind it has room for all that is inside.

So ``ready`` ends at the FIFO; nothing in the pipeline waits for it, and no stage needs to be enabled.
Latency 2 cycles behind the pipeline (4, if the FIFO is deep).
"""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fifo import StreamFifo

#: Cycles from a payload's end of the pipeline to the room that it leaves behind when it is taken at once.
RETURN_CYCLES = 5


class StallFree(wiring.Component):
    """For a pipeline of ``latency`` cycles; ``depth`` (a power of two) of the FIFO: as many as keep a payload a cycle, or more.

    Members
    -------
    room : Out(1)
        The pipeline may take a payload; from a register.
    enters : In(1)
        It does.
    i : In(stream of ``shape``)
        What comes out of the pipeline, in order; always taken.
    o : Out(stream of ``shape``)
    level : Out
        Payloads in the FIFO.
    busy : Out(1)
        Something is inside, in the pipeline or here.
    clear : In(1)
        Forgets all; the pipeline must, too.
    """

    def __init__(self, shape, latency: int, depth: int = 0):
        self.shape = shape
        self.depth = max(depth, 1 << (latency + RETURN_CYCLES).bit_length())
        self.fifo = StreamFifo(shape, self.depth, reserved=True)
        super().__init__({
            "room": Out(1), "enters": In(1), "i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
            "level": Out(self.fifo.level.shape()), "busy": Out(1), "clear": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        fifo = self.fifo
        m.submodules.fifo = ResetInserter(self.clear)(fifo)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        reserved = Signal(range(self.depth + 1))  # by payloads in the pipeline and in the FIFO
        left = Signal()
        m.d.comb += [self.level.eq(fifo.level), self.busy.eq(reserved != 0)]
        m.d.sync += [
            left.eq(self.o.valid & self.o.ready), reserved.eq(reserved + self.enters - left),
            self.room.eq(reserved <= self.depth - 2),
        ]  # fmt: skip
        with m.If(self.clear):
            m.d.sync += [left.eq(0), reserved.eq(0), self.room.eq(1)]
        return m
