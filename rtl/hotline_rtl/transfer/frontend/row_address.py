"""From a key to the address of its row in host memory: base + row * stride.

One key per cycle; latency 7 cycles.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.layouts import key_layout
from ...interfaces.model import STRIDE_BITS, KnownTables, ModelSignature
from ...lib.credit_fifo import CreditFifo
from ...lib.logic import delayed
from ...lib.ram import Ram

#: Bits of a row number that one multiplier takes.
FACTOR_BITS = 18


def row_address_layout(config: AcceleratorConfig, extra: int) -> data.StructLayout:
    """A row's ``address``; ``bad`` when there is no such table or row."""
    return data.StructLayout({"address": config.address_bits, "bad": 1, "extra": extra})


class RowAddress(wiring.Component):
    """Members: ``model``; ``i``, a stream of {key, outside, extra}; ``o``, a stream of row_address_layout.

    ``outside`` marks a key whose table or row did not fit its field; ``extra`` bits go along.
    """

    def __init__(self, config: AcceleratorConfig, extra: int):
        self.config, self.extra = config, extra
        super().__init__({
            "model": In(ModelSignature(config)),
            "i": In(stream.Signature(data.StructLayout({"key": key_layout(config), "outside": 1, "extra": extra}))),
            "o": Out(stream.Signature(row_address_layout(config, extra))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, model = self.config, self.model
        m.submodules.out_fifo = out_fifo = CreditFifo(self.o.p.shape(), 5)
        wiring.connect(m, out_fifo.o, wiring.flipped(self.o))
        takes = self.i.valid & out_fifo.credit
        m.d.comb += [self.i.ready.eq(out_fifo.credit), out_fifo.spend.eq(takes)]

        # Stages 1 and 2: the table's descriptor.
        fields = Cat(model.descriptor.base, model.descriptor.rows, model.descriptor.stride)
        m.submodules.descriptors = ram = Ram(len(fields), config.tables)
        known = KnownTables(m, model)
        table = self.i.p.key.table
        s1_known, s1_table = delayed(m, known.by_low(table), reset_less=True), delayed(m, table, reset_less=True)
        m.d.comb += [
            ram.w_en.eq(model.table_write),
            ram.w_addr.eq(model.table),
            ram.w_data.eq(fields),
            ram.r_en.eq(1),
            ram.r_addr.eq(self.i.p.key.table),
        ]
        layout = data.StructLayout({
            "base": config.address_bits, "rows": config.row_bits + 1, "stride": STRIDE_BITS,
        })  # fmt: skip
        descriptor = Signal(layout, reset_less=True)  # a register behind the RAM
        s1_valid = Signal()
        s1_row = Signal(config.row_bits, reset_less=True)
        s1_bad = Signal(reset_less=True)
        s1_extra = Signal(self.extra, reset_less=True)
        s2_valid = Signal()
        s2_row = Signal(config.row_bits, reset_less=True)
        s2_bad = Signal(reset_less=True)
        s2_extra = Signal(self.extra, reset_less=True)

        # Stage 3: two products. Stage 4: their sum. Stage 5: the address.
        s3_valid = Signal()
        s3_bad = Signal(reset_less=True)
        s3_extra = Signal(self.extra, reset_less=True)
        s3_base = Signal(config.address_bits, reset_less=True)
        s3_row, s3_rows = Signal.like(s2_row, reset_less=True), Signal.like(descriptor.rows, reset_less=True)
        low_bits = min(FACTOR_BITS, config.row_bits)
        stride_words = descriptor.stride[2:]  # strides are multiples of 4 bytes
        s3_low = Signal(low_bits + len(stride_words), reset_less=True)
        s3_high = Signal(config.row_bits - low_bits + len(stride_words), reset_less=True)
        s4_valid, s4_bad, s4_extra = Signal(), Signal(reset_less=True), Signal(self.extra, reset_less=True)
        s4_offset = Signal(config.address_bits, reset_less=True)
        s4_base = Signal(config.address_bits, reset_less=True)
        s5_valid, s5 = Signal(), Signal(self.o.p.shape(), reset_less=True)
        m.d.sync += [
            s1_valid.eq(takes),
            s1_row.eq(self.i.p.key.row),
            s1_bad.eq(self.i.p.outside),
            s1_extra.eq(self.i.p.extra),
            descriptor.eq(ram.r_data),
            s2_valid.eq(s1_valid),
            s2_row.eq(s1_row),
            s2_bad.eq(s1_bad | ~known.by_high(s1_known, s1_table)),
            s2_extra.eq(s1_extra),
            s3_valid.eq(s2_valid),
            s3_extra.eq(s2_extra),
            s3_base.eq(descriptor.base),
            s3_bad.eq(s2_bad),
            s3_row.eq(s2_row),
            s3_rows.eq(descriptor.rows),
            s3_low.eq(s2_row[:low_bits] * stride_words),
            s3_high.eq(s2_row[low_bits:] * stride_words),
            s4_valid.eq(s3_valid),
            s4_bad.eq(s3_bad | (s3_row >= s3_rows)),
            s4_extra.eq(s3_extra),
            s4_base.eq(s3_base),
            s4_offset.eq((s3_low + (s3_high << low_bits)) << 2),
            s5_valid.eq(s4_valid),
            s5.extra.eq(s4_extra),
            s5.bad.eq(s4_bad),
            s5.address.eq(Mux(s4_bad, 0, s4_base + s4_offset)),
        ]
        m.d.comb += [out_fifo.i.valid.eq(s5_valid), out_fifo.i.p.eq(s5)]
        return m
