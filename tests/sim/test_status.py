"""Bad input and faulty memory: every status, from the RTL, against golden where golden can say."""

import random
from dataclasses import replace

import pytest

from hotline_golden.layouts import Command, Opcode, Status
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.engine.memory_model import HELD, Fault, MemoryTiming
from hotline_sim.host.driver import Driver
from hotline_sim.host.errors import CommandError, DriverError
from hotline_sim.run.job import output_buffers
from hotline_sim.run.session import Session

from ..configurations import MAIN_FROZEN, tiny
from .conftest import HOSTILE, IDEAL, fresh_golden, learn, small_job
from .lockstep import Lockstep


def both(session, command: Command):
    """The command, unchecked, on RTL and golden; their completions must agree."""
    for memory in (session.transport.host_memory, session.transport.device_memory):
        memory.allow(set(memory.image.buffers))
    rtl = session.driver.execute(command, checked=False)
    golden = session.golden.execute(command)
    assert [c.untimed() for c in rtl] == [c.untimed() for c in golden]
    assert not session.transport.host_memory.violation and not session.transport.device_memory.violation
    return rtl


def still_works(session):
    """Later commands are unharmed: a split and a scatter as if nothing had been."""
    session._split(1)
    session._compare_everything()


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"opcode": 77}, [Status.UNKNOWN_OPCODE]),
        ({"flags": 1, "after": 12345}, [Status.NO_SUCH_SPLIT] * 2),
        ({"opcode": Opcode.SWAP}, [Status.UNSUPPORTED]),
        ({"source": 0x1004}, [Status.MISALIGNED_ADDRESS] * 2),
        ({"working_rows": 0x8000_0020}, [Status.MISALIGNED_ADDRESS] * 2),
        ({"samples": 0}, [Status.BAD_COUNT] * 2),
        ({"samples": (1 << 20) + 1}, [Status.BAD_COUNT] * 2),
        ({"working_limit": 3}, [Status.OK, Status.WORKING_SET_OVERFLOW]),
        ({"working_limit": 0}, [Status.OK, Status.WORKING_SET_OVERFLOW]),
    ],
)
def test_bad_splits(session, change, expected):
    command = replace(session.job.split(0), **change)
    if "working_limit" not in change:
        assert [c.status for c in both(session, command)] == expected
    else:
        # The buffers of a failed command hold anything: compare the completions alone.
        session.transport.device_memory.allow(set(session.job.device.buffers))
        rtl = session.driver.execute(command, checked=False)
        golden = session.golden.execute(command)
        assert [c.untimed() for c in rtl] == [c.untimed() for c in golden]
        assert [c.status for c in rtl] == expected
        session.golden.device.data[:] = session.transport.device.data
    still_works(session)


@pytest.mark.parametrize("opcode", [Opcode.LEARN, Opcode.SPLIT])
@pytest.mark.parametrize("sample, access", [(0, 0), (20, 25), (36, 3)])
def test_a_row_outside_its_table_ends_the_command(session, opcode, sample, access):
    job = session.job
    command = job.learn(0) if opcode is Opcode.LEARN else job.split(0)
    offset = command.source + 4 * (sample * job.model.sample_words + job.model.payload_words + access)
    rows = job.model.tables[job.model.table_of[access]].rows
    originals = []
    for image in (session.transport.host, session.golden.host):
        originals.append(int(image.words(offset, 1)[0]))
        image.words(offset, 1)[0] = rows
    rtl = session.driver.execute(command, checked=False)
    golden = session.golden.execute(command)
    assert [c.untimed() for c in rtl] == [c.untimed() for c in golden]
    assert rtl[0].status == Status.ROW_OUTSIDE_TABLE and (rtl[0].index, rtl[0].access) == (sample, access)
    for image, value in zip((session.transport.host, session.golden.host), originals, strict=True):
        image.words(offset, 1)[0] = value
    session._both(job.hot_list(Opcode.DUMP))
    session._compare_buffer(session.transport.host, session.golden.host, "hot list", "after the refusal")
    still_works(session)


