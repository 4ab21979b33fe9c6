"""The AXI4-Lite register block, built from ``hotline.rdl``.

One write or read at a time; a write takes effect two cycles after its address and data have both
come. Latency: a write is answered two cycles after its address and data, a read seven after its
address.

Reads and writes of whole blocks of 16 bytes are legal: where a block holds a register, its other words
read 0 and ignore writes. Any other address answers SLVERR (AXI4 specification, A3.4.5).
"""

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...interfaces.axi import RESP_SLVERR, Axi4LiteSignature
from ...lib.logic import delayed, is_one_of, pick, without_reset
from .register_map import registers

ADDRESS_BITS = 12
#: Words of a block that answers as a whole.
BLOCK_WORDS = 4
#: A read chooses its register in so many cycles, by so many bits of its number each, from the lowest on.
CHOICES = (3, 2, ADDRESS_BITS - 2 - 3 - 2)
#: Cycles before, in which the number comes to all that choose.
COPIES = 4


class RegisterBlock(wiring.Component):
    """``constants``: values of fields that never change, by REGISTER_FIELD; they are no members.

    Members
    -------
    axil : In(Axi4LiteSignature(12))
    REGISTER_FIELD
        For each field: Out when software writes it, In when hardware does.
    REGISTER_FIELD_set : In(1)
        For a write-1-to-clear field: sets it, and wins over clearing.
    REGISTER_written : Out(1)
        For a register with a strobe: software has just written a byte of the field that has it.
    hold : In(1)
        No write is taken.
    lock : In(1), refused : Out(1)
        Writes to registers of the model are ignored; one just was.
    """

    def __init__(self, constants: dict[str, int] | None = None):
        self.constants = constants or {}
        members = {
            "axil": In(Axi4LiteSignature(ADDRESS_BITS)), "hold": In(1), "lock": In(1), "refused": Out(1),
        }  # fmt: skip
        for register in registers().values():
            for field in register.fields:
                name = f"{register.name}_{field.name}"
                if name in self.constants:
                    continue
                members[name] = Out(field.width, init=field.reset) if field.software_writes else In(field.width)
                if field.write_one_clears:
                    members[f"{register.name}_{field.name}_set"] = In(1)
            if register.strobe:
                members[f"{register.name}_written"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        axil = self.axil
        rdata = without_reset(m, axil.rdata)
        rresp = without_reset(m, axil.rresp)
        bresp = without_reset(m, axil.bresp)
        taken, read = Signal(), Signal()
        answers, read_answers = Signal(), Signal()
        write = Signal()
        address = Signal(ADDRESS_BITS, reset_less=True)
        wdata = Signal(32, reset_less=True)
        mask = Signal(32, reset_less=True)
        strobe = mask[::8]
        choosing = Signal(len(CHOICES) + COPIES - 1)
        # Registers are everywhere: each copy of the number has its own to choose from.
        read_numbers = [Signal(ADDRESS_BITS - 2, reset_less=True, name=f"read_number_{n}") for n in range(COPIES)]
        m.d.comb += [
            # Reset comes, and ends, a cycle later inside than outside: meanwhile no valid is high (AXI4, A3.1.2).
            axil.bvalid.eq(answers & ~ResetSignal()),
            axil.rvalid.eq(read_answers & ~ResetSignal()),
            taken.eq(axil.awvalid & axil.wvalid & ~write & (~answers | axil.bready) & ~self.hold & ~ResetSignal()),
            axil.awready.eq(taken),
            axil.wready.eq(taken),
            read.eq(axil.arvalid & ~choosing.any() & (~read_answers | axil.rready) & ~ResetSignal()),
            axil.arready.eq(read),
        ]
        m.d.sync += [
            write.eq(taken),
            address.eq(axil.awaddr),
            wdata.eq(axil.wdata),
            mask.eq(Cat(bit.replicate(8) for bit in axil.wstrb)),
        ]
        with m.If(axil.bready):
            m.d.sync += answers.eq(0)
        with m.If(axil.rready):
            m.d.sync += read_answers.eq(0)

        write_known, of_model = Signal(), Signal()
        blocks = {register.address // (4 * BLOCK_WORDS) for register in registers().values()}
        m.d.comb += write_known.eq(is_one_of(address // (4 * BLOCK_WORDS), *blocks))
        # By number; a bit above says that there is one.
        words: dict = {block * BLOCK_WORDS + n: Const(1 << 32, 33) for block in blocks for n in range(BLOCK_WORDS)}
        for register in registers().values():
            selected = Signal(name=f"selects_{register.name}")
            m.d.comb += selected.eq(write & (address[2:] == register.address >> 2))
            if register.model:
                with m.If(selected):
                    m.d.comb += of_model.eq(1)
                selected = selected & ~self.lock
            word = []
            position = 0
            for field in sorted(register.fields, key=lambda f: f.low):
                name = f"{register.name}_{field.name}"
                constant = self.constants.get(name)
                value = getattr(self, name) if constant is None else Const(constant, field.width)
                word += [Const(0, field.low - position), value]
                position = field.low + field.width
                if not field.software_writes:
                    continue
                bits = slice(field.low, field.low + field.width)
                if field.write_one_clears:
                    clear = Mux(selected, wdata[bits] & mask[bits], 0)
                    m.d.sync += value.eq((value & ~clear) | getattr(self, f"{register.name}_{field.name}_set"))
                else:
                    with m.If(selected):
                        m.d.sync += value.eq((wdata[bits] & mask[bits]) | (value & ~mask[bits]))
            if register.strobe:
                written = selected & (strobe & register.strobe_bytes).any()
                m.d.sync += getattr(self, f"{register.name}_written").eq(written)
            words[register.address >> 2] = Cat(*word, Const(0, 32 - position), Const(1, 1))

        m.d.sync += self.refused.eq(of_model & self.lock & strobe.any())
        with m.If(write):
            m.d.sync += [answers.eq(1), bresp.eq(Mux(write_known, 0, RESP_SLVERR))]
        m.d.sync += choosing.eq(Cat(read, choosing))
        with m.If(read):
            m.d.sync += read_numbers[0].eq(axil.araddr[2:])
        m.d.sync += [after.eq(before) for before, after in zip(read_numbers, read_numbers[1:], strict=False)]
        rest = read_numbers[-1]
        for chosen in CHOICES[:-1]:
            groups: dict[int, list] = {}
            for number, word in words.items():
                groups.setdefault(number >> chosen, [Const(0, 33)] * (1 << chosen))[number % (1 << chosen)] = word
            low = len(read_numbers[0]) - len(rest)
            words = {
                number: delayed(
                    m,
                    pick(group, read_numbers[number * COPIES // (max(groups) + 1)][low : low + chosen]),
                    reset_less=True,
                )
                for number, group in groups.items()
            }
            rest = rest[chosen:]
        with m.If(choosing[-1]):
            m.d.sync += [read_answers.eq(1), rdata.eq(0), rresp.eq(RESP_SLVERR)]
            for number, word in words.items():
                with m.If(word[-1] & (rest == number)):
                    m.d.sync += [rdata.eq(word), rresp.eq(0)]
        return m
