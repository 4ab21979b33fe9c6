"""A FIFO behind a pipeline that cannot stall: a payload enters the pipeline only against a credit.

There is a credit for each free place of the FIFO, less those for payloads inside the pipeline. So ``ready`` ends at the
FIFO: nothing in the pipeline waits for it, and no stage needs an enable.
Latency: 2 cycles behind the pipeline (4, if the FIFO is deep). Throughput: one payload per cycle.
"""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fifo import StreamFifo

#: Cycles from the end of the pipeline, through the FIFO and back, until a payload's credit can be spent again.
RETURN_CYCLES = 5


class CreditFifo(wiring.Component):
    """For a pipeline of ``latency`` cycles. ``depth`` (a power of two): of the FIFO; at least what one payload per cycle needs.

    Members
    -------
    credit : Out(1)
        A payload may enter the pipeline. From a register.
    spend : In(1)
        A payload enters. Only while ``credit``.
    i : In(stream of ``shape``)
        Payloads from the end of the pipeline, in order. Always taken.
    o : Out(stream of ``shape``)
    level : Out
        Payloads in the FIFO.
    busy : Out(1)
        A payload is in the pipeline or in the FIFO.
    clear : In(1)
        Forgets all payloads. The pipeline must forget its own in the same cycle.
    """

    def __init__(self, shape, latency: int, depth: int = 0):
        self.shape = shape
        self.depth = max(depth, 1 << (latency + RETURN_CYCLES).bit_length())
        self.fifo = StreamFifo(shape, self.depth, reserved=True)
        super().__init__({
            "credit": Out(1), "spend": In(1), "i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
            "level": Out(self.fifo.level.shape()), "busy": Out(1), "clear": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        fifo = self.fifo
        m.submodules.fifo = ResetInserter(self.clear)(fifo)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        spent = Signal(range(self.depth + 1))  # payloads in the pipeline and in the FIFO
        left = Signal()
        m.d.comb += [self.level.eq(fifo.level), self.busy.eq(spent != 0)]
        m.d.sync += [
            left.eq(self.o.valid & self.o.ready),
            spent.eq(spent + self.spend - left),
            self.credit.eq(spent <= self.depth - 2),
        ]
        with m.If(self.clear):
            m.d.sync += [left.eq(0), spent.eq(0), self.credit.eq(1)]
        return m
