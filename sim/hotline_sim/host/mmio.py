"""The accelerator on a card whose registers and memories are mapped into this process: UIO, XDMA, or plain files.

The driver is the same as in simulation. Registers are a window of 32-bit words; host memory is a buffer whose address
on the bus is known (pinned pages: a hugepage with its physical or IOMMU address), device memory a BAR, or a GPU's buffer
that is mapped for peer-to-peer transfers.
"""

import mmap
import os
import select
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from hotline_golden.memory import Buffer, MemoryImage
from hotline_rtl.control.registers.register_map import registers as known_registers

from .wall_clock import WallClock

REGISTER_BYTES = 4096
#: Clock that a number of cycles is turned into time with; only how long a driver waits depends on it.
CLOCK_HZ = 250_000_000


class RegisterWindow(Protocol):
    """32-bit registers by number; a ``memoryview`` of a mapping is one."""

    def __getitem__(self, number: int) -> int: ...
    def __setitem__(self, number: int, value: int) -> None: ...


def map_file(path: Path | str, size: int, offset: int = 0) -> memoryview:
    """``size`` bytes of a device file (or a plain file) from ``offset`` on, shared and writable.

    Raises OSError when it cannot be opened or mapped, and ValueError, naming the file, for a plain file that is too short
    or an offset that is not a multiple of the page size.
    """
    if offset % mmap.ALLOCATIONGRANULARITY:
        raise ValueError(f"{path}: offset {offset:#x} is not a multiple of {mmap.ALLOCATIONGRANULARITY:#x}")
    file = os.open(path, os.O_RDWR | os.O_SYNC)
    try:
        if os.path.isfile(path) and os.fstat(file).st_size < offset + size:
            raise ValueError(f"{path}: {os.fstat(file).st_size} bytes; {offset + size} are needed")
        return memoryview(mmap.mmap(file, size, mmap.MAP_SHARED, offset=offset))
    finally:
        os.close(file)


def map_registers(path: Path | str, offset: int = 0) -> memoryview:
    """The register window of a device file: ``/dev/uio0``, ``/dev/xdma0_user``. Each access is one 32-bit access."""
    return map_file(path, REGISTER_BYTES, offset).cast("I")


def map_memory(
    path: Path | str, bus_address: int, size: int, buffers: dict[str, Buffer], offset: int = 0
) -> MemoryImage:
    """A memory that the accelerator sees at ``bus_address`` and this process in a device file."""
    return MemoryImage(bus_address, np.frombuffer(map_file(path, size, offset), np.uint8), buffers)


class MmioTransport(WallClock):
    """What the driver needs, over mapped registers.

    ``interrupt`` is a file that becomes readable with an interrupt (``/dev/xdma0_events_0``); it is not written, so one that
    must be unmasked each time (UIO) wakes up once. In any case the register is looked at every 0.1 s; without a file, every
    ``poll_seconds``.
    """

    engine = "card"

    def __init__(
        self,
        registers: RegisterWindow,
        host: MemoryImage,
        device: MemoryImage,
        *,
        interrupt: Path | str | None = None,
        clock_hz: float = CLOCK_HZ,
        poll_seconds: float = 20e-6,
    ):
        super().__init__(clock_hz)
        self.registers, self.host, self.device = registers, host, device
        self.poll_seconds = poll_seconds
        self.status = known_registers()["irq_status"].address // 4
        self.interrupt = os.open(interrupt, os.O_RDWR | os.O_NONBLOCK) if interrupt else None

    def close(self) -> None:
        """Gives the interrupt's file back."""
        if self.interrupt is not None:
            os.close(self.interrupt)
            self.interrupt = None

    def read32(self, address: int) -> int:
        """Reads a register. Raises ValueError for an address that is not one of a register."""
        return self.registers[self._number(address)]

    def write32(self, address: int, value: int) -> None:
        """Writes a register."""
        self.registers[self._number(address)] = value & 0xFFFF_FFFF

    def _number(self, address: int) -> int:
        if address % 4 or not 0 <= address < REGISTER_BYTES:
            raise ValueError(f"{address:#x} is no register: a multiple of 4 below {REGISTER_BYTES:#x}")
        return address // 4

    def wait_interrupt(self, cycles: int) -> bool:
        """Waits until the interrupt is pending, for as long as ``cycles`` take; returns whether it is."""
        end = time.monotonic() + cycles / self.clock_hz
        while not self.registers[self.status] & 1:
            left = end - time.monotonic()
            if left <= 0:
                return False
            if self.interrupt is None:
                time.sleep(min(self.poll_seconds, left))
                continue
            if select.select([self.interrupt], [], [], min(left, 0.1))[0]:
                os.read(self.interrupt, 4)
        return True
