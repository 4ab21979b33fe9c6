"""Finds out what each word of a record is: payload, padding, a resident row or a tracked access.

Resident rows become slots here, by one addition; tracked accesses are marked for the lanes. Rows are
checked against their tables; the first bad one ends the mini-batch.
One beat per cycle; latency 9 cycles. It never stalls inside (`credit_fifo`).
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.control import fault_layout
from ..interfaces.layouts import COUNT_BITS, NO_ACCESS, Status, beat_layout
from ..interfaces.model import KnownTables, ModelSignature
from ..lib.credit_fifo import CreditFifo
from ..lib.logic import count_ones, delayed, first_set, never
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice
from .record_reader import record_beat_layout


def decoded_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Accesses of a mini-batch, and accesses to resident tables, padding not counted; ``fault``: what is wrong with it."""
    return data.StructLayout({"accesses": 32, "resident": 32, "fault": fault_layout()})


class AccessDecoder(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    i : In(stream of record_beat_layout)
        Mini-batches, one behind the other.
    read_fault : In(fault_layout)
        The records cannot be trusted: ends the mini-batch as a bad row does.
    o : Out(stream of beat_layout)
        ``mask``: tracked accesses. After a bad row its beat still comes, with the accesses before it,
        marked ``drop`` and ``end``; what follows of the mini-batch is swallowed.
    results : Out(stream of decoded_layout)
        A mini-batch's last beat is on its way to ``o``, or swallowed. Two may wait.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "model": In(ModelSignature(config)), "read_fault": In(fault_layout()),
            "i": In(stream.Signature(record_beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "results": Out(stream.Signature(decoded_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, model = self.config, self.model
        words = config.beat_words
        s6_valid, s6_swallowed = Signal(), Signal(reset_less=True)
        s6 = Signal(self.o.p.shape(), reset_less=True)
        m.submodules.out_fifo = out_fifo = CreditFifo(data.StructLayout({"beat": s6.shape(), "swallowed": 1}), 6)
        m.submodules.slice = out = RegisterSlice(s6.shape())
        wiring.connect(m, out.o, wiring.flipped(self.o))
        takes = Signal()
        m.d.comb += [
            takes.eq(self.i.valid & out_fifo.credit),
            self.i.ready.eq(out_fifo.credit),
            out_fifo.spend.eq(takes),
            out_fifo.i.valid.eq(s6_valid),
            out_fifo.i.p.beat.eq(s6),
            out_fifo.i.p.swallowed.eq(s6_swallowed),
            out.i.valid.eq(out_fifo.o.valid & ~out_fifo.o.p.swallowed),
            out.i.p.eq(out_fifo.o.p.beat),
            out_fifo.o.ready.eq(out.i.ready | out_fifo.o.p.swallowed),
        ]

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
        m.d.sync += [s2_beat.eq(s1_beat), s2_valid.eq(s1_valid)]

        # Stage 3: descriptors are here. Which words are accesses?
        s3_valid, s3_beat = Signal(), Signal(record_beat_layout(config), reset_less=True)
        s3_present, s3_known = Signal(words, reset_less=True), Signal(words, reset_less=True)
        s3_descriptors = [Signal(len(fields), name=f"s3_descriptor_{i}", reset_less=True) for i in range(words)]
        s3_table = [Signal(config.table_bits, name=f"s3_table_{i}", reset_less=True) for i in range(words)]
        m.d.sync += [s3_valid.eq(s2_valid), s3_beat.eq(s2_beat)]
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
        m.d.sync += [s4_valid.eq(s3_valid), s4_beat.eq(s3_beat), s4_present.eq(s3_present)]
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
            s5_valid.eq(s4_valid), s5_beat.eq(s4_beat), s5_present.eq(s4_present),
            s5_resident.eq(s4_resident), s5_spoilt.eq(s4_bad.any()), first_bad.eq(first_set(s4_bad)),
            *(s5.eq(word + slot) for s5, word, slot in zip(s5_words, s4_words, s4_slots, strict=True)),
            *(s5.eq(s4) for s5, s4 in zip(s5_table, s4_table, strict=True)),
        ]  # fmt: skip

        # Stage 6: it ends the mini-batch; what follows is swallowed.
        good = Signal(words)  # the words before the first bad one
        spoilt, swallows = Signal(), Signal()
        m.d.comb += [good.eq(Mux(s5_spoilt, first_bad - 1, ~0)), spoilt.eq(s5_spoilt | self.read_fault.valid)]
        accept = s5_valid & ~swallows
        m.d.sync += [
            s6_valid.eq(s5_valid),
            s6_swallowed.eq(swallows),
            s6.count.eq(s5_beat.count),
            s6.mask.eq(Mux(self.read_fault.valid, 0, s5_present & ~s5_resident & good)),
            s6.last.eq(s5_beat.last | spoilt),
            s6.end.eq(s5_beat.end | spoilt),
            s6.drop.eq(spoilt),
        ]
        for i in range(words):
            m.d.sync += [s6.words[i].eq(s5_words[i]), s6.tables[i].eq(s5_table[i])]
        with m.If(s5_valid):
            m.d.sync += swallows.eq(~s5_beat.end & (swallows | spoilt))

        # Counts. Where the first bad row was is found a cycle later.
        m.submodules.results = results = RegisterSlice(self.results.p.shape())
        wiring.connect(m, results.o, wiring.flipped(self.results))
        present, resident = Signal(words), Signal(words)  # of the beat that has just been accepted
        new_accesses, new_resident = Signal(range(words + 1)), Signal(range(words + 1))
        seen = Signal(data.StructLayout({"accesses": 32, "resident": 32}), reset_less=True)
        total = Signal.like(seen)
        bad, bad_before = Signal(), Signal(words, reset_less=True)
        bad_beat = Signal(range(config.record_beats), reset_less=True)
        bad_row, bad_sample = Signal(), Signal(COUNT_BITS, reset_less=True)
        bad_access = Signal(range(config.max_record_words), reset_less=True)
        ends = delayed(m, delayed(m, s5_valid & s5_beat.end))
        ended, first = delayed(m, ends), Signal(init=1)
        m.d.sync += [
            present.eq(Mux(accept, s5_present, 0)),
            resident.eq(Mux(accept, s5_resident, 0)),
            new_accesses.eq(count_ones(present)),
            new_resident.eq(count_ones(resident)),
            seen.eq(total),
            first.eq(ends),
            bad.eq(accept & s5_spoilt & ~self.read_fault.valid),
        ]
        m.d.comb += [
            total.accesses.eq(Mux(first, 0, seen.accesses) + new_accesses),
            total.resident.eq(Mux(first, 0, seen.resident) + new_resident),
            results.i.valid.eq(ended),
            results.i.p.accesses.eq(seen.accesses),
            results.i.p.resident.eq(seen.resident),
        ]
        never(m, "third_result", ended & ~results.i.ready)
        with m.If(accept):
            m.d.sync += [
                bad_before.eq(first_bad - 1), bad_beat.eq(s5_beat.beat), bad_sample.eq(s5_beat.sample),
            ]  # fmt: skip
        with m.If(ended):
            m.d.sync += bad_row.eq(0)
        with m.If(bad):
            place = bad_beat * words + count_ones(bad_before)
            m.d.sync += [bad_row.eq(1), bad_access.eq(place - 1 - model.payload_words)]
        fault = results.i.p.fault
        with m.If(self.read_fault.valid):
            m.d.comb += fault.eq(self.read_fault)
        with m.Else():
            m.d.comb += [
                fault.valid.eq(bad_row), fault.status.eq(Status.ROW_OUTSIDE_TABLE), fault.index.eq(bad_sample),
                fault.access.eq(bad_access),
            ]  # fmt: skip
        return m
