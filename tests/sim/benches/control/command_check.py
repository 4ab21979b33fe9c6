"""Commands are refused as golden refuses them."""

import cocotb
from benches.common import CONFIG, rng, small_model
from cocotb.triggers import RisingEdge

from hotline_golden.layouts import ADDRESS_WORDS, Command, Opcode, Status
from hotline_golden.machine import Machine, Refusal
from hotline_golden.memory import MemoryPlan
from hotline_rtl.control.commands.command_check import CommandCheck
from hotline_sim.engine.cocotb_streams import start, until
from hotline_sim.run.job import golden_tracker

SPACE = 1 << CONFIG.address_bits


def random_command(r, machine: Machine) -> Command:
    """Buffers anywhere, among them those that just end, or just do not end, within the address space."""
    opcode = r.choice([*Opcode] * 3 + [0, 77, 255])
    samples = r.choice(
        [1, 7, 256, r.randrange(1, 1 << 20), 1 << 20, 0, (1 << 20) + 1, 1 << 31] if r.random() < 0.7 else [9]
    )
    limit = r.choice([0, 1, CONFIG.working_rows, CONFIG.working_rows + 1, 5, (1 << 32) - 1])
    command = Command(opcode, 0, samples, working_limit=limit)
    sizes, addresses = machine._buffer_bytes(command), {}
    for name in ADDRESS_WORDS:
        last = max(0, SPACE - sizes.get(name, 0)) & ~63
        near = r.choice([0x1000, last, last, last + 64, SPACE - 64, SPACE, SPACE << 4, (1 << 64) - 64])
        usual = 0x4000 if r.random() < 0.8 else near
        addresses[name] = usual | (r.random() < 0.03) * r.choice([1, 4, 32])
    return Command(opcode, 0, samples, **addresses, working_limit=limit)


@cocotb.test()
async def commands_are_refused_as_golden_refuses_them(dut):
    model, memory = small_model(), MemoryPlan(0).image()
    machine = Machine(
        golden_tracker(CONFIG),
        model,
        memory,
        memory,
        working_rows=CONFIG.working_rows,
        address_bits=CONFIG.address_bits,
        max_record_words=CONFIG.max_record_words,
        max_row_bytes=CONFIG.max_row_bytes,
    )
    dut.start.value, dut.model_valid.value = 0, 1
    dut.sample_words.value, dut.row_bytes.value = model.sample_words, model.row_bytes
    await start(dut)
    r, seen = rng(), set()
    for _ in range(1500):
        command = random_command(r, machine)
        valid = r.random() < 0.95
        machine.max_record_words = CONFIG.max_record_words if valid else 1
        dut.model_valid.value = int(valid)
        try:
            machine.check(command)
            expected = (Status.OK, 0, 0)
        except Refusal as refusal:
            expected = (refusal.status, refusal.index, refusal.address)
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        dut.command.value = sum(int(word) << 32 * n for n, word in enumerate(command.words()))
        await RisingEdge(dut.clk)
        await until(dut, lambda: dut.done.value == 1, "a check", 20)
        got = int(dut.status.value), int(dut.index.value), int(dut.address.value)
        assert got == expected, command
        seen.add(expected[:2])
    names = {index for status, index in seen if status == Status.ADDRESS_OUT_OF_RANGE}
    assert names == set(ADDRESS_WORDS.values()), "an address was never out of range"
    assert {status for status, _ in seen} >= {Status.OK, Status.MISALIGNED_ADDRESS, Status.NO_MODEL, Status.BAD_COUNT}


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "command_check": (CommandCheck, ""),
}
