"""What a mistaken or hostile host does: refused by a status, an error bit or the driver, never done by half."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.layouts import ADDRESS_WORDS, Command, Kind, ModelError, Opcode, RingError, Status
from hotline_golden.memory import Buffer
from hotline_golden.model import Model
from hotline_rtl.emit.verilog import accelerator_verilog
from hotline_rtl.working_set.working_set import WorkingSet
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.engine.memory_model import HELD, Fault, MemoryTiming
from hotline_sim.host.driver import Driver
from hotline_sim.host.errors import DriverError
from hotline_sim.host.limits import RING_ENTRIES
from hotline_sim.run.job import rings

from ..configurations import MAIN_FROZEN, tiny
from .conftest import IDEAL, fresh_golden, small_job

SPACE = 1 << tiny(MAIN_FROZEN).address_bits


@contextmanager
def accelerator(host: MemoryTiming = IDEAL, device: MemoryTiming = IDEAL, **options):
    """Yields job, transport and driver: the model is loaded, and all buffers may be written."""
    job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=80")
    with CosimTransport(
        job.config, job.host, job.device, host_timing=host, device_timing=device, **options
    ) as transport:
        allow_all(transport)
        driver = Driver(transport, job.config, rings(transport.host))
        driver.load_model(job.model)
        yield job, transport, driver


def allow_all(transport) -> None:
    for memory in (transport.host_memory, transport.device_memory):
        memory.allow(set(memory.image.buffers))


def works_after_a_reset(session) -> None:
    """As if nothing had been: the driver resets, and a mini-batch is learnt from and split as golden does."""
    session.driver.reset()
    fresh_golden(session)
    session._allow({"completion ring"}, set())
    session._both(session.job.learn(0))
    session._split(1)
    session._compare_everything()


@pytest.mark.parametrize("name", ADDRESS_WORDS)
@pytest.mark.parametrize("bit", [40, 44, 63])
def test_an_address_with_a_bit_too_high_is_refused_and_nothing_is_written(session, name, bit):
    command = session.job.split(0)
    command = replace(command, **{name: getattr(command, name) | 1 << bit})
    session._allow({"completion ring"}, set())
    before = session.transport.device.data.copy()
    rtl = session.driver.execute(command, checked=False)
    golden = session.golden.execute(command)
    assert [c.untimed() for c in rtl] == [c.untimed() for c in golden]
    assert {(c.status, c.index, c.address) for c in rtl} == {
        (Status.ADDRESS_OUT_OF_RANGE, ADDRESS_WORDS[name], getattr(command, name))
    }
    assert np.array_equal(session.transport.device.data, before)
    assert not session.transport.host_memory.violation and not session.transport.device_memory.violation
    session._split(1)
    session._compare_everything()


@pytest.mark.parametrize("response", [2, HELD], ids=["SLVERR", "no answer"])
def test_a_completion_that_cannot_be_written_is_an_exception_and_an_interrupt(session, response):
    driver, transport = session.driver, session.transport
    driver.write("timeout", 3000)
    entry = driver.completion_ring.address + driver.completed % RING_ENTRIES * 64
    transport.host_memory.inject([Fault(entry, 64, on_read=False, response=response)])
    driver.write("control", 0b101)  # the interrupt of errors alone
    driver.submit(session.job.learn(0))
    assert transport.wait_interrupt(1_000_000)
    assert driver.read("irq_status") == 2 and driver.read("status") & 4
    assert driver.read("ring_error") == RingError.COMPLETION_WRITE
    assert driver.read("completion_tail") == driver.completed
    with pytest.raises(DriverError, match="memory refused, or did not answer, the write of a completion"):
        driver.next_completion()
    driver.submit(session.job.learn(0))
    with pytest.raises(DriverError, match="the rings have stopped"):
        driver.next_completion()
    transport.host_memory.inject([])
    transport.run_cycles(4000)
    works_after_a_reset(session)
    assert driver.read("ring_error") == 0 and not driver.read("status") & 4


def test_an_entry_that_is_not_the_next_completion_is_an_exception(session):
    """As when the write that the accelerator saw acknowledged has not arrived: what lies there is an older one."""
    driver = session.driver
    driver.submit(session.job.learn(0))
    session.transport.run_cycles(60_000)
    entry = driver.completion_ring.address + driver.completed % RING_ENTRIES * 64
    session.transport.host.words(entry, 16)[:] = 0
    with pytest.raises(DriverError, match=f"holds number 0, not {driver.completed + 1}"):
        driver.next_completion()


@pytest.mark.parametrize("ahead", [RING_ENTRIES + 1, 40, -1])
def test_a_doorbell_further_ahead_than_the_ring_is_long_runs_nothing(session, ahead):
    driver = session.driver
    before = driver.read("command_head")
    driver.write("command_tail", (before + ahead) % (1 << 32))
    assert session.transport.wait_interrupt(10_000)
    assert driver.read("ring_error") == RingError.DOORBELL and driver.read("command_head") == before
    with pytest.raises(DriverError, match="command_tail was further ahead"):
        driver.next_completion()
    works_after_a_reset(session)


@pytest.mark.parametrize("ring", ["command", "completion"])
@pytest.mark.parametrize("low, high", [(0x1010, 0), (0x1000, 1 << 8), (0xFFFF_FFC0, 0xFF)])
def test_a_ring_outside_the_address_space_stops_before_the_first_command(session, ring, low, high):
    driver, memory = session.driver, session.transport.host_memory
    driver.reset()
    beats = memory.statistics()["read_beats"]
    driver.write(f"{ring}_base_lo", low)
    driver.write(f"{ring}_base_hi", high)
    driver.submit(Command(Opcode.CLEAR))
    with pytest.raises(DriverError, match=f"the {ring} ring does not begin"):
        driver.next_completion()
    assert memory.statistics()["read_beats"] == beats
    works_after_a_reset(session)


def test_a_host_that_frees_completions_that_never_were(session):
    driver = session.driver
    driver.write("completion_head", driver.completed + 3)
    driver.submit(Command(Opcode.CLEAR))
    with pytest.raises(DriverError, match="completion_head was not within"):
        driver.next_completion()
    works_after_a_reset(session)


def load(driver, model: Model, change: dict, number: int = 0) -> None:
    """Loads ``model`` as the driver would, but unchecked, and with one field of a table, or of a commit, changed."""
    driver.write("model_reset", 1)
    for name in ("payload_words", "accesses", "row_bytes"):
        driver.write(name, getattr(model, name))
    for n, table in enumerate(model.tables):
        fields = {"base_lo": table.base & 0xFFFF_FFFF, "base_hi": table.base >> 32, "rows": table.rows,
                  "stride": table.stride, "first_slot": table.first_slot, "flags": int(table.resident),
                  "commit": n}  # fmt: skip
        for name, value in (fields | (change if n == number else {})).items():
            driver.write(f"table_{name}", value)
    for access, table in enumerate(model.table_of):
        driver.write("access_commit", access | table << 16)


@pytest.mark.parametrize(
    "change, error",
    [
        ({"rows": (1 << 26) + 10}, ModelError.TABLE_ROWS),  # row 2^26 + 5 would be taken for row 5
        ({"rows": (1 << 32) - 1}, ModelError.TABLE_ROWS),
        ({"rows": 0}, ModelError.TABLE_ROWS),
        ({"base_lo": 0x1002}, ModelError.TABLE_BASE),
        ({"base_hi": 1 << 12}, ModelError.TABLE_BASE),
        ({"stride": 0}, ModelError.TABLE_STRIDE),
        ({"stride": 60}, ModelError.TABLE_STRIDE),
        ({"stride": 65}, ModelError.TABLE_STRIDE),
        ({"stride": 1 << 20}, ModelError.TABLE_STRIDE),
        ({"base_lo": 0xFFFF_FFFC, "base_hi": 0xFF}, ModelError.TABLE_END),
        ({"flags": 1, "first_slot": (1 << 31) - 1, "rows": 2}, ModelError.FIRST_SLOT),
        ({"commit": 32}, ModelError.TABLE_NUMBER),
    ],
)
def test_a_table_that_cannot_be_is_refused_by_name_and_no_command_uses_it(session, change, error):
    driver, job = session.driver, session.job
    load(driver, job.model, change, number=3)
    assert driver.read("model_error") & 0xFFFF == error
    assert driver.read("model_error") >> 16 == change.get("commit", 3)
    assert driver.read("status") & 16 and driver.read("irq_status") & 2
    session._allow({"completion ring"}, set())
    assert [c.status for c in driver.execute(job.split(0), checked=False)] == [Status.NO_MODEL] * 2
    driver.load_model(job.model)
    assert driver.read("model_error") == 0 and not driver.read("status") & 16
    session.golden.sequence = driver.completed
    session._split(1)
    session._compare_everything()


@pytest.mark.parametrize("commit, error", [(40, ModelError.ACCESS_NUMBER), (32 << 16, ModelError.TABLE_NUMBER)])
def test_an_access_that_cannot_be_is_refused(session, commit, error):
    driver = session.driver
    driver.write("access_commit", commit)
    assert driver.read("model_error") == error | (40 if error == ModelError.ACCESS_NUMBER else 32) << 16


def test_sizes_are_written_before_tables(session):
    driver = session.driver
    driver.write("row_bytes", 32)
    assert driver.read("model_error") == ModelError.SIZES
    assert [c.status for c in driver.execute(session.job.learn(0), checked=False)] == [Status.NO_MODEL]


@pytest.mark.parametrize(
    "register", ["payload_words", "row_bytes", "table_rows", "table_commit", "access_commit", "model_reset"]
)
def test_a_model_register_written_while_a_command_runs_changes_nothing_of_it(session, register):
    """The running command gives golden's bytes; those that come after it are refused until the model is loaded again."""
    driver, job, transport = session.driver, session.job, session.transport
    driver.check(job.split(0))
    session._allow({"completion ring"}, {b for b in job.device.buffers})
    before = driver.read(register)
    driver.submit(replace(job.split(0), tag=77))
    for _ in range(300):
        if driver.read("command_head") == driver.read("command_tail"):
            break
        transport.run_cycles(10)
    else:
        raise AssertionError("the command has not been fetched")
    transport.run_cycles(60)  # now it has begun
    assert driver.read("status") & 1
    driver.write(register, 1)
    assert driver.read(register) == before and driver.read("model_error") & 0xFFFF == ModelError.BUSY
    done = [driver.next_completion(), driver.next_completion()]
    expected = session.golden.execute(replace(job.split(0), tag=77))
    assert [c.untimed() for c in done] == [c.untimed() for c in expected] and done[1].status == Status.OK
    session._compare_everything()
    assert [c.status for c in driver.execute(job.learn(0), checked=False)] == [Status.NO_MODEL]
    driver.load_model(job.model)
    session.golden.sequence = driver.completed
    session._split(1)
    session._compare_everything()


