"""Entries of the tracker as words of a hot list, or of a delta list: keys from sets and tags.

One entry per cycle.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import EMPTY_SLOT
from ..lib.keys import Permutation
from ..lib.word_queue import ended_layout
from .placement import set_in_array_0


def listed_entry_layout(config: AcceleratorConfig) -> data.StructLayout:
    """An entry of set ``set`` of the whole tracker: its key becomes two words, or two EMPTY_SLOT if it is not ``valid``.
    ``literal``: no entry, but one word, ``slot``. ``end``: nothing, but the end of the list."""
    return data.StructLayout({
        "set": config.set_bits, "tag": config.tag_bits, "valid": 1, "literal": 1, "end": 1, "slot": config.slot_bits,
    })  # fmt: skip


class ListWords(wiring.Component):
    """Members: ``i``, a stream of listed_entry_layout; ``o``, a stream of ended_layout(2)."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(listed_entry_layout(config))),
                "o": Out(stream.Signature(ended_layout(2))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, came = self.config, self.i.p
        about = data.StructLayout({"valid": 1, "literal": 1, "end": 1, "slot": config.slot_bits})
        m.submodules.inverse = inverse = Permutation(config, extra=about.size, inverse=True)
        leaves = data.View(about, inverse.o.p.extra)
        key = inverse.o.p.keys[0]
        table, row = key[config.row_bits :], key[: config.row_bits]
        pair = Signal(64)
        m.d.comb += [
            inverse.i.valid.eq(self.i.valid),
            self.i.ready.eq(inverse.i.ready),
            inverse.i.p.keys[0].eq(Cat(set_in_array_0(config, came.set, came.tag), came.tag)),
            inverse.i.p.extra.eq(Cat(came.valid, came.literal, came.end, came.slot)),
            self.o.valid.eq(inverse.o.valid),
            inverse.o.ready.eq(self.o.ready),
            pair.eq(Cat(table, Const(0, 32 - config.table_bits), row)),
            self.o.p.end.eq(leaves.end),
            self.o.p.group.count.eq(Mux(leaves.end, 0, Mux(leaves.literal, 1, 2))),
            self.o.p.group.data.eq(
                Mux(leaves.literal, leaves.slot, Mux(leaves.valid, pair, EMPTY_SLOT | EMPTY_SLOT << 32))
            ),
        ]
        return m
