"""Reads a list of keys from device memory: (table, row) pairs, as a SPLIT writes its working keys.

One key per cycle (buses of 64 bits and more).
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.keys import listed_key_layout
from ...interfaces.layouts import COUNT_BITS
from ...interfaces.memory import ReadClientSignature
from ...lib.word_queue import WordQueue
from .stream_reader import StreamReader


class KeyList(wiring.Component):
    """Members
    -------
    start : In(1), base, count : In
        Begins a list of ``count`` keys (at least 1); only when not ``busy``.
    o : Out(stream of listed_key_layout)
    abort : In(1)
        Throws away what still comes.
    busy : Out(1)
    error, timeout, error_address : Out
        As of ``StreamReader``.
    read : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "base": In(config.address_bits), "count": In(COUNT_BITS + 1),
            "o": Out(stream.Signature(listed_key_layout(config))), "abort": In(1), "busy": Out(1),
            "error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "read": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.reader = reader = StreamReader(config)
        m.submodules.pairs = pairs = WordQueue(config.bus_words, 2, whole_in=True, whole_out=True)
        wiring.connect(m, reader.client, wiring.flipped(self.read))
        wiring.connect(m, reader.o, pairs.i)
        number = Signal(COUNT_BITS, reset_less=True)
        table, row = pairs.o.p.data[:32], pairs.o.p.data[32:]
        m.d.comb += [
            reader.go.eq(1),
            reader.start.valid.eq(self.start),
            reader.start.p.address.eq(self.base),
            reader.start.p.words.eq(self.count << 1),
            reader.abort.eq(self.abort),
            pairs.clear.eq(self.start),
            pairs.drop.eq(self.start),
            pairs.take.valid.eq(1),
            pairs.take.p.count.eq(2),
            self.o.valid.eq(pairs.o.valid),
            pairs.o.ready.eq(self.o.ready),
            self.o.p.key.table.eq(table),
            self.o.p.key.row.eq(row),
            self.o.p.number.eq(number),
            self.o.p.outside.eq((table >> config.table_bits).any() | (row >> config.row_bits).any()),
            self.busy.eq(reader.busy | reader.waiting),
            self.error.eq(reader.error),
            self.timeout.eq(reader.timeout),
            self.error_address.eq(reader.error_address),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += number.eq(number + 1)
        with m.If(self.start):
            m.d.sync += number.eq(0)
        return m
