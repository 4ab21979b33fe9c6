"""A memory image: one flat byte array with named buffers, for host and for device memory."""

import mmap
from dataclasses import dataclass, field

import numpy as np

from .layouts import BUFFER_ALIGNMENT


@dataclass(frozen=True)
class Buffer:
    """A named range of addresses, in bytes."""

    name: str
    address: int
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass
class MemoryImage:
    """``data`` uint8 [size] stands for addresses ``base`` to ``base + size``."""

    base: int
    data: np.ndarray
    buffers: dict[str, Buffer] = field(default_factory=dict)

    def words(self, address: int, count: int) -> np.ndarray:
        """A writable uint32 [count] view at a byte address (a multiple of 4).

        Raises IndexError for a range that is not wholly inside the image.
        """
        start = address - self.base
        if start % 4 or start < 0 or start + 4 * count > len(self.data):
            raise IndexError(f"{count} words at {address:#x} are outside memory or misaligned")
        return self.data[start : start + 4 * count].view(np.uint32)

    def where(self, address: int) -> str:
        """The buffer and offset that hold ``address``, for messages."""
        for buffer in self.buffers.values():
            if buffer.address <= address < buffer.end:
                return f"{buffer.name} + {address - buffer.address:#x}"
        return f"{address:#x}, in no buffer"


class MemoryPlan:
    """Lays named buffers out one after another; :meth:`image` makes the zeroed memory."""

    def __init__(self, base: int = 0):
        self.base = base
        self.next = base
        self.buffers: dict[str, Buffer] = {}

    def add(self, name: str, size: int, alignment: int = BUFFER_ALIGNMENT) -> Buffer:
        """Reserves ``size`` bytes at the next multiple of ``alignment`` (a power of two)."""
        if name in self.buffers:
            raise ValueError(f"buffer {name!r} exists already")
        address = -(-self.next // alignment) * alignment
        buffer = self.buffers[name] = Buffer(name, address, size)
        self.next = buffer.end
        return buffer

    def image(self) -> MemoryImage:
        """Zeroed memory, a multiple of 4 KiB long; untouched pages cost nothing."""
        size = -(-(self.next - self.base) // 4096) * 4096
        return MemoryImage(self.base, zeroed(max(size, 4096)), dict(self.buffers))


def zeroed(size: int) -> np.ndarray:
    """uint8 [size] of zeros, of which only pages that are written take memory. ``np.zeros`` asks for pages of 2 MiB, so that rows
    here and there of large tables would take as much as the whole. Raises MemoryError."""
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as e:
        raise MemoryError(f"Unable to allocate {size:,} bytes") from e
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        except OSError:  # a kernel without huge pages
            pass
    return np.frombuffer(memory, np.uint8)
