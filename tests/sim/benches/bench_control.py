"""Registers, counters and rings."""

import cocotb
from bench_common import CONFIG, TIMINGS, Memory, rng
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from hotline_golden.layouts import ENTRY_WORDS, Command, Completion
from hotline_golden.machine import OPEN_SPLITS
from hotline_rtl.layouts import completion_layout
from hotline_rtl.register_map import registers
from hotline_rtl.rings import fetched_layout
from hotline_sim.cocotb_streams import StreamSink, StreamSource, pulse, start, until


@cocotb.test()
async def registers_answer_as_the_map_says(dut):
    axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "axil"), dut.clk, dut.rst)
    stall = rng()
    for channel in (axil.write_if.aw_channel, axil.write_if.w_channel, axil.write_if.b_channel,
                    axil.read_if.ar_channel, axil.read_if.r_channel):  # fmt: skip
        channel.set_pause_generator(iter(lambda: stall.random() < 0.3, None))
    expected = {}
    for register in registers().values():
        expected[register.name] = 0
        for field in register.fields:
            name = f"{register.name}_{field.name}"
            value = rng(register.address + field.low).getrandbits(field.width)
            if field.write_one_clears:
                getattr(dut, f"{name}_set").value = 0
            elif not field.software_writes:
                getattr(dut, name).value = value
                expected[register.name] |= value << field.low
    await start(dut)
    for register in registers().values():
        writable = {f for f in register.fields if f.software_writes and not f.write_one_clears}
        value = rng(register.address).getrandbits(32)
        await axil.write(register.address, value.to_bytes(4, "little"))
        for field in writable:
            part = value >> field.low & (1 << field.width) - 1
            expected[register.name] |= part << field.low
            assert int(getattr(dut, f"{register.name}_{field.name}").value) == part
    for register in registers().values():
        got = await axil.read(register.address, 4)
        assert int(got.resp) == 0
        assert int.from_bytes(got.data, "little") == expected[register.name], register.name
    outside = max(r.address for r in registers().values()) + 4
    assert int((await axil.read(outside, 4)).resp) == 2
    assert int((await axil.write(outside, bytes(4))).resp) == 2
    # Write 1 to clear; the hardware's set wins.
    dut.irq_status_completion_set.value = 1
    await RisingEdge(dut.clk)
    dut.irq_status_completion_set.value = 0
    address = registers()["irq_status"].address
    assert (await axil.read(address, 4)).data[0] == 1
    await axil.write(address, (0).to_bytes(4, "little"))
    assert (await axil.read(address, 4)).data[0] == 1
    await axil.write(address, (1).to_bytes(4, "little"))
    assert (await axil.read(address, 4)).data[0] == 0


@cocotb.test()
async def counters_add_up(dut):
    dut.add_a.value = dut.add_b.value = 0
    await start(dut)
    r, a, b = rng(), 0, 0
    for _ in range(300):
        x, y = r.getrandbits(1), r.getrandbits(5)
        dut.add_a.value, dut.add_b.value = x, y
        a, b = a + x, b + y
        await RisingEdge(dut.clk)
    dut.add_a.value = dut.add_b.value = 0
    for _ in range(3):
        await RisingEdge(dut.clk)
    assert (int(dut.a.value), int(dut.b.value)) == (a, b)


@cocotb.test()
async def the_newest_splits_can_be_named(dut):
    """Against the list that golden keeps; few tags, so that names repeat."""
    for name in ("add", "drop_newest", "close", "new_tag", "new_rows", "after", "by_scatter"):
        getattr(dut, name).value = 0
    await start(dut)
    r, kept = rng(), []
    for _ in range(600):
        tag, scatter = r.randrange(6), r.random() < 0.5
        dut.after.value, dut.by_scatter.value = tag, int(scatter)
        for _ in range(3):
            await RisingEdge(dut.clk)
        named = next((k for k in kept[: OPEN_SPLITS - (not scatter)] if k and k[0] == tag), None)
        assert int(dut.known.value) == (named is not None)
        assert named is None or int(dut.rows.value) == named[1]
        what = r.choice(["add", "add", "drop_newest", "close"])
        new = (r.randrange(6), r.randrange(1 << 21))
        dut.new_tag.value, dut.new_rows.value = new
        await pulse(dut, **{what: 1})
        if what == "add":
            kept = [new, *kept][:OPEN_SPLITS]
        elif what == "drop_newest" and kept:
            kept[0] = None
        elif what == "close" and named:
            kept[kept.index(named)] = None


@cocotb.test()
async def commands_come_in_ring_order(dut):
    for timing in TIMINGS[:3]:
        memory = Memory(dut, "bus", {"ring": 8 * 64}, timing)
        sink = StreamSink(dut, "o", fetched_layout(CONFIG), "half", 3)
        for name in ("enable", "tail"):
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


@cocotb.test()
async def completions_wait_for_room_and_count_when_acknowledged(dut):
    for timing in TIMINGS[:3]:
        memory = Memory(dut, "bus", {"ring": 4 * 64}, timing)
        memory.model.allow({"ring"})
        source = StreamSource(dut, "i", completion_layout(), "half", 3)
        dut.head.value = 0
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


assert CONFIG.bus_words >= 2
