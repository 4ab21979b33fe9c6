"""Finds out what each word of a record is: payload, padding, a resident row or a tracked access.

Resident rows become slots here, by one addition; tracked accesses are marked for the lanes. Rows are
checked against their tables; the first bad one ends the mini-batch.
One beat per cycle; latency 9 cycles. It never stalls inside (`credit_fifo`).
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import COUNT_BITS, NO_ACCESS, beat_layout
from ..interfaces.model import KnownTables, ModelSignature
from ..lib.credit_fifo import CreditFifo
from ..lib.logic import count_ones, delayed, first_set, without_reset
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice
from .record_reader import record_beat_layout


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
        Its ``end`` beat is on its way to ``o``; it swallows what still comes.
    giving : Out(1)
        Beats are on their way to ``o``, or there.
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
            "ended": Out(1), "giving": Out(1), "bad_row": Out(1), "bad_sample": Out(COUNT_BITS),
            "bad_access": Out(range(config.max_record_words)),
            "accesses": Out(32), "resident": Out(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, model = self.config, self.model
        words = config.beat_words
        m.submodules.out_fifo = out_fifo = CreditFifo(self.o.p.shape(), 6)
        m.submodules.slice = out = RegisterSlice(self.o.p.shape())
        wiring.connect(m, out_fifo.o, out.i)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        takes = Signal()
        s6_valid, s6 = Signal(), Signal(self.o.p.shape(), reset_less=True)
        m.d.comb += [
            takes.eq(self.i.valid & out_fifo.credit & ~self.ended),
            self.i.ready.eq(out_fifo.credit | self.ended),
            out_fifo.spend.eq(takes),
            out_fifo.i.valid.eq(s6_valid),
            out_fifo.i.p.eq(s6),
            out_fifo.clear.eq(self.start),  # beats behind the last one have not come to its end
            self.giving.eq(s6_valid | (out_fifo.level != 0) | out.o.valid),
        ]
        accesses_seen = without_reset(m, self.accesses)
        resident_seen = without_reset(m, self.resident)
        bad_sample = without_reset(m, self.bad_sample)
        bad_access = without_reset(m, self.bad_access)

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
                ram.r_addr.eq(self.i.p.beat),
            ]
            s1_table.append(ram.r_data)
        m.d.sync += [s1_beat.eq(self.i.p), s1_valid.eq(takes)]

        # Stage 2: that table's descriptor. One copy of the descriptors per word of a beat.
        known = KnownTables(m, model)
        s2_beat = Signal(record_beat_layout(config), reset_less=True)
        s2_valid = Signal()
        s2_table = [Signal(config.table_bits, name=f"s2_table_{i}", reset_less=True) for i in range(words)]
        s2_known = [delayed(m, known.by_low(table), reset_less=True) for table in s1_table]
        s2_descriptors = []
        rows_bits = len(model.descriptor.rows)
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
        m.d.sync += [s2_beat.eq(s1_beat), s2_valid.eq(s1_valid & ~self.ended)]

        # Stage 3: descriptors are here. Which words are accesses?
        s3_valid, s3_beat = Signal(), Signal(record_beat_layout(config), reset_less=True)
        s3_present, s3_known = Signal(words, reset_less=True), Signal(words, reset_less=True)
        s3_descriptors = [Signal(len(fields), name=f"s3_descriptor_{i}", reset_less=True) for i in range(words)]
        s3_table = [Signal(config.table_bits, name=f"s3_table_{i}", reset_less=True) for i in range(words)]
        m.d.sync += [s3_valid.eq(s2_valid & ~self.ended), s3_beat.eq(s2_beat)]
        for i in range(words):
            place = Signal(range(2 * config.max_record_words), name=f"place_{i}")
            m.d.comb += place.eq(s2_beat.beat * words + i)
            is_access = (place > model.payload_words) & (s2_beat.count > i)
            m.d.sync += [
                s3_present[i].eq(is_access & (s2_beat.words[i] != NO_ACCESS)),
                s3_known[i].eq(known.by_high(s2_known[i], s2_table[i])),
                s3_descriptors[i].eq(s2_descriptors[i]),
                s3_table[i].eq(s2_table[i]),
            ]

        # Stage 4: is the row one that the table has?
        s4_valid, s4_beat = Signal(), Signal(record_beat_layout(config), reset_less=True)
        s4_present = Signal(words, reset_less=True)
        s4_resident = Signal(words, reset_less=True)
        s4_bad = Signal(words, reset_less=True)
        s4_words = [Signal(32, name=f"s4_word_{i}", reset_less=True) for i in range(words)]
        s4_slots = [
            Signal.like(model.descriptor.first_slot, name=f"s4_slot_{i}", reset_less=True) for i in range(words)
        ]
        s4_table = [Signal(config.table_bits, name=f"s4_table_{i}", reset_less=True) for i in range(words)]
        m.d.sync += [s4_valid.eq(s3_valid & ~self.ended), s4_beat.eq(s3_beat), s4_present.eq(s3_present)]
        for i, descriptor in enumerate(s3_descriptors):
            rows, is_resident = descriptor[:rows_bits], descriptor[rows_bits]
            first_slot, word = descriptor[rows_bits + 1 :], s3_beat.words[i]
            resident = s3_present[i] & is_resident
            m.d.sync += [
                s4_resident[i].eq(resident),
                s4_bad[i].eq(s3_present[i] & ~(s3_known[i] & (word < rows))),
                s4_words[i].eq(word),
                s4_slots[i].eq(Mux(resident, first_slot, 0)),
                s4_table[i].eq(s3_table[i]),
            ]

        # Stage 5: is there a bad row, and which is the first? Resident rows become slots.
        s5_valid, s5_beat = Signal(), Signal(record_beat_layout(config), reset_less=True)
        s5_present = Signal(words, reset_less=True)
        s5_resident = Signal(words, reset_less=True)
        s5_spoilt = Signal(reset_less=True)
        s5_words = [Signal.like(word, reset_less=True) for word in s4_words]
        s5_table = [Signal.like(table, reset_less=True) for table in s4_table]
        first_bad = Signal(words, reset_less=True)
        m.d.sync += [
            s5_valid.eq(s4_valid & ~self.ended), s5_beat.eq(s4_beat), s5_present.eq(s4_present),
            s5_resident.eq(s4_resident), s5_spoilt.eq(s4_bad.any()), first_bad.eq(first_set(s4_bad)),
            *(s5.eq(word + slot) for s5, word, slot in zip(s5_words, s4_words, s4_slots, strict=True)),
            *(s5.eq(s4) for s5, s4 in zip(s5_table, s4_table, strict=True)),
        ]  # fmt: skip

        # Stage 6: it ends it all.
        good = Signal(words)  # the words before the first bad one
        spoilt = Signal()
        m.d.comb += [good.eq(Mux(s5_spoilt, first_bad - 1, ~0)), spoilt.eq(s5_spoilt | self.fail)]
        accept = s5_valid & ~self.ended
        m.d.sync += [
            s6_valid.eq(accept),
            s6.count.eq(s5_beat.count),
            s6.mask.eq(Mux(self.fail, 0, s5_present & ~s5_resident & good)),
            s6.last.eq(s5_beat.last | spoilt),
            s6.end.eq(s5_beat.end | spoilt),
            s6.drop.eq(spoilt),
        ]
        for i in range(words):
            m.d.sync += [s6.words[i].eq(s5_words[i]), s6.tables[i].eq(s5_table[i])]
        new_accesses, new_resident = Signal(range(words + 1)), Signal(range(words + 1))
        present, resident = Signal(words), Signal(words)  # of the beat that has just been accepted
        m.d.sync += [
            present.eq(Mux(accept, s5_present, 0)),
            resident.eq(Mux(accept, s5_resident, 0)),
            new_accesses.eq(count_ones(present)),
            new_resident.eq(count_ones(resident)),
            accesses_seen.eq(accesses_seen + delayed(m, new_accesses)),
            resident_seen.eq(resident_seen + delayed(m, new_resident)),
        ]
        # Where the first bad row was: found a cycle later.
        bad = Signal()
        bad_before = Signal(words, reset_less=True)
        bad_beat = Signal(range(config.record_beats), reset_less=True)
        m.d.sync += bad.eq(accept & s5_spoilt & ~self.fail)
        with m.If(accept):
            m.d.sync += [
                self.ended.eq(s5_beat.end | spoilt),
                bad_before.eq(first_bad - 1), bad_beat.eq(s5_beat.beat), bad_sample.eq(s5_beat.sample),
            ]  # fmt: skip
        with m.If(bad):
            place = bad_beat * words + count_ones(bad_before)
            m.d.sync += [self.bad_row.eq(1), bad_access.eq(place - 1 - model.payload_words)]
        with m.If(self.start):
            m.d.sync += [
                accesses_seen.eq(0), resident_seen.eq(0), self.ended.eq(0), self.bad_row.eq(0),
                s1_valid.eq(0), s2_valid.eq(0), s3_valid.eq(0), s4_valid.eq(0), s5_valid.eq(0), s6_valid.eq(0), bad.eq(0),
                present.eq(0), resident.eq(0), new_accesses.eq(0), new_resident.eq(0),
            ]  # fmt: skip
        return m
