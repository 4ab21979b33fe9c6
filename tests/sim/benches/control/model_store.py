"""The model: tables and accesses, passed on or refused."""

import cocotb
from benches.common import CONFIG, rng
from cocotb.triggers import RisingEdge

from hotline_golden.layouts import ModelError
from hotline_golden.model import Table, table_errors
from hotline_rtl.control.model_store import ModelStore
from hotline_rtl.interfaces.model import descriptor_layout
from hotline_sim.engine.cocotb_streams import background, pulse, start, unpack, until

SIZES = {"payload_words": 3, "accesses": 7, "row_bytes": 64}


def random_table(r) -> Table:
    """Mostly right; each field now and then at, or just beyond, what it may be."""
    space = 1 << CONFIG.address_bits
    rows = r.choice(
        [1, 100, 1 << CONFIG.row_bits, 0, (1 << CONFIG.row_bits) + 1, (1 << 32) - 1, r.randrange(1, 5000)]
    )
    stride = r.choice([64, 68, (1 << 20) - 4, 0, 60, 66, 1 << 20, (1 << 32) - 4, 64])
    extent = min(rows, 1 << CONFIG.row_bits) * min(stride, (1 << 20) - 4)
    ends = space - extent
    base = r.choice([0x1000, 0x1002, max(ends, 0), max(ends + 4, 0), space, space << 3, r.randrange(space) & ~3])
    first_slot = r.choice([256, (1 << 31) - min(rows, 1 << 31), max((1 << 31) - rows + 1, 0), 1 << 31])
    return Table(base, rows, stride, r.random() < 0.5, first_slot)


def put(dut, **values: int) -> None:
    for name, value in values.items():
        getattr(dut, name).value = value


async def begin(dut):
    put(dut, table_commit=0, access_commit=0, sizes_written=0, reset=0, refused=0)
    put(dut, table_number=0, access=0, access_table=0)
    put(dut, table_base=0, table_rows=0, table_stride=0, table_first_slot=0, table_resident=0, **SIZES)
    passed: dict[str, list] = {"tables": [], "accesses": []}

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            if dut.model_table_write.value == 1:
                descriptor = unpack(descriptor_layout(CONFIG), int(dut.model_descriptor.value))
                passed["tables"].append((int(dut.model_table.value), descriptor))
            if dut.model_access_write.value == 1:
                passed["accesses"].append((int(dut.model_access.value), int(dut.model_table.value)))

    background(watch())
    await start(dut)
    await pulse(dut, reset=1)
    return passed


async def settle(dut) -> None:
    await until(dut, lambda: dut.busy.value == 0, "the check of a commit", 60)
    for _ in range(4):
        await RisingEdge(dut.clk)


async def commit(dut, table: Table, number: int) -> None:
    put(dut, table_base=table.base, table_rows=table.rows, table_stride=table.stride, table_number=number)
    put(dut, table_first_slot=table.first_slot, table_resident=int(table.resident))
    await pulse(dut, table_commit=1)
    await settle(dut)


@cocotb.test()
async def a_table_is_passed_on_whole_or_refused_by_name(dut):
    passed = await begin(dut)
    r, seen = rng(), ModelError(0)
    limits = {"row_bytes": SIZES["row_bytes"], "row_bits": CONFIG.row_bits, "address_bits": CONFIG.address_bits}
    for _ in range(400):
        table, number = random_table(r), r.choice([*range(CONFIG.tables), CONFIG.tables, (1 << 16) - 1])
        expected = table_errors(table, **limits)
        expected |= ModelError.TABLE_NUMBER if number >= CONFIG.tables else ModelError(0)
        if expected & ModelError.TABLE_NUMBER:  # what depends on fields that are right is not looked at
            expected &= ~(ModelError.TABLE_END | ModelError.FIRST_SLOT)
        await commit(dut, table, number)
        seen |= expected
        assert int(dut.errors.value) == expected, (table, number)
        assert int(dut.model_valid.value) == (not expected)
        if expected:
            assert not passed["tables"] and int(dut.place.value) == number
            await pulse(dut, reset=1)
            assert int(dut.errors.value) == 0
        else:
            ((got, descriptor),) = passed["tables"]
            assert (got, descriptor.base, descriptor.rows) == (number, table.base, table.rows)
            assert (descriptor.stride, descriptor.resident) == (table.stride, int(table.resident))
            assert not table.resident or descriptor.first_slot == table.first_slot
            passed["tables"].clear()
    assert seen & 0x3F == 0x3F, "some error was never met"


@cocotb.test()
async def accesses_sizes_and_writes_at_the_wrong_time(dut):
    passed = await begin(dut)
    good = Table(0x1000, 100, 64)
    for access, table, expected in [
        (0, 0, 0),
        (6, 3, 0),
        (7, 3, ModelError.ACCESS_NUMBER),
        (64, 0, ModelError.ACCESS_NUMBER),
        (1, CONFIG.tables, ModelError.TABLE_NUMBER),
    ]:
        put(dut, access=access, access_table=table)
        await pulse(dut, access_commit=1)
        await settle(dut)
        assert int(dut.errors.value) == expected and int(dut.model_valid.value) == (not expected)
        assert passed["accesses"] == ([] if expected else [(access, table)])
        if expected:
            assert int(dut.place.value) == (access if expected == ModelError.ACCESS_NUMBER else table)
        passed["accesses"].clear()
        await pulse(dut, reset=1)
    # Sizes come before tables: a table has been checked against them.
    await pulse(dut, sizes_written=1)
    assert int(dut.errors.value) == 0
    await commit(dut, good, 1)
    assert int(dut.errors.value) == 0 and len(passed["tables"]) == 1
    await pulse(dut, sizes_written=1)
    await settle(dut)
    assert int(dut.errors.value) == ModelError.SIZES and int(dut.model_valid.value) == 0
    await pulse(dut, reset=1)
    await settle(dut)
    assert int(dut.model_valid.value) == 1
    await pulse(dut, refused=1)
    await settle(dut)
    assert int(dut.errors.value) == ModelError.BUSY and int(dut.model_valid.value) == 0
    # Sizes that no record or row can have.
    await pulse(dut, reset=1)
    for change in (
        {"accesses": 0},
        {"accesses": CONFIG.max_record_words},
        {"row_bytes": 12},
        {"row_bytes": 66},
        {"row_bytes": CONFIG.max_row_bytes + 4},
        {"payload_words": CONFIG.max_record_words - 7},
        {"payload_words": (1 << 32) - 4},
    ):
        put(dut, **(SIZES | change))
        await settle(dut)
        assert int(dut.model_valid.value) == 0, change
    put(dut, **SIZES)
    await settle(dut)
    assert int(dut.model_valid.value) == 1


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "model_store": (ModelStore, ""),
}
