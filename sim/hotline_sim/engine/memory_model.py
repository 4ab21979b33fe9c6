"""The memory model from Python: its settings, and the model itself for cocotb."""

import ctypes
import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from hotline_golden.memory import MemoryImage

from .toolchain import cached_build, cxx, python_tag, run_tool

SOURCES = Path(__file__).parent


#: Cycles of the longest latency.
LONGEST = (1 << 31) - 1


@dataclass(frozen=True)
class MemoryTiming:
    """How a memory behaves: latencies in cycles, stalls as a share of cycles. Seeded.

    Nothing here changes results. ``stall`` gives the shares for AR, R, AW, W and B; 1 is a channel that never moves.
    """

    read_latency: tuple[int, int] = (20, 20)
    write_latency: tuple[int, int] = (10, 10)
    reorder: bool = False
    interleave: bool = False
    stall: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    seed: int = 1

    def __post_init__(self):
        for low, high in (self.read_latency, self.write_latency):
            if not 0 <= low <= high <= LONGEST:
                raise ValueError(f"a latency must be from 0 to {LONGEST} cycles, not {low} to {high}")
        if any(not (0 <= s <= 0.95 or s == 1) for s in self.stall):
            raise ValueError(f"stalls must be from 0 to 0.95, or 1, not {self.stall}")

    def with_seed(self, seed: int) -> "MemoryTiming":
        """The same behaviour from another seed."""
        return replace(self, seed=seed)


#: A fault's response: no answer comes while the fault is there, nor to what follows with the same ID.
HELD = 4
#: Groups of buffers whose beats can be told apart.
GROUPS = 32


@dataclass(frozen=True)
class Fault:
    """Bytes that answer with ``response`` (2 SLVERR, 3 DECERR) on reads or writes; HELD: not, until the fault is gone."""

    address: int
    size: int = 4
    on_read: bool = True
    on_write: bool = True
    response: int = 2


class CSettings(ctypes.Structure):
    _fields_ = [
        ("bus_bytes", ctypes.c_uint32),
        ("burst_beats", ctypes.c_uint32),
        ("read_latency_min", ctypes.c_uint32),
        ("read_latency_max", ctypes.c_uint32),
        ("write_latency_min", ctypes.c_uint32),
        ("write_latency_max", ctypes.c_uint32),
        ("reorder", ctypes.c_uint32),
        ("interleave", ctypes.c_uint32),
        ("stall", ctypes.c_uint32 * 5),
        ("seed", ctypes.c_uint64),
    ]


class CInputs(ctypes.Structure):
    _fields_ = [
        *[(n, ctypes.c_uint64) for n in ("araddr", "awaddr", "wstrb")],
        *[
            (n, ctypes.c_uint32)
            for n in (
                "arvalid",
                "arid",
                "arlen",
                "arsize",
                "arburst",
                "rready",
                "awvalid",
                "awid",
                "awlen",
                "awsize",
                "awburst",
                "wvalid",
                "wlast",
                "bready",
            )
        ],
        ("wdata", ctypes.c_uint8 * 64),
    ]


class COutputs(ctypes.Structure):
    _fields_ = [
        *[
            (n, ctypes.c_uint32)
            for n in ("arready", "rvalid", "rid", "rresp", "rlast", "awready", "wready", "bvalid", "bid", "bresp")
        ],
        ("rdata", ctypes.c_uint8 * 64),
    ]


class CRange(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("readable", ctypes.c_uint32),
        ("writable", ctypes.c_uint32),
        ("group", ctypes.c_uint32),
        ("extra_latency", ctypes.c_uint32),
    ]


class CFault(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("on_read", ctypes.c_uint32),
        ("on_write", ctypes.c_uint32),
        ("response", ctypes.c_uint32),
    ]


class CStatistics(ctypes.Structure):
    _fields_ = [
        (n, ctypes.c_uint64)
        for n in ("read_bursts", "read_beats", "write_bursts", "write_beats", "most_outstanding_reads", "violations")
    ]


def sum_of(counts: list[np.ndarray]) -> np.ndarray:
    """int64: counts over time together; each ends where nothing more came."""
    total = np.zeros(max(map(len, counts)), np.int64)
    for one in counts:
        total[: len(one)] += one
    return total


def c_settings(timing: MemoryTiming, bus_bytes: int, burst_beats: int) -> CSettings:
    """The C structure for ``timing``."""
    stalls = (ctypes.c_uint32 * 5)(*[round(256 * s) for s in timing.stall])
    return CSettings(
        bus_bytes,
        burst_beats,
        *timing.read_latency,
        *timing.write_latency,
        timing.reorder,
        timing.interleave,
        stalls,
        timing.seed,
    )


def c_ranges(image: MemoryImage, writable: set[str], groups: dict[str, int], slow: dict[str, int]) -> ctypes.Array:
    """All buffers of ``image``; those named in ``writable`` may be written. Groups and extra latencies by name."""
    buffers = [b for b in image.buffers.values() if b.size]
    return (CRange * len(buffers))(
        *[
            CRange(b.address, b.size, 1, b.name in writable, groups.get(b.name, 0), slow.get(b.name, 0))
            for b in buffers
        ]
    )


def c_faults(faults: list[Fault]) -> ctypes.Array:
    """The C array for ``faults``."""
    return (CFault * len(faults))(*[CFault(f.address, f.size, f.on_read, f.on_write, f.response) for f in faults])


