"""The AXI4-Lite register block, built from ``hotline.rdl``.

One write or read at a time; a write takes effect in the cycle after its address and data have both
come. Latency: a write is answered one cycle after its address and data, a read two after its
address.
"""

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import RESP_SLVERR, Axi4LiteSignature
from .register_map import registers
from .words import no_reset

ADDRESS_BITS = 12


class RegisterBlock(wiring.Component):
    """Members
    -------
    axil : In(Axi4LiteSignature(12))
    REGISTER_FIELD
        For each field: Out when software writes it, In when hardware does.
    REGISTER_FIELD_set : In(1)
        For a write-1-to-clear field: sets it, and wins over clearing.
    REGISTER_written : Out(1)
        For a register with a strobe: software has just written it.
    """

    def __init__(self):
        members = {"axil": In(Axi4LiteSignature(ADDRESS_BITS))}
        for register in registers().values():
            for field in register.fields:
                name = f"{register.name}_{field.name}"
                members[name] = Out(field.width, init=field.reset) if field.software_writes else In(field.width)
                if field.write_one_clears:
                    members[f"{register.name}_{field.name}_set"] = In(1)
            if register.strobe:
                members[f"{register.name}_written"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        axil = self.axil
        no_reset(axil.rdata, axil.rresp, axil.bresp)
        write, read = Signal(), Signal()
        reading, read_address = Signal(), Signal.like(axil.araddr, reset_less=True)
        m.d.comb += [
            # Reset lasts a cycle longer inside than outside.
            write.eq(axil.awvalid & axil.wvalid & (~axil.bvalid | axil.bready) & ~ResetSignal()),
            axil.awready.eq(write),
            axil.wready.eq(write),
            read.eq(axil.arvalid & ~reading & (~axil.rvalid | axil.rready) & ~ResetSignal()),
            axil.arready.eq(read),
        ]
        with m.If(axil.bready):
            m.d.sync += axil.bvalid.eq(0)
        with m.If(axil.rready):
            m.d.sync += axil.rvalid.eq(0)

        write_known, read_known = Signal(), Signal()
        read_data = Signal(32)
        mask = Cat(bit.replicate(8) for bit in axil.wstrb)
        for register in registers().values():
            selected = axil.awaddr[2:] == register.address >> 2
            word = []
            position = 0
            for field in sorted(register.fields, key=lambda f: f.low):
                value = getattr(self, f"{register.name}_{field.name}")
                word += [Const(0, field.low - position), value]
                position = field.low + field.width
                if not field.software_writes:
                    continue
                bits = slice(field.low, field.low + field.width)
                if field.write_one_clears:
                    clear = Mux(write & selected, axil.wdata[bits] & mask[bits], 0)
                    m.d.sync += value.eq((value & ~clear) | getattr(self, f"{register.name}_{field.name}_set"))
                else:
                    with m.If(write & selected):
                        m.d.sync += value.eq((axil.wdata[bits] & mask[bits]) | (value & ~mask[bits]))
            if register.strobe:
                m.d.sync += getattr(self, f"{register.name}_written").eq(write & selected)
            with m.If(selected):
                m.d.comb += write_known.eq(1)
            with m.If(read_address[2:] == register.address >> 2):
                m.d.comb += [read_data.eq(Cat(*word)), read_known.eq(1)]

        with m.If(write):
            m.d.sync += [axil.bvalid.eq(1), axil.bresp.eq(Mux(write_known, 0, RESP_SLVERR))]
        m.d.sync += [reading.eq(read), read_address.eq(axil.araddr)]
        with m.If(reading):
            m.d.sync += [
                axil.rvalid.eq(1),
                axil.rdata.eq(read_data),
                axil.rresp.eq(Mux(read_known, 0, RESP_SLVERR)),
            ]
        return m
