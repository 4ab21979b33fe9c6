"""The AXI4-Lite registers: every access as the register map says."""

import cocotb
from benches.common import rng
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from hotline_rtl.control.registers.register_block import RegisterBlock
from hotline_rtl.control.registers.register_map import registers
from hotline_sim.engine.cocotb_streams import background, pulse, start, until


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


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "register_block": (lambda c: RegisterBlock(), ""),
}
