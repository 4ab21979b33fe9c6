"""Regroups words: beats with any number of words at any offset in, any other grouping out.

Up to one beat in and one beat out per cycle; a word can leave one cycle after it came.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .layouts import words_layout
from .words import shift_words, word_mask


def take_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Asks for the next ``count`` words (at least 1), placed from word ``offset`` of a beat on."""
    return data.StructLayout({"offset": range(config.bus_words), "count": range(config.bus_words + 1)})


class WordQueue(wiring.Component):
    """A queue of up to two beats of words.

    Members
    -------
    i : In(stream of words_layout)
        Words to append.
    take : In(stream of take_layout)
        What the next output beat must hold; taken together with it.
    o : Out(stream of words_layout)
        The beat that ``take`` asked for; words outside it are 0. Valid when all its words are here.
    level : Out
        Words inside.
    clear : In(1)
        Forgets all words.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(words_layout(config))),
            "take": In(stream.Signature(take_layout(config))),
            "o": Out(stream.Signature(words_layout(config))),
            "level": Out(range(2 * config.bus_words + 1)),
            "clear": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        words = self.config.bus_words
        held = Signal(2 * self.config.bus_bits)  # words at and above `level` are 0
        level = self.level

        taken = Signal(self.config.bus_bits)
        m.d.comb += taken.eq(held[: self.config.bus_bits] & word_mask(m, self.take.p.count, words))
        leave = Signal(range(words + 1))
        left = Signal.like(level)
        enter = Signal(range(words + 1))
        m.d.comb += [
            self.o.valid.eq(self.take.valid & (level >= self.take.p.count)),
            self.take.ready.eq(self.o.ready & (level >= self.take.p.count)),
            self.o.p.offset.eq(self.take.p.offset),
            self.o.p.count.eq(self.take.p.count),
            self.o.p.data.eq(shift_words(m, taken, self.take.p.offset, words, left=True)),
            leave.eq(Mux(self.o.valid & self.o.ready, self.take.p.count, 0)),
            left.eq(level - leave),
            self.i.ready.eq(left <= words),
            enter.eq(Mux(self.i.valid & self.i.ready, self.i.p.count, 0)),
        ]
        fresh = Signal(self.config.bus_bits)
        m.d.comb += fresh.eq(
            shift_words(m, self.i.p.data, self.i.p.offset, words, left=False) & word_mask(m, enter, words)
        )
        rest = shift_words(m, held, leave, 2 * words, left=False)
        appended = shift_words(m, fresh, left[:-1], 2 * words, left=True)
        m.d.sync += [held.eq(rest | Mux(enter == 0, 0, appended)), level.eq(left + enter)]
        with m.If(self.clear):
            m.d.sync += [held.eq(0), level.eq(0)]
        return m
