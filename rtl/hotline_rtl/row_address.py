"""From a key to the address of its row in host memory: base + row * stride.

One key per cycle; latency 3 cycles.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .layouts import key_layout
from .model_store import STRIDE_BITS, ModelSignature
from .ram import Ram


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
        step = Signal()
        m.d.comb += [step.eq(~self.o.valid | self.o.ready), self.i.ready.eq(step)]

        # Stage 1: the table's descriptor.
        fields = Cat(model.descriptor.base, model.descriptor.rows, model.descriptor.stride)
        m.submodules.descriptors = ram = Ram(len(fields), config.tables)
        known = Signal(config.tables)
        with m.If(model.table_write):
            m.d.sync += known.bit_select(model.table, 1).eq(1)
        with m.If(model.reset):
            m.d.sync += known.eq(0)
        m.d.comb += [
            ram.w_en.eq(model.table_write),
            ram.w_addr.eq(model.table),
            ram.w_data.eq(fields),
            ram.r_en.eq(step),
            ram.r_addr.eq(self.i.p.key.table),
        ]
        layout = data.StructLayout({
            "base": config.address_bits, "rows": config.row_bits + 1, "stride": STRIDE_BITS,
        })  # fmt: skip
        descriptor = data.View(layout, ram.r_data)
        s1_valid = Signal()
        s1_row = Signal(config.row_bits)
        s1_bad = Signal()
        s1_extra, s2_extra = Signal(self.extra), Signal(self.extra)

        # Stage 2: the product; stage 3: the sum.
        s2_valid = Signal()
        s2_offset = Signal(config.address_bits)
        s2_base = Signal(config.address_bits)
        s2_bad = Signal()
        with m.If(step):
            m.d.sync += [
                s1_valid.eq(self.i.valid),
                s1_row.eq(self.i.p.key.row),
                s1_bad.eq(self.i.p.outside | ~known.bit_select(self.i.p.key.table, 1)),
                s2_valid.eq(s1_valid),
                s2_offset.eq(s1_row * descriptor.stride),
                s2_base.eq(descriptor.base),
                s2_bad.eq(s1_bad | (s1_row >= descriptor.rows)),
                s1_extra.eq(self.i.p.extra), s2_extra.eq(s1_extra), self.o.p.extra.eq(s2_extra),
                self.o.valid.eq(s2_valid),
                self.o.p.address.eq(Mux(s2_bad, 0, s2_base + s2_offset)),
                self.o.p.bad.eq(s2_bad),
            ]  # fmt: skip
        return m
