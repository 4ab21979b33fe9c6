"""Finds out what each word of a record is: payload, padding, a resident row or a tracked access.

Resident rows become slots here, by one addition; tracked accesses are marked for the lanes. Rows are
checked against their tables; the first bad one ends the mini-batch.
One beat per cycle; latency 3 cycles.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .layouts import COUNT_BITS, NO_ACCESS, beat_layout
from .model_store import ModelSignature
from .ram import Ram
from .record_reader import record_beat_layout
from .words import count_ones, first_set


class AccessDecoder(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    start : In(1)
        Begins a mini-batch; nothing is inside.
    i : In(stream of record_beat_layout)
    o : Out(stream of beat_layout)
        ``mask``: tracked accesses. After a bad row its beat still comes, with the accesses before it,
        marked ``drop`` and ``end``; nothing follows until ``start``.
    fail : In(1)
        The records cannot be trusted (read error): ends the mini-batch as a bad row does.
    ended : Out(1)
        ``o`` has given its ``end`` beat, and swallows what still comes.
    bad_row : Out(1), bad_sample, bad_access : Out
        A row was outside its table, and where.
    accesses, resident : Out(32)
        Accesses and accesses to resident tables, padding not counted, since ``start``.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "model": In(ModelSignature(config)),
            "start": In(1), "fail": In(1),
            "i": In(stream.Signature(record_beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "ended": Out(1), "bad_row": Out(1), "bad_sample": Out(COUNT_BITS),
            "bad_access": Out(range(config.max_record_words)),
            "accesses": Out(32), "resident": Out(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, model = self.config, self.model
        words = config.beat_words
        step = Signal()
        m.d.comb += [
            step.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(step | self.ended),
        ]

        # Stage 1: which table does each word belong to? One memory per word of a beat.
        position = Signal(range(config.max_record_words))
        m.d.comb += position.eq(model.access + model.payload_words + 1)
        column_bits = ceil_log2(words)
        s1_beat = Signal(record_beat_layout(config))
        s1_valid = Signal()
        s1_table = []
        for i in range(words):
            m.submodules[f"position_{i}"] = ram = Ram(config.table_bits, config.record_beats)
            m.d.comb += [
                ram.w_en.eq(model.access_write & (position[:column_bits] == i)),
                ram.w_addr.eq(position[column_bits:]),
                ram.w_data.eq(model.table),
                ram.r_en.eq(step),
                ram.r_addr.eq(self.i.p.beat),
            ]
            s1_table.append(ram.r_data)
        with m.If(step):
            m.d.sync += [s1_beat.eq(self.i.p), s1_valid.eq(self.i.valid & ~self.ended)]

        # Stage 2: that table's descriptor. One copy of the descriptors per word of a beat.
        known = Signal(config.tables)
        with m.If(model.table_write):
            m.d.sync += known.bit_select(model.table, 1).eq(1)
        with m.If(model.reset):
            m.d.sync += known.eq(0)
        s2_beat = Signal(record_beat_layout(config))
        s2_valid = Signal()
        s2_table = [Signal(config.table_bits, name=f"s2_table_{i}") for i in range(words)]
        s2_known = Signal(words)
        s2_descriptor = []
        fields = Cat(model.descriptor.rows, model.descriptor.resident, model.descriptor.first_slot)
        for i in range(words):
            m.submodules[f"descriptor_{i}"] = ram = Ram(len(fields), config.tables)
            rows_bits = len(model.descriptor.rows)
            m.d.comb += [
                ram.w_en.eq(model.table_write),
                ram.w_addr.eq(model.table),
                ram.w_data.eq(fields),
                ram.r_en.eq(step),
                ram.r_addr.eq(s1_table[i]),
            ]
            s2_descriptor.append((ram.r_data[:rows_bits], ram.r_data[rows_bits], ram.r_data[rows_bits + 1 :]))
            with m.If(step):
                m.d.sync += [
                    s2_table[i].eq(s1_table[i]),
                    s2_known[i].eq(known.bit_select(s1_table[i], 1)),
                ]
        with m.If(step):
            m.d.sync += [s2_beat.eq(s1_beat), s2_valid.eq(s1_valid & ~self.ended)]

        # Stage 3: what is each word, and is its row one that the table has?
        present, resident, bad = Signal(words), Signal(words), Signal(words)
        slot_or_row = []
        for i, (rows, is_resident, first_slot) in enumerate(s2_descriptor):
            word = s2_beat.words[i]
            place = Signal(range(2 * config.max_record_words), name=f"place_{i}")
            is_access = (place > model.payload_words) & (s2_beat.count > i)
            m.d.comb += [
                place.eq(s2_beat.beat * words + i),
                present[i].eq(is_access & (word != NO_ACCESS)),
                resident[i].eq(present[i] & is_resident),
                bad[i].eq(present[i] & ~(s2_known[i] & (word < rows))),
            ]
            slot_or_row.append(Mux(resident[i], (first_slot + word)[:32], word))
        good = Signal(words)  # the words before the first bad one
        first_bad = Signal(words)
        spoilt = Signal()
        m.d.comb += [
            first_bad.eq(first_set(bad)),
            good.eq(Mux(bad.any(), first_bad - 1, ~0)),
            spoilt.eq(bad.any() | self.fail),
        ]
        accept = s2_valid & step & ~self.ended
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(s2_valid & ~self.ended),
                self.o.p.count.eq(s2_beat.count),
                self.o.p.mask.eq(Mux(self.fail, 0, present & ~resident & good)),
                self.o.p.last.eq(s2_beat.last | spoilt),
                self.o.p.end.eq(s2_beat.end | spoilt),
                self.o.p.drop.eq(spoilt),
            ]
            for i in range(words):
                m.d.sync += [self.o.p.words[i].eq(slot_or_row[i]), self.o.p.tables[i].eq(s2_table[i])]
        with m.If(accept):
            m.d.sync += [
                self.accesses.eq(self.accesses + count_ones(present)),
                self.resident.eq(self.resident + count_ones(resident)),
                self.ended.eq(s2_beat.end | spoilt),
            ]
            with m.If(bad.any() & ~self.fail):
                m.d.sync += [self.bad_row.eq(1), self.bad_sample.eq(s2_beat.sample)]
                for i in range(words):
                    with m.If(first_bad[i]):
                        m.d.sync += self.bad_access.eq(s2_beat.beat * words + i - 1 - model.payload_words)
        with m.If(self.start):
            m.d.sync += [
                self.accesses.eq(0), self.resident.eq(0), self.ended.eq(0), self.bad_row.eq(0),
                s1_valid.eq(0), s2_valid.eq(0),
            ]  # fmt: skip
        return m
