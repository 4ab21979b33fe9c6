"""Packs the tracked accesses of record beats into rows of keys, one key for each lane.

Row after row holds the accesses in trace order, lanes filled from 0 on. A row is full while more
accesses are at hand; it never waits for more. One beat in and one row out per cycle; a key leaves
3 cycles after it came.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .compaction import Compaction
from .config import AcceleratorConfig
from .layouts import beat_layout
from .word_queue import WordQueue
from .words import first_set


def row_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key for each lane. Bit ``lane`` of ``extra`` says whether there is one; where the policy rehearses,
    as many bits above say whether it is the first of its sample."""
    return data.StructLayout({
        "keys": data.ArrayLayout(config.key_bits, config.lanes), "extra": config.lanes * (1 + config.rehearses),
    })  # fmt: skip


class Packer(wiring.Component):
    """Members
    -------
    i : In(stream of beat_layout)
        ``mask``: tracked accesses.
    rows : Out(stream of row_layout)
    busy : Out(1)
        Keys are inside.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(beat_layout(config))),
            "rows": Out(stream.Signature(row_layout(config))),
            "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words, lanes, bits = config.beat_words, config.lanes, config.key_bits + config.rehearses
        m.submodules.queue = queue = WordQueue(words, lanes, bits)

        # Stage 1: the beat's keys side by side.
        compaction = Compaction(m, self.i.p.mask)
        keys = [Cat(self.i.p.words[i][: config.row_bits], self.i.p.tables[i]) for i in range(words)]
        if config.rehearses:
            seen = Signal()  # a key of the sample in an earlier beat
            first = Mux(seen, 0, first_set(self.i.p.mask))
            keys = [Cat(key, first[i]) for i, key in enumerate(keys)]
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += seen.eq((seen | self.i.p.mask.any()) & ~self.i.p.last)
        keys = compaction.pack(m, keys)
        with m.If(self.i.ready):
            m.d.sync += [
                queue.i.p.data.eq(Cat(keys)),
                queue.i.p.count.eq(compaction.count),
                queue.i.valid.eq(self.i.valid & self.i.p.mask.any()),
            ]
        m.d.comb += self.i.ready.eq(~queue.i.valid | queue.i.ready)

        m.d.comb += self.busy.eq(queue.i.valid | (queue.level != 0) | self.rows.valid)

        # Stage 2: rows. A short one only when nothing comes that could fill it.
        full = queue.level >= lanes
        step = ~self.rows.valid | self.rows.ready
        m.d.comb += [
            queue.take.valid.eq(full | ((queue.level != 0) & ~queue.i.valid)),
            queue.take.p.count.eq(Mux(full, lanes, queue.level)),
            queue.o.ready.eq(step),
        ]
        with m.If(step):
            m.d.sync += self.rows.valid.eq(queue.o.valid)
            for lane in range(lanes):
                word = queue.o.p.data[lane * bits : (lane + 1) * bits]
                m.d.sync += [self.rows.p.keys[lane].eq(word), self.rows.p.extra[lane].eq(queue.take.p.count > lane)]
                if config.rehearses:
                    m.d.sync += self.rows.p.extra[lanes + lane].eq(word[-1])
        return m