def test_a_bad_hot_list_changes_nothing(session):
    buffer = session.job.host.buffers["hot list"]
    for image in (session.transport.host, session.golden.host):
        image.words(buffer.address + 8 * 100, 2)[:] = (1, 2)
    (completion,) = both(session, session.job.hot_list(Opcode.LOAD))
    assert completion.status == Status.BAD_HOT_LIST
    both(session, session.job.hot_list(Opcode.DUMP))
    session._compare_buffer(session.transport.host, session.golden.host, "hot list", "after the refusal")
    still_works(session)


def test_a_scatter_of_a_key_that_names_no_row(session):
    _, done = both(session, session.job.split(0))
    keys = session.job.device.buffers["working keys"].address
    for image in (session.transport.device, session.golden.device):
        image.words(keys + 8 * 5, 2)[:] = (2, 1 << 29)
    (completion,) = both(session, session.job.scatter(done.working_rows))
    assert (completion.status, completion.index) == (Status.ROW_OUTSIDE_TABLE, 5)
    both(session, session.job.split(0))


def test_without_a_model_nothing_is_read():
    job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=40")
    with CosimTransport(job.config, job.host, job.device) as transport:
        session = Session(job, transport)
        assert [c.status for c in session.driver.execute(job.learn(0), checked=False)] == [Status.NO_MODEL]
        assert transport.host_memory.statistics()["read_beats"] <= 64 // job.config.bus_bytes


TIMEOUT_CYCLES = 3000


@pytest.mark.parametrize("response", [2, 3, HELD], ids=["SLVERR", "DECERR", "no answer"])
@pytest.mark.parametrize(
    "what",
    [
        "samples",
        "rows",
        "popular",
        "non-popular",
        "working keys",
        "working rows",
        "scatter keys",
        "scatter rows",
        "table",
        "gather keys",
        "gather rows",
        "gather writes",
        "load",
        "dump",
    ],
)
def test_an_error_or_no_answer_ends_the_command_with_its_address(session, what, response):
    job, transport, driver = session.job, session.transport, session.driver
    driver.write("timeout", TIMEOUT_CYCLES)
    _, done = both(session, job.split(0))
    split = session.golden.last_split
    row_address = job.model.row_address(*split.working_keys[3].tolist())
    device, bus = {name: buffer.address for name, buffer in job.device.buffers.items()}, job.config.bus_bytes
    hot_list = job.host.buffers["hot list"].address
    host_memory, device_memory = transport.host_memory, transport.device_memory
    scatter = job.scatter(done.working_rows)
    gather = replace(scatter, opcode=Opcode.GATHER)
    place, memory, on_write, command = {
        "samples": (job.source(0) + 16 * bus, host_memory, False, job.split(0)),
        "rows": (row_address, host_memory, False, job.split(0)),
        "popular": (device["popular"], device_memory, True, job.split(0)),
        "non-popular": (device["non-popular"], device_memory, True, job.split(0)),
        "working keys": (device["working keys"], device_memory, True, job.split(0)),
        "working rows": (device["working rows"], device_memory, True, job.split(0)),
        "scatter keys": (device["working keys"], device_memory, False, scatter),
        "scatter rows": (device["working rows"], device_memory, False, scatter),
        "table": (row_address, host_memory, True, scatter),
        "gather keys": (device["working keys"], device_memory, False, gather),
        "gather rows": (row_address, host_memory, False, gather),
        "gather writes": (device["working rows"], device_memory, True, gather),
        "load": (hot_list, host_memory, False, job.hot_list(Opcode.LOAD)),
        "dump": (hot_list, host_memory, True, job.hot_list(Opcode.DUMP)),
    }[what]
    assert len(split.popular), "this test needs popular samples"
    faults = [Fault(place, 4, on_read=not on_write, on_write=on_write, response=response)]
    memory.inject(faults)
    completions = driver.execute(command, checked=False)
    expected = Status.TIMEOUT if response == HELD else Status.WRITE_ERROR if on_write else Status.READ_ERROR
    assert completions[-1].status == expected
    if command.opcode == Opcode.SPLIT:
        early = what in ("samples", "popular")
        assert completions[0].status == (expected if early else Status.OK)
    assert abs(completions[-1].address - place) < max(16 * bus, job.model.row_bytes)
    if what in ("rows", "gather rows"):
        assert completions[-1].index == 3
    memory.inject([])  # an answer that was held back comes now, when nobody waits for it
    message = "did not answer" if response == HELD else "answered a"
    with pytest.raises(CommandError, match=f"{expected.name}: memory {message}"):
        memory.inject(faults)
        driver.execute(command)
    memory.inject([])
    transport.run_cycles(2000)
    assert host_memory.idle and device_memory.idle
    # The accelerator is unharmed: the same commands work, and the tracker is as it was, unless half a LOAD emptied it.
    session.golden.host.data[:] = transport.host.data
    session.golden.device.data[:] = transport.device.data
    session.golden.sequence = driver.completed
    if what == "load":
        session.golden.tracker.load(session.golden.host.words(hot_list, 2 * session.golden.tracker.slots))
        assert [c.status for c in driver.execute(command)] == [Status.OK]
        session.golden.sequence += 1
    session._both(job.hot_list(Opcode.DUMP))
    session._compare_buffer(transport.host, session.golden.host, "hot list", "after a fault")
    still_works(session)


