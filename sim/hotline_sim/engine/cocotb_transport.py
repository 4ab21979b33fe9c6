"""The accelerator behind cocotb: the driver's transport, whose AXI4-Lite goes through cocotbext-axi, and the two memories."""

import cocotb
from cocotb.clock import Clock
from cocotb.task import resume
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from hotline_golden.memory import MemoryImage
from hotline_rtl.config import AcceleratorConfig

from .cocotb_memory import CocotbMemory
from .memory_model import MemoryTiming
from .toolchain import ToolError

CLOCK_NS = 10


class CocotbTransport:
    """What the driver needs, to be used from a thread that ``cocotb.task.bridge`` started."""

    engine = "cocotb"

    def __init__(self, dut, host: CocotbMemory, device: CocotbMemory):
        self.dut = dut
        self.host_memory, self.device_memory = host, device
        self.host, self.device = host.image, device.image
        self.cycles = 0
        self.axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.axil.write_if.log.setLevel("WARNING")
        self.axil.read_if.log.setLevel("WARNING")

    async def _clock(self) -> None:
        edge = RisingEdge(self.dut.clk)
        while True:
            await edge
            reset = bool(int(self.dut.rst.value))
            self.host_memory.edge(reset)
            self.device_memory.edge(reset)
            self.cycles += 1

    async def write(self, address: int, value: int) -> None:
        response = await self.axil.write(address, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
        if int(response.resp):
            raise ToolError(f"register write at {address:#x} answered {response.resp}")

    async def read(self, address: int) -> int:
        response = await self.axil.read(address, 4)
        if int(response.resp):
            raise ToolError(f"register read at {address:#x} answered {response.resp}")
        return int.from_bytes(response.data, "little")

    async def wait(self, cycles: int) -> bool:
        last = self.cycles + cycles
        edge = RisingEdge(self.dut.clk)
        while self.cycles < last:
            await edge
            if int(self.dut.irq.value):
                return True
        return False

    async def _pass(self, cycles: int) -> None:
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)

    def run_cycles(self, cycles: int) -> None:
        """Lets the clock run."""
        if cycles:
            resume(self._pass)(cycles)

    def write32(self, address: int, value: int) -> None:
        """Writes a register."""
        resume(self.write)(address, value)

    def read32(self, address: int) -> int:
        """Reads a register."""
        return resume(self.read)(address)

    def wait_interrupt(self, cycles: int) -> bool:
        """Waits until the interrupt line is high, at most ``cycles``; returns whether it is."""
        return resume(self.wait)(cycles)


async def start_accelerator(
    dut, config: AcceleratorConfig, host: MemoryImage, device: MemoryImage, timings: tuple[MemoryTiming, MemoryTiming]
) -> CocotbTransport:
    """Clock, reset, memories and register access for the accelerator under ``dut``."""
    memories = [
        CocotbMemory(dut, prefix, image, timing, config.bus_bytes, config.burst_limit)
        for prefix, image, timing in (("m_axi_host", host, timings[0]), ("m_axi_dev", device, timings[1]))
    ]
    dut.rst.value = 1
    transport = CocotbTransport(dut, *memories)
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    cocotb.start_soon(transport._clock())
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    for _ in range(2):
        await RisingEdge(dut.clk)
    return transport
