"""A stream FIFO in RAM. Throughput: one payload in and one out per cycle. Latency: 2 cycles when empty.

A FIFO that is large enough for block RAM has a register and a register slice behind the RAM, because block RAM gives its data
late in the cycle. Its latency is 4 cycles.

Streams in this package follow Amaranth's rules: ``valid`` never waits for ``ready``, and a valid payload stays until it is taken.
The one exception has a type of its own, ``hotline_rtl.interfaces.memory.OfferSignature``.
"""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .logic import never
from .ram import Ram
from .register_slice import RegisterSlice

#: Bits of the smallest memory that lies in block RAM, if it has more words than SHALLOW.
BLOCK_RAM_BITS = 2048
#: Words of the deepest memory that lies in LUTs, as one or as several RAMs of up to BLOCK_RAM_BITS each.
SHALLOW = 32
#: Words of the shallowest that lies in block RAM although it is narrow.
BLOCK_RAM_DEPTH = 256
#: Words of a block RAM of bytes, and of one of single bits. Between these depths each block RAM is a memory of its own, side by
#: side with the others, so that none is chosen among when a word has been read.
BYTES, BITS = 2048, 16384


def is_deep(shape, depth: int) -> bool:
    """Whether a FIFO of ``depth`` payloads of ``shape`` lies in block RAM, and so has registers behind it."""
    bits = depth * Shape.cast(shape).width
    return depth > SHALLOW and (bits > BLOCK_RAM_BITS or depth >= BLOCK_RAM_DEPTH)


class StreamFifo(wiring.Component):
    """Holds up to ``depth`` payloads of ``shape``; ``depth`` is a power of two, at least 2.

    ``reserved``: who writes has seen to it that there is room, and does not look at ``i.ready``; the simulation stops when
    there is none. ``capacity``: payloads that it holds when none has been taken for some cycles.

    Members
    -------
    i, o : streams of ``shape``
    level : Out(range(depth + 2))
        Payloads inside, the one at the output included.
    """

    def __init__(self, shape, depth: int, *, reserved: bool = False):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"FIFO depth must be a power of two and at least 2, not {depth!r}")
        self.shape = shape
        self.depth = depth
        self.reserved = reserved
        self.deep = is_deep(shape, depth)
        # Behind the memory: its output; and if it is deep a register and a slice of two.
        self.capacity = depth + 1 + 3 * self.deep
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(self.capacity + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        width = Cat(self.i.p).shape().width
        if self.deep:
            piece_bits = BITS // self.depth if BYTES < self.depth <= BITS else width
        else:
            piece_bits = BLOCK_RAM_BITS // self.depth
        pieces = -(-width // piece_bits)
        bounds = [width * n // pieces for n in range(pieces + 1)]
        rams = [Ram(high - low, self.depth) for low, high in zip(bounds, bounds[1:], strict=False)]

        stored, some = Signal(range(self.depth + 1)), Signal()  # how many; whether any
        w_addr = Signal(range(self.depth))
        r_addr = Signal(range(self.depth))
        write = self.i.valid & self.i.ready
        fetch = Signal()

        m.d.comb += [
            self.i.ready.eq(~stored[-1]),  # the depth is a power of two
        ]
        if self.reserved:
            never(m, "write_without_room", self.i.valid & ~self.i.ready)
        for n, ram in enumerate(rams):
            m.submodules["ram" if pieces == 1 else f"ram_{n}"] = ram
            m.d.comb += [
                ram.w_en.eq(write),
                ram.w_addr.eq(w_addr),
                ram.w_data.eq(Cat(self.i.p)[bounds[n] : bounds[n + 1]]),
                ram.r_en.eq(fetch),
                ram.r_addr.eq(r_addr),
            ]
        read_data = Cat(ram.r_data for ram in rams)
        m.d.sync += [
            w_addr.eq(w_addr + write),
            r_addr.eq(r_addr + fetch),
            stored.eq(Mux(fetch, stored + write - 1, stored + write)),
            some.eq(write | (some & ~(fetch & (stored == 1)))),
        ]
        if self.deep:
            # The RAM's output holds a payload, and the register behind it, which a block RAM has.
            read, held = Signal(), Signal()
            held_data = Signal(width, reset_less=True)
            m.submodules.slice = out = RegisterSlice(width)
            passes = ~held | out.i.ready
            with m.If(passes):
                m.d.sync += held_data.eq(read_data)
            m.d.comb += [
                fetch.eq(some & (~read | passes)),
                out.i.valid.eq(held),
                out.i.p.eq(held_data),
                self.o.valid.eq(out.o.valid),
                Cat(self.o.p).eq(out.o.p),
                out.o.ready.eq(self.o.ready),
            ]
            m.d.sync += [
                read.eq(fetch | (read & ~passes)),
                held.eq(read | (held & ~out.i.ready)),
                self.level.eq(self.level + write - (self.o.valid & self.o.ready)),
            ]
        else:
            m.d.comb += [
                fetch.eq(some & (~self.o.valid | self.o.ready)),
                Cat(self.o.p).eq(read_data),
                self.level.eq(stored + self.o.valid),
            ]
            m.d.sync += self.o.valid.eq(fetch | (self.o.valid & ~self.o.ready))
        return m
