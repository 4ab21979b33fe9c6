"""The first stages of the access decoder: which words of a beat are accesses, and to which tables.

    1: each word's place in the record ─► its table ─► 2: that table's descriptor ─► 3: is there an access?

A beat per cycle; latency 3 cycles. It never waits.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.layouts import NO_ACCESS
from ...interfaces.model import KnownTables, ModelSignature, descriptor_layout
from ...lib.logic import delayed, without_reset
from ...lib.ram import Ram
from .record_reader import record_beat_layout


def word_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A word of a record: whether it is an access (``present``), to which ``table``, whether the model has that (``known``), and
    what it says of it."""
    descriptor = descriptor_layout(config)
    return data.StructLayout({
        "present": 1, "known": 1, "table": config.table_bits,
        **{name: descriptor[name].shape for name in ("rows", "resident", "first_slot")},
    })  # fmt: skip


class WordTables(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    i_valid : In(1), i : In(record_beat_layout)
    o_valid : Out(1), o : Out(record_beat_layout), words : Out(array of word_layout)
        The same beat, and what its words are.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        beat = record_beat_layout(config)
        super().__init__({
            "model": In(ModelSignature(config)), "i_valid": In(1), "i": In(beat),
            "o_valid": Out(1), "o": Out(beat), "words": Out(data.ArrayLayout(word_layout(config), config.beat_words)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, model = self.config, self.model
        words = config.beat_words
        # Stage 1: which table does each word belong to? One memory per word of a beat.
        position = Signal(range(config.max_record_words), reset_less=True)
        access_write, access_table = (delayed(m, delayed(m, value)) for value in (model.access_write, model.table))
        m.d.sync += position.eq(delayed(m, model.access) + model.payload_words + 1)
        column_bits = ceil_log2(words)
        s1_beat = Signal(record_beat_layout(config), reset_less=True)
        s1_valid = Signal()
        s1_table = []
        for i in range(words):
            m.submodules[f"position_{i}"] = ram = Ram(config.table_bits, config.record_beats)
            m.d.comb += [
                ram.w_en.eq(access_write & (position[:column_bits] == i)),
                ram.w_addr.eq(position[column_bits:]),
                ram.w_data.eq(access_table),
                ram.r_en.eq(1),
                ram.r_addr.eq(self.i.beat),
            ]
            s1_table.append(ram.r_data)
        m.d.sync += [s1_beat.eq(self.i), s1_valid.eq(self.i_valid)]

        # Stage 2: that table's descriptor. One copy of the descriptors per word of a beat.
        known = KnownTables(m, model)
        s2_beat = Signal(record_beat_layout(config), reset_less=True)
        s2_valid = Signal()
        s2_table = [Signal(config.table_bits, name=f"s2_table_{i}", reset_less=True) for i in range(words)]
        s2_known = [delayed(m, known.by_low(table), reset_less=True) for table in s1_table]
        s2_descriptors = []
        fields = Cat(model.descriptor.rows, model.descriptor.resident, model.descriptor.first_slot)
        for i in range(words):
            m.submodules[f"descriptor_{i}"] = ram = Ram(len(fields), config.tables)
            m.d.comb += [
                ram.w_en.eq(model.table_write),
                ram.w_addr.eq(model.table),
                ram.w_data.eq(fields),
                ram.r_en.eq(1),
                ram.r_addr.eq(s1_table[i]),
            ]
            s2_descriptors.append(ram.r_data)
            m.d.sync += s2_table[i].eq(s1_table[i])
        m.d.sync += [s2_beat.eq(s1_beat), s2_valid.eq(s1_valid)]

        # Stage 3: descriptors are here. Which words are accesses?
        beat, found = without_reset(m, self.o), without_reset(m, self.words)
        m.d.sync += [self.o_valid.eq(s2_valid), beat.eq(s2_beat)]
        for i, descriptor in enumerate(s2_descriptors):
            place = Signal(range(2 * config.max_record_words), name=f"place_{i}")
            m.d.comb += place.eq(s2_beat.beat * words + i)
            is_access = (place > model.payload_words) & (s2_beat.count > i)
            m.d.sync += [
                found[i].present.eq(is_access & (s2_beat.words[i] != NO_ACCESS)),
                found[i].known.eq(known.by_high(s2_known[i], s2_table[i])),
                found[i].table.eq(s2_table[i]),
                Cat(found[i].rows, found[i].resident, found[i].first_slot).eq(descriptor),
            ]
        return m
