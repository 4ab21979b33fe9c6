"""Writes rows of a fixed length, each to an address of its own at any word alignment.

The rows' words come one after another without gaps. One beat per cycle, one row per row's beats.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.layouts import words_layout
from ...interfaces.memory import WriteClientSignature
from ...lib.fifo import StreamFifo
from ...lib.logic import without_reset
from ...lib.register_slice import RegisterSlice
from ...lib.word_queue import WordQueue
from .row_beats import place_beat, row_beats, row_beats_layout

#: Rows whose address has been given, and whose words are still on their way: more than the cycles that takes.
PLACED = 16


class RowWriter(wiring.Component):
    """Members
    -------
    clear : In(1)
        Forgets errors and words of rows that never came; only when ``idle``.
    row_bytes : In
    rows : In(stream of address)
        Where the next row goes. Its words must be at hand, or coming without waiting for a write.
    i : In(stream of words_layout)
        The words of the rows.
    idle : Out(1)
        All rows given so far are in memory.
    error, timeout, error_address : Out
        A write was answered with an error, or not at all, since ``clear``; the address of the first.
    client : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "clear": In(1), "row_bytes": In(range(config.max_row_bytes + 1)),
            "rows": In(stream.Signature(config.address_bits)),
            "i": In(stream.Signature(words_layout(config))),
            "idle": Out(1), "error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "client": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = config.bus_words
        shift = ceil_log2(config.bus_bytes)
        word_bits = shift - 2
        m.submodules.queue = queue = WordQueue(words, words, extra=words)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        m.d.comb += [queue.clear.eq(self.clear), queue.drop.eq(self.clear)]
        # Rows that have been requested, and whose beats are still to be formed.
        m.submodules.rows = rows = StreamFifo(data.StructLayout({"offset": word_bits}), PLACED)
        m.submodules.slice = next_row = RegisterSlice(rows.o.p.shape())
        wiring.connect(m, rows.o, next_row.i)

        row_words = self.row_bytes[2:]
        request = self.client.request
        m.d.comb += [
            request.valid.eq(self.rows.valid & rows.i.ready),
            self.rows.ready.eq(request.ready & rows.i.ready),
            request.p.address.eq(self.rows.p),
            request.p.words.eq(row_words),
            rows.i.valid.eq(self.rows.valid & request.ready),
            rows.i.p.offset.eq(self.rows.p[2:shift]),
        ]

        # The beats of a row: from its first word's place on, to its last word's. The next one is put together a cycle before
        # its words are asked for.
        row_valid = Signal()
        row = Signal(row_beats_layout(config), reset_less=True)
        beat = Signal(range(config.row_beats))
        timeout = without_reset(m, self.timeout)
        error_address = without_reset(m, self.error_address)
        last = beat == row.last_beat
        place = place_beat(m, config, row, beat == 0, last)
        asks, asked = Signal(), Signal(place.shape(), reset_less=True)
        step = ~asks | (queue.take.valid & queue.take.ready)
        formed = row_valid & step
        m.d.comb += [
            next_row.o.ready.eq(~row_valid | (formed & last)),
            queue.take.valid.eq(asks),
            queue.take.p.offset.eq(asked.offset),
            queue.take.p.count.eq(asked.count),
            queue.take.p.extra.eq(asked.mask),
            self.client.data.valid.eq(queue.o.valid),
            self.client.data.p.data.eq(queue.o.p.data),
            queue.o.ready.eq(self.client.data.ready),
            self.idle.eq(
                (rows.level == 0)
                & ~next_row.o.valid
                & ~row_valid
                & ~asks
                & ~queue.leaving
                & ~self.rows.valid
                & self.client.idle
            ),
        ]
        for i in range(words):
            m.d.comb += self.client.data.p.strobe[4 * i : 4 * i + 4].eq(queue.o.p.extra[i].replicate(4))
        with m.If(next_row.o.ready):
            m.d.sync += [row_valid.eq(next_row.o.valid), row.eq(row_beats(config, next_row.o.p.offset, row_words))]
        with m.If(step):
            m.d.sync += [asks.eq(row_valid), asked.eq(place)]
        with m.If(formed):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        with m.If(self.client.error & ~self.error):
            m.d.sync += [
                self.error.eq(1),
                timeout.eq(self.client.timeout),
                error_address.eq(self.client.error_address),
            ]
        with m.If(self.clear):
            m.d.sync += self.error.eq(0)
        return m
