"""Deals the tracked accesses of the record beats to the lanes, in trace order.

A beat takes max(1, tracked accesses / lanes) cycles; it waits for its results in ``waiting``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .choose import Choice
from .config import AcceleratorConfig
from .layouts import beat_layout
from .words import one_hot_mux


def lane_keys_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key for each lane; bit ``lane`` of ``extra`` says whether there is one."""
    return data.StructLayout({
        "keys": data.ArrayLayout(config.key_bits, config.lanes), "extra": config.lanes,
    })  # fmt: skip


class Dispatcher(wiring.Component):
    """Members
    -------
    start : In(1)
        Access numbers begin at 0 again.
    i : In(stream of beat_layout)
    keys : Out(stream of lane_keys_layout)
    waiting : Out(stream of beat_layout)
        The beat, when its last key leaves.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1),
            "i": In(stream.Signature(beat_layout(config))),
            "keys": Out(stream.Signature(lane_keys_layout(config))),
            "waiting": Out(stream.Signature(beat_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        rank = Signal(ceil_log2(config.lanes))
        done = Signal(config.bus_words)
        waiting = Signal(config.bus_words)
        m.d.comb += waiting.eq(self.i.p.mask & ~done)
        choice = Choice(m, waiting, rank, config.lanes)

        any_key = waiting.any()
        fire = Signal()
        m.d.comb += [
            fire.eq(self.i.valid & (self.keys.ready | ~any_key) & (self.waiting.ready | ~choice.finish)),
            self.i.ready.eq(fire & choice.finish),
            self.keys.valid.eq(self.i.valid & any_key & (self.waiting.ready | ~choice.finish)),
            self.keys.p.extra.eq(choice.lane_used),
            self.waiting.valid.eq(self.i.valid & choice.finish & (self.keys.ready | ~any_key)),
            self.waiting.p.eq(self.i.p),
        ]
        keys = [Cat(self.i.p.words[i][: config.row_bits], self.i.p.tables[i]) for i in range(config.bus_words)]
        for lane in range(config.lanes):
            m.d.comb += self.keys.p.keys[lane].eq(one_hot_mux(choice.lane_words[lane], keys))
        with m.If(fire):
            m.d.sync += [rank.eq(choice.next_rank), done.eq(Mux(choice.finish, 0, done | choice.chosen))]
        with m.If(self.start):
            m.d.sync += [rank.eq(0), done.eq(0)]
        return m
