"""The compiled co-simulation: the emitted Verilog as a shared library, driven from NumPy arrays."""

import ctypes
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hotline_golden.memory import MemoryImage
from hotline_rtl.config import AcceleratorConfig

from .emission import emitted_verilog
from .memory_model import (
    SOURCES,
    CSettings,
    MemoryTiming,
    ModelledMemory,
    c_settings,
    data_pointer,
    declare_memory,
    memory_object,
)
from .toolchain import ToolError, cached_build, cxx, find_verilator, include_precompiled, python_tag, run_tool

#: -Og builds in half the time and runs a tenth slower: good for tests.
OPTIMISATION = os.environ.get("HOTLINE_CXX_OPTIMISATION", "-O2")
#: GCC 12 vectorises at -O2, and then some ways of cutting this model into files hang; without it all agree, as fast.
NO_VECTORS = "-fno-tree-vectorize -fno-tree-slp-vectorize"
#: What runs at a reset only (half of the model) is compiled quickly.
MAKE_OPTIONS = [f"OPT_FAST={OPTIMISATION}", f"OPT_GLOBAL={OPTIMISATION}", "OPT_SLOW=-O0"]
#: A model that writes waves is twice as large, and most of its time goes into the file.
WAVES_MAKE_OPTIONS = ["OPT_FAST=-O0", "OPT_GLOBAL=-O0", "OPT_SLOW=-O0"]
VERILATOR_OPTIONS = [
    "--cc",
    "--prefix",
    "Vhotline",
    "--top-module",
    "hotline",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "unique",
    "--noassert",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
    "--output-split",
    "15000",
    "-DHOTLINE_CHECKS",
    "-CFLAGS",
    f"-fPIC {NO_VECTORS} -DVL_USER_STOP",
]


def build(verilog: str, *, waves: bool = False) -> Path:
    """Compiles ``verilog`` (top module ``hotline``); returns the shared library. Cached."""
    verilator = find_verilator()
    sources = [SOURCES / name for name in ("cosim.cpp", "axi_memory.cpp", "axi_memory.h")]
    options = VERILATOR_OPTIONS + (["--trace"] if waves else [])
    make_options = WAVES_MAKE_OPTIONS if waves else MAKE_OPTIONS
    texts = [source.read_text() for source in sources]
    with cached_build("cosim", verilog, *texts, *options, *make_options, verilator.description, python_tag()) as (
        folder,
        built,
    ):
        target = folder / "libhotline_cosim.so"
        if built:
            return target
        (folder / "hotline.v").write_text(verilog)
        env = verilator.env()
        command = [verilator.executable, *options, "--Mdir", "obj", "hotline.v"]
        run_tool(command, env=env, cwd=folder, what="Verilator")
        # Without MAKEFLAGS of an outer make; the wheel's own ones stay.
        make = ["make", "-j2", "-C", "obj", "-f", "Vhotline.mk", *make_options]
        # Verilator's runtime and its header are the same for all configurations: the first build makes them for the others.
        with cached_build("verilated-cosim", *options, *make_options, verilator.description, python_tag()) as (
            shared,
            there,
        ):
            header, runtime = shared / "model.h", shared / "libverilated.a"
            if not there:
                header.write_text('#include "verilated.h"\n')
                common = ["libverilated.a", f"{header}.fast.gch", f"{header}.slow.gch"]
                run_tool([*make, *common], env=env, cwd=folder, what="Compiling Verilator's runtime")
                shutil.copyfile(folder / "obj" / "libverilated.a", runtime)
        # Verilator's makefile would precompile a header of each model.
        precompiled = [f"VK_PCH_H={header}"] + [
            f"VK_PCH_I_{speed.upper()}={include_precompiled(header, speed)}" for speed in ("fast", "slow")
        ]
        run_tool([*make, *precompiled, "libVhotline.a"], env=env, cwd=folder, what="Compiling the Verilated model")
        root = env.get("VERILATOR_ROOT") or _verilator_root(verilator.executable, env)
        link = [
            cxx(),
            "-std=c++17",
            OPTIMISATION,
            "-shared",
            "-fPIC",
            "-pthread",
            "-DVL_USER_STOP",
            "-o",
            target,
            *(["-DHOTLINE_WAVES"] if waves else []),
            "-I",
            "obj",
            "-I",
            f"{root}/include",
            "-I",
            f"{root}/include/vltstd",
            "-I",
            SOURCES,
            SOURCES / "cosim.cpp",
            memory_object(),
            "obj/libVhotline.a",
            runtime,
        ]
        run_tool(link, env=env, cwd=folder, what="Linking the co-simulation")
    return target


def _verilator_root(executable: Path, env: dict[str, str]) -> str:
    import subprocess

    return subprocess.run(
        [executable, "--getenv", "VERILATOR_ROOT"], capture_output=True, text=True, env=env, check=True
    ).stdout.strip()


class CheckFailed(AssertionError):
    """What must never happen has happened in the RTL (``hotline_rtl.lib.check``); the message names the place."""


