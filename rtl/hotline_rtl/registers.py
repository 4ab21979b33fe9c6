"""The AXI4-Lite register block, built from ``hotline.rdl``.

One write or read at a time; a write takes effect two cycles after its address and data have both
come. Latency: a write is answered two cycles after its address and data, a read three after its
address.
"""

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import RESP_SLVERR, Axi4LiteSignature
from .register_map import registers
from .words import no_reset

ADDRESS_BITS = 12
#: Registers whose choice for a read takes the first of two cycles: these address bits; the second takes those above.
GROUP_BITS = 3


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
        taken, read = Signal(), Signal()
        write, address, wdata, mask = Signal(), Signal(ADDRESS_BITS, reset_less=True), Signal(32), Signal(32)
        no_reset(wdata, mask)
        reading, choosing, read_address = Signal(), Signal(), Signal.like(axil.araddr, reset_less=True)
        m.d.comb += [
            # Reset lasts a cycle longer inside than outside.
            taken.eq(axil.awvalid & axil.wvalid & ~write & (~axil.bvalid | axil.bready) & ~ResetSignal()),
            axil.awready.eq(taken),
            axil.wready.eq(taken),
            read.eq(axil.arvalid & ~reading & ~choosing & (~axil.rvalid | axil.rready) & ~ResetSignal()),
            axil.arready.eq(read),
        ]
        m.d.sync += [
            write.eq(taken), address.eq(axil.awaddr), wdata.eq(axil.wdata),
            mask.eq(Cat(bit.replicate(8) for bit in axil.wstrb)),
        ]  # fmt: skip
        with m.If(axil.bready):
            m.d.sync += axil.bvalid.eq(0)
        with m.If(axil.rready):
            m.d.sync += axil.rvalid.eq(0)

        write_known = Signal()
        groups: dict[int, list] = {}  # words by the address bits above those of the first choice
        for register in registers().values():
            selected = address[2:] == register.address >> 2
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
                    clear = Mux(write & selected, wdata[bits] & mask[bits], 0)
                    m.d.sync += value.eq((value & ~clear) | getattr(self, f"{register.name}_{field.name}_set"))
                else:
                    with m.If(write & selected):
                        m.d.sync += value.eq((wdata[bits] & mask[bits]) | (value & ~mask[bits]))
            if register.strobe:
                m.d.sync += getattr(self, f"{register.name}_written").eq(write & selected)
            with m.If(selected):
                m.d.comb += write_known.eq(1)
            groups.setdefault(register.address >> 2 + GROUP_BITS, []).append((register.address >> 2, Cat(*word)))

        with m.If(write):
            m.d.sync += [axil.bvalid.eq(1), axil.bresp.eq(Mux(write_known, 0, RESP_SLVERR))]
        m.d.sync += [reading.eq(read), choosing.eq(reading)]
        with m.If(read):
            m.d.sync += read_address.eq(axil.araddr)
        number = read_address[2:]
        read_data, read_known = Signal(32), Signal()
        for group, words in groups.items():
            chosen, known = Signal(32, name=f"group_{group}"), Signal(name=f"in_group_{group}")
            no_reset(chosen, known)
            m.d.sync += [chosen.eq(0), known.eq(0)]
            for place, word in words:
                with m.If(number[:GROUP_BITS] == place & (1 << GROUP_BITS) - 1):
                    m.d.sync += [chosen.eq(word), known.eq(1)]
            with m.If(number[GROUP_BITS:] == group):
                m.d.comb += [read_data.eq(chosen), read_known.eq(known)]
        with m.If(choosing):
            m.d.sync += [axil.rvalid.eq(1), axil.rdata.eq(read_data), axil.rresp.eq(Mux(read_known, 0, RESP_SLVERR))]
        return m
