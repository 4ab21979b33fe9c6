"""Writes rows of a fixed length, each to an address of its own at any word alignment.

The rows' words come one after another without gaps. One beat per cycle, one row per row's beats.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .layouts import words_layout
from .word_queue import WordQueue, take_layout
from .write_master import WriteClientSignature


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
        m.submodules.queue = queue = WordQueue(words, words)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        m.d.comb += queue.clear.eq(self.clear)
        # Rows that have been requested, and whose beats are still to be formed.
        m.submodules.rows = rows = StreamFifo(data.StructLayout({"offset": range(words)}), 4)

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

        # The beats of a row: the first from its offset on, all but the last up to the bus width.
        done = Signal(range(config.max_row_bytes // 4 + 1))
        first = done == 0
        left = row_words - done
        space = Mux(first, words - rows.o.p.offset, words)
        take = Signal(take_layout(words))
        last = left <= space
        m.d.comb += [
            take.offset.eq(Mux(first, rows.o.p.offset, 0)),
            take.count.eq(Mux(last, left, space)),
            queue.take.valid.eq(rows.o.valid),
            queue.take.p.eq(take),
            self.client.data.valid.eq(queue.o.valid),
            self.client.data.p.data.eq(queue.o.p.data),
            queue.o.ready.eq(self.client.data.ready),
            rows.o.ready.eq(queue.o.valid & queue.o.ready & last),
            self.idle.eq((rows.level == 0) & ~self.rows.valid & self.client.idle),
        ]
        for i in range(words):
            inside = (take.offset <= i) & (i < take.offset + take.count)
            m.d.comb += self.client.data.p.strobe[4 * i : 4 * i + 4].eq(inside.replicate(4))
        with m.If(queue.o.valid & queue.o.ready):
            m.d.sync += done.eq(Mux(last, 0, done + take.count))
        with m.If(self.client.error & ~self.error):
            m.d.sync += [
                self.error.eq(1), self.timeout.eq(self.client.timeout), self.error_address.eq(self.client.error_address),
            ]  # fmt: skip
        with m.If(self.clear):
            m.d.sync += self.error.eq(0)
        return m
