"""Replaces the cold rows of non-popular records by working-row references.

A beat takes max(1, cold accesses) cycles: one probe of the working set each.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import WORKING_ROW_BIT, beat_layout
from ..lib.fifo import StreamFifo
from ..lib.logic import first_set, one_hot_mux
from ..lib.register_slice import RegisterSlice
from ..lib.word_queue import ended_layout
from .working_set import probe_layout


class ColdResolver(wiring.Component):
    """Members
    -------
    i : In(stream of beat_layout)
        Records of non-popular samples; ``mask``: cold accesses. A mini-batch's ``end`` may come with no words.
    probes : Out(stream of probe_layout)
        Cold keys in trace order, to the working set; behind the last one, ``end`` alone.
    numbers : In(stream)
        Their working-row numbers.
    o : Out(stream of ended_layout)
        The records.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(beat_layout(config))),
            "probes": Out(stream.Signature(probe_layout(config))),
            "numbers": In(stream.Signature(range(config.working_rows))),
            "o": Out(stream.Signature(ended_layout(config.beat_words))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = config.beat_words
        m.submodules.waiting = waiting = RegisterSlice(beat_layout(config))
        wiring.connect(m, wiring.flipped(self.i), waiting.i)
        came = waiting.o
        m.submodules.beats = beats = StreamFifo(beat_layout(config), 16)

        # Scan: of the beat in hand, the lowest cold word that has not been sent, and the others; behind them all, the end. The
        # beat goes on at once, so that its numbers never have to wait for it.
        m.submodules.slice = out = RegisterSlice(probe_layout(config))
        wiring.connect(m, out.o, wiring.flipped(self.probes))
        keys = [Signal(config.key_bits, name=f"key_{i}", reset_less=True) for i in range(words)]
        scan, rest = Signal(words + 1), Signal(words + 1, reset_less=True)
        sends, lasts = Signal(), Signal(reset_less=True)  # of `scan`: there is one; there is none after it
        record_start = Signal(init=1)
        sample = Signal(32, reset_less=True)
        done = ~sends | (out.i.ready & lasts)
        to_send = Cat(came.p.mask, came.p.end)
        first = first_set(to_send)
        m.d.comb += [
            came.ready.eq(done & beats.i.ready),
            out.i.valid.eq(sends),
            out.i.p.key.eq(one_hot_mux(scan[:words], keys)),
            out.i.p.end.eq(scan[words]),
            out.i.p.sample.eq(sample),
            beats.i.valid.eq(came.valid & done),
            beats.i.p.eq(came.p),
        ]
        with m.If(done):
            m.d.sync += [scan.eq(0), sends.eq(0)]
        with m.Elif(out.i.ready):
            after = rest & ~first_set(rest)
            m.d.sync += [scan.eq(first_set(rest)), rest.eq(after), lasts.eq(after == 0)]
        with m.If(came.valid & came.ready):
            after = to_send & ~first
            m.d.sync += [
                scan.eq(first),
                sends.eq(to_send.any()),
                rest.eq(after),
                lasts.eq(after == 0),
                record_start.eq(came.p.last),
            ]
            for i in range(words):
                m.d.sync += keys[i].eq(Cat(came.p.words[i][: config.row_bits], came.p.tables[i]))
            with m.If(record_start):
                m.d.sync += sample.eq(came.p.words[0])

        # Patch: numbers come in the same order. The beat leaves with its last number.
        beat_valid, beat = Signal(), Signal(beats.o.p.shape(), reset_less=True)
        # of the next number, and of those after it
        place = Signal(words, reset_less=True)
        others = Signal(words, reset_less=True)
        missing, last = Signal(reset_less=True), Signal(reset_less=True)
        number = Signal(32)
        first_place = first_set(beats.o.p.mask)
        m.submodules.numbers = numbers = RegisterSlice(self.numbers.p.shape())
        m.submodules.patched = patched = RegisterSlice(self.o.p.shape())
        wiring.connect(m, wiring.flipped(self.numbers), numbers.i)
        wiring.connect(m, patched.o, wiring.flipped(self.o))
        m.d.comb += [
            number.eq(numbers.o.p | Const(1 << WORKING_ROW_BIT, 32)),
            patched.i.valid.eq(beat_valid & last & (numbers.o.valid | ~missing)),
            numbers.o.ready.eq(beat_valid & missing & (patched.i.ready | ~last)),
            beats.o.ready.eq(~beat_valid | (patched.i.valid & patched.i.ready)),
            patched.i.p.group.count.eq(beat.count),
            patched.i.p.end.eq(beat.end),
        ]
        for i in range(words):
            m.d.comb += patched.i.p.group.data[32 * i : 32 * i + 32].eq(
                Mux(place[i] & missing, number, beat.words[i])
            )
        with m.If(beats.o.ready):
            m.d.sync += [
                beat_valid.eq(beats.o.valid),
                beat.eq(beats.o.p),
                missing.eq(beats.o.p.mask.any()),
                place.eq(first_place),
                others.eq(beats.o.p.mask & ~first_place),
                last.eq((beats.o.p.mask & ~first_place) == 0),
            ]
        with m.Elif(numbers.o.valid & numbers.o.ready):
            following = first_set(others)
            m.d.sync += [place.eq(following), others.eq(others & ~following), last.eq((others & ~following) == 0)]
            for i in range(words):
                with m.If(place[i]):
                    m.d.sync += beat.words[i].eq(number)
        return m