@pytest.mark.parametrize("timing", [IDEAL, HOSTILE], ids=["ideal", "hostile"])
def test_an_error_in_records_that_are_decoded_ahead_is_their_own_commands(timing):
    """All commands wait in the ring: SPLITs, and two whose first or last records cannot be read."""
    job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=160", batch_size=20, output_sets=8)
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        lockstep = Lockstep(job, transport)
        lockstep.submit(job.learn(0))
        lockstep.collect()
        record_bytes = 4 * job.model.sample_words
        places = {2: job.source(2), 5: job.source(6) - record_bytes}
        transport.host_memory.inject([Fault(place, 4, response=2) for place in places.values()])
        expected, failed = {}, {}
        for batch in range(1, 8):
            if batch in places:
                lockstep.tag += 1
                lockstep.driver.submit(replace(job.split(batch, into=batch), tag=lockstep.tag))
                failed[lockstep.tag] = places[batch]
            else:
                lockstep.submit(job.split(batch, into=batch))
        for completion in lockstep.expected:
            expected.setdefault(completion.tag, []).append(completion)
        for _ in range(len(lockstep.expected) + 2 * len(failed)):
            mine = lockstep.driver.next_completion()
            if mine.tag in failed:
                assert mine.status == Status.READ_ERROR
                assert abs(mine.address - failed[mine.tag]) < 16 * job.config.bus_bytes
            else:
                assert mine.untimed() | {"sequence": 0} == expected[mine.tag].pop(0).untimed() | {"sequence": 0}
        assert not any(expected.values())
        for name in (name for batch in (1, 3, 4, 6, 7) for name in output_buffers(batch)):
            buffer = transport.device.buffers[name]
            ours, theirs = (
                image.words(buffer.address, buffer.size // 4) for image in (transport.device, lockstep.golden.device)
            )
            assert (ours == theirs).all(), name


def test_a_command_that_cannot_be_read_ends_like_any_other(session):
    driver, memory = session.driver, session.transport.host_memory
    driver.write("timeout", TIMEOUT_CYCLES)
    entry = driver.command_ring.address + driver.submitted % 16 * 64
    for response, status in ((2, Status.READ_ERROR), (HELD, Status.TIMEOUT)):
        memory.inject([Fault(entry, 64, response=response, on_write=False)])
        (completion,) = driver.execute(session.job.learn(0), checked=False)
        assert (completion.status, completion.opcode, completion.tag, completion.address) == (status, 0, 0, entry)
        memory.inject([])
        entry += 64
    session.golden.sequence = driver.completed
    still_works(session)


def test_a_table_without_a_descriptor(session):
    driver, job = session.driver, session.job
    driver.write("model_reset", 1)
    completions = driver.execute(job.split(0), checked=False)
    assert [(c.status, c.index, c.access) for c in completions] == [(Status.ROW_OUTSIDE_TABLE, 0, 0)] * 2
    driver.load_model(job.model)
    session.golden.sequence = driver.completed
    still_works(session)


def test_a_full_completion_ring_holds_up_and_loses_nothing(session):
    """The host takes no completion until more commands than the ring has places have ended."""
    driver, job = session.driver, session.job
    first = driver.completed
    for n in range(28):
        while driver.submitted - driver.read("command_head") >= 16:
            driver.next_completion()
        driver.submit(replace(job.learn(n % job.batches), tag=500 + n))
        session.transport.run_cycles(3000)
    assert driver.read("completion_tail") - driver.completed <= 16
    while driver.completed - first < 28:
        last = driver.next_completion()
    assert last.tag == 527


def test_a_full_command_ring_is_refused_by_the_driver(session):
    driver, job = session.driver, session.job
    driver.write("control", 0)
    for _ in range(16):
        driver.submit(job.learn(0))
    with pytest.raises(DriverError, match="the command ring is full: 16 commands wait"):
        driver.submit(job.learn(0))


@pytest.mark.parametrize("seed", range(6))
def test_a_soft_reset_at_any_time_leaves_axi_legal_and_the_accelerator_usable(session, seed):
    job, transport, driver = session.job, session.transport, session.driver
    _, done = both(session, job.split(0))
    for memory in (transport.host_memory, transport.device_memory):
        memory.allow(set(memory.image.buffers))
    r = random.Random(seed)
    for n in range(12):
        commands = [
            job.split(1),
            job.scatter(done.working_rows),
            job.learn(1),
            job.hot_list(Opcode.DUMP),
            replace(job.scatter(done.working_rows), opcode=Opcode.GATHER),
        ]
        driver.submit(r.choice(commands))
        driver.submit(r.choice(commands))
        transport.run_cycles(r.choice([20, 200, 1000, 3000]) + r.randrange(200))
        if n % 4 == 3:
            # Nor does it matter that answers are missing: they are given up first.
            driver.write("timeout", TIMEOUT_CYCLES)
            samples = job.host.buffers["samples"]
            transport.host_memory.inject([Fault(samples.address, samples.size, on_write=False, response=HELD)])
        driver.reset()
        transport.host_memory.inject([])
        transport.run_cycles(1000)
        assert transport.host_memory.idle and transport.device_memory.idle
        assert not transport.host_memory.violation and not transport.device_memory.violation
    fresh = Session.__new__(Session)
    fresh.__dict__.update(session.__dict__)
    fresh_golden(fresh)
    fresh._both(Command(Opcode.CLEAR))
    fresh._both(job.learn(0))
    still_works(fresh)


def test_the_popular_completion_does_not_wait_for_gathered_rows():
    """The same mini-batch, rows of the tables 10 and 2,000 cycles away."""
    cycles = {}
    for extra in (0, 1990):
        job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=600", batch_size=200)
        timing = MemoryTiming((10, 10), (10, 10))
        with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
            session = learn(Session(job, transport))
            transport.host_memory.slow_down({f"table {n}": extra for n in range(len(job.model.tables))})
            transport.device_memory.allow(set(job.device.buffers))
            popular, whole = session.driver.execute(job.split(1))
            assert popular.popular > 0 and whole.working_rows > 100
            cycles[extra] = popular.cycles, whole.cycles
    assert abs(cycles[0][0] / cycles[1990][0] - 1) < 0.02
    assert cycles[1990][1] > cycles[0][1] + 1900


def test_the_driver_refuses_what_it_can_see(session):
    job, driver = session.job, session.driver
    good = job.split(0)
    for change, message in [
        ({"popular": good.popular + 4}, "popular at 0x80000004 must be a multiple of 64"),
        ({"samples": 0}, "1 to 1048576 samples"),
        ({"samples": 100_000}, "is in no buffer"),
        ({"working_limit": 4096}, "working_limit must be 1 to 2048"),
    ]:
        before = driver.submitted
        with pytest.raises(ValueError, match=message):
            driver.execute(replace(good, **change))
        assert driver.submitted == before, "nothing was rung"


def test_a_driver_for_another_configuration_is_refused(session):
    with pytest.raises(DriverError, match="another configuration: tracker_sets 0x40, not 0x80"):
        Driver(session.transport, tiny([*MAIN_FROZEN, "tracker_sets=128"]), session.rings)


def test_commands_wait_in_the_ring_and_end_in_order(session):
    """More commands than the ring holds, submitted as long as there is room."""
    job, driver = session.job, session.driver
    session._allow({"completion ring"}, set(job.device.buffers))
    submitted = 0
    tags = []
    while len(tags) < 24:
        if submitted < 24 and driver.submitted - driver.completed < 12:
            driver.submit(replace(job.learn(submitted % job.batches), tag=1000 + submitted))
            submitted += 1
        else:
            tags.append(driver.next_completion().tag)
    assert tags == [1000 + n for n in range(24)]
