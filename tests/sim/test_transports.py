"""The driver over what a card or a board offers, with the co-simulated accelerator at the other end."""

import numpy as np
import pytest

from hotline_golden.memory import Buffer, MemoryImage
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.host.driver import Driver
from hotline_sim.host.errors import DriverError
from hotline_sim.host.mmio import MmioTransport, map_memory, map_registers
from hotline_sim.host.serial_link import INTERRUPT, SerialError, SerialLink, SerialTransport
from hotline_sim.run.session import Session

from ..configurations import MAIN, tiny
from .conftest import small_job


class CosimWindow:
    """Mapped registers, each access of which reaches the co-simulated accelerator."""

    def __init__(self, cosim: CosimTransport):
        self.cosim = cosim

    def __getitem__(self, number: int) -> int:
        return self.cosim.read32(4 * number)

    def __setitem__(self, number: int, value: int) -> None:
        self.cosim.write32(4 * number, value)


class CosimBoard:
    """The far end of the serial line: the bridge's protocol, on copies of the memories that only the line reaches."""

    def __init__(self, cosim: CosimTransport):
        self.cosim = cosim
        self.taken, self.given = bytearray(), bytearray()

    def write(self, data: bytes) -> int:
        self.taken += data
        while len(self.taken) >= 7:
            what, address = self.taken[0], int.from_bytes(self.taken[1:5], "little")
            count = int.from_bytes(self.taken[5:7], "little")
            size = 7 + (4 * count if what == ord("W") else 0)
            if len(self.taken) < size:
                break
            words = np.frombuffer(bytes(self.taken[7:size]), "<u4")
            del self.taken[:size]
            try:
                self.given += self._serve(what, address, count, words) + b"K"
            except IndexError:
                self.given += bytes(4 * count if what == ord("R") else 0) + b"E"
        return len(data)

    def _serve(self, what: int, address: int, count: int, words: np.ndarray) -> bytes:
        if address == INTERRUPT:
            return int(self.cosim.wait_interrupt(256)).to_bytes(4, "little")
        if address < 0x1000:
            if what == ord("R"):
                return self.cosim.read32(address).to_bytes(4, "little")
            self.cosim.write32(address, int(words[0]))
            return b""
        memory = next((m for m in (self.cosim.host, self.cosim.device) if 0 <= address - m.base < len(m.data)), None)
        if memory is None:
            raise IndexError
        if what == ord("R"):
            return memory.words(address, count).tobytes()
        memory.words(address, count)[:] = words
        return b""

    def read(self, size: int) -> bytes:
        some = bytes(self.given[:size])
        del self.given[:size]
        return some


def blank(image: MemoryImage) -> MemoryImage:
    return MemoryImage(image.base, np.zeros_like(image.data), image.buffers)


def test_a_card_gives_the_bytes_of_golden():
    job = small_job(tiny(MAIN))
    with CosimTransport(job.config, job.host, job.device) as cosim:
        session = Session(job, MmioTransport(CosimWindow(cosim), job.host, job.device, clock_hz=1e5))
        list(session.run())
    assert session.results.samples == job.trace.samples and not session.results.difference


def test_a_board_behind_a_serial_line_gives_the_bytes_of_golden():
    job = small_job(tiny(MAIN), "synthetic:samples=40", batch_size=20)
    with CosimTransport(job.config, blank(job.host), blank(job.device)) as cosim:
        session = Session(job, SerialTransport(CosimBoard(cosim), job.host, job.device))
        list(session.run())
    assert session.results.samples == job.trace.samples and not session.results.difference


def test_mapped_registers_are_32_bit_words_of_the_file(tmp_path):
    file = tmp_path / "registers"
    file.write_bytes(bytes(8192))
    image = MemoryImage(0, np.zeros(64, np.uint8))
    transport = MmioTransport(map_registers(file, 4096), image, image, poll_seconds=1e-4)
    transport.write32(0x24, 0x1_2345_6789)
    assert file.read_bytes()[4096 + 0x24 :][:4] == (0x2345_6789).to_bytes(4, "little")
    assert transport.read32(0x24) == 0x2345_6789 and not transport.wait_interrupt(25_000)
    with pytest.raises(ValueError, match="0x26 is no register"):
        transport.read32(0x26)
    with pytest.raises(DriverError, match="not a Hotline accelerator: id register 0x0"):
        Driver(transport, tiny(MAIN), (Buffer("a", 0, 64), Buffer("b", 0, 64)))
    transport.write32(0x28, 1)
    assert transport.wait_interrupt(1)


def test_mapped_memory_is_shared_with_the_file(tmp_path):
    file = tmp_path / "memory"
    file.write_bytes(bytes(range(256)) * 32)
    image = map_memory(file, 1 << 32, 4096, {}, offset=4096)
    assert image.words((1 << 32) + 4, 1)[0] == 0x0706_0504
    image.words((1 << 32) + 4, 1)[0] = 0xAABB_CCDD
    assert file.read_bytes()[4100:4104] == bytes.fromhex("ddccbbaa")


@pytest.mark.parametrize(
    "offset, message", [(8192, r"registers: 8192 bytes; 12288 are needed"), (64, r"0x40 is not a multiple")]
)
def test_what_cannot_be_mapped_is_refused_with_its_name(tmp_path, offset, message):
    file = tmp_path / "registers"
    file.write_bytes(bytes(8192))
    with pytest.raises(ValueError, match=message):
        map_registers(file, offset)
    with pytest.raises(FileNotFoundError, match="uio9"):
        map_registers(tmp_path / "uio9")


def test_a_silent_or_refusing_board_is_told_with_the_address():
    class Silent:
        answer = b""

        def write(self, data):
            return len(data)

        def read(self, size):
            return self.answer[:size]

    link = SerialLink(Silent())
    with pytest.raises(SerialError, match=r"at 0x10000040: 0 of 8 bytes came; is the board's bitstream loaded"):
        link.read(0x1000_0040, 2)
    Silent.answer = b"E"
    with pytest.raises(SerialError, match="at 0x40000000: refused"):
        link.write(0x4000_0000, [1])
