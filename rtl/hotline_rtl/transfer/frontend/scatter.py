"""The scatter engine: reads working rows from device memory and writes them to their tables.

One beat per cycle. A key that names no row ends the command; the rows before it have been written.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout, read_failed, write_failed
from ...interfaces.keys import listed_key_layout
from ...interfaces.layouts import COUNT_BITS, Status
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from ...interfaces.model import ModelSignature
from ...lib.logic import PRODUCT_CYCLES, product
from ...lib.register_slice import RegisterSlice
from ..midend.row_writer import RowWriter
from .row_address import RowAddress
from .stream_reader import StreamReader


def scatter_job_layout(config: AcceleratorConfig) -> data.StructLayout:
    """``count`` (at least 1) rows, from ``base`` on in device memory."""
    return data.StructLayout({"base": config.address_bits, "count": COUNT_BITS + 1})


class Scatter(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    jobs : In(stream of scatter_job_layout)
    keys : In(stream of listed_key_layout)
        Where each row belongs, and behind the last an ``end``.
    results : Out(stream of fault_layout)
        Every row is in host memory, or the command has failed and nothing is on its way. The next job waits until this has been
        taken.
    read : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "model": In(ModelSignature(config)),
            "jobs": In(stream.Signature(scatter_job_layout(config))),
            "keys": In(stream.Signature(listed_key_layout(config))),
            "results": Out(stream.Signature(fault_layout())),
            "read": Out(ReadClientSignature(config)), "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.rows = rows = StreamReader(config)
        m.submodules.address = address = RowAddress(config, COUNT_BITS + 1)
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

        # A job: the rows are asked for when their bytes are known.
        job = Signal(scatter_job_layout(config), reset_less=True)
        begins, sized, asked = Signal(), Signal(PRODUCT_CYCLES + 1), Signal()
        m.d.sync += sized.eq(Cat(begins, sized))
        with m.If(begins):
            m.d.sync += job.eq(self.jobs.p)
        with m.If(sized[-1]):
            m.d.sync += rows.start.valid.eq(1)
        with m.If(rows.start.valid & rows.start.ready):
            m.d.sync += [rows.start.valid.eq(0), asked.eq(1)]
        m.d.comb += [
            rows.go.eq(1),
            rows.start.p.address.eq(job.base),
            rows.start.p.words.eq(product(m, job.count, self.model.row_bytes[2:])),
            writer.clear.eq(begins),
            writer.row_bytes.eq(self.model.row_bytes),
            address.i.valid.eq(self.keys.valid),
            self.keys.ready.eq(address.i.ready),
            address.i.p.key.eq(self.keys.p.key),
            address.i.p.outside.eq(self.keys.p.outside),
            address.i.p.extra.eq(Cat(self.keys.p.number, self.keys.p.end)),
        ]

        # Rows go out until a bad key; then what follows is thrown away. Those that the writer has still need their words.
        number, is_end = addresses.o.p.extra[:COUNT_BITS], addresses.o.p.extra[COUNT_BITS]
        bad_key, bad_index = Signal(), Signal(COUNT_BITS, reset_less=True)
        failed, ended = Signal(), Signal()  # a row could not be read; no more keys come
        stop = bad_key | failed
        written = writer.idle & ~to_writer.o.valid
        m.d.comb += [
            to_writer.i.valid.eq(addresses.o.valid & ~is_end & ~addresses.o.p.bad & ~stop),
            to_writer.i.p.eq(addresses.o.p.address),
            addresses.o.ready.eq(to_writer.i.ready),  # after a bad key, too: what is in the slice leaves it
            read.drop.eq(begins),
            rows.abort.eq(stop & written),
        ]
        with m.If(addresses.o.valid & ~is_end & addresses.o.p.bad & ~stop):
            m.d.sync += [bad_key.eq(1), bad_index.eq(number)]
        with m.If(asked & ~rows.waiting & rows.error):
            m.d.sync += failed.eq(1)
        with m.If(addresses.o.valid & addresses.o.ready & is_end):
            m.d.sync += ended.eq(1)

        fault = self.results.p
        with m.If(rows.error):
            m.d.comb += [fault.status.eq(read_failed(rows.timeout)), fault.address.eq(rows.error_address)]
        with m.Elif(bad_key):
            m.d.comb += [fault.status.eq(Status.ROW_OUTSIDE_TABLE), fault.index.eq(bad_index)]
        with m.Else():
            m.d.comb += [fault.status.eq(write_failed(writer.timeout)), fault.address.eq(writer.error_address)]
        m.d.comb += fault.valid.eq(rows.error | bad_key | writer.error)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.jobs.ready.eq(1), begins.eq(self.jobs.valid)]
                m.d.sync += [asked.eq(0), failed.eq(0), ended.eq(0), bad_key.eq(0)]
                with m.If(self.jobs.valid):
                    m.next = "ROWS"
            with m.State("ROWS"):
                with m.If(asked & ended & written & ~rows.busy & ~rows.waiting):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"
        return m
