"""Replaces the cold rows of non-popular records by working-row references.

A beat takes max(1, cold accesses) cycles: one probe of the working set each.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .layouts import WORKING_ROW_BIT, beat_layout, group_layout
from .words import first_set, one_hot_mux
from .working_set import probe_layout


class ColdResolver(wiring.Component):
    """Members
    -------
    i : In(stream of beat_layout)
        Records of non-popular samples; ``mask``: cold accesses.
    probes : Out(stream of probe_layout)
        Cold keys in trace order, to the working set.
    numbers : In(stream)
        Their working-row numbers.
    o : Out(stream of group_layout)
        The records.
    busy : Out(1)
        Beats are inside.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(beat_layout(config))),
            "probes": Out(stream.Signature(probe_layout(config))),
            "numbers": In(stream.Signature(range(config.working_rows))),
            "o": Out(stream.Signature(group_layout(config.beat_words))),
            "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = config.beat_words
        m.submodules.beats = beats = StreamFifo(beat_layout(config), 16)

        # Scan: the lowest cold word that has not been sent. The beat goes on at once, so that its
        # numbers never have to wait for it.
        sent = Signal(words)
        gone = Signal()  # the beat
        record_start = Signal(init=1)
        sample = Signal(32)
        to_send = self.i.p.mask & ~sent
        scan = Signal(words)
        m.d.comb += scan.eq(first_set(to_send))
        any_left = to_send.any()
        finish = ((to_send & ~scan) == 0) & (self.probes.ready | ~any_left) & (gone | beats.i.ready)
        keys = [Cat(self.i.p.words[i][: config.row_bits], self.i.p.tables[i]) for i in range(words)]
        m.d.comb += [
            self.i.ready.eq(finish),
            self.probes.valid.eq(self.i.valid & any_left),
            self.probes.p.key.eq(one_hot_mux(scan, keys)),
            self.probes.p.sample.eq(Mux(record_start, self.i.p.words[0], sample)),
            beats.i.valid.eq(self.i.valid & ~gone),
            beats.i.p.eq(self.i.p),
        ]
        with m.If(self.i.valid):
            m.d.sync += gone.eq((gone | beats.i.ready) & ~finish)
            with m.If(finish):
                m.d.sync += [sent.eq(0), record_start.eq(self.i.p.last)]
                with m.If(record_start):
                    m.d.sync += sample.eq(self.i.p.words[0])
            with m.Elif(self.probes.ready):
                m.d.sync += sent.eq(sent | scan)

        # Patch: numbers come in the same order.
        patched = Signal(words)
        references = [Signal(32, name=f"reference_{i}") for i in range(words)]
        to_patch = beats.o.p.mask & ~patched
        patch = Signal(words)
        m.d.comb += patch.eq(first_set(to_patch))
        missing = to_patch.any()
        complete = (to_patch & ~patch) == 0
        number = Signal(32)
        m.d.comb += [
            number.eq(self.numbers.p | Const(1 << WORKING_ROW_BIT, 32)),
            self.o.valid.eq(beats.o.valid & complete & (self.numbers.valid | ~missing)),
            beats.o.ready.eq(self.o.ready & complete & (self.numbers.valid | ~missing)),
            self.numbers.ready.eq(beats.o.valid & missing & (self.o.ready | ~complete)),
            self.o.p.count.eq(beats.o.p.count),
            self.busy.eq((beats.level != 0) | self.i.valid),
        ]
        for i in range(words):
            cold = Mux(patched[i], references[i], number)
            m.d.comb += self.o.p.data[32 * i : 32 * i + 32].eq(Mux(beats.o.p.mask[i], cold, beats.o.p.words[i]))
            with m.If(self.numbers.ready & self.numbers.valid & patch[i]):
                m.d.sync += references[i].eq(number)
        with m.If(beats.o.valid & beats.o.ready):
            m.d.sync += patched.eq(0)
        with m.Elif(self.numbers.ready & self.numbers.valid):
            m.d.sync += patched.eq(patched | patch)
        return m
