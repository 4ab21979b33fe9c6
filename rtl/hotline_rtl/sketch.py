"""A bank's part of the sketch that counts keys without an entry: a count-min sketch with conservative update.

``cell_arrays`` RAMs of words of ``word_cells`` cells; a key has a cell in each. In step with the bank: the
request of one cycle has its cells read, its estimate made and its cells written in the next. The golden
twin is ``hotline_golden.policies.frequency``.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .ram import Ram
from .words import extreme


class Sketch(wiring.Component):
    """Members
    -------
    words, cells : In(array)
        Of the request: for each array the word's address in this bank, and the cell in the word.
    weight : In
        A cycle later: what the access counts.
    estimate : Out
        A cycle later: how often the key has been counted, this access included.
    update, clear, halve : In(1)
        A cycle later: cells rise to the estimate; or all cells of the word become 0, or half of what they are.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.word_bits = config.sketch_word_bits - config.bank_bits
        super().__init__({
            "words": In(self.word_bits).array(config.cell_arrays),
            "cells": In(ceil_log2(config.word_cells)).array(config.cell_arrays),
            "weight": In(range(8)), "estimate": Out(config.sketch_bits),
            "update": In(1), "clear": In(1), "halve": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        bits, most = config.sketch_bits, (1 << config.sketch_bits) - 1
        layout = data.ArrayLayout(bits, config.word_cells)
        counts, parts = [], []
        for a in range(config.cell_arrays):
            m.submodules[f"ram_{a}"] = ram = Ram(layout.size, 1 << self.word_bits)
            address = Signal(self.word_bits, name=f"address_{a}")
            cell = Signal.like(self.cells[a], name=f"cell_{a}")
            written = Signal(name=f"written_{a}")
            written_address = Signal(self.word_bits, name=f"written_address_{a}")
            written_word = Signal(layout, name=f"written_word_{a}")
            word = Signal(layout, name=f"word_{a}")
            count = Signal(bits, name=f"count_{a}")
            m.d.comb += [
                ram.r_en.eq(1),
                ram.r_addr.eq(self.words[a]),
                word.eq(Mux(written & (written_address == address), written_word, ram.r_data)),
                count.eq(Array(word[c] for c in range(config.word_cells))[cell]),
            ]
            m.d.sync += [address.eq(self.words[a]), cell.eq(self.cells[a])]
            counts.append(count)
            parts.append((ram, address, cell, word, written, written_address, written_word))
        least = extreme(m, counts, largest=False)
        total = least + self.weight
        m.d.comb += self.estimate.eq(Mux(total > most, most, total))
        for ram, address, cell, word, written, written_address, written_word in parts:
            following = Signal(layout)
            for c in range(config.word_cells):
                raised = (cell == c) & (word[c] < self.estimate)
                kept = Mux(self.halve, word[c] >> 1, Mux(raised, self.estimate, word[c]))
                m.d.comb += following[c].eq(Mux(self.clear, 0, kept))
            write = self.update | self.clear | self.halve
            m.d.comb += [ram.w_en.eq(write), ram.w_addr.eq(address), ram.w_data.eq(Cat(following))]
            m.d.sync += [written.eq(write), written_address.eq(address), written_word.eq(following)]
        return m
