"""A small memory in block RAM behind an AXI4 port, which a second, narrow port can reach as well."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hotline_rtl.config import PAGE_BYTES, AcceleratorConfig
from hotline_rtl.interfaces.axi import RESP_OKAY, RESP_SLVERR, Axi4Signature
from hotline_rtl.lib.ram import Ram


class WordPortSignature(wiring.Signature):
    """One 32-bit word at a time, seen from the manager: held until ``done``, which comes with ``r_data`` and ``error``."""

    def __init__(self):
        super().__init__({
            "valid": Out(1), "write": Out(1), "address": Out(28), "w_data": Out(32),
            "done": In(1), "r_data": In(32), "error": In(1),
        })  # fmt: skip


class AxiMemory(wiring.Component):
    """``size`` bytes from byte address ``base`` on; bursts elsewhere are answered SLVERR, and change nothing.

    INCR bursts of whole beats (IHI 0022, A3.4.1), one at a time, a beat a cycle; reads, writes and words take turns. Latency
    of a read: 3 cycles. Raises ValueError for a size that is not a multiple of 4 KiB and a power of two, or not aligned.

    Members
    -------
    bus : In(Axi4Signature)
    words : In(WordPortSignature)
        Its addresses count from ``base``.
    """

    def __init__(self, config: AcceleratorConfig, base: int, size: int):
        if size < PAGE_BYTES or size & (size - 1) or base % size:
            raise ValueError(
                f"a memory of {size} bytes at {base:#x}: a power of two from {PAGE_BYTES} on, and aligned"
            )
        self.config, self.base, self.size = config, base, size
        super().__init__(
            {
                "bus": In(Axi4Signature(config.address_bits, config.bus_bits, config.id_bits)),
                "words": In(WordPortSignature()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus, words, config = self.bus, self.words, self.config
        lanes = config.bus_bytes
        shift = ceil_log2(lanes)
        depth = self.size // lanes
        strobes, w_data, r_data = Signal(lanes), Signal(config.bus_bits), Signal(config.bus_bits)
        w_addr, r_addr, r_en = Signal(range(depth)), Signal(range(depth)), Signal()
        for lane in range(lanes):
            m.submodules[f"ram_{lane}"] = ram = Ram(8, depth)
            m.d.comb += [
                ram.w_en.eq(strobes[lane]),
                ram.w_addr.eq(w_addr),
                ram.w_data.eq(w_data.word_select(lane, 8)),
                ram.r_en.eq(r_en),
                ram.r_addr.eq(r_addr),
                r_data.word_select(lane, 8).eq(ram.r_data),
            ]

        size_bits = ceil_log2(self.size)

        def inside(address):
            return address[size_bits:] == self.base >> size_bits

        beat, left, error = Signal(range(depth)), Signal(8), Signal()
        word_beat = words.address[shift:size_bits]
        word_lane = words.address[2:shift]
        step = ~bus.rvalid | bus.rready
        more = Signal()
        m.d.comb += [
            bus.rdata.eq(r_data),
            bus.rresp.eq(Mux(error, RESP_SLVERR, RESP_OKAY)),
            bus.bresp.eq(bus.rresp),
            words.r_data.eq(r_data.word_select(word_lane, 32)),
            words.error.eq(words.address[size_bits:] != 0),
        ]
        with m.If(step):
            m.d.sync += bus.rvalid.eq(0)
        with m.FSM():
            # What was served last has the lowest priority.
            with m.State("WORD_FIRST"):
                self._choose(m, ["WORD", "READ", "WRITE"])
            with m.State("READ_FIRST"):
                self._choose(m, ["READ", "WRITE", "WORD"])
            with m.State("WRITE_FIRST"):
                self._choose(m, ["WRITE", "WORD", "READ"])
            with m.State("READ"):
                m.d.comb += [bus.arready.eq(1)]
                m.d.sync += [
                    beat.eq(bus.araddr[shift:size_bits]),
                    left.eq(bus.arlen),
                    bus.rid.eq(bus.arid),
                    more.eq(1),
                    error.eq(~inside(bus.araddr)),
                ]
                m.next = "READING"
            with m.State("READING"):
                m.d.comb += [r_addr.eq(beat), r_en.eq(step & more)]
                with m.If(r_en):
                    m.d.sync += [
                        bus.rvalid.eq(1),
                        bus.rlast.eq(left == 0),
                        beat.eq(beat + 1),
                        left.eq(left - 1),
                        more.eq(left != 0),
                    ]
                with m.Elif(step):
                    m.next = "WRITE_FIRST"
            with m.State("WRITE"):
                m.d.comb += bus.awready.eq(1)
                m.d.sync += [
                    beat.eq(bus.awaddr[shift:size_bits]),
                    bus.bid.eq(bus.awid),
                    error.eq(~inside(bus.awaddr)),
                ]
                m.next = "WRITING"
            with m.State("WRITING"):
                m.d.comb += [
                    bus.wready.eq(1),
                    w_addr.eq(beat),
                    w_data.eq(bus.wdata),
                    strobes.eq(Mux(bus.wvalid & ~error, bus.wstrb, 0)),
                ]
                with m.If(bus.wvalid):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(bus.wlast):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += bus.bvalid.eq(1)
                with m.If(bus.bready):
                    m.next = "WORD_FIRST"
            with m.State("WORD"):
                m.d.comb += [
                    r_addr.eq(word_beat),
                    r_en.eq(1),
                    w_addr.eq(word_beat),
                    w_data.eq(words.w_data.replicate(lanes // 4)),
                ]
                with m.If(words.write & ~words.error):
                    m.d.comb += strobes.eq(Cat((word_lane == n).replicate(4) for n in range(lanes // 4)))
                m.next = "WORD_DONE"
            with m.State("WORD_DONE"):
                m.d.comb += words.done.eq(1)
                m.next = "READ_FIRST"
        return m

    def _choose(self, m: Module, order: list[str]) -> None:
        waits = {"READ": self.bus.arvalid, "WRITE": self.bus.awvalid, "WORD": self.words.valid}
        with m.If(waits[order[0]]):
            m.next = order[0]
        for kind in order[1:]:
            with m.Elif(waits[kind]):
                m.next = kind
