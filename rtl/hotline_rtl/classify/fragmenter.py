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
from ..lib.word_queue import group_layout


class Fragmenter(wiring.Component):
    """Members
    -------
    start : In(1)
        Begins a mini-batch; nothing is inside.
    discard : In(1)
        Throws all samples away (LEARN needs only their accesses).
    i : In(stream of beat_layout)
        ``mask``: cold accesses.
    popular : Out(stream of group_layout)
        Records of popular samples.
    non_popular : Out(stream of beat_layout)
        Records of the others; cold accesses still hold rows.
    popular_count, non_popular_count : Out
        Samples that have left, since ``start``.
    classified : Out(1)
        The last sample has left.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "discard": In(1),
            "i": In(stream.Signature(beat_layout(config))),
            "popular": Out(stream.Signature(group_layout(config.beat_words))),
            "non_popular": Out(stream.Signature(beat_layout(config))),
            "popular_count": Out(COUNT_BITS + 1), "non_popular_count": Out(COUNT_BITS + 1),
            "classified": Out(1),
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
            verdicts.i.p.drop.eq(drop | self.discard),
        ]
        with m.If(enter):
            m.d.sync += [cold_before.eq(cold & ~last), drop_before.eq(drop & ~last)]

        # Out: the whole sample follows its verdict.
        verdict = verdict_out.o.p
        known = verdict_out.o.valid & beats.o.valid
        m.d.comb += [
            self.popular.valid.eq(known & verdict.popular & ~verdict.drop),
            self.popular.p.data.eq(beats.o.p.words),
            self.popular.p.count.eq(beats.o.p.count),
            self.non_popular.valid.eq(known & ~verdict.popular & ~verdict.drop),
            self.non_popular.p.eq(beats.o.p),
            beats.o.ready.eq(
                verdict_out.o.valid
                & (verdict.drop | Mux(verdict.popular, self.popular.ready, self.non_popular.ready))
            ),
            verdict_out.o.ready.eq(beats.o.valid & beats.o.ready & beats.o.p.last),
        ]
        # Samples are counted two cycles after they have left; a command asks for the counts later than that.
        left = Signal()
        left_popular = Signal(reset_less=True)
        left_non_popular = Signal(reset_less=True)
        left_end = Signal(reset_less=True)
        popular_count = without_reset(m, self.popular_count)
        non_popular_count = without_reset(m, self.non_popular_count)
        m.d.sync += [
            left.eq(verdict_out.o.valid & verdict_out.o.ready), left_end.eq(beats.o.p.end),
            left_popular.eq(verdict.popular & ~verdict.drop), left_non_popular.eq(~verdict.popular & ~verdict.drop),
            popular_count.eq(popular_count + delayed(m, left & left_popular)),
            non_popular_count.eq(non_popular_count + delayed(m, left & left_non_popular)),
        ]  # fmt: skip
        with m.If(left):
            m.d.sync += self.classified.eq(left_end)
        with m.If(self.start):
            m.d.sync += [popular_count.eq(0), non_popular_count.eq(0), self.classified.eq(0)]
        return m
