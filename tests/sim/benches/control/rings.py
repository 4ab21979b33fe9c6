"""Commands in, completions out."""

import cocotb
from benches.common import CONFIG, TIMINGS, Memory
from benches.masters import WithMasters
from cocotb.triggers import RisingEdge

from hotline_golden.layouts import ENTRY_WORDS, Command, Completion
from hotline_rtl.control.rings import CommandRing, CompletionRing, fetched_layout
from hotline_rtl.interfaces.layouts import completion_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until
from hotline_sim.engine.memory_model import Fault


def assert_only(dut, names: tuple[str, ...], expected: str | None) -> None:
    """Of the bits ``names``, ``expected`` is set, and no other."""
    assert {name: int(getattr(dut, name).value) for name in names} == {name: int(name == expected) for name in names}


@cocotb.test()
async def commands_come_in_ring_order(dut):
    for timing in TIMINGS[:3]:
        memory = Memory(dut, "bus", {"ring": 8 * 64}, timing)
        sink = StreamSink(dut, "o", fetched_layout(CONFIG), "half", 3)
        for name in ("enable", "tail", "hold", "stop", "completions_outside"):
            getattr(dut, name).value = 0
        dut.base.value, dut.log2_entries.value = memory.address("ring"), 3
        await start(dut)
        dut.enable.value = 1
        sent = []
        for n in range(20):
            command = Command(5, n, 10 + n, 1 << 32, 64, 128, 192, 256, 7, n & 1, n * 3)
            at = memory.address("ring") + n % 8 * 64
            memory.image.words(at, ENTRY_WORDS)[:] = command.words()
            sent.append(command)
            dut.tail.value = n + 1
            if n % 4 == 3:
                await until(dut, lambda s=sink, k=n: len(s.got) == k + 1, "commands")
        got = [Command.from_words(_words(g.command)) for g in sink.got]
        assert got == sent and not any(g.status for g in sink.got)
        assert int(dut.head.value) == 20
        memory.check()


async def _command_ring(dut, **values: int):
    """A ring of 8 entries with ``values`` for its inputs, enabled."""
    memory = Memory(dut, "bus", {"ring": 8 * 64}, TIMINGS[0])
    sink = StreamSink(dut, "o", fetched_layout(CONFIG), "always", 3)
    for name in ("enable", "tail", "hold", "stop", "completions_outside"):
        getattr(dut, name).value = 0
    dut.base.value, dut.log2_entries.value = memory.address("ring"), 3
    await start(dut)
    for name, value in {"enable": 1, **values}.items():
        getattr(dut, name).value = value
    for _ in range(60):
        await RisingEdge(dut.clk)
    memory.check()
    return memory, sink


@cocotb.test()
async def what_a_host_may_not_say_stops_the_command_ring(dut):
    errors = ("base_error", "completion_base_error", "doorbell_error")
    space = 1 << CONFIG.address_bits
    for values, expected in [
        ({"tail": 8}, None),
        ({"tail": 9}, "doorbell_error"),
        ({"tail": 40}, "doorbell_error"),
        ({"tail": (1 << 32) - 1}, "doorbell_error"),
        ({"tail": 1, "base": space}, "base_error"),
        ({"tail": 1, "base": 1 << 63}, "base_error"),
        ({"tail": 1, "base": space - 7 * 64}, "base_error"),
        ({"tail": 1, "base": 0x10020}, "base_error"),
        ({"tail": 1, "completions_outside": 1}, "completion_base_error"),
    ]:
        memory, sink = await _command_ring(dut, **values)
        if expected is None:
            await until(dut, lambda s=sink: len(s.got) == 8, "commands")
        else:
            assert not sink.got and memory.model.statistics()["read_beats"] == 0 and dut.active.value == 0
        assert_only(dut, errors, expected)


