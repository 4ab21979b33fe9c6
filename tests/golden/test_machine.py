"""The sequential machine: effects of commands, and every status it can give."""

from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import (
    ADDRESS_WORDS,
    DELTA_WORDS,
    NO_WORKING_ROW,
    Command,
    Completion,
    Flag,
    Kind,
    ModelError,
    Opcode,
    Status,
)
from hotline_golden.machine import Machine, Refusal
from hotline_golden.memory import MemoryPlan
from hotline_golden.model import Model, Table, table_errors
from hotline_golden.split import Sampling, follow
from hotline_golden.tracker.tracker import Tracker

SAMPLES = 12


@pytest.fixture
def machine():
    plan = MemoryPlan(0x1000)
    tables = [plan.add(f"table {n}", rows * 16, alignment=4) for n, rows in enumerate((50, 200))]
    plan.add("samples", SAMPLES * 4 * 4)
    plan.add("hot list", 64 * 8)
    host = plan.image()
    device_plan = MemoryPlan(1 << 20)
    for name, size in {"popular": 4096, "non-popular": 4096, "keys": 512, "rows": 8192}.items():
        device_plan.add(name, size)
    model = Model(tuple(Table(b.address, b.size // 16, 16) for b in tables), (0, 1, 1), 1, 16)
    g = np.random.default_rng(0)
    host.data[:] = g.integers(0, 256, len(host.data))
    samples = np.stack([g.integers(0, n, SAMPLES) for n in (1 << 30, 50, 200, 200)], axis=1)
    host.words(host.buffers["samples"].address, SAMPLES * 4)[:] = samples.reshape(-1)
    tracker = Tracker(KeySpace(5, 16, 1), 16, 4)
    return Machine(
        tracker,
        model,
        host,
        device_plan.image(),
        working_rows=64,
        max_record_words=16,
        max_row_bytes=64,
        address_bits=32,
    )


def split_command(m, **changes):
    d = m.device.buffers
    fields = dict(
        opcode=Opcode.SPLIT,
        samples=SAMPLES,
        source=m.host.buffers["samples"].address,
        popular=d["popular"].address,
        non_popular=d["non-popular"].address,
        working_keys=d["keys"].address,
        working_rows=d["rows"].address,
        working_limit=64,
    )
    return Command(**(fields | changes))


def test_commands_and_completions_survive_their_words():
    command = Command(5, 7, 3, 1 << 40, 64, 128, 192, 256, 9, 1, 4)
    assert Command.from_words(command.words()) == command


def test_what_is_gathered_then_scattered_is_as_it_was(machine):
    before = machine.host.data.copy()
    popular, done = machine.execute(split_command(machine))
    assert (popular.kind, done.kind) == (Kind.POPULAR, Kind.NON_POPULAR)
    assert popular.popular + popular.non_popular == SAMPLES
    assert done.working_rows == len(machine.last_split.working_keys)
    d = machine.device.buffers
    (scattered,) = machine.execute(
        Command(
            Opcode.SCATTER, samples=done.working_rows, working_keys=d["keys"].address, working_rows=d["rows"].address
        )
    )
    assert scattered.status == Status.OK
    assert np.array_equal(machine.host.data, before)


def test_learning_makes_samples_popular(machine):
    source = machine.host.buffers["samples"].address
    (learnt,) = machine.execute(Command(Opcode.LEARN, samples=SAMPLES, source=source))
    assert learnt.accesses == 3 * SAMPLES
    popular, _ = machine.execute(split_command(machine))
    assert popular.popular > SAMPLES // 2 and popular.hot_accesses > 2 * SAMPLES
    machine.execute(Command(Opcode.CLEAR))
    assert machine.execute(split_command(machine))[0].popular == 0


def test_dump_and_load_through_memory(machine):
    source = machine.host.buffers["samples"].address
    hot = machine.host.buffers["hot list"].address
    machine.execute(Command(Opcode.LEARN, samples=SAMPLES, source=source))
    expected = machine.tracker.dump()
    machine.execute(Command(Opcode.DUMP, source=hot))
    machine.execute(Command(Opcode.CLEAR))
    assert machine.execute(Command(Opcode.LOAD, source=hot))[0].status == Status.OK
    assert np.array_equal(machine.tracker.dump(), expected)


def statuses(completions: list[Completion]) -> list[int]:
    return [c.status for c in completions]


def test_every_status(machine):
    m = machine
    assert statuses(m.execute(Command(99))) == [Status.UNKNOWN_OPCODE]
    assert statuses(m.execute(split_command(m, flags=1, after=12345))) == [Status.NO_SUCH_SPLIT] * 2
    bad = m.execute(split_command(m, non_popular=68))
    assert statuses(bad) == [Status.MISALIGNED_ADDRESS] * 2 and bad[0].address == 68
    assert statuses(m.execute(split_command(m, samples=0))) == [Status.BAD_COUNT] * 2
    assert statuses(m.execute(split_command(m, samples=(1 << 20) + 1))) == [Status.BAD_COUNT] * 2
    overflow = m.execute(split_command(m, working_limit=2))
    assert statuses(overflow) == [Status.OK, Status.WORKING_SET_OVERFLOW]
    assert overflow[1].index in (0, 1)
    m.host.words(m.host.buffers["hot list"].address, 1)[0] = 5
    before = m.tracker.dump()
    assert statuses(m.execute(Command(Opcode.LOAD, source=m.host.buffers["hot list"].address))) == [
        Status.BAD_HOT_LIST
    ]
    assert np.array_equal(m.tracker.dump(), before)
    m.host.words(m.host.buffers["samples"].address + 16 * 3, 4)[2] = 200
    bad = m.execute(split_command(m))
    assert statuses(bad) == [Status.ROW_OUTSIDE_TABLE] * 2 and (bad[0].index, bad[0].access) == (3, 1)
    m.max_record_words = 4
    assert statuses(m.execute(split_command(m))) == [Status.NO_MODEL] * 2


END = 1 << 32


@pytest.mark.parametrize(
    "change, name",
    [
        ({"source": 1 << 44}, "source"),
        ({"popular": END}, "popular"),
        ({"non_popular": END - 64 * 3}, "non_popular"),  # 12 records of 20 bytes are 240
        ({"working_keys": END - 64 * 7}, "working_keys"),  # 64 keys are 512
        ({"working_rows": (1 << 64) - 64}, "working_rows"),
    ],
)
def test_a_buffer_that_does_not_lie_within_the_address_space_is_refused_by_name(machine, change, name):
    before = machine.device.data.copy()
    done = machine.execute(split_command(machine, **change))
    assert [(c.status, c.index, c.address) for c in done] == [
        (Status.ADDRESS_OUT_OF_RANGE, ADDRESS_WORDS[name], change[name])
    ] * 2
    assert np.array_equal(machine.device.data, before)


def test_a_buffer_that_ends_with_the_address_space_is_taken(machine):
    machine.check(split_command(machine, non_popular=END - 256, working_keys=END - 512, working_rows=END - 1024))
    machine.check(Command(Opcode.DUMP, source=END - 8 * machine.tracker.slots))
    with pytest.raises(Refusal) as refusal:
        machine.check(Command(Opcode.DUMP, source=END - 8 * machine.tracker.slots + 64))
    assert refusal.value.status == Status.ADDRESS_OUT_OF_RANGE


def test_misaligned_buffers_come_before_counts_and_these_before_ranges(machine):
    bad = split_command(machine, samples=0, popular=END, working_keys=68)
    assert machine.execute(bad)[0].status == Status.MISALIGNED_ADDRESS
    assert machine.execute(replace(bad, working_keys=64))[0].status == Status.BAD_COUNT
    assert machine.execute(replace(bad, working_keys=64, samples=1))[0].status == Status.ADDRESS_OUT_OF_RANGE


@pytest.mark.parametrize(
    "change, errors",
    [
        ({}, ModelError(0)),
        ({"base": 0x1002}, ModelError.TABLE_BASE),
        ({"base": 1 << 44}, ModelError.TABLE_BASE),
        ({"rows": 0}, ModelError.TABLE_ROWS),
        ({"rows": 1 << 26}, ModelError(0)),
        ({"rows": (1 << 26) + 1}, ModelError.TABLE_ROWS),
        ({"rows": (1 << 32) - 1}, ModelError.TABLE_ROWS),
        ({"stride": 0}, ModelError.TABLE_STRIDE),
        ({"stride": 60}, ModelError.TABLE_STRIDE),
        ({"stride": 66}, ModelError.TABLE_STRIDE),
        ({"stride": 1 << 20}, ModelError.TABLE_STRIDE),
        ({"base": (1 << 40) - 6400}, ModelError(0)),
        ({"base": (1 << 40) - 6396}, ModelError.TABLE_END),
        ({"first_slot": (1 << 31) - 100}, ModelError(0)),
        ({"first_slot": (1 << 31) - 99}, ModelError.FIRST_SLOT),
        ({"first_slot": 1 << 31, "resident": False}, ModelError(0)),
        (
            {"base": 1, "rows": 0, "stride": 0},
            ModelError.TABLE_BASE | ModelError.TABLE_ROWS | ModelError.TABLE_STRIDE,
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_named(change, errors):
    table = Table(**({"base": 0x1000, "rows": 100, "stride": 64, "resident": True, "first_slot": 256} | change))
    assert table_errors(table, row_bytes=64, row_bits=26, address_bits=40) == errors


def test_a_bad_row_ends_learning_where_it_stands(machine):
    m = machine
    source = m.host.buffers["samples"].address
    m.execute(Command(Opcode.LEARN, samples=3, source=source))
    expected = m.tracker.dump()
    m.execute(Command(Opcode.CLEAR))
    m.host.words(source + 16 * 3, 4)[1] = 50
    assert statuses(m.execute(Command(Opcode.LEARN, samples=SAMPLES, source=source))) == [Status.ROW_OUTSIDE_TABLE]
    assert np.array_equal(m.tracker.dump(), expected)


def test_a_key_that_names_no_row_ends_a_scatter(machine):
    m = machine
    _, done = m.execute(split_command(m))
    d = m.device.buffers
    m.device.words(d["keys"].address + 8 * 2, 2)[:] = (1, 200)
    (c,) = m.execute(
        Command(
            Opcode.SCATTER, samples=done.working_rows, working_keys=d["keys"].address, working_rows=d["rows"].address
        )
    )
    assert (c.status, c.index) == (Status.ROW_OUTSIDE_TABLE, 2)


def test_swap_writes_a_delta_list_under_both_limits_and_only_with_a_shadow(machine):
    buffer = machine.host.buffers["hot list"]
    swap = Command(Opcode.SWAP, source=buffer.address, working_limit=7)
    assert statuses(machine.execute(swap)) == [Status.UNSUPPORTED]
    machine.tracker = Tracker(KeySpace(5, 16, 1), 16, 4, "sample_aware", arrays=2, shadow=True)
    learn = Command(Opcode.LEARN, samples=SAMPLES, source=machine.host.buffers["samples"].address)
    assert statuses(machine.execute(learn)) == [Status.OK]
    assert statuses(machine.execute(Command(Opcode.SWAP, source=buffer.address + 4))) == [Status.MISALIGNED_ADDRESS]
    (done,) = machine.execute(swap)
    assert (done.working_rows, done.accesses) == (7, machine.tracker.valid.sum() - 7)
    delta = machine.host.words(buffer.address, 42).reshape(7, DELTA_WORDS)
    assert np.array_equal(delta, machine.last_delta)
    assert np.array_equal(machine.tracker.dump()[delta[:, 0]], delta[:, 3:5])
    assert (delta[:, 5] == NO_WORKING_ROW).all()
    machine.swap_limit = 3
    (done,) = machine.execute(swap)
    assert done.working_rows == 3
    machine.swap_limit, machine.swap_worth = 0xFFFF_FFFF, 255
    (done,) = machine.execute(Command(Opcode.SWAP, source=buffer.address, working_limit=7))
    assert (done.working_rows, done.accesses) == (0, 0)


def follower(machine, policy="frequency"):
    machine.tracker = Tracker(KeySpace(5, 16, 1), 16, 4, policy, arrays=2, shadow=True)
    return Command(Opcode.SWAP, source=machine.host.buffers["hot list"].address, working_limit=12)


def test_a_split_learns_from_what_it_splits_if_it_is_asked_to(machine):
    swap = follower(machine)
    learnt = Tracker(KeySpace(5, 16, 1), 16, 4, "frequency", arrays=2, shadow=True)
    rows = machine._samples(split_command(machine))[:, 1:]
    follow(machine.model, learnt, rows, Sampling())
    assert statuses(machine.execute(split_command(machine))) == [Status.OK] * 2
    assert not machine.tracker.valid.any(), "it was not asked to"
    popular, done = machine.execute(split_command(machine, flags=Flag.FOLLOW))
    assert popular.popular == 0 and np.array_equal(machine.tracker.tags, learnt.tags)
    assert np.array_equal(machine.tracker.state, learnt.state)
    # What enters the hot set is in the working rows: the delta list says where.
    (swapped,) = machine.execute(swap)
    delta = machine.last_delta
    assert swapped.working_rows == len(delta) == 12
    keys = machine.device.words(machine.device.buffers["keys"].address, 2 * done.working_rows).reshape(-1, 2)
    assert np.array_equal(keys[delta[:, 5]], delta[:, 3:5])
    # They are hot for the next SPLIT. Of the rest some are not in its working set.
    _, again = machine.execute(split_command(machine))
    assert again.hot_accesses >= 12 and again.working_rows == done.working_rows - 12


def test_a_delta_list_knows_the_newest_working_set_only(machine):
    swap = follower(machine)
    machine.execute(split_command(machine, flags=Flag.FOLLOW))
    machine.execute(split_command(machine, samples=1))
    machine.execute(swap)
    keys = machine.last_split.working_keys.tolist()
    for *_, table, row, number in machine.last_delta.tolist():
        assert number == (keys.index([table, row]) if [table, row] in keys else NO_WORKING_ROW)
    assert (machine.last_delta[:, 5] == NO_WORKING_ROW).any()
    # One that did not go well has none.
    assert statuses(machine.execute(split_command(machine, working_limit=1)))[1] == Status.WORKING_SET_OVERFLOW
    machine.execute(swap)
    assert (machine.last_delta[:, 5] == NO_WORKING_ROW).all()


def test_a_split_learns_what_comes_before_a_bad_row_and_nothing_without_a_shadow(machine):
    command = split_command(machine, flags=Flag.FOLLOW)
    assert statuses(machine.execute(command)) == [Status.UNSUPPORTED] * 2
    follower(machine)
    words = machine.host.words(command.source, SAMPLES * 4).reshape(-1, 4)
    words[3, 2] = 200  # of a table with 200 rows
    done = machine.execute(command)
    assert statuses(done) == [Status.ROW_OUTSIDE_TABLE] * 2 and (done[0].index, done[0].access) == (3, 1)
    learnt = Tracker(KeySpace(5, 16, 1), 16, 4, "frequency", arrays=2, shadow=True)
    before = words[:4, 1:].copy()
    before[3, 1:] = 0xFFFF_FFFF
    follow(machine.model, learnt, before, Sampling())
    assert machine.tracker.valid.sum() > 0 and np.array_equal(machine.tracker.state, learnt.state)


@pytest.mark.parametrize(
    "shift, seed, learns", [(0, 9, range(12)), (2, 1, (1, 5, 9)), (3, 14, (6,)), (15, 4, (4,)), (15, 99, ())]
)
def test_a_split_learns_from_a_sample_of_the_samples(machine, shift, seed, learns):
    follower(machine)
    machine.sampling = Sampling(shift, seed)
    machine.execute(split_command(machine, flags=Flag.FOLLOW))
    learnt = Tracker(KeySpace(5, 16, 1), 16, 4, "frequency", arrays=2, shadow=True)
    rows = machine._samples(split_command(machine))[list(learns), 1:]
    follow(machine.model, learnt, rows, Sampling())
    assert np.array_equal(machine.tracker.state, learnt.state) and np.array_equal(machine.tracker.tags, learnt.tags)
