"""The scatter engine: reads working rows from device memory and writes them to their tables.

One beat per cycle. A key that names no row ends the command; the rows before it have been written.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .layouts import COUNT_BITS
from .model_store import ModelSignature
from .read_master import ReadClientSignature
from .row_address import RowAddress
from .row_writer import RowWriter
from .stream_reader import StreamReader
from .word_queue import WordQueue
from .write_master import WriteClientSignature


class Scatter(wiring.Component):
    """Members
    -------
    start : In(1), count, keys_base, rows_base : In
        Begins to scatter ``count`` (at least 1) rows; only when ``idle``.
    model : In(ModelSignature)
    idle : Out(1)
        Every row is in host memory, or the command has failed and nothing is on its way.
    bad_key, bad_index : Out
        A working key named no row, and its position.
    read_error, write_error, error_address : Out
    read_keys, read_rows : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "count": In(COUNT_BITS + 1),
            "keys_base": In(config.address_bits), "rows_base": In(config.address_bits),
            "model": In(ModelSignature(config)),
            "idle": Out(1), "bad_key": Out(1), "bad_index": Out(COUNT_BITS + 1),
            "read_error": Out(1), "write_error": Out(1), "error_address": Out(config.address_bits),
            "read_keys": Out(ReadClientSignature(config)), "read_rows": Out(ReadClientSignature(config)),
            "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.keys = keys = StreamReader(config)
        m.submodules.rows = rows = StreamReader(config)
        m.submodules.pairs = pairs = WordQueue(config.bus_words, config.bus_words)
        m.submodules.address = address = RowAddress(config)
        m.submodules.writer = writer = RowWriter(config)
        wiring.connect(m, keys.client, wiring.flipped(self.read_keys))
        wiring.connect(m, rows.client, wiring.flipped(self.read_rows))
        wiring.connect(m, writer.client, wiring.flipped(self.write))
        wiring.connect(m, wiring.flipped(self.model), address.model)

        row_words = self.model.row_bytes[2:]
        m.d.comb += [
            keys.go.eq(1),
            rows.go.eq(1),
            keys.start.valid.eq(self.start),
            keys.start.p.address.eq(self.keys_base),
            keys.start.p.words.eq(self.count << 1),
            rows.start.valid.eq(self.start),
            rows.start.p.address.eq(self.rows_base),
            rows.start.p.words.eq(self.count * row_words),
            pairs.clear.eq(self.start),
            writer.clear.eq(self.start),
            writer.row_bytes.eq(self.model.row_bytes),
        ]

        # Keys, two words each, become addresses.
        wiring.connect(m, keys.o, pairs.i)
        table, row = pairs.o.p.data[:32], pairs.o.p.data[32:64]
        m.d.comb += [
            pairs.take.valid.eq(1),
            pairs.take.p.count.eq(2),
            address.i.valid.eq(pairs.o.valid),
            pairs.o.ready.eq(address.i.ready),
            address.i.p.key.table.eq(table),
            address.i.p.key.row.eq(row),
            address.i.p.outside.eq((table >> config.table_bits).any() | (row >> config.row_bits).any()),
        ]

        # Rows go out until a bad key; then what follows is thrown away.
        failed = Signal()
        given = Signal(COUNT_BITS + 1)
        stop = self.bad_key | failed
        m.d.comb += [
            writer.rows.valid.eq(address.o.valid & ~address.o.p.bad & ~stop),
            writer.rows.p.eq(address.o.p.address),
            address.o.ready.eq(writer.rows.ready | address.o.p.bad | stop),
        ]
        with m.If(writer.rows.valid & writer.rows.ready):
            m.d.sync += given.eq(given + 1)
        with m.If(address.o.valid & address.o.p.bad & ~stop):
            m.d.sync += [self.bad_key.eq(1), self.bad_index.eq(given)]
        m.d.comb += [
            writer.i.valid.eq(rows.o.valid),
            writer.i.p.eq(rows.o.p),
            rows.o.ready.eq(writer.i.ready),
            # The rows already given to the writer still need their words.
            keys.abort.eq(stop),
            rows.abort.eq(stop & writer.idle),
        ]

        active = Signal()
        finished = writer.idle & ~keys.busy & ~rows.busy
        m.d.comb += self.idle.eq(~active)
        read_failed = keys.error | rows.error
        with m.If(read_failed & ~failed):
            m.d.sync += failed.eq(1)
        with m.If(active & finished & ((given == self.count) | stop)):
            m.d.sync += active.eq(0)
        m.d.comb += [
            self.read_error.eq(read_failed),
            self.write_error.eq(writer.error),
            self.error_address.eq(writer.error_address),
        ]
        with m.If(keys.error):
            m.d.comb += self.error_address.eq(keys.error_address)
        with m.Elif(rows.error):
            m.d.comb += self.error_address.eq(rows.error_address)
        with m.If(self.start):
            m.d.sync += [active.eq(1), given.eq(0), failed.eq(0), self.bad_key.eq(0)]
        return m