@cocotb.test()
async def a_ring_that_ends_with_the_address_space_is_fetched(dut):
    """Only the address is looked at: nothing is there."""
    dut_space = 1 << CONFIG.address_bits
    await _command_ring(dut, hold=1, tail=1, base=dut_space - 8 * 64)
    assert dut.active.value == 0
    dut.hold.value = 0
    await until(dut, lambda: dut.bus_arvalid.value == 1, "a read")
    assert int(dut.bus_araddr.value) == dut_space - 8 * 64 and dut.base_error.value == 0


async def _completion_ring(dut, **values: int):
    """A ring of 4 entries; one completion is offered once its inputs have ``values``."""
    memory = Memory(dut, "bus", {"ring": 4 * 64}, TIMINGS[0])
    memory.model.allow({"ring"})
    source = StreamSource(dut, "i", completion_layout(), "always", 3)
    dut.head.value, dut.acknowledged_ready.value = 0, 1
    dut.base.value, dut.log2_entries.value = memory.address("ring"), 2
    await start(dut)
    for name, value in values.items():
        getattr(dut, name).value = value
    for _ in range(4):
        await RisingEdge(dut.clk)
    return memory, source


@cocotb.test()
async def what_stops_the_completion_ring_is_not_counted(dut):
    errors = ("write_error", "base_error", "head_error")
    space = 1 << CONFIG.address_bits
    for values, expected in [
        ({"base": space}, "base_error"),
        ({"base": space - 3 * 64}, "base_error"),
        ({"base": 0x10010}, "base_error"),
        ({"head": 1}, "head_error"),
        ({"head": (1 << 32) - 5}, "head_error"),
        ({}, "write_error"),
    ]:
        memory, source = await _completion_ring(dut, **values)
        if expected == "write_error":
            memory.model.inject([Fault(memory.address("ring"), 64, on_read=False)])
        source.put([{"tag": 7}, {"tag": 8}])
        for _ in range(100):
            await RisingEdge(dut.clk)
            assert dut.written.value == 0
        assert int(dut.tail.value) == 0
        assert_only(dut, errors, expected)
        memory.check()


@cocotb.test()
async def completions_wait_for_room_and_count_when_acknowledged(dut):
    for timing in TIMINGS[:3]:
        memory = Memory(dut, "bus", {"ring": 4 * 64}, timing)
        memory.model.allow({"ring"})
        source = StreamSource(dut, "i", completion_layout(), "half", 3)
        dut.head.value, dut.acknowledged_ready.value = 0, 1
        dut.base.value, dut.log2_entries.value = memory.address("ring"), 2
        await start(dut)
        source.put({"tag": n, "status": n % 3, "kind": 1, "opcode": 5, "popular": n * n, "cycles": n << 33}
                   for n in range(11))  # fmt: skip
        for n in range(11):
            await until(dut, lambda k=n: int(dut.tail.value) > k, "completions")
            words = memory.image.words(memory.address("ring") + n % 4 * 64, ENTRY_WORDS)
            c = Completion.from_words(words)
            assert (c.tag, c.status, c.popular, c.cycles, c.sequence) == (n, n % 3, n * n, n << 33, n + 1)
            for _ in range(40):
                await RisingEdge(dut.clk)
            assert int(dut.tail.value) <= n + 4, "an entry that the host has not read was overwritten"
            dut.head.value = n + 1
        memory.check()


def _words(payload):
    import numpy as np

    bits = payload.as_bits()
    return np.array([bits >> 32 * i & 0xFFFF_FFFF for i in range(ENTRY_WORDS)], np.uint32)


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "command_ring": (
        lambda c: WithMasters(c, CommandRing(c), {"read": "bus"}, {}),
        "commands_come_in_ring_order,what_a_host_may_not_say_stops_the_command_ring,"
        "a_ring_that_ends_with_the_address_space_is_fetched",
    ),
    "completion_ring": (
        lambda c: WithMasters(c, CompletionRing(c), {}, {"write": "bus"}),
        "completions_wait_for_room_and_count_when_acknowledged,what_stops_the_completion_ring_is_not_counted",
    ),
}
