"""The accelerator of an FPGA board over a serial line: words of registers and memories, and the driver's transport.

The other end is ``hotline_fpga.board.serial_bridge``, which states the protocol.
"""

from typing import Protocol

import numpy as np

from hotline_golden.memory import MemoryImage
from hotline_rtl.control.registers.register_map import registers

from .wall_clock import WallClock

REGISTERS, HOST, DEVICE, INTERRUPT = (number << 28 for number in range(4))
MOST_WORDS = 0xFFFF


class SerialError(RuntimeError):
    """The board does not answer, or refuses an address."""


class ByteLine(Protocol):
    """A serial line with a time limit, such as ``serial.Serial(port, 1_000_000, timeout=2)`` of pyserial."""

    def write(self, data: bytes) -> int | None: ...
    def read(self, size: int) -> bytes: ...


class SerialLink:
    """Reads and writes 32-bit words at addresses of the board. Raises SerialError, with the address."""

    def __init__(self, line: ByteLine):
        self.line = line

    def read(self, address: int, count: int) -> np.ndarray:
        """uint32 [count] from byte ``address`` on."""
        parts = []
        for first in range(0, count, MOST_WORDS):
            at, some = address + 4 * first, min(MOST_WORDS, count - first)
            self._ask(b"R", at, some)
            answer = self._take(4 * some, at)
            self._end(at)
            parts.append(np.frombuffer(answer, "<u4"))
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def write(self, address: int, words) -> None:
        """Writes uint32 [count]."""
        words = np.ascontiguousarray(words, "<u4")
        for first in range(0, len(words), MOST_WORDS):
            at, some = address + 4 * first, words[first : first + MOST_WORDS]
            self._ask(b"W", at, len(some))
            self.line.write(some.tobytes())
            self._end(at)

    def _ask(self, what: bytes, address: int, count: int) -> None:
        self.line.write(what + address.to_bytes(4, "little") + count.to_bytes(2, "little"))

    def _take(self, size: int, address: int) -> bytes:
        answer = self.line.read(size)
        if len(answer) != size:
            raise SerialError(
                f"at {address:#010x}: {len(answer)} of {size} bytes came; is the board's bitstream loaded?"
            )
        return answer

    def _end(self, address: int) -> None:
        if (end := self._take(1, address)) != b"K":
            raise SerialError(f"at {address:#010x}: {'refused' if end == b'E' else f'unexpected answer {end!r}'}")


class SerialTransport(WallClock):
    """What the driver needs. ``host`` and ``device`` are copies of the board's memories: what has changed in them goes
    over before a doorbell rings, and both come back once a completion has been counted.
    """

    engine = "serial"

    def __init__(self, line: ByteLine, host: MemoryImage, device: MemoryImage, *, clock_hz: float = 25_000_000):
        super().__init__(clock_hz)
        self.link = SerialLink(line)
        self.host, self.device = host, device
        self.doorbell, self.completions = (registers()[name].address for name in ("command_tail", "completion_tail"))
        self.seen = 0  # completions
        self.sent: dict[int, np.ndarray | None] = {image.base: None for image in (host, device)}

    def read32(self, address: int) -> int:
        """Reads a register; a higher count of completions, and then the memories."""
        value = int(self.link.read(REGISTERS | address, 1)[0])
        if address == self.completions and value != self.seen:
            self.pull()
            self.seen = value
        return value

    def write32(self, address: int, value: int) -> None:
        """Writes a register; the doorbell, once the board's memories are as they are here."""
        if address == self.doorbell:
            self.push()
        self.link.write(REGISTERS | address, [value & 0xFFFF_FFFF])

    def wait_interrupt(self, cycles: int) -> bool:
        """Waits for the interrupt line, at least ``cycles``: an answer takes hundreds. Returns whether it is high."""
        for _ in range(1 + cycles // 256):
            if self.link.read(INTERRUPT, 1)[0]:
                return True
        return False

    def push(self) -> None:
        """Sends every run of words that differs from what the board has."""
        for image in (self.host, self.device):
            now = image.data.view(np.uint32)
            before = self.sent[image.base]
            changed = np.ones(len(now), bool) if before is None else now != before
            edges = np.flatnonzero(np.diff(changed, prepend=False, append=False))
            for first, end in zip(edges[::2], edges[1::2], strict=True):
                self.link.write(image.base + 4 * int(first), now[first:end])
            self.sent[image.base] = now.copy()

    def pull(self) -> None:
        """Fetches both memories whole."""
        for image in (self.host, self.device):
            image.data.view(np.uint32)[:] = self.link.read(image.base, len(image.data) // 4)
            self.sent[image.base] = image.data.view(np.uint32).copy()
