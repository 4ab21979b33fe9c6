"""Brings the tracker's results back to the words they belong to.

One beat per cycle, once its results are there; latency 7 cycles from a beat's last result.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import beat_layout
from ..interfaces.tracker import result_layout
from ..lib.fifo import StreamFifo
from ..lib.logic import count_ones, delayed, ranks, without_reset
from ..lib.register_slice import RegisterSlice
from ..lib.word_queue import WordQueue
from .crossbar import results_layout


class Merger(wiring.Component):
    """Members
    -------
    masks : In(stream of beat masks)
        Those of the beats, at once: tracked accesses. ``beats`` of them are held at most.
    i : In(stream of beat_layout)
        The beats.
    results : In(stream of results_layout)
        Results of their tracked accesses, in the same order.
    o : Out(stream of beat_layout)
        ``mask``: cold accesses; the words of hot ones hold their slots.
    counted : Out(1), hits : Out(32)
        A mini-batch's ``end`` has left, some cycles ago; results that were hits since the one before.
    """

    def __init__(self, config: AcceleratorConfig, beats: int):
        self.config = config
        self.beats = beats
        super().__init__({
            "masks": In(stream.Signature(config.beat_words)),
            "i": In(stream.Signature(beat_layout(config))),
            "results": In(stream.Signature(results_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "counted": Out(1), "hits": Out(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words, result = config.beat_words, result_layout(config)
        m.submodules.queue = queue = WordQueue(config.lanes, words, result.size, masked_out=True)
        m.d.comb += [
            queue.i.valid.eq(self.results.valid),
            queue.i.p.data.eq(Cat(self.results.p.lanes)),
            queue.i.p.offset.eq(self.results.p.offset),
            queue.i.p.count.eq(self.results.p.count),
            self.results.ready.eq(queue.i.ready),
        ]

        # What each beat takes is asked for as soon as it is there.
        m.submodules.masks = masks = StreamFifo(words, self.beats)
        wiring.connect(m, wiring.flipped(self.masks), masks.i)
        m.submodules.takes = takes = RegisterSlice(queue.take.p.shape())
        m.d.comb += [
            masks.o.ready.eq(takes.i.ready),
            takes.i.valid.eq(masks.o.valid & masks.o.p.any()),
            takes.i.p.count.eq(count_ones(masks.o.p)),
            *(takes.i.p.ranks[i].eq(rank) for i, rank in enumerate(ranks(masks.o.p))),
            queue.take.p.eq(takes.o.p),
            queue.take.valid.eq(takes.o.valid),
            takes.o.ready.eq(queue.take.ready),
        ]

        none = self.i.p.mask == 0
        step, leave = Signal(), Signal()
        m.d.comb += [
            step.eq(~self.o.valid | self.o.ready),
            leave.eq(self.i.valid & (none | queue.o.valid)),
            self.i.ready.eq(step & (none | queue.o.valid)),
            queue.o.ready.eq(step & self.i.valid & ~none),
        ]
        out = without_reset(m, self.o.p)
        results = [data.View(result, queue.o.p.data.word_select(i, result.size)) for i in range(words)]
        hit = Signal(words)
        m.d.comb += hit.eq(Cat(self.i.p.mask[i] & results[i].hit for i in range(words)))
        with m.If(step):
            m.d.sync += [self.o.valid.eq(leave), out.eq(self.i.p)]
            m.d.sync += out.mask.eq(self.i.p.mask & ~hit)
            for i in range(words):
                m.d.sync += out.words[i].eq(Mux(hit[i], results[i].slot, self.i.p.words[i]))
        # Hits are counted three cycles after they have left.
        left, left_hits = delayed(m, leave & step & self.i.p.end), delayed(m, Mux(leave & step, hit, 0))
        ends, new_hits = delayed(m, delayed(m, left)), delayed(m, delayed(m, count_ones(left_hits)))
        m.d.sync += [self.counted.eq(ends), self.hits.eq(Mux(self.counted, 0, self.hits) + new_hits)]
        return m