def test_the_driver_says_that_the_model_was_refused(session):
    driver, job = session.driver, session.job
    session._allow({"completion ring"}, {b for b in job.device.buffers})
    driver.submit(job.split(0))
    session.transport.run_cycles(200)
    with pytest.raises(
        DriverError, match="the accelerator refused the model: .*BUSY.*only while no command is under way"
    ):
        driver.load_model(job.model)


def test_the_driver_refuses_buffers_beyond_the_address_width(session):
    job, driver = session.job, session.driver
    image = job.device
    image.buffers["far"] = Buffer("far", SPACE - 64, 1 << 20)
    with pytest.raises(ValueError, match="SPLIT: popular, .* does not lie within address_bits=40"):
        driver.check(replace(job.split(0), popular=SPACE - 64))


@pytest.mark.parametrize(
    "field, other",
    [("non_popular", "popular"), ("working_keys", "popular"), ("working_rows", "non_popular")],
)
def test_the_driver_refuses_buffers_that_overlap(session, field, other):
    command, image = session.job.split(0), session.job.device
    image.buffers["everything"] = Buffer("everything", image.base, len(image.data))
    with pytest.raises(ValueError, match=f"SPLIT: .* overlaps .*{field}|SPLIT: {field}, .* overlaps .*{other}"):
        session.driver.check(replace(command, **{field: getattr(command, other) + 64}))


