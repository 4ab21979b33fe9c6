"""A bank's marks: of each set, whether it may differ from the hot set. So a SWAP looks at no others.

Words of ``mark_bits`` sets of one partition. One event per cycle; a word that is asked for comes 2 cycles later.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..lib.logic import delayed
from ..lib.ram import Ram


def mark_word_bits(config: AcceleratorConfig) -> int:
    """Bits of the number of a word in its bank."""
    return config.set_bits - config.bank_bits - (config.mark_bits.bit_length() - 1)


class Marks(wiring.Component):
    """Members
    -------
    mark : In(1), set : In
        Marks set ``set`` of the bank, counted through all arrays.
    take, clear : In(1), word : In
        Word ``word`` is given, or not, and has no marks from then on.
    r_valid : Out(1), marks : Out(mark_bits)
        The word that was taken.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "mark": In(1), "set": In(config.set_bits - config.bank_bits), "take": In(1), "clear": In(1),
            "word": In(max(1, mark_word_bits(config))), "r_valid": Out(1), "marks": Out(config.mark_bits),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word_bits, bit_bits = mark_word_bits(config), config.mark_bits.bit_length() - 1
        m.submodules.ram = ram = Ram(config.mark_bits, max(2, 1 << word_bits))

        # A partition's sets lie side by side: what is left of its number, beside the bank's, is on top.
        apart = config.partition_bits - config.bank_bits
        place: Value = Cat(self.set[apart:], self.set[:apart])
        word = Mux(self.mark, place[bit_bits:], self.word)
        s2_mark, s2_take = delayed(m, self.mark), delayed(m, self.take)
        s2_valid = delayed(m, self.mark | self.take | self.clear)
        s2_word, s2_bit = Signal.like(ram.r_addr), Signal(bit_bits)
        written = Signal(config.mark_bits)  # a cycle ago
        same = delayed(m, s2_valid & (s2_word == word))
        m.d.sync += [s2_word.eq(word), s2_bit.eq(place[:bit_bits])]
        now = Mux(same, written, ram.r_data)
        m.d.comb += [
            ram.r_en.eq(1),
            ram.r_addr.eq(word),
            ram.w_en.eq(s2_valid),
            ram.w_addr.eq(s2_word),
            ram.w_data.eq(Mux(s2_mark, now | (1 << s2_bit), 0)),
        ]
        m.d.sync += [written.eq(ram.w_data), self.r_valid.eq(s2_take), self.marks.eq(now)]
        return m
