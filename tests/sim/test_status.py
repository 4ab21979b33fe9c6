"""Bad input and faulty memory: every status, from the RTL, against golden where golden can say."""

import pytest

from hotline_golden.layouts import Command, Opcode, Status
from hotline_sim.cosim import CosimTransport
from hotline_sim.driver import CommandError, Driver, DriverError
from hotline_sim.memory_model import Fault
from hotline_sim.session import Session

from .conftest import HOSTILE, IDEAL, small_job, tiny


@pytest.fixture(params=[IDEAL, HOSTILE], ids=["ideal", "hostile"])
def session(request):
    job = small_job(tiny(), "synthetic:samples=80")
    timing = request.param
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        session = Session(job, transport)
        session._learn()
        yield session


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


def changed(command: Command, **changes) -> Command:
    return Command(**(command.__dict__ | changes))


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
    command = changed(session.job.split(0), **change)
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
    job = small_job(tiny(), "synthetic:samples=40")
    with CosimTransport(job.config, job.host, job.device) as transport:
        session = Session(job, transport)
        assert [c.status for c in session.driver.execute(job.learn(0), checked=False)] == [Status.NO_MODEL]
        assert transport.host_memory.statistics()["read_beats"] <= 64 // job.config.bus_bytes


@pytest.mark.parametrize("response", [2, 3])
@pytest.mark.parametrize(
    "what",
    ["samples", "rows", "popular", "non-popular", "working keys", "working rows", "scatter rows", "table"],
)
def test_an_error_response_ends_the_command_with_its_address(session, what, response):
    job, transport = session.job, session.transport
    _, done = both(session, job.split(0))
    split = session.golden.last_split
    row = int(split.working_keys[3, 1])
    row_address = job.model.row_address(int(split.working_keys[3, 0]), row)
    device = job.device.buffers
    bus = job.config.bus_bytes

    def base(name):
        return device[name].address

    place, memory, on_write = {
        "samples": (job.source(0) + 16 * bus, transport.host_memory, False),
        "rows": (row_address, transport.host_memory, False),
        "popular": (base("popular"), transport.device_memory, True),
        "non-popular": (base("non-popular"), transport.device_memory, True),
        "working keys": (base("working keys"), transport.device_memory, True),
        "working rows": (base("working rows"), transport.device_memory, True),
        "scatter rows": (base("working rows"), transport.device_memory, False),
        "table": (row_address, transport.host_memory, True),
    }[what]
    memory.inject([Fault(place, 4, on_read=not on_write, on_write=on_write, response=response)])
    is_scatter = what in ("scatter rows", "table")
    command = job.scatter(done.working_rows) if is_scatter else job.split(0)
    completions = session.driver.execute(command, checked=False)
    expected = Status.WRITE_ERROR if on_write else Status.READ_ERROR
    if what == "popular" and not len(split.popular):
        pytest.fail("this test needs popular samples")
    assert completions[-1].status == expected
    if not is_scatter:
        early = what in ("samples", "popular")
        assert completions[0].status == (expected if early else Status.OK)
    assert abs(completions[-1].address - place) < max(16 * bus, job.model.row_bytes)
    memory.inject([])
    with pytest.raises(CommandError, match=f"{expected.name}: memory answered a"):
        memory.inject([Fault(place, 4, on_read=not on_write, on_write=on_write, response=response)])
        session.driver.execute(command)
    memory.inject([])
    # The accelerator is unharmed: the same commands work, and the tracker is as it was.
    session.golden.host.data[:] = transport.host.data
    session.golden.device.data[:] = transport.device.data
    session.golden.sequence = session.driver.completed
    session._both(job.hot_list(Opcode.DUMP))
    session._compare_buffer(transport.host, session.golden.host, "hot list", "after a fault")
    still_works(session)


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
            driver.execute(changed(good, **change))
        assert driver.submitted == before, "nothing was rung"


def test_a_driver_for_another_configuration_is_refused(session):
    rings = (session.job.host.buffers["command ring"], session.job.host.buffers["completion ring"])
    with pytest.raises(DriverError, match="another configuration: tracker_sets 0x40, not 0x80"):
        Driver(session.transport, tiny("tracker_sets=128"), rings)


def test_commands_wait_in_the_ring_and_end_in_order(session):
    """More commands than the ring holds, submitted as long as there is room."""
    job, driver = session.job, session.driver
    session._allow({"completion ring"}, set(job.device.buffers))
    submitted = 0
    tags = []
    while len(tags) < 24:
        if submitted < 24 and driver.submitted - driver.completed < 12:
            driver.submit(changed(job.learn(submitted % job.batches), tag=1000 + submitted))
            submitted += 1
        else:
            tags.append(driver.next_completion().tag)
    assert tags == [1000 + n for n in range(24)]
