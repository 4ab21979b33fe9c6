"""Entries of the tracker as words of a hot list, or of a delta list: keys from sets and tags.

One entry per cycle, and one cycle more for an entry whose working row is asked for. Up to QUESTIONS entries wait for answers.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.keys import find_members
from ...interfaces.layouts import EMPTY_SLOT, NO_WORKING_ROW
from ...lib.fifo import StreamFifo
from ...lib.keys import Permutation
from ...lib.streams import fork
from ...lib.word_queue import ended_layout
from ..placement import set_in_array_0

#: Entries that may wait for answers.
QUESTIONS = 16


def listed_entry_layout(config: AcceleratorConfig) -> data.StructLayout:
    """An entry of set ``set`` of the whole tracker: its key becomes two words, or two EMPTY_SLOT if it is not ``valid``.
    ``literal``: no entry, but one word, ``slot``. ``end``: nothing, but the end of the list. ``asks``: a third word says which
    working row has the key."""
    asks = {"asks": 1} if config.shadow else {}
    return data.StructLayout({
        "set": config.set_bits, "tag": config.tag_bits, "valid": 1, "literal": 1, "end": 1, "slot": config.slot_bits, **asks,
    })  # fmt: skip


class ListWords(wiring.Component):
    """Members
    -------
    i : In(stream of listed_entry_layout), o : Out(stream of ended_layout(2))
    finds : Out(stream of key_layout), found : In(stream of found_key_layout)
        To the working set, with a shadow: which working row has a key?
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(listed_entry_layout(config))), "o": Out(stream.Signature(ended_layout(2))),
            **(find_members(config) if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, came = self.config, self.i.p
        about = data.StructLayout({"valid": 1, "literal": 1, "end": 1, "asks": 1, "slot": config.slot_bits})
        m.submodules.inverse = inverse = Permutation(config, extra=about.size, inverse=True)
        leaves = data.View(about, inverse.o.p.extra)
        key = inverse.o.p.keys[0]
        table, row = key[config.row_bits :], key[: config.row_bits]
        pair, group = Signal(64), Signal(ended_layout(2))
        m.d.comb += [
            inverse.i.valid.eq(self.i.valid),
            self.i.ready.eq(inverse.i.ready),
            inverse.i.p.keys[0].eq(Cat(set_in_array_0(config, came.set, came.tag), came.tag)),
            inverse.i.p.extra.eq(
                Cat(came.valid, came.literal, came.end, came.asks if config.shadow else Const(0), came.slot)
            ),
            pair.eq(Cat(table, Const(0, 32 - config.table_bits), row)),
            group.end.eq(leaves.end),
            group.group.count.eq(Mux(leaves.end, 0, Mux(leaves.literal, 1, 2))),
            group.group.data.eq(
                Mux(leaves.literal, leaves.slot, Mux(leaves.valid, pair, EMPTY_SLOT | EMPTY_SLOT << 32))
            ),
        ]
        if not config.shadow:
            m.d.comb += [self.o.valid.eq(inverse.o.valid), self.o.p.eq(group), inverse.o.ready.eq(self.o.ready)]
            return m

        # Entries wait for answers in a queue. Behind the pair of one whose working row is asked for comes that.
        listed = data.StructLayout({"words": ended_layout(2), "asks": 1})
        m.submodules.queue = queue = StreamFifo(listed, QUESTIONS)
        fork(m, inverse.o, [queue.i, self.finds], [1, leaves.asks])
        pair_gone = Signal()
        asks, answers = queue.o.p.asks, queue.o.p.asks & pair_gone
        m.d.comb += [
            queue.i.p.words.eq(group),
            queue.i.p.asks.eq(leaves.asks),
            self.finds.p.eq(key),
            self.o.valid.eq(queue.o.valid & (self.found.valid | ~answers)),
            self.o.p.eq(queue.o.p.words),
            queue.o.ready.eq(self.o.ready & (~asks | (pair_gone & self.found.valid))),
            self.found.ready.eq(queue.o.valid & answers & self.o.ready),
        ]
        with m.If(answers):
            m.d.comb += [
                self.o.p.group.count.eq(1),
                self.o.p.group.data.eq(Mux(self.found.p.found, self.found.p.number, NO_WORKING_ROW)),
            ]
        with m.If(self.o.valid & self.o.ready & asks):
            m.d.sync += pair_gone.eq(~pair_gone)
        return m
