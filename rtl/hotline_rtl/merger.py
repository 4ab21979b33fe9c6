"""Brings the tracker's results back to the words they belong to.

One beat per cycle, once its results are there; latency 2 cycles from a beat's last result.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .compaction import Compaction
from .config import AcceleratorConfig
from .crossbar import result_layout, results_layout
from .layouts import beat_layout
from .word_queue import WordQueue
from .words import count_ones


class Merger(wiring.Component):
    """Members
    -------
    start : In(1)
        Begins a mini-batch; nothing is inside.
    i : In(stream of beat_layout)
        ``mask``: tracked accesses.
    results : In(stream of results_layout)
        Their results, in the same order.
    o : Out(stream of beat_layout)
        ``mask``: cold accesses; the words of hot ones hold their slots.
    hits : Out(32)
        Results that were hits, since ``start``.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1),
            "i": In(stream.Signature(beat_layout(config))),
            "results": In(stream.Signature(results_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "hits": Out(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words, result = config.beat_words, result_layout(config)
        m.submodules.queue = queue = WordQueue(config.lanes, words, result.size)
        m.d.comb += [
            queue.i.valid.eq(self.results.valid),
            queue.i.p.data.eq(Cat(self.results.p.lanes)),
            queue.i.p.offset.eq(self.results.p.offset),
            queue.i.p.count.eq(self.results.p.count),
            self.results.ready.eq(queue.i.ready),
        ]

        compaction = Compaction(m, self.i.p.mask)
        none = compaction.count == 0
        step = Signal()
        m.d.comb += [
            step.eq(~self.o.valid | self.o.ready),
            queue.take.valid.eq(self.i.valid & ~none),
            queue.take.p.count.eq(compaction.count),
            queue.o.ready.eq(step),
            self.i.ready.eq(step & (none | (queue.level >= compaction.count))),
        ]
        packed = [queue.o.p.data[k * result.size : (k + 1) * result.size] for k in range(words)]
        results = [data.View(result, value) for value in compaction.unpack(m, packed)]
        hit = Signal(words)
        m.d.comb += hit.eq(Cat(self.i.p.mask[i] & results[i].hit for i in range(words)))
        with m.If(step):
            m.d.sync += [self.o.valid.eq(self.i.valid & self.i.ready), self.o.p.eq(self.i.p)]
            m.d.sync += self.o.p.mask.eq(self.i.p.mask & ~hit)
            for i in range(words):
                m.d.sync += self.o.p.words[i].eq(Mux(hit[i], results[i].slot, self.i.p.words[i]))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.hits.eq(self.hits + count_ones(hit))
        with m.If(self.start):
            m.d.sync += self.hits.eq(0)
        return m
