"""Registers, counters and rings."""

import cocotb
from bench_common import CONFIG, TIMINGS, Memory, rng
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from hotline_golden.layouts import ENTRY_WORDS, Command, Completion
from hotline_golden.machine import OPEN_SPLITS
from hotline_rtl.control.registers.register_map import registers
from hotline_rtl.control.rings import fetched_layout
from hotline_rtl.interfaces.layouts import completion_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, background, pulse, start, until
from hotline_sim.engine.memory_model import Fault


def quiet_registers(dut) -> None:
    """Nothing from hardware, no access; answers of writes are taken."""
    for register in registers().values():
        for field in register.fields:
            name = f"{register.name}_{field.name}"
            if field.write_one_clears:
                getattr(dut, f"{name}_set").value = 0
            elif not field.software_writes:
                getattr(dut, name).value = 0
    for name in ("awvalid", "wvalid", "arvalid", "awprot", "arprot", "rready"):
        getattr(dut, f"axil_{name}").value = 0
    dut.axil_bready.value, dut.hold.value, dut.lock.value = 1, 0, 0


def assert_only(dut, names: tuple[str, ...], expected: str | None) -> None:
    """Of the bits ``names``, ``expected`` is set, and no other."""
    assert {name: int(getattr(dut, name).value) for name in names} == {name: int(name == expected) for name in names}


@cocotb.test()
async def registers_answer_as_the_map_says(dut):
    axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "axil"), dut.clk, dut.rst)
    stall = rng()
    for channel in (
        axil.write_if.aw_channel,
        axil.write_if.w_channel,
        axil.write_if.b_channel,
        axil.read_if.ar_channel,
        axil.read_if.r_channel,
    ):
        channel.set_pause_generator(iter(lambda: stall.random() < 0.3, None))
    dut.hold.value = dut.lock.value = 0
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
    # A block of 16 bytes with a register in it answers as a whole; no other one answers.
    addresses = {r.address for r in registers().values()}
    blocks = {address & ~15 for address in addresses}
    for address in range(0, 1 << 12, 4):
        if address not in addresses and (address & ~15 in blocks or address % 64 == 0):
            known = address & ~15 in blocks
            assert int((await axil.write(address, b"\xff" * 4)).resp) == (0 if known else 2)
            got = await axil.read(address, 4)
            assert int(got.resp) == (0 if known else 2) and got.data == bytes(4)
    for register in registers().values():
        assert int.from_bytes((await axil.read(register.address, 4)).data, "little") == expected[register.name]
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
async def what_sets_an_interrupt_wins_over_what_clears_it(dut):
    """In the very cycle in which a write clears it; each cycle before and after is tried, too."""
    quiet_registers(dut)
    await start(dut)
    dut.axil_awaddr.value, dut.axil_wstrb.value = registers()["irq_status"].address, 15
    for bit, name in enumerate(("completion", "error")):
        pending, sets = getattr(dut, f"irq_status_{name}"), getattr(dut, f"irq_status_{name}_set")
        dut.axil_wdata.value = 1 << bit

        async def clear(set_in: int | None, pending=pending, sets=sets) -> list[int]:
            """The bit, cycle by cycle, while it is cleared; set in cycle ``set_in`` of these."""
            await pulse(dut, **{sets._name: 1})
            assert pending.value == 1
            seen = []
            for cycle in range(10):
                dut.axil_awvalid.value = dut.axil_wvalid.value = int(cycle == 0)
                sets.value = int(cycle == set_in)
                await RisingEdge(dut.clk)
                seen.append(int(pending.value))
            sets.value = 0
            return seen

        alone = await clear(None)
        cleared = alone.index(0)  # seen first; so the clearing was in the cycle before
        assert alone[-1] == 0 and cleared > 0
        for cycle in range(8):
            assert (await clear(cycle))[-1] == (cycle >= cleared - 1), (
                f"{name}: set in cycle {cycle}, cleared in {cleared - 1}"
            )


