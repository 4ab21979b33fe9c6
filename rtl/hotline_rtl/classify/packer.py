"""Packs the tracked accesses of record beats into rows of keys, one key for each lane.

Row after row holds the accesses in trace order, lanes filled from 0 on. A row is full while more
accesses are at hand; it never waits for more. One beat in and one row out per cycle; a key leaves
6 cycles after it came.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import beat_layout
from ..lib.logic import count_ones, ranks
from ..lib.word_queue import WordQueue, masked_layout


def row_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key for each lane. ``extra``: see about_layout."""
    keys = data.ArrayLayout(config.key_bits, config.lanes)
    return data.StructLayout({"keys": keys, "extra": about_layout(config).size})


def about_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What ``extra`` of a row says of its keys, a bit for each lane: whether there is one; where the policy scores samples,
    whether it is the first of its sample; with a shadow, whether that learns from it."""
    fields = ["present", *(["firsts"] if config.scores_samples else []), *(["follow"] if config.shadow else [])]
    return data.StructLayout(dict.fromkeys(fields, config.lanes))


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
        words, lanes = config.beat_words, config.lanes
        marks = [name for name, _ in about_layout(config) if name != "present"]  # bits that go along with a key
        bits = config.key_bits + len(marks)
        count_bits = len(Signal(range(lanes + 1)))
        m.submodules.queue = queue = WordQueue(words, lanes, bits, extra=count_bits, masked_in=True, counted=True)

        # Stage 1: how many accesses come before each word?
        s1_valid = Signal()
        s1_keys = [Signal(config.key_bits, name=f"s1_key_{i}", reset_less=True) for i in range(words)]
        s1 = Signal(masked_layout(words, bits), reset_less=True)
        seen = Signal()  # a key of the sample in an earlier beat
        s1_seen, s1_follow = Signal(reset_less=True), Signal(reset_less=True)
        with m.If(self.i.ready):
            m.d.sync += [
                s1_valid.eq(self.i.valid & self.i.p.mask.any()),
                s1.mask.eq(self.i.p.mask),
                s1_seen.eq(seen),
                s1.count.eq(count_ones(self.i.p.mask)),
            ]
            if config.shadow:
                m.d.sync += s1_follow.eq(self.i.p.follow)
            for i, rank in enumerate(ranks(self.i.p.mask)):
                m.d.sync += [
                    s1.ranks[i].eq(rank),
                    s1_keys[i].eq(Cat(self.i.p.words[i][: config.row_bits], self.i.p.tables[i])),
                ]
            with m.If(self.i.valid):
                m.d.sync += seen.eq((seen | self.i.p.mask.any()) & ~self.i.p.last)
        m.d.comb += [
            self.i.ready.eq(queue.i.ready),
            queue.i.valid.eq(s1_valid),
            queue.i.p.mask.eq(s1.mask),
            queue.i.p.ranks.eq(s1.ranks),
            queue.i.p.count.eq(s1.count),
        ]
        for i in range(words):
            of_key = {"firsts": ~s1_seen & (s1.ranks[i] == 0), "follow": s1_follow}
            m.d.comb += queue.i.p.data.word_select(i, bits).eq(Cat(s1_keys[i], *(of_key[name] for name in marks)))

        # Stage 2: rows. A short one only when nothing comes that could fill it.
        full = queue.level >= lanes
        row = queue.o.p
        m.d.comb += [
            queue.take.valid.eq(full | ((queue.level != 0) & ~s1_valid & ~queue.coming)),
            queue.take.p.count.eq(Mux(full, lanes, queue.level)),
            queue.take.p.extra.eq(queue.take.p.count),
            self.rows.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.rows.ready),
            self.busy.eq(s1_valid | queue.busy),
        ]
        about = data.View(about_layout(config), self.rows.p.extra)
        for lane in range(lanes):
            word = row.data.word_select(lane, bits)
            m.d.comb += [self.rows.p.keys[lane].eq(word), about.present[lane].eq(row.extra > lane)]
            m.d.comb += [about[name][lane].eq(word[config.key_bits + n]) for n, name in enumerate(marks)]
        return m
