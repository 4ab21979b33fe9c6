"""Turns the word stream of sample records into aligned beats of micro-batch records.

Each record starts a new beat; word 0 is the sample number, then payload and rows follow.
One beat per cycle; latency 1 cycle.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .layouts import COUNT_BITS, words_layout
from .word_queue import WordQueue


def record_beat_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Beat ``beat`` of record ``sample``: ``count`` words from word 0 on. ``end``: the last of all."""
    return data.StructLayout({
        "words": data.ArrayLayout(32, config.beat_words),
        "count": range(config.beat_words + 1),
        "beat": range(config.record_beats),
        "sample": COUNT_BITS,
        "last": 1, "end": 1,
    })  # fmt: skip


class RecordReader(wiring.Component):
    """Members
    -------
    start : In(1), samples, sample_words : In
        Begins a mini-batch. Both stay until the last record has left.
    i : In(stream of words_layout)
        Sample records, contiguous.
    o : Out(stream of record_beat_layout)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "samples": In(COUNT_BITS + 1), "sample_words": In(range(config.max_record_words + 1)),
            "i": In(stream.Signature(words_layout(config))),
            "o": Out(stream.Signature(record_beat_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        words = self.config.beat_words
        m.submodules.queue = queue = WordQueue(self.config.bus_words, words)
        wiring.connect(m, wiring.flipped(self.i), queue.i)

        active = Signal()
        sample = Signal(COUNT_BITS + 1)
        beat = Signal(range(self.config.record_beats))
        left = Signal.like(self.sample_words)  # words of the record that have not left
        first = beat == 0
        space = Mux(first, words - 1, words)
        last = left <= space
        count = Mux(last, left, space)
        m.d.comb += [
            queue.take.valid.eq(active),
            queue.take.p.offset.eq(first),
            queue.take.p.count.eq(count),
            self.o.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.o.ready),
            self.o.p.words.eq(queue.o.p.data),
            self.o.p.count.eq(count + first),
            self.o.p.beat.eq(beat),
            self.o.p.sample.eq(sample),
            self.o.p.last.eq(last),
            self.o.p.end.eq(last & (sample + 1 == self.samples)),
        ]
        with m.If(first):
            m.d.comb += self.o.p.words[0].eq(sample)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                left.eq(Mux(last, self.sample_words, left - count)),
                beat.eq(Mux(last, 0, beat + 1)),
                sample.eq(sample + last),
                active.eq(~self.o.p.end),
            ]
        with m.If(self.start):
            m.d.sync += [active.eq(1), sample.eq(0), beat.eq(0), left.eq(self.sample_words)]
            m.d.comb += queue.clear.eq(1)
        return m
