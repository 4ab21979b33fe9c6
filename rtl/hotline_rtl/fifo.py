"""A stream FIFO in one RAM. Latency 2 cycles when empty; one payload in and one out per cycle.

What is large enough for block RAM, whose data comes late in its cycle, has a register behind it: latency 3.

Streams follow Amaranth's rules everywhere in this package: ``valid`` never waits for ``ready``, and
a valid payload stays until it is taken.
"""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .ram import Ram
from .words import no_reset

#: Bits of the smallest memory that lies in block RAM.
BLOCK_RAM_BITS = 2048
#: And words of the shallowest that does although it is narrow.
BLOCK_RAM_DEPTH = 256


class StreamFifo(wiring.Component):
    """Holds up to ``depth`` payloads of ``shape``; ``depth`` is a power of two, at least 2.

    Members
    -------
    i, o : streams of ``shape``
    level : Out(range(depth + 2))
        Payloads inside, the one at the output included.
    """

    def __init__(self, shape, depth: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"FIFO depth must be a power of two and at least 2, not {depth!r}")
        self.shape = shape
        self.depth = depth
        self.deep = depth * Shape.cast(shape).width > BLOCK_RAM_BITS or depth >= BLOCK_RAM_DEPTH
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 2 + self.deep)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        width = Cat(self.i.p).shape().width
        m.submodules.ram = ram = Ram(width, self.depth)

        stored = Signal(range(self.depth + 1))
        w_addr = Signal(range(self.depth))
        r_addr = Signal(range(self.depth))
        write = self.i.valid & self.i.ready
        fetch = Signal()
        step = ~self.o.valid | self.o.ready

        m.d.comb += [
            self.i.ready.eq(~stored[-1]),  # the depth is a power of two
            ram.w_en.eq(write),
            ram.w_addr.eq(w_addr),
            ram.w_data.eq(Cat(self.i.p)),
            ram.r_en.eq(fetch),
            ram.r_addr.eq(r_addr),
        ]
        m.d.sync += [
            w_addr.eq(w_addr + write),
            r_addr.eq(r_addr + fetch),
            stored.eq(Mux(fetch, stored + write - 1, stored + write)),
        ]
        if self.deep:
            read = Signal()  # the RAM's output holds a payload
            no_reset(self.o.p)
            m.d.comb += [
                fetch.eq((stored != 0) & (~read | step)),
                self.level.eq(stored + read + self.o.valid),
            ]
            with m.If(step):
                m.d.sync += [self.o.valid.eq(read), Cat(self.o.p).eq(ram.r_data)]
            m.d.sync += read.eq(fetch | (read & ~step))
        else:
            m.d.comb += [
                fetch.eq((stored != 0) & step),
                Cat(self.o.p).eq(ram.r_data),
                self.level.eq(stored + self.o.valid),
            ]
            m.d.sync += self.o.valid.eq(fetch | ~step)
        return m
