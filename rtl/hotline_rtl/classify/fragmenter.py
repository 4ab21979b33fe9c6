"""Holds each sample until its last access is known, then sends it to one of two micro-batches.

One beat in and one out per cycle; latency: the sample's own beats and 4 cycles.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import COUNT_BITS, beat_layout
from ..lib.fifo import StreamFifo
from ..lib.logic import delayed, without_reset
from ..lib.register_slice import RegisterSlice
from ..lib.streams import fork
from ..lib.word_queue import ended_layout


def fragmented_layout() -> data.StructLayout:
    """How many samples of a mini-batch have gone to each micro-batch."""
    return data.StructLayout({"popular": COUNT_BITS + 1, "non_popular": COUNT_BITS + 1})


class Fragmenter(wiring.Component):
    """Members
    -------
    jobs : In(stream of "discard")
        A mini-batch may leave; with ``discard`` all of its samples are thrown away (LEARN needs only their accesses).
    i : In(stream of beat_layout)
        ``mask``: cold accesses. Beats behind a mini-batch's ``end`` are of the next one, and wait for its job.
    popular : Out(stream of ended_layout)
        Records of popular samples; ``end`` with the last beat of a mini-batch that is not discarded, whosesoever it is.
    non_popular : Out(stream of beat_layout)
        Records of the others, in the same way; cold accesses still hold rows.
    results : Out(stream of fragmented_layout)
        The mini-batch's last beat has left.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(1)),
            "i": In(stream.Signature(beat_layout(config))),
            "popular": Out(stream.Signature(ended_layout(config.beat_words))),
            "non_popular": Out(stream.Signature(beat_layout(config))),
            "results": Out(stream.Signature(fragmented_layout())),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        beats = StreamFifo(beat_layout(self.config), 2 * self.config.record_beats)
        verdicts = StreamFifo(data.StructLayout({"popular": 1, "drop": 1}), 2 * self.config.record_beats)
        m.submodules.beats, m.submodules.verdicts = beats, verdicts
        m.submodules.slice = verdict_out = RegisterSlice(verdicts.o.p.shape())
        wiring.connect(m, verdicts.o, verdict_out.i)

        # In: a beat enters; with the last one, the sample's verdict.
        cold_before = Signal()
        drop_before = Signal()
        cold = cold_before | self.i.p.mask.any()
        drop = drop_before | self.i.p.drop
        last = self.i.p.last
        enter = self.i.valid & beats.i.ready & verdicts.i.ready
        m.d.comb += [
            self.i.ready.eq(beats.i.ready & verdicts.i.ready),
            beats.i.valid.eq(enter),
            beats.i.p.eq(self.i.p),
            verdicts.i.valid.eq(enter & last),
            verdicts.i.p.popular.eq(~cold),
            verdicts.i.p.drop.eq(drop),
        ]
        with m.If(enter):
            m.d.sync += [cold_before.eq(cold & ~last), drop_before.eq(drop & ~last)]

        # Out: the whole sample follows its verdict. The last beat of all goes to both, to the other one as its end alone.
        opened, discard = Signal(), Signal(reset_less=True)
        verdict, beat = verdict_out.o.p, beats.o.p
        keeps = ~verdict.drop & ~discard
        is_popular, is_non_popular = verdict.popular & keeps, ~verdict.popular & keeps
        end = beat.end & ~discard
        leaving = stream.Signature(0).create()
        fork(m, leaving, [self.popular, self.non_popular], [is_popular | end, is_non_popular | end])
        m.d.comb += [
            leaving.valid.eq(verdict_out.o.valid & beats.o.valid & opened),
            self.popular.p.group.data.eq(beat.words),
            self.popular.p.group.count.eq(Mux(is_popular, beat.count, 0)),
            self.popular.p.end.eq(end),
            self.non_popular.p.eq(beat),
            beats.o.ready.eq(verdict_out.o.valid & opened & leaving.ready),
            verdict_out.o.ready.eq(beats.o.valid & beats.o.ready & beat.last),
        ]
        with m.If(~is_non_popular):
            m.d.comb += [self.non_popular.p.count.eq(0), self.non_popular.p.mask.eq(0), self.non_popular.p.last.eq(1)]

        # A sample is counted two cycles after it has left, and the mini-batch is over a cycle later.
        left = Signal()
        left_popular = Signal(reset_less=True)
        left_non_popular = Signal(reset_less=True)
        left_end = Signal(reset_less=True)
        result = without_reset(m, self.results.p)
        m.d.comb += self.jobs.ready.eq(~opened & ~left & ~delayed(m, left) & ~self.results.valid)
        m.d.sync += [
            left.eq(verdict_out.o.valid & verdict_out.o.ready),
            left_end.eq(beat.end),
            left_popular.eq(is_popular),
            left_non_popular.eq(is_non_popular),
            result.popular.eq(result.popular + delayed(m, left & left_popular)),
            result.non_popular.eq(result.non_popular + delayed(m, left & left_non_popular)),
            self.results.valid.eq(delayed(m, left & left_end) | (self.results.valid & ~self.results.ready)),
        ]
        with m.If(beats.o.valid & beats.o.ready & beat.end):
            m.d.sync += opened.eq(0)
        with m.If(self.jobs.valid & self.jobs.ready):
            m.d.sync += [opened.eq(1), discard.eq(self.jobs.p), result.eq(0)]
        return m
