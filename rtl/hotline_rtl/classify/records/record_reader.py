"""Turns the word stream of sample records into aligned beats of micro-batch records.

Each record starts a new beat; word 0 is the sample number, then payload and rows follow.
One beat per cycle; latency 7 cycles.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.jobs import decode_layout, sampling_layout
from ...interfaces.layouts import COUNT_BITS, words_layout
from ...lib.countdown import Countdown
from ...lib.logic import delayed
from ...lib.word_queue import WordQueue


def record_beat_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Beat ``beat`` of record ``sample``: ``count`` words from word 0 on. ``end``: the last of all. ``follow``: the shadow learns
    from the sample."""
    return data.StructLayout({
        "words": data.ArrayLayout(32, config.beat_words),
        "count": range(config.beat_words + 1),
        "beat": range(config.record_beats),
        "sample": COUNT_BITS,
        "last": 1, "end": 1, **({"follow": 1} if config.shadow else {}),
    })  # fmt: skip


class RecordReader(wiring.Component):
    """Members
    -------
    jobs : In(stream of decode_layout), sample_words : In, sampling : In(sampling_layout)
        A mini-batch. Only when the records of the one before have been taken. ``sample_words`` and ``sampling`` stay meanwhile.
    i : In(stream of words_layout)
        Sample records, contiguous. Taken from a job's begin on.
    o : Out(stream of record_beat_layout)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(decode_layout())), "sampling": In(sampling_layout()),
            "sample_words": In(range(config.max_record_words + 1)),
            "i": In(stream.Signature(words_layout(config))),
            "o": Out(stream.Signature(record_beat_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = config.beat_words
        shift = ceil_log2(words)
        about = data.StructLayout({name: field.shape for name, field in self.o.p.shape() if name != "words"})
        m.submodules.queue = queue = WordQueue(config.bus_words, words, extra=about.size, whole_in=True)

        # A job: what is compared with the number of its samples follows that in three cycles.
        samples, begins = Signal(COUNT_BITS + 1, reset_less=True), Signal(3)
        opened, follows = Signal(), Signal(reset_less=True)
        start, final = begins[-1], Signal()  # all words of the last beat are there
        m.d.comb += [
            self.jobs.ready.eq(~opened),
            queue.i.valid.eq(self.i.valid & opened & ~begins.any()),
            queue.i.p.eq(self.i.p),
            self.i.ready.eq(queue.i.ready & opened & ~begins.any()),
        ]
        m.d.sync += begins.eq(Cat(self.jobs.valid & self.jobs.ready, begins))
        with m.If(final):
            m.d.sync += opened.eq(0)
        with m.If(self.jobs.valid & self.jobs.ready):
            m.d.sync += [opened.eq(1), samples.eq(self.jobs.p.samples), follows.eq(self.jobs.p.follows)]

        # The next beat, put together a cycle before it is asked for: every record has as many, and its last as many words.
        # Whether it is the last of its record, and of the last record, is known when it is put together.
        active = Signal()
        sample = Signal(COUNT_BITS + 1, reset_less=True)
        # Samples whose last beat has not been put together.
        m.submodules.countdown = left = Countdown(COUNT_BITS + 1, 3)
        beat = Signal(range(config.record_beats), reset_less=True)
        is_last, is_final = Signal(reset_less=True), Signal(reset_less=True)
        last_beat = delayed(m, self.sample_words >> shift)
        last_count = delayed(m, self.sample_words[:shift] + 1)
        following, asks, asked = Signal(about), Signal(), Signal(about, reset_less=True)
        # of it: words of the stream, and where they begin
        new_words = Signal.like(asked.count, reset_less=True)
        offset = Signal(reset_less=True)
        m.d.comb += [left.start.eq(start), left.count.eq(samples)]
        one_beat, last_but_one = delayed(m, last_beat == 0), delayed(m, last_beat - 1)
        goes = queue.take.valid & queue.take.ready
        step = ~asks | goes
        m.d.comb += final.eq(goes & asked.end)
        m.d.comb += [
            following.last.eq(is_last),
            following.count.eq(Mux(is_last, last_count, words)),
            following.beat.eq(beat),
            following.sample.eq(sample),
            following.end.eq(is_last & is_final),
        ]
        if config.shadow:
            others = Signal.like(self.sampling.seed)  # bits of the position that are not any
            m.d.sync += others.eq((1 << self.sampling.shift) - 1)
            apart = (sample ^ self.sampling.seed) & others
            m.d.comb += following.follow.eq(follows & (apart == 0))
        m.d.comb += [
            queue.take.p.offset.eq(offset),
            queue.take.p.count.eq(new_words),
            queue.take.p.extra.eq(asked),
            queue.take.valid.eq(asks),
            queue.clear.eq(start),
            queue.drop.eq(start),
        ]
        with m.If(step):
            first = beat == 0
            m.d.sync += [
                asks.eq(active),
                asked.eq(following),
                new_words.eq(following.count - first),
                offset.eq(first),
            ]
        with m.If(step & active):
            m.d.sync += [
                beat.eq(Mux(is_last, 0, beat + 1)),
                is_last.eq(Mux(is_last, one_beat, beat == last_but_one)),
                active.eq(~following.end),
            ]
            with m.If(is_last):
                m.d.comb += left.take.eq(1)
                m.d.sync += [sample.eq(sample + 1), is_final.eq(left.left[2])]
        with m.If(start):
            m.d.sync += [
                active.eq(1),
                asks.eq(0),
                sample.eq(0),
                beat.eq(0),
                is_last.eq(one_beat),
                is_final.eq(left.begins[1]),
            ]

        taken = data.View(about, queue.o.p.extra)
        m.d.comb += [
            self.o.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.o.ready),
            self.o.p.words.eq(queue.o.p.data),
            *(getattr(self.o.p, name).eq(getattr(taken, name)) for name, _ in about),
        ]
        with m.If(taken.beat == 0):
            m.d.comb += self.o.p.words[0].eq(taken.sample)
        return m
