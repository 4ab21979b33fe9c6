"""Finds out what each word of a record is: payload, padding, a resident row or a tracked access.

Resident rows become slots here, by one addition; tracked accesses are marked for the lanes. Rows are
checked against their tables; the first bad one ends the mini-batch.
One beat per cycle; latency 9 cycles. It never stalls inside (`credit_fifo`).
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.layouts import beat_layout
from ...interfaces.model import ModelSignature
from ...lib.credit_fifo import CreditFifo
from ...lib.logic import first_set
from ...lib.register_slice import RegisterSlice
from .access_count import AccessCount, decoded_layout
from .record_reader import record_beat_layout
from .word_tables import WordTables


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
            "results": Out(stream.Signature(decoded_layout())),
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

        # Stages 1 to 3: what the words are.
        m.submodules.tables = tables = WordTables(config)
        wiring.connect(m, wiring.flipped(self.model), tables.model)
        m.d.comb += [tables.i_valid.eq(takes), tables.i.eq(self.i.p)]

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
        m.d.sync += [s4_valid.eq(tables.o_valid), s4_beat.eq(tables.o)]
        for i in range(words):
            row, about = tables.o.words[i], tables.words[i]
            resident = about.present & about.resident
            m.d.sync += [
                s4_present[i].eq(about.present),
                s4_resident[i].eq(resident),
                s4_bad[i].eq(about.present & ~(about.known & (row < about.rows))),
                s4_words[i].eq(row),
                s4_slots[i].eq(Mux(resident, about.first_slot, 0)),
                s4_table[i].eq(about.table),
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
            s5_valid.eq(s4_valid),
            s5_beat.eq(s4_beat),
            s5_present.eq(s4_present),
            s5_resident.eq(s4_resident),
            s5_spoilt.eq(s4_bad.any()),
            first_bad.eq(first_set(s4_bad)),
            *(s5.eq(word + slot) for s5, word, slot in zip(s5_words, s4_words, s4_slots, strict=True)),
            *(s5.eq(s4) for s5, s4 in zip(s5_table, s4_table, strict=True)),
        ]

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
        if config.shadow:
            m.d.sync += s6.follow.eq(s5_beat.follow)
        for i in range(words):
            m.d.sync += [s6.words[i].eq(s5_words[i]), s6.tables[i].eq(s5_table[i])]
        with m.If(s5_valid):
            m.d.sync += swallows.eq(~s5_beat.end & (swallows | spoilt))

        # Counts.
        m.submodules.count = count = AccessCount(config)
        wiring.connect(m, count.results, wiring.flipped(self.results))
        m.d.comb += [
            count.payload_words.eq(model.payload_words),
            count.valid.eq(s5_valid),
            count.counts.eq(accept),
            count.present.eq(s5_present),
            count.resident.eq(s5_resident),
            count.beat.eq(s5_beat.beat),
            count.sample.eq(s5_beat.sample),
            count.end.eq(s5_beat.end),
            count.bad.eq(s5_spoilt),
            count.before_bad.eq(first_bad - 1),
            count.read_fault.eq(self.read_fault),
        ]
        return m
