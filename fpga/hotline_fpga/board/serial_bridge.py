"""What a computer can do over the serial line: read and write words of the registers and of both memories.

    request   'R' or 'W' · address (4 bytes, little-endian) · words (2 bytes), then for 'W' the words
    answer    for 'R' the words, then 'K', or 'E' if any of them could not be had; anything else in place of 'R' or 'W': '?'

The address's bits 31..28 choose: 0 registers, 1 host memory, 2 device memory, 3 the state of the interrupt line. Other
addresses, and what is not there, count as errors. A request that breaks off is forgotten after ``patience`` cycles.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hotline_rtl.interfaces.axi import RESP_OKAY, Axi4LiteSignature

from .axi_memory import WordPortSignature

REGISTERS, HOST, DEVICE, INTERRUPT = range(4)
READ, WRITE, DONE, FAILED, UNKNOWN = (ord(letter) for letter in "RWKE?")


class SerialBridge(wiring.Component):
    """Members
    -------
    i : In(stream of 8 bits), never held up
    o : Out(stream of 8 bits)
    axil : Out(Axi4LiteSignature(12))
    host, device : Out(WordPortSignature)
    irq : In(1)
    busy : Out(1)
        A request is under way.
    """

    def __init__(self, patience: int = 1 << 22):
        self.patience = patience
        super().__init__({
            "i": In(stream.Signature(8, always_ready=True)), "o": Out(stream.Signature(8)),
            "axil": Out(Axi4LiteSignature(12)), "host": Out(WordPortSignature()), "device": Out(WordPortSignature()),
            "irq": In(1), "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        axil = self.axil
        writes, address, left = Signal(), Signal(32), Signal(16)
        header, part = Signal(range(6)), Signal(2)
        word, failed = Signal(32), Signal()
        waited = Signal(range(self.patience + 1))
        m.d.sync += waited.eq(Mux(self.i.valid, 0, waited + 1))
        broken = waited == self.patience

        # One word, from or to wherever the address says.
        done, error, found = Signal(), Signal(), Signal(32)
        access = Signal()
        sent_address, sent_data = Signal(), Signal()
        place = address[28:]
        with m.Switch(place):
            with m.Case(REGISTERS):
                outside = address[12:28] != 0
                m.d.comb += [
                    axil.awvalid.eq(access & writes & ~sent_address & ~outside),
                    axil.wvalid.eq(access & writes & ~sent_data & ~outside),
                    axil.arvalid.eq(access & ~writes & ~sent_address & ~outside),
                    axil.bready.eq(access),
                    axil.rready.eq(access),
                    done.eq(outside | Mux(writes, axil.bvalid, axil.rvalid)),
                    found.eq(axil.rdata),
                    error.eq(outside | (Mux(writes, axil.bresp, axil.rresp) != RESP_OKAY)),
                ]
            for number, port in ((HOST, self.host), (DEVICE, self.device)):
                with m.Case(number):
                    m.d.comb += [
                        port.valid.eq(access),
                        done.eq(port.done),
                        found.eq(port.r_data),
                        error.eq(port.error),
                    ]
            with m.Case(INTERRUPT):
                m.d.comb += [done.eq(1), found.eq(self.irq), error.eq(writes)]
            with m.Default():
                m.d.comb += [done.eq(1), error.eq(1)]
        m.d.comb += [
            axil.awaddr.eq(address),
            axil.araddr.eq(address),
            axil.wdata.eq(word),
            axil.wstrb.eq(0b1111),
        ]
        for port in (self.host, self.device):
            m.d.comb += [port.write.eq(writes), port.address.eq(address), port.w_data.eq(word)]
        with m.If(access):
            m.d.sync += [
                sent_address.eq(sent_address | Mux(writes, axil.awvalid & axil.awready, axil.arvalid & axil.arready)),
                sent_data.eq(sent_data | (axil.wvalid & axil.wready)),
            ]
        with m.Else():
            m.d.sync += [sent_address.eq(0), sent_data.eq(0)]

        def answer(text) -> None:
            m.d.comb += [self.o.valid.eq(1), self.o.p.eq(text)]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [header.eq(0), part.eq(0), failed.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += writes.eq(self.i.p == WRITE)
                    m.next = "HEADER"
                    with m.If((self.i.p != WRITE) & (self.i.p != READ)):
                        m.next = "UNKNOWN"
            with m.State("HEADER"):
                with m.If(self.i.valid):
                    m.d.sync += [Cat(address, left).eq(Cat(address, left, self.i.p) >> 8), header.eq(header + 1)]
                    with m.If(header == 5):
                        m.next = "NEXT"
                with m.Elif(broken):
                    m.next = "IDLE"
            with m.State("NEXT"):
                with m.If(left == 0):
                    m.next = "END"
                with m.Elif(writes):
                    m.next = "TAKE"
                with m.Else():
                    m.next = "ACCESS"
            with m.State("TAKE"):
                with m.If(self.i.valid):
                    m.d.sync += [word.eq(Cat(word[8:], self.i.p)), part.eq(part + 1)]
                    with m.If(part == 3):
                        m.next = "ACCESS"
                with m.Elif(broken):
                    m.next = "IDLE"
            with m.State("ACCESS"):
                m.d.comb += access.eq(1)
                with m.If(done):
                    m.d.sync += failed.eq(failed | error)
                    with m.If(writes):
                        m.next = "STEP"
                    with m.Else():
                        m.d.sync += word.eq(found)
                        m.next = "GIVE"
            with m.State("GIVE"):
                answer(word[:8])
                with m.If(self.o.ready):
                    m.d.sync += [word.eq(word >> 8), part.eq(part + 1)]
                    with m.If(part == 3):
                        m.next = "STEP"
            with m.State("STEP"):
                m.d.sync += [address[:28].eq(address[:28] + 4), left.eq(left - 1)]
                m.next = "NEXT"
            with m.State("END"):
                answer(Mux(failed, FAILED, DONE))
                with m.If(self.o.ready):
                    m.next = "IDLE"
            with m.State("UNKNOWN"):
                answer(UNKNOWN)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return m