def declare_memory(library: ctypes.CDLL) -> None:
    """Gives the functions on an AxiMemory their types."""
    pointer = ctypes.c_void_p
    library.memory_set_ranges.argtypes = [pointer, ctypes.POINTER(CRange), ctypes.c_uint32]
    library.memory_set_faults.argtypes = [pointer, ctypes.POINTER(CFault), ctypes.c_uint32]
    library.memory_statistics.argtypes = [pointer, ctypes.POINTER(CStatistics)]
    library.memory_violation.argtypes = [pointer]
    library.memory_violation.restype = ctypes.c_char_p
    library.memory_idle.argtypes = [pointer]
    library.memory_watch.argtypes = [pointer, ctypes.c_uint64]
    library.memory_counts.argtypes = [pointer, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint64]
    library.memory_counts.restype = ctypes.c_uint64


def memory_object() -> Path:
    """The compiled memory model, ``axi_memory.o``; beside it ``libhotline_memory.so``. Cached."""
    text = (SOURCES / "axi_memory.h").read_text() + (SOURCES / "axi_memory.cpp").read_text()
    with cached_build("memory-model", text, python_tag()) as (folder, built):
        target = folder / "axi_memory.o"
        if not built:
            what, options = "Compiling the memory model", {"env": dict(os.environ), "cwd": folder}
            compile_ = [cxx(), "-std=c++17", "-O2", "-fPIC", "-c", "-o", target, SOURCES / "axi_memory.cpp"]
            run_tool(compile_, **options, what=what)
            run_tool([cxx(), "-shared", "-o", "libhotline_memory.so", target], **options, what=what)
        return target


@cache
def memory_library() -> ctypes.CDLL:
    """The memory model as a shared library of its own."""
    library = ctypes.CDLL(str(memory_object().with_name("libhotline_memory.so")))
    library.memory_create.restype = ctypes.c_void_p
    library.memory_create.argtypes = [
        ctypes.POINTER(CSettings),
        ctypes.c_uint64,
        ctypes.c_void_p,
        ctypes.c_uint64,
    ]
    library.memory_destroy.argtypes = [ctypes.c_void_p]
    library.memory_edge.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(CInputs),
        ctypes.POINTER(COutputs),
        ctypes.c_int,
    ]
    declare_memory(library)
    return library


class ModelledMemory:
    """What both engines tell of a memory, given the library and its handle."""

    def __init__(self, library: ctypes.CDLL, handle: int, image: MemoryImage):
        self.library, self.handle, self.image = library, handle, image
        self.writable: set[str] = set()
        self.groups: dict[str, int] = {}
        self.slow: dict[str, int] = {}

    def allow(self, writable: set[str]) -> None:
        """From now on, writes may touch only these buffers of the image."""
        self.writable = writable
        self._set_ranges()

    def slow_down(self, extra_latency: dict[str, int]) -> None:
        """From now on, reads of these buffers take so many cycles more."""
        self.slow = extra_latency
        self._set_ranges()

    def watch(self, window: int, groups: dict[str, int] | None = None) -> None:
        """Begins to count, beats in windows of so many cycles; buffers by group, 1 to GROUPS - 1 (others: 0)."""
        if groups is not None:
            if not all(0 < group < GROUPS for group in groups.values()):
                raise ValueError(f"groups must be 1 to {GROUPS - 1}: {groups}")
            self.groups = groups
            self._set_ranges()
        self.library.memory_watch(self.handle, window)

    def _counts(self, what: int, group: int = 0) -> np.ndarray:
        size = self.library.memory_counts(self.handle, what, group, None, 0)
        found = np.zeros(size, np.uint64)
        self.library.memory_counts(self.handle, what, group, found.ctypes.data, size)
        return found.astype(np.int64)

    def occupancy(self) -> np.ndarray:
        """int64 [n]: cycles, since ``watch``, with so many reads on their way."""
        return self._counts(0)

    def latencies(self, group: int = 0) -> np.ndarray:
        """int64 [n]: a group's read bursts that took so many cycles from address to last beat."""
        return self._counts(1, group)

    def beats(self, group: int, *, written: bool) -> np.ndarray:
        """int64 [windows]: a group's beats, read or written."""
        return self._counts(3 if written else 2, group)

    def _set_ranges(self) -> None:
        ranges = c_ranges(self.image, self.writable, self.groups, self.slow)
        self.library.memory_set_ranges(self.handle, ranges, len(ranges))

    def inject(self, faults: list[Fault]) -> None:
        """Replaces all faults."""
        self.library.memory_set_faults(self.handle, c_faults(faults), len(faults))

    def statistics(self) -> dict[str, int]:
        """Bursts, beats and the most reads outstanding, since the start."""
        found = CStatistics()
        self.library.memory_statistics(self.handle, ctypes.byref(found))
        return {field[0]: getattr(found, field[0]) for field in found._fields_}

    @property
    def violation(self) -> str:
        """The first rule that was broken, or an empty string."""
        return self.library.memory_violation(self.handle).decode()

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return bool(self.library.memory_idle(self.handle))


def data_pointer(image: MemoryImage) -> int:
    """Address of the image's bytes; the image must stay alive as long as it is used."""
    if not image.data.flags.c_contiguous or image.data.dtype != np.uint8:
        raise ValueError("a memory image must be contiguous bytes")
    return image.data.ctypes.data
