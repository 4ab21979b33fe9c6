"""The accelerator behind cocotb: the driver's transport, and the two memories.

AXI4-Lite goes through cocotbext-axi; the memories are the same C++ model as in the co-simulation,
stepped at every clock edge.
"""

import ctypes

import cocotb
from cocotb.clock import Clock
from cocotb.task import resume
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from hotline_golden.memory import MemoryImage
from hotline_rtl.config import AcceleratorConfig

from .memory_model import CInputs, COutputs, MemoryTiming, ModelledMemory, c_settings, data_pointer, memory_library
from .toolchain import ToolError

CLOCK_NS = 10


class CocotbMemory(ModelledMemory):
    """The memory model on the AXI4 port ``prefix`` of ``dut``, read and write channels that exist."""

    def __init__(self, dut, prefix: str, image: MemoryImage, timing: MemoryTiming, bus_bytes: int, burst_beats: int):
        library = memory_library()
        settings = c_settings(timing, bus_bytes, burst_beats)
        handle = library.memory_create(ctypes.byref(settings), image.base, data_pointer(image), len(image.data))
        super().__init__(library, handle, image)
        self.bus_bytes = bus_bytes
        self.inputs, self.outputs = CInputs(), COutputs()
        self.driven: dict[str, int] = {}
        self.signals = {}
        for channel in ("ar", "aw", "w", "b", "r"):
            for name in (
                "valid",
                "ready",
                "id",
                "addr",
                "len",
                "size",
                "burst",
                "data",
                "strb",
                "last",
                "resp",
            ):
                handle = getattr(dut, f"{prefix}_{channel}{name}", None)
                if handle is not None:
                    self.signals[channel + name] = handle
        self.channels = [c for c in ("ar", "aw", "w") if f"{c}valid" in self.signals]
        for name in ("arready", "rvalid", "awready", "wready", "bvalid"):
            self._drive(name, 0)

    def _drive(self, name: str, value: int) -> None:
        if name in self.signals and self.driven.get(name) != value:
            self.signals[name].value = value
            self.driven[name] = value

    def _get(self, name: str) -> int:
        return int(self.signals[name].value)

    def edge(self, reset: bool) -> None:
        """Once for every rising edge, before anything else is driven."""
        i, o = self.inputs, self.outputs
        if reset:
            self.library.memory_edge(self.handle, ctypes.byref(i), ctypes.byref(o), 1)
            return
        for channel in self.channels:
            valid = self._get(channel + "valid")
            setattr(i, channel + "valid", valid)
            if not valid:
                continue
            if channel == "w":
                i.wlast, i.wstrb = self._get("wlast"), self._get("wstrb")
                data = self._get("wdata").to_bytes(self.bus_bytes, "little")
                ctypes.memmove(i.wdata, data, self.bus_bytes)
            else:
                for name in ("addr", "len", "id", "size", "burst"):
                    setattr(i, channel + name, self._get(channel + name))
        for name in ("rready", "bready"):
            if name in self.signals:
                setattr(i, name, self._get(name))
        self.library.memory_edge(self.handle, ctypes.byref(i), ctypes.byref(o), 0)
        for name in ("arready", "rvalid", "awready", "wready", "bvalid"):
            self._drive(name, getattr(o, name))
        if o.rvalid:
            for name in ("rid", "rresp", "rlast"):
                self._drive(name, getattr(o, name))
            self._drive("rdata", int.from_bytes(bytes(o.rdata[: self.bus_bytes]), "little"))
        if o.bvalid:
            self._drive("bid", o.bid)
            self._drive("bresp", o.bresp)


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
            reset = self.dut.rst.value == 1
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
            if self.dut.irq.value == 1:
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