def test_the_driver_refuses_to_write_over_rings_and_tables(session):
    job, driver = session.job, session.driver
    table = job.host.buffers["table 0"]
    for name, place in (("the command ring", driver.command_ring.address), ("table 0", -(-table.address // 64) * 64)):
        image = job.host
        image.buffers["everything"] = Buffer("everything", image.base, len(image.data))
        with pytest.raises(ValueError, match=f"DUMP: source, .* overlaps {name}"):
            driver.check(replace(job.hot_list(Opcode.DUMP), source=place))


def test_the_driver_refuses_slots_that_two_tables_share(session):
    model = session.job.model
    resident = [n for n, table in enumerate(model.tables) if table.resident]
    for first_slot, other in ((0, "the tracker"), (model.tables[resident[0]].first_slot, f"table {resident[0]}")):
        tables = list(model.tables)
        tables[resident[1]] = replace(tables[resident[1]], first_slot=first_slot)
        with pytest.raises(ValueError, match="are also those of") as refusal:
            session.driver.load_model(Model(tuple(tables), model.table_of, model.payload_words, model.row_bytes))
        assert other in str(refusal.value) and f"table {resident[1]}" in str(refusal.value)


def test_a_second_driver_finds_the_rings_running(session):
    """Nothing of the contract depends on a reset before: counts are taken from the registers that the driver sets."""
    session.driver.reset()
    second = Driver(session.transport, session.job.config, session.rings)
    second.load_model(session.job.model)
    (done,) = second.execute(session.job.learn(0))
    assert done.kind == Kind.WHOLE and done.status == Status.OK


#: Channels of the two memories that never move; what is submitted; which statuses it ends with.
STUCK = {
    "device data": ("device", 3, "split", [Status.TIMEOUT] * 2),
    "device addresses of writes": ("device", 2, "split", [Status.TIMEOUT] * 2),
    "device addresses of reads": ("device", 0, "scatter", [Status.TIMEOUT]),
}


@pytest.mark.parametrize("case", STUCK)
def test_a_port_that_takes_nothing_ends_the_command_and_stops_the_rings(case):
    """The port has nothing unanswered, so its own watchdog has nothing to give up."""
    side, channel, what, expected = STUCK[case]
    stall = tuple(float(n == channel) for n in range(5))
    timings = {side: MemoryTiming((1, 1), (0, 0), stall=stall)}
    with accelerator(**timings) as (job, transport, driver):
        driver.write("timeout", 3000)
        (learnt,) = driver.execute(job.learn(0))
        assert learnt.status == Status.OK
        began = transport.cycles
        done = driver.execute(job.split(0) if what == "split" else job.scatter(20), checked=False)
        assert [c.status for c in done] == expected
        assert transport.cycles - began < 4 * 3000  # its port gives up first what it could, and that is progress
        with pytest.raises(DriverError, match="no command made progress for twice the cycles"):
            driver.execute(job.learn(0))
        assert driver.read("ring_error") == RingError.WATCHDOG


def test_a_completion_that_is_never_taken_is_told_by_the_error_interrupt():
    """The host port takes no write at all: no completion can come, but the register and the interrupt do."""
    timing = MemoryTiming((1, 1), (0, 0), stall=(0, 0, 1, 0, 0))
    with accelerator(host=timing) as (job, transport, driver):
        driver.write("timeout", 3000)
        driver.submit(job.learn(0))
        assert transport.wait_interrupt(50_000) and driver.read("ring_error") == RingError.WATCHDOG
        with pytest.raises(DriverError, match="the rings have stopped"):
            driver.next_completion()


def test_waiting_for_the_host_is_no_lack_of_progress(session):
    """A full completion ring, and a SPLIT whose SCATTER does not come: both wait longer than any timeout."""
    driver, job, transport = session.driver, session.job, session.transport
    session._allow(
        {"completion ring"} | {f"table {n}" for n in range(len(job.model.tables))}, set(job.device.buffers)
    )
    driver.write("timeout", 1000)
    for n in range(RING_ENTRIES):
        driver.submit(replace(job.learn(n % job.batches), tag=n))
        transport.run_cycles(1500)
    driver.submit(replace(job.split(0), tag=100))
    transport.run_cycles(20_000)
    assert driver.read("ring_error") == 0
    for _ in range(RING_ENTRIES):
        assert driver.next_completion().status == Status.OK
    first = [driver.next_completion(), driver.next_completion()]
    assert [c.status for c in first] == [Status.OK] * 2
    driver.submit(replace(job.split(1), tag=101, flags=1, after=100))
    assert driver.next_completion().kind == Kind.POPULAR
    transport.run_cycles(20_000)
    assert driver.read("ring_error") == 0 and driver.read("status") & 1
    driver.submit(replace(job.scatter(first[1].working_rows), tag=102, flags=1, after=100))
    assert [driver.next_completion().status for _ in range(2)] == [Status.OK] * 2


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_reset_of_any_length_at_any_time_leaves_axi_legal(session, length):
    """The memories check that what is valid stays so until it is taken; the co-simulation, that no valid outlives a reset."""
    job, transport, driver = session.job, session.transport, session.driver
    r = np.random.default_rng(length)
    for _ in range(12):
        allow_all(transport)
        driver.submit(job.split(0))
        driver.submit(job.scatter(20))
        transport.run_cycles(int(r.integers(20, 3000)))
        if r.random() < 0.5:
            # A register access is under way, too: its answer is there, and not taken.
            transport.leave_access(0x020)
        transport.reset(length)
        assert not transport.host_memory.violation and not transport.device_memory.violation
        driver = Driver(transport, job.config, (driver.command_ring, driver.completion_ring))
        driver.load_model(job.model)
        assert [c.status for c in driver.execute(job.learn(1))] == [Status.OK]
        assert not transport.host_memory.violation and not transport.device_memory.violation


class SilentWorkingSet(WorkingSet):
    """Its keys never come: what waits for them hangs inside, with both memories idle."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.keys.valid.eq(0)
        return m


@pytest.mark.slow
def test_a_hang_inside_ends_the_command_and_stops_the_rings(monkeypatch):
    """Slow for its accelerator of its own."""
    monkeypatch.setattr("hotline_rtl.accelerator.WorkingSet", SilentWorkingSet)
    verilog = accelerator_verilog.__wrapped__(tiny(MAIN_FROZEN))
    with accelerator(verilog=verilog) as (job, transport, driver):
        driver.write("timeout", 5000)
        assert driver.execute(job.learn(0))[0].status == Status.OK
        began = transport.cycles
        driver.submit(job.split(0))
        driver.submit(job.split(1))
        done = [driver.next_completion() for _ in range(4)]
        assert [c.status for c in done] == [Status.OK, Status.TIMEOUT, Status.TIMEOUT, Status.TIMEOUT]
        assert transport.cycles - began < 4 * 5000 and driver.read("ring_error") == RingError.WATCHDOG
        with pytest.raises(DriverError, match="no command made progress"):
            driver.next_completion()
        driver.reset()
        assert driver.execute(job.learn(0))[0].status == Status.OK