class CosimTransport:
    """One accelerator with its two memories. Use as a context manager, or call :meth:`close`.

    ``host`` and ``device`` are used in place: the arrays change as the accelerator writes.
    Raises ToolError when the model cannot be built.
    """

    engine = "cosim"
    #: While the clock runs, Python is free: another thread may work beside it.
    concurrent = True

    def __init__(
        self,
        config: AcceleratorConfig,
        host: MemoryImage,
        device: MemoryImage,
        *,
        host_timing: MemoryTiming | None = None,
        device_timing: MemoryTiming | None = None,
        verilog: str | None = None,
        waves: Path | None = None,
    ):
        self.host, self.device = host, device
        path = build(verilog or emitted_verilog(config), waves=waves is not None)
        self.library = library = ctypes.CDLL(str(path))
        pointer, u64, u32 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32
        memory: tuple = (ctypes.POINTER(CSettings), u64, pointer, u64)
        library.cosim_create.restype = pointer
        library.cosim_create.argtypes = [*memory, *memory, ctypes.c_char_p]
        library.cosim_destroy.argtypes = [pointer]
        library.cosim_write.argtypes = [pointer, u32, u32]
        library.cosim_read.argtypes = [pointer, u32, ctypes.POINTER(u32)]
        library.cosim_wait.argtypes = [pointer, u64]
        library.cosim_run.argtypes = [pointer, u64]
        library.cosim_cycles.argtypes = [pointer]
        library.cosim_cycles.restype = u64
        library.cosim_memory.argtypes = [pointer, ctypes.c_int]
        library.cosim_memory.restype = pointer
        library.cosim_reset.argtypes = [pointer, u64]
        library.cosim_leave_access.argtypes = [pointer, u32]
        library.cosim_fault.argtypes = [pointer]
        library.cosim_fault.restype = ctypes.c_char_p
        declare_memory(library)
        arguments = []
        for image, timing in ((host, host_timing), (device, device_timing)):
            settings = c_settings(timing or MemoryTiming(), config.bus_bytes, config.burst_limit)
            arguments += [ctypes.byref(settings), image.base, data_pointer(image), len(image.data)]
        self.handle = library.cosim_create(*arguments, str(waves).encode() if waves else b"")
        self.host_memory = ModelledMemory(library, library.cosim_memory(self.handle, 0), host)
        self.device_memory = ModelledMemory(library, library.cosim_memory(self.handle, 1), device)

    def __enter__(self) -> "CosimTransport":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Ends the simulation; waves are complete afterwards."""
        if self.handle:
            self.library.cosim_destroy(self.handle)
            self.handle = None

    def write32(self, address: int, value: int) -> None:
        """Writes a register. Raises ToolError when it answers with an error, or not at all."""
        response = self.library.cosim_write(self.handle, address, value & 0xFFFF_FFFF)
        self._check()
        if response:
            raise ToolError(f"register write at {address:#x} answered {response}")

    def read32(self, address: int) -> int:
        """Reads a register. Raises ToolError when it answers with an error, or not at all."""
        value = ctypes.c_uint32()
        response = self.library.cosim_read(self.handle, address, ctypes.byref(value))
        self._check()
        if response:
            raise ToolError(f"register read at {address:#x} answered {response}")
        return value.value

    def wait_interrupt(self, cycles: int) -> bool:
        """Runs until the interrupt line is high, at most ``cycles``; returns whether it is."""
        interrupted = bool(self.library.cosim_wait(self.handle, cycles))
        self._check()
        return interrupted

    def run_cycles(self, cycles: int) -> None:
        """Runs the clock."""
        self.library.cosim_run(self.handle, cycles)
        self._check()

    def reset(self, cycles: int) -> None:
        """Holds ``rst`` high for ``cycles`` cycles; the memories forget what is under way. The rings must be set up anew."""
        self.library.cosim_reset(self.handle, cycles)
        self._check()

    def leave_access(self, address: int) -> None:
        """Writes no byte of a register, and reads it, and takes neither answer: only a reset ends that."""
        self.library.cosim_leave_access(self.handle, address)

    def _check(self) -> None:
        """Raises CheckFailed when something has happened in the RTL that must never happen."""
        if fault := self.library.cosim_fault(self.handle).decode():
            raise CheckFailed(f"what must never happen had happened by cycle {self.cycles}: {fault}")

    @property
    def cycles(self) -> int:
        """Clock cycles since the start, reset included."""
        return self.library.cosim_cycles(self.handle)


#: What makes a transport from (config, host image, device image); engines differ in this only.
TransportFactory = Callable[[AcceleratorConfig, MemoryImage, MemoryImage], CosimTransport]


def clock_rate(config: AcceleratorConfig, cycles: int = 400_000) -> float:
    """Cycles a second of the Verilated model alone: idle, no commands, memories that are asked for nothing."""
    images = [MemoryImage(base, np.zeros(4096, np.uint8)) for base in (0, 1 << 31)]
    with CosimTransport(config, *images) as transport:
        started = time.perf_counter()
        transport.library.cosim_run(transport.handle, cycles)
        return cycles / (time.perf_counter() - started)
