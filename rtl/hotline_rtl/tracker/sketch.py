"""A bank's part of the sketch that counts keys without an entry: a count-min sketch with conservative update.

``cell_arrays`` RAMs of words of ``word_cells`` cells; a key has a cell in each. In step with the bank, whose stages
are named here: words are read in stage 3, and written, if at all, in stage 12. The bank sees to it that no request
reads a word while an earlier one is about to write it. The golden twin is ``hotline_golden.tracker.policies.frequency``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..lib.logic import delayed, extreme, pick, without_reset
from ..lib.ram import Ram


def sketch_address_bits(config: AcceleratorConfig) -> int:
    """Bits of the address of a word of the sketch in its bank."""
    return config.sketch_word_bits - config.bank_bits


def cells_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A key's cell in its word of each array of the sketch."""
    return data.ArrayLayout(ceil_log2(config.word_cells), config.cell_arrays)


class Sketch(wiring.Component):
    """Members
    -------
    words : In(array)
        In stage 3: for each array the word's address in this bank.
    cells : In(array)
        In stage 6: the cell in the word.
    shift : In
        In stage 7: by how much the access's weight is shifted down.
    estimate : Out
        In stage 10: how often the key has been counted, this access included.
    update, clear, halve : In(1)
        In stage 11: cells rise to the estimate; or all cells of the word become 0, or half of what they are.
    """

    def __init__(self, config: AcceleratorConfig, policy):
        self.config, self.policy = config, policy
        self.word_bits = sketch_address_bits(config)
        super().__init__({
            "words": In(data.ArrayLayout(self.word_bits, config.cell_arrays)), "cells": In(cells_layout(config)),
            "shift": In(SHIFT_BITS), "estimate": Out(config.sketch_bits),
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
            next_word = Signal(layout, name=f"next_word_{a}", reset_less=True)
            next_place = Signal(self.word_bits, name=f"next_place_{a}", reset_less=True)
            next_write = Signal(name=f"next_write_{a}")
            s4_place = Signal(self.word_bits, name=f"s4_place_{a}", reset_less=True)
            s6_word = Signal(layout, name=f"s6_word_{a}", reset_less=True)
            s7_count = Signal(bits, name=f"s7_count_{a}", reset_less=True)
            # A word arrives in stage 4, and is in a register behind the RAM in stage 5; or it was just being written.
            same = delayed(m, next_write & (next_place == s4_place))
            arrived = delayed(m, ram.r_data, reset_less=True)
            written = delayed(m, next_word.as_value(), reset_less=True)
            m.d.comb += [
                ram.r_en.eq(1),
                ram.r_addr.eq(self.words[a]),
                ram.w_en.eq(next_write),
                ram.w_addr.eq(next_place),
                ram.w_data.eq(next_word),
            ]
            m.d.sync += [
                s4_place.eq(self.words[a]),
                s6_word.as_value().eq(Mux(same, written, arrived)),
                s7_count.eq(pick([s6_word[c] for c in range(config.word_cells)], self.cells[a])),
            ]
            counts.append(s7_count)
            cell = Signal.like(self.cells[a], name=f"s7_cell_{a}", reset_less=True)
            m.d.sync += cell.eq(self.cells[a])
            place, word = delayed(m, delayed(m, delayed(m, s4_place))), delayed(m, s6_word)
            for _ in range(3):
                place, word, cell = delayed(m, place), delayed(m, word), delayed(m, cell)
            parts.append((place, word, cell, next_word, next_place, next_write))
        # Stage 7: the least of the key's cells; stage 8: this access is counted; stage 10: which cells rise.
        s8_least = Signal(bits, reset_less=True)
        s8_shift = delayed(m, self.shift, reset_less=True)
        s9_estimate = Signal(bits, reset_less=True)
        estimate = without_reset(m, self.estimate)
        total = s8_least + self.policy.weight_of(s8_shift)
        m.d.sync += [
            s8_least.eq(extreme(m, counts, largest=False)),
            s9_estimate.eq(Mux(total > most, most, total)),
            estimate.eq(s9_estimate),
        ]
        s11_estimate = delayed(m, estimate)
        for place, word, cell, next_word, next_place, next_write in parts:
            rises = Signal(config.word_cells, reset_less=True)
            m.d.sync += rises.eq(Cat((cell == c) & (word[c] < estimate) for c in range(config.word_cells)))
            s11_word = delayed(m, word)
            for c in range(config.word_cells):
                kept = Mux(self.halve, s11_word[c] >> 1, Mux(rises[c], s11_estimate, s11_word[c]))
                m.d.sync += next_word[c].eq(Mux(self.clear, 0, kept))
            m.d.sync += [next_place.eq(delayed(m, place)), next_write.eq(self.update | self.clear | self.halve)]
        return m
