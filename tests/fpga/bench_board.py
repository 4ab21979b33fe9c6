"""The whole board, through its pins: what a computer sends over the serial line, and what comes back."""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, FallingEdge, Timer

from hotline_golden.layouts import ENTRY_WORDS, Command, Completion, Opcode, Status
from hotline_rtl.control.registers.register_map import registers
from hotline_sim.host.serial_link import DEVICE, HOST, INTERRUPT, REGISTERS, SerialError, SerialLink

CLOCK_NS = 10
BIT_NS = CLOCK_NS * int(os.environ["BENCH_DIVISOR"])
BYTES = int(os.environ["BENCH_BYTES"])


class Line:
    """The computer's end: a ``ByteLine``, to be used from a thread that ``cocotb.task.bridge`` started."""

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
        some = bytes(self.got[:size])
        del self.got[:size]
        return some

    def write(self, data: bytes) -> int:
        resume(self.send)(data)
        return len(data)

    def read(self, size: int) -> bytes:
        return resume(self.take)(size)


def refused(function, *arguments) -> bool:
    try:
        function(*arguments)
    except SerialError as e:
        return str(e) == f"at {arguments[0]:#010x}: refused"
    return False


def register(name: str) -> int:
    return REGISTERS | registers()[name].address


def work(dut, line: Line, wait) -> None:
    """What a computer does, with the library's own link; ``wait`` lets cycles pass."""
    link = SerialLink(line)
    assert link.read(register("id"), 1)[0] == 0x484F_544C

    # Memories: what was written comes back, whatever the lane; the neighbours stay.
    words = np.arange(1, 12, dtype=np.uint32) * 0x0101_0107
    for base in (HOST, DEVICE):
        link.write(base + 0x104, words)
        assert link.read(base + 0x104, len(words)).tolist() == words.tolist()
        link.write(base + 0x108, [7])
        assert link.read(base + 0x104, 3).tolist() == [words[0], 7, words[2]]

    # Errors: past a memory, in no register, nowhere, and what is no request.
    assert refused(link.read, HOST + BYTES, 1)
    assert refused(link.write, DEVICE + BYTES, [1])
    assert refused(link.read, REGISTERS + 0xF00, 1)
    assert refused(link.read, REGISTERS + 0x1000, 1)
    assert refused(link.write, 0x7000_0000, [1])
    line.write(b"x")
    assert line.read(1) == b"?"

    # Commands from ring to completion: through both memories' AXI ports.
    ring, completions, hot_list = HOST, HOST + 0x200, HOST + 0x400
    link.write(register("command_base_lo"), [ring, 0, 4])
    link.write(register("completion_base_lo"), [completions, 0, 4])
    link.write(register("control"), [3])
    for n, (command, status) in enumerate(
        [
            (Command(Opcode.CLEAR, tag=0xABCD), Status.OK),
            (Command(Opcode.DUMP, tag=3, source=hot_list), Status.OK),
            (Command(Opcode.DUMP, tag=4, source=HOST + BYTES), Status.WRITE_ERROR),
            (Command(Opcode.CLEAR, tag=5), Status.OK),
        ]
    ):
        link.write(ring + 64 * n, command.words())
        link.write(register("command_tail"), [n + 1])
        for _ in range(100):
            if link.read(INTERRUPT, 1)[0]:
                break
        else:
            raise AssertionError("no interrupt")
        assert dut.led.value.to_unsigned() & 0b101 == 0b101
        link.write(register("irq_status"), [1])
        completion = Completion.from_words(link.read(completions + 64 * n, ENTRY_WORDS))
        assert (completion.tag, completion.status, completion.sequence) == (command.tag, status, n + 1)
        link.write(register("completion_head"), [n + 1])
    assert (link.read(hot_list, 64) == 0xFFFF_FFFF).all()

    # The button resets all of it.
    dut.fire.value = 1
    wait(10)
    dut.fire.value = 0
    wait(200)
    assert link.read(register("control"), 1)[0] == 0


@cocotb.test()
async def a_computer_works_with_the_board(dut):
    async def pass_(cycles: int) -> None:
        await ClockCycles(dut.clk_25mhz, cycles)

    dut.fire.value = 0
    Clock(dut.clk_25mhz, CLOCK_NS, unit="ns").start()
    line = Line(dut)
    await pass_(200)
    await bridge(work)(dut, line, resume(pass_))
