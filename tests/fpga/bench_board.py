"""The whole board, through its pins: what a computer sends over the serial line, and what comes back."""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, Timer

from hotline_golden.layouts import ENTRY_WORDS, Command, Completion, Opcode, Status
from hotline_rtl.register_map import registers
from hotline_sim.serial_link import DEVICE, HOST, INTERRUPT, REGISTERS

CLOCK_NS = 10
BIT_NS = CLOCK_NS * int(os.environ["BENCH_DIVISOR"])
BYTES = int(os.environ["BENCH_BYTES"])


class Line:
    """The computer's end."""

    def __init__(self, dut):
        self.dut, self.got = dut, bytearray()
        dut.ftdi_txd.value = 1
        cocotb.start_soon(self._listen())

    async def _listen(self) -> None:
        while True:
            await FallingEdge(self.dut.ftdi_rxd)
            await Timer(BIT_NS + BIT_NS // 2, "ns")
            byte = 0
            for bit in range(8):
                byte |= int(self.dut.ftdi_rxd.value) << bit
                await Timer(BIT_NS, "ns")
            assert self.dut.ftdi_rxd.value == 1, "stop bit"
            self.got.append(byte)

    async def send(self, data: bytes) -> None:
        for byte in data:
            for bit in [0, *(byte >> n & 1 for n in range(8)), 1]:
                self.dut.ftdi_txd.value = bit
                await Timer(BIT_NS, "ns")

    async def take(self, size: int) -> bytes:
        for _ in range(100 + 20 * size):
            if len(self.got) >= size:
                break
            await Timer(BIT_NS, "ns")
        assert len(self.got) >= size, f"{len(self.got)} of {size} bytes came"
        some = bytes(self.got[:size])
        del self.got[:size]
        return some

    async def write(self, address: int, words, end: bytes = b"K") -> None:
        words = np.asarray(words, "<u4")
        await self.send(b"W" + address.to_bytes(4, "little") + len(words).to_bytes(2, "little") + words.tobytes())
        assert await self.take(1) == end

    async def read(self, address: int, count: int = 1, end: bytes = b"K") -> np.ndarray:
        await self.send(b"R" + address.to_bytes(4, "little") + count.to_bytes(2, "little"))
        words = np.frombuffer(await self.take(4 * count), "<u4")
        assert await self.take(1) == end
        return words


def register(name: str) -> int:
    return REGISTERS | registers()[name].address


@cocotb.test()
async def a_computer_works_with_the_board(dut):
    dut.fire.value = 0
    Clock(dut.clk_25mhz, CLOCK_NS, unit="ns").start()
    line = Line(dut)
    await ClockCycles(dut.clk_25mhz, 200)
    assert (await line.read(register("id")))[0] == 0x484F_544C

    # Memories: what was written comes back, whatever the lane; the neighbours stay.
    words = np.arange(1, 12, dtype=np.uint32) * 0x0101_0107
    for base in (HOST, DEVICE):
        await line.write(base + 0x104, words)
        assert (await line.read(base + 0x104, len(words))).tolist() == words.tolist()
        await line.write(base + 0x108, [7])
        assert (await line.read(base + 0x104, 3)).tolist() == [words[0], 7, words[2]]

    # Errors: past a memory, in no register, nowhere, and what is no request.
    await line.read(HOST + BYTES, 1, b"E")
    await line.write(DEVICE + BYTES, [1], b"E")
    await line.read(REGISTERS + 0xF00, 1, b"E")
    await line.read(REGISTERS + 0x1000, 1, b"E")
    await line.write(0x7000_0000, [1], b"E")
    await line.send(b"x")
    assert await line.take(1) == b"?"

    # Commands from ring to completion: through both memories' AXI ports.
    ring, completions, hot_list = HOST, HOST + 0x200, HOST + 0x400
    await line.write(register("command_base_lo"), [ring, 0, 4])
    await line.write(register("completion_base_lo"), [completions, 0, 4])
    await line.write(register("control"), [3])
    for n, (command, status) in enumerate([
        (Command(Opcode.CLEAR, tag=0xABCD), Status.OK), (Command(Opcode.DUMP, tag=3, source=hot_list), Status.OK),
        (Command(Opcode.DUMP, tag=4, source=HOST + BYTES), Status.WRITE_ERROR), (Command(Opcode.CLEAR, tag=5), Status.OK),
    ]):  # fmt: skip
        await line.write(ring + 64 * n, command.words())
        await line.write(register("command_tail"), [n + 1])
        for _ in range(100):
            if (await line.read(INTERRUPT))[0]:
                break
        else:
            raise AssertionError("no interrupt")
        assert dut.led.value.to_unsigned() & 0b101 == 0b101
        await line.write(register("irq_status"), [1])
        completion = Completion.from_words(await line.read(completions + 64 * n, ENTRY_WORDS))
        assert (completion.tag, completion.status, completion.sequence) == (command.tag, status, n + 1)
        await line.write(register("completion_head"), [n + 1])
    assert ((await line.read(hot_list, 64)) == 0xFFFF_FFFF).all()

    # The button resets all of it.
    dut.fire.value = 1
    await ClockCycles(dut.clk_25mhz, 10)
    dut.fire.value = 0
    await ClockCycles(dut.clk_25mhz, 200)
    assert (await line.read(register("control")))[0] == 0
