"""The top level for a ULX3S board (LFE5U-85F, 25 MHz, FT231X): a small accelerator, 64 KiB for each side, a serial line."""

from dataclasses import dataclass

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hotline_rtl.accelerator import Accelerator
from hotline_rtl.config import AcceleratorConfig

from .axi_memory import AxiMemory
from .serial_bridge import DEVICE, HOST, SerialBridge
from .uart import UartReceiver, UartTransmitter

CLOCK_HZ = 25_000_000
BAUD = 1_000_000
MEMORY_BYTES = 1 << 16
#: Cycles that everything is held in reset after the bitstream has been loaded.
POWER_ON_CYCLES = 64


@dataclass(frozen=True)
class Board:
    """What tools must know of a board."""

    part: str  # of ``hotline_fpga.parts``
    package: str
    speed: int
    mhz: float


#: https://github.com/emard/ulx3s, board revision 3.
ULX3S = Board("ecp5-85k", "CABGA381", 6, CLOCK_HZ / 1e6)


class Ulx3s(wiring.Component):
    """Members
    -------
    clk_25mhz : In(1), fire : In(1)
        The button FIRE 1 resets everything.
    ftdi_txd : In(1), ftdi_rxd : Out(1)
        The serial line, from and to the computer: 1 Mbaud by default.
    led : Out(8)
        0: out of reset; 1: a request is under way; 2: interrupt; 3, 4: host, 5, 6: device memory is read, written; 7: 1.5 Hz.
    wifi_gpio0 : Out(1)
        High, so that the board's ESP32 does not load another bitstream.
    """

    def __init__(
        self, config: AcceleratorConfig, *, divisor: int = CLOCK_HZ // BAUD, memory_bytes: int = MEMORY_BYTES
    ):
        self.config, self.divisor, self.memory_bytes = config, divisor, memory_bytes
        super().__init__({
            "clk_25mhz": In(1), "fire": In(1), "ftdi_txd": In(1), "ftdi_rxd": Out(1), "led": Out(8), "wifi_gpio0": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        # The accelerator has its own domain `sync`.
        m.domains.board = ClockDomain()
        m.domains.start = ClockDomain(reset_less=True)
        fire = Signal()
        m.submodules.fire = FFSynchronizer(self.fire, fire, o_domain="start")
        held = Signal(range(POWER_ON_CYCLES + 1))
        m.d.comb += [ClockSignal("start").eq(self.clk_25mhz), ClockSignal("board").eq(self.clk_25mhz)]
        with m.If(fire):
            m.d.start += held.eq(0)
        with m.Elif(held != POWER_ON_CYCLES):
            m.d.start += held.eq(held + 1)
        reset = Signal(init=1)
        m.d.start += reset.eq(held != POWER_ON_CYCLES)
        m.d.comb += ResetSignal("board").eq(reset)

        m.submodules.accelerator = accelerator = Accelerator(self.config)
        m.d.comb += [accelerator.clk.eq(self.clk_25mhz), accelerator.rst.eq(reset)]
        bridge, receiver, transmitter = SerialBridge(), UartReceiver(self.divisor), UartTransmitter(self.divisor)
        parts: dict = {"bridge": bridge, "receiver": receiver, "transmitter": transmitter}
        m.d.comb += [receiver.line.eq(self.ftdi_txd), self.ftdi_rxd.eq(transmitter.line)]
        wiring.connect(m, receiver.o, bridge.i)
        wiring.connect(m, bridge.o, transmitter.i)
        wiring.connect(m, bridge.axil, accelerator.s_axil)
        used = []
        for name, number, bus in (("host", HOST, accelerator.m_axi_host), ("device", DEVICE, accelerator.m_axi_dev)):
            parts[name] = memory = AxiMemory(self.config, number << 28, self.memory_bytes)
            wiring.connect(m, bus, memory.bus)
            wiring.connect(m, getattr(bridge, name), memory.words)
            used += [bus.rvalid, bus.wvalid]
        for name, part in parts.items():
            m.submodules[name] = DomainRenamer("board")(part)
        beat = Signal(24)
        m.d.board += beat.eq(beat + 1)
        m.d.comb += [
            bridge.irq.eq(accelerator.irq),
            self.wifi_gpio0.eq(1),
            self.led.eq(Cat(~reset, bridge.busy, accelerator.irq, used, beat[-1])),
        ]
        return m
