"""A memory on an AXI4 port in cocotb: the same C++ model as in the co-simulation, stepped at every clock edge."""

import ctypes

from hotline_golden.memory import MemoryImage

from .memory_model import CInputs, COutputs, MemoryTiming, ModelledMemory, c_settings, data_pointer, memory_library


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
