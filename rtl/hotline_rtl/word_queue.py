"""Regroups words: groups with any number of words at any offset in, any other grouping out.

Up to one group in and one group out per cycle; a word can leave one cycle after it came.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import group_layout
from .words import shift_words, word_mask


def take_layout(words: int) -> data.StructLayout:
    """Asks for the next ``count`` words (at least 1), placed from word ``offset`` of a group on."""
    return data.StructLayout({"offset": range(max(2, words)), "count": range(words + 1)})


class WordQueue(wiring.Component):
    """A queue of words of ``word_bits`` bits; groups of up to ``in_words`` enter, of ``out_words`` leave.

    It holds ``room`` words. ``in_words + out_words``, if not given, keep full groups flowing; with
    ``in_words`` more, a full group leaves every cycle though now and then a short one comes.

    Members
    -------
    i : In(stream of group_layout)
        Words to append.
    take : In(stream of take_layout)
        What the next output group must hold; taken together with it.
    o : Out(stream of group_layout)
        The group that ``take`` asked for; words outside it are 0. Valid when all its words are here.
    level : Out
        Words inside.
    clear : In(1)
        Forgets all words.
    """

    def __init__(self, in_words: int, out_words: int, word_bits: int = 32, room: int | None = None):
        self.in_words, self.out_words, self.word_bits = in_words, out_words, word_bits
        self.room = room or in_words + out_words
        super().__init__({
            "i": In(stream.Signature(group_layout(in_words, word_bits))),
            "take": In(stream.Signature(take_layout(out_words))),
            "o": Out(stream.Signature(group_layout(out_words, word_bits))),
            "level": Out(range(self.room + 1)),
            "clear": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        n_in, n_out, bits = self.in_words, self.out_words, self.word_bits
        room = self.room
        held = Signal(bits * room)  # words at and above `level` are 0
        level = self.level

        taken = Signal(bits * n_out)
        m.d.comb += taken.eq(held[: bits * n_out] & word_mask(m, self.take.p.count, n_out, bits))
        leave = Signal(range(n_out + 1))
        left = Signal.like(level)
        enter = Signal(range(n_in + 1))
        m.d.comb += [
            self.o.valid.eq(self.take.valid & (level >= self.take.p.count)),
            self.take.ready.eq(self.o.ready & (level >= self.take.p.count)),
            self.o.p.offset.eq(self.take.p.offset),
            self.o.p.count.eq(self.take.p.count),
            self.o.p.data.eq(shift_words(m, taken, self.take.p.offset, n_out, bits, left=True)),
            leave.eq(Mux(self.o.valid & self.o.ready, self.take.p.count, 0)),
            left.eq(level - leave),
            self.i.ready.eq(left <= room - n_in),
            enter.eq(Mux(self.i.valid & self.i.ready, self.i.p.count, 0)),
        ]
        fresh = Signal(bits * n_in)
        m.d.comb += fresh.eq(
            shift_words(m, self.i.p.data, self.i.p.offset, n_in, bits, left=False) & word_mask(m, enter, n_in, bits)
        )
        rest = shift_words(m, held, leave, room, bits, left=False)
        place = Signal(range(room - n_in + 1))  # of the first fresh word, where there is room
        m.d.comb += place.eq(left)
        appended = shift_words(m, fresh, place, room, bits, left=True)
        m.d.sync += [held.eq(rest | Mux(enter == 0, 0, appended)), level.eq(left + enter)]
        with m.If(self.clear):
            m.d.sync += [held.eq(0), level.eq(0)]
        return m
