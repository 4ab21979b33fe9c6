"""How a row lies in bus beats: from any word of its first beat on, to any word of its last."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig


def row_beats_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Word ``offset`` of the first beat is the row's first, word ``end`` of beat number ``last_beat`` its last."""
    return data.StructLayout({
        "offset": range(config.bus_words), "end": range(config.bus_words), "last_beat": range(config.row_beats),
    })  # fmt: skip


def row_beats(config: AcceleratorConfig, offset: Value, row_words: Value) -> Value:
    """row_beats_layout of a row of ``row_words`` words from word ``offset`` of a beat on."""
    word_bits = ceil_log2(config.bus_words)
    last = offset + (row_words - 1)[: len(row_words)]
    beat_bits = ceil_log2(config.row_beats)
    return Cat(offset[:word_bits], last[:word_bits], last[word_bits : word_bits + beat_bits])


def place_beat(m: Module, config: AcceleratorConfig, row, first: Value, last: Value) -> Signal:
    """Where the words of a beat of ``row`` are, if it is the ``first`` of the row, or the ``last``: ``count`` from ``offset``
    on, those of ``mask``."""
    words = config.bus_words
    place = Signal(data.StructLayout({"offset": range(words), "count": range(words + 1), "mask": words}))
    end = Mux(last, row.end, words - 1)
    m.d.comb += [place.offset.eq(Mux(first, row.offset, 0)), place.count.eq(end - place.offset + 1)]
    for i in range(words):
        begun = place.offset <= i if i < words - 1 else 1
        m.d.comb += place.mask[i].eq(begun & (end >= i) if i else begun)
    return place