@cocotb.test()
async def accesses_are_answered_once_in_any_order_of_their_channels(dut):
    """AW and W come in any order and distance, reads beside them, back to back, and answers wait to be taken."""
    quiet_registers(dut)
    r = rng()
    address = registers()["payload_words"].address
    written, seen = [], {"b": 0, "r": []}

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            seen["b"] += int(dut.axil_bvalid.value and dut.axil_bready.value)
            if dut.axil_rvalid.value and dut.axil_rready.value:
                seen["r"].append(int(dut.axil_rdata.value))
            dut.axil_bready.value, dut.axil_rready.value = int(r.random() < 0.5), int(r.random() < 0.5)

    async def offer(channel: str, gap: int, **payload: int) -> None:
        for _ in range(gap):
            await RisingEdge(dut.clk)
        for name, value in payload.items():
            getattr(dut, f"axil_{name}").value = value
        valid, ready = getattr(dut, f"axil_{channel}valid"), getattr(dut, f"axil_{channel}ready")
        valid.value = 1
        await RisingEdge(dut.clk)
        while not ready.value:
            await RisingEdge(dut.clk)
        valid.value = 0

    async def addresses(count: int):
        for _ in range(count):
            await offer("aw", r.choice((0, 0, 1, 5)), awaddr=address)

    async def data(count: int):
        for n in range(count):
            written.append(n + 1)
            await offer("w", r.choice((0, 0, 2, 4)), wdata=n + 1, wstrb=15)

    async def reads(count: int):
        for _ in range(count):
            await offer("ar", r.choice((0, 0, 3)), araddr=address)

    background(watch())
    await start(dut)
    count = 60
    running = [cocotb.start_soon(task(count)) for task in (addresses, data, reads)]
    for task in running:
        await task
    for _ in range(60):
        await RisingEdge(dut.clk)
    assert seen["b"] == count and len(seen["r"]) == count
    assert seen["r"] == sorted(seen["r"]) and set(seen["r"]) <= {0, *written}, (
        "values in the order in which they were written"
    )
    assert int(dut.payload_words_value.value) == count


@cocotb.test()
async def a_write_changes_the_bytes_that_it_enables_and_nothing_else(dut):
    """Every register, every strobe: what is stored, and whether hardware is told."""
    quiet_registers(dut)
    told = {r.name: 0 for r in registers().values() if r.strobe}
    told["refused"] = 0

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            for name in told:
                told[name] += int(getattr(dut, name if name == "refused" else f"{name}_written").value)

    background(watch())
    await start(dut)

    async def write(address: int, value: int, strobe: int) -> None:
        dut.axil_awaddr.value, dut.axil_wdata.value, dut.axil_wstrb.value = address, value, strobe
        dut.axil_awvalid.value = dut.axil_wvalid.value = 1
        await RisingEdge(dut.clk)
        while dut.axil_awready.value == 0:
            await RisingEdge(dut.clk)
        dut.axil_awvalid.value = dut.axil_wvalid.value = 0
        for _ in range(3):
            await RisingEdge(dut.clk)

    def value_of(register) -> int:
        return sum(
            int(getattr(dut, f"{register.name}_{f.name}").value) << f.low
            for f in register.fields
            if f.software_writes and not f.write_one_clears
        )

    r = rng()
    for register in registers().values():
        writable = sum(
            ((1 << f.width) - 1) << f.low for f in register.fields if f.software_writes and not f.write_one_clears
        )
        effect = {bit // 8 for f in register.fields if f.strobe for bit in range(f.low, f.low + f.width)}
        for strobe in range(16):
            for lock in (0, 1):
                before, value = value_of(register), r.getrandbits(32)
                dut.lock.value = lock
                told.update(dict.fromkeys(told, 0))
                await write(register.address, value, strobe)
                mask = sum(0xFF << 8 * n for n in range(4) if strobe >> n & 1) & writable
                ignored = lock and register.model
                assert value_of(register) == (before if ignored else before & ~mask | value & mask), (
                    register.name,
                    strobe,
                )
                expected = any(strobe >> n & 1 for n in effect)
                for name, count in told.items():
                    if name == "refused":
                        assert count == bool(ignored and strobe), (register.name, strobe)
                    else:
                        assert count == (name == register.name and expected and not ignored), (register.name, strobe)
    # The two low bits of an address are ignored.
    dut.lock.value = 0
    await write(registers()["payload_words"].address + 3, 77, 15)
    assert int(dut.payload_words_value.value) == 77
    # While held, nothing is taken.
    dut.lock.value, dut.hold.value = 0, 1
    dut.axil_awaddr.value, dut.axil_wdata.value, dut.axil_wstrb.value = registers()["control"].address, 1, 15
    dut.axil_awvalid.value = dut.axil_wvalid.value = 1
    for _ in range(20):
        await RisingEdge(dut.clk)
        assert dut.axil_awready.value == 0
    dut.hold.value = 0
    await until(dut, lambda: dut.axil_awready.value == 1, "the write")


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
    dut.head.value = 0
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
