"""Brings the tracker's results back to the words they belong to.

A beat takes max(1, tracked accesses / lanes) cycles, once its results are there.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .choose import Choice
from .config import AcceleratorConfig
from .crossbar import result_layout
from .layouts import beat_layout
from .words import count_ones, one_hot_mux


class Merger(wiring.Component):
    """Members
    -------
    start : In(1)
        Access numbers begin at 0 again.
    i : In(stream of beat_layout)
        ``mask``: tracked accesses.
    results : In(stream of result_layout).array(lanes)
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
            "results": In(stream.Signature(result_layout(config))).array(config.lanes),
            "o": Out(stream.Signature(beat_layout(config))),
            "hits": Out(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        rank = Signal(ceil_log2(config.lanes))
        done = Signal(config.bus_words)  # words whose results are in `hit_words` and `slots`
        hit_words = Signal(config.bus_words)
        slots = [Signal(config.slot_bits, name=f"slot_{i}") for i in range(config.bus_words)]
        waiting = Signal(config.bus_words)
        m.d.comb += waiting.eq(self.i.p.mask & ~done)
        choice = Choice(m, waiting, rank, config.lanes)

        have = Cat(result.valid for result in self.results)
        complete = (choice.lane_used & ~have) == 0
        fire = Signal()
        m.d.comb += [
            fire.eq(self.i.valid & complete & (self.o.ready | ~choice.finish)),
            self.i.ready.eq(fire & choice.finish),
            self.o.valid.eq(self.i.valid & complete & choice.finish),
            self.o.p.eq(self.i.p),
        ]
        for lane in range(config.lanes):
            m.d.comb += self.results[lane].ready.eq(fire & choice.lane_used[lane])
        hit_now = Signal(config.bus_words)
        cold = Signal(config.bus_words)
        m.d.comb += [
            cold.eq(self.i.p.mask & ~((done & hit_words) | (~done & hit_now))),
            self.o.p.mask.eq(cold),
        ]
        for i in range(config.bus_words):
            from_lane = [choice.lane_words[lane][i] for lane in range(config.lanes)]
            slot = one_hot_mux(from_lane, [result.p.slot for result in self.results])
            m.d.comb += hit_now[i].eq(one_hot_mux(from_lane, [result.p.hit for result in self.results]))
            with m.If(self.i.p.mask[i] & ~cold[i]):
                m.d.comb += self.o.p.words[i].eq(Mux(done[i], slots[i], slot))
            with m.If(fire & choice.chosen[i]):
                m.d.sync += [slots[i].eq(slot), hit_words[i].eq(hit_now[i])]
        with m.If(fire):
            m.d.sync += [
                rank.eq(choice.next_rank),
                done.eq(Mux(choice.finish, 0, done | choice.chosen)),
                self.hits.eq(self.hits + count_ones(hit_now)),
            ]
        with m.If(self.start):
            m.d.sync += [rank.eq(0), done.eq(0), self.hits.eq(0)]
        return m
