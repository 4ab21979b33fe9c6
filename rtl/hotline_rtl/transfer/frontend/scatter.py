"""The scatter engine: reads working rows from device memory and writes them to their tables.

One beat per cycle. A key that names no row ends the command; the rows before it have been written.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.keys import listed_key_layout
from ...interfaces.layouts import COUNT_BITS
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from ...interfaces.model import ModelSignature
from ...lib.logic import delayed, product, without_reset
from ...lib.register_slice import RegisterSlice
from ..midend.row_writer import RowWriter
from .row_address import RowAddress
from .stream_reader import StreamReader


class Scatter(wiring.Component):
    """Members
    -------
    start : In(1), count, base : In
        Begins to scatter ``count`` (at least 1) rows from ``base`` on; only when ``idle``.
    model : In(ModelSignature)
    keys : In(stream of listed_key_layout), keys_busy, keys_error : In(1)
        Where each row belongs; from a key list that is started together with this.
    stop : Out(1)
        No more keys are wanted.
    all_given : Out(1)
        All keys have been taken.
    idle : Out(1)
        Every row is in host memory, or the command has failed and nothing is on its way.
    bad_key, bad_index : Out
        A working key named no row, and its position.
    read_error, write_error, timeout, error_address : Out
        A row could not be read or written; whether no answer came. Errors of the key list are not among them.
    read : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "count": In(COUNT_BITS + 1), "base": In(config.address_bits),
            "model": In(ModelSignature(config)),
            "keys": In(stream.Signature(listed_key_layout(config))), "keys_busy": In(1), "keys_error": In(1),
            "stop": Out(1), "all_given": Out(1), "idle": Out(1), "bad_key": Out(1), "bad_index": Out(COUNT_BITS),
            "read_error": Out(1), "write_error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "read": Out(ReadClientSignature(config)), "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.rows = rows = StreamReader(config)
        m.submodules.address = address = RowAddress(config, COUNT_BITS)
        m.submodules.writer = writer = RowWriter(config)
        m.submodules.addresses = addresses = RegisterSlice(address.o.p.shape())
        m.submodules.slice = to_writer = RegisterSlice(config.address_bits)
        wiring.connect(m, address.o, addresses.i)
        wiring.connect(m, to_writer.o, writer.rows)
        m.submodules.read = read = RegisterSlice(rows.o.p.shape())
        wiring.connect(m, rows.o, read.i)
        wiring.connect(m, read.o, writer.i)
        wiring.connect(m, rows.client, wiring.flipped(self.read))
        wiring.connect(m, writer.client, wiring.flipped(self.write))
        wiring.connect(m, wiring.flipped(self.model), address.model)

        m.d.comb += [
            rows.go.eq(1),
            rows.start.valid.eq(delayed(m, delayed(m, delayed(m, self.start)))),
            rows.start.p.address.eq(self.base),
            rows.start.p.words.eq(product(m, delayed(m, self.count), delayed(m, self.model.row_bytes[2:]))),
            writer.clear.eq(self.start),
            writer.row_bytes.eq(self.model.row_bytes),
            address.i.valid.eq(self.keys.valid),
            self.keys.ready.eq(address.i.ready),
            address.i.p.key.eq(self.keys.p.key),
            address.i.p.outside.eq(self.keys.p.outside),
            address.i.p.extra.eq(self.keys.p.number),
        ]

        # Rows go out until a bad key; then what follows is thrown away.
        bad_index = without_reset(m, self.bad_index)
        failed = Signal()
        given = Signal(COUNT_BITS + 1)
        all_given = delayed(m, given == self.count)
        stop = self.bad_key | failed
        written = writer.idle & ~to_writer.o.valid
        m.d.comb += [
            to_writer.i.valid.eq(addresses.o.valid & ~addresses.o.p.bad & ~stop),
            to_writer.i.p.eq(addresses.o.p.address),
            addresses.o.ready.eq(to_writer.i.ready),  # after a bad key, too: what is in the slice leaves it
        ]
        with m.If(delayed(m, to_writer.i.valid & to_writer.i.ready)):
            m.d.sync += given.eq(given + 1)
        with m.If(addresses.o.valid & addresses.o.p.bad & ~stop):
            m.d.sync += [self.bad_key.eq(1), bad_index.eq(addresses.o.p.extra)]
        m.d.comb += [
            read.drop.eq(self.start),
            # The rows already given to the writer still need their words.
            self.stop.eq(stop),
            self.all_given.eq(all_given),
            rows.abort.eq(stop & written),
        ]

        # Errors are those of an earlier command until the reading of rows has begun, and with it, before it, that of keys.
        active, begun = Signal(), Signal()
        finished = written & begun & ~self.keys_busy & ~address.busy & ~addresses.o.valid & ~rows.busy
        m.d.comb += [
            self.idle.eq(~active),
            self.read_error.eq(rows.error),
            self.write_error.eq(writer.error),
            self.timeout.eq(rows.error & rows.timeout | ~rows.error & writer.timeout),
            self.error_address.eq(writer.error_address),
        ]
        with m.If(rows.error):
            m.d.comb += self.error_address.eq(rows.error_address)
        with m.If(rows.busy):
            m.d.sync += begun.eq(1)
        with m.If(begun & (self.keys_error | rows.error)):
            m.d.sync += failed.eq(1)
        with m.If(active & finished & (all_given | stop)):
            m.d.sync += active.eq(0)
        with m.If(self.start):
            m.d.sync += [active.eq(1), begun.eq(0), given.eq(0), failed.eq(0), self.bad_key.eq(0)]
        return m
