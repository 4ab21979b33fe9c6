"""The whole accelerator in the co-simulation, byte for byte against golden."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.layouts import Command, Flag, Kind, Opcode
from hotline_golden.memory import MemoryImage
from hotline_rtl.config import FROZEN
from hotline_rtl.emit.verilog import accelerator_verilog
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.engine.emission import emitted_verilog
from hotline_sim.host.driver import Driver
from hotline_sim.run.job import output_buffers, prepare, rings
from hotline_sim.run.session import Session, first_difference
from hotline_sim.traces import open_trace

from ..configurations import MAIN, MAIN_FROZEN, MANY, WIDE, tiny
from .conftest import HOSTILE, IDEAL, SLOW, learn, run_cosim, small_job

SHAPES = [
    pytest.param("synthetic:samples=150", {}, id="criteo"),
    pytest.param("synthetic:samples=100", {"resident": None}, id="criteo-no-residents"),
    pytest.param(
        "synthetic:taobao,samples=60", {"dim": 25, "padding": 12, "resident": None}, id="multi-hot-odd-rows"
    ),
    pytest.param("synthetic:avazu,samples=120", {"dim": 4, "padding": 4, "batch_size": 1}, id="batches-of-one"),
    pytest.param("synthetic:single-key,samples=100", {"resident": None}, id="single-key"),
    pytest.param("synthetic:all-distinct,samples=100,scale=0.01", {"resident": None}, id="all-distinct"),
]
WIDTHS = {"2-64": tiny(MAIN), "1-128": tiny(MANY), "4-512": tiny(WIDE)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("spec, changes", SHAPES)
def test_rtl_equals_golden_for_any_lanes_and_bus_width(width, spec, changes):
    job = small_job(WIDTHS[width], spec, **changes)
    session = run_cosim(job)
    assert not session.results.difference
    assert session.results.samples == job.trace.samples


def test_the_working_set_is_swept_when_its_epochs_run_out():
    """Every 255 mini-batches; a sweep takes longer than most of them here."""
    job = small_job(tiny(MANY), "synthetic:samples=2080", batch_size=8, resident=None)
    assert job.batches > 255
    session = run_cosim(job)
    assert not session.results.difference and session.results.batches == job.batches


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_memories_change_no_byte(width, seed):
    session = run_cosim(small_job(WIDTHS[width]), HOSTILE.with_seed(seed))
    assert not session.results.difference


def test_neither_timing_nor_lanes_nor_bus_width_change_results():
    outputs = []
    for config, timing in zip(WIDTHS.values(), (IDEAL, SLOW, HOSTILE), strict=True):
        session = run_cosim(small_job(config), timing)
        buffers = session.transport.host.buffers
        hot = session.transport.host.words(buffers["hot list"].address, buffers["hot list"].size // 4).copy()
        outputs.append((hot, session.outputs))
    first_hot, first = outputs[0]
    for hot, other in outputs[1:]:
        assert np.array_equal(hot, first_hot)
        for a, b in zip(first, other, strict=True):
            for name in ("popular", "non_popular", "working_keys", "working_rows"):
                assert np.array_equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.slow
def test_instances_of_repeated_blocks_are_what_the_blocks_are(monkeypatch):
    """As a design of many lanes has them; to the cycle. Slow for its accelerator of its own: by default a bench has instances."""
    config = tiny(MAIN)
    whole = emitted_verilog(config)
    monkeypatch.setattr("hotline_rtl.emit.verilog.MANY_QUEUES", 1)
    instances = accelerator_verilog.__wrapped__(config)
    shared = re.compile(r"^module hotline_tracker_bank ?\(", re.M)
    assert shared.search(instances) and not shared.search(whole)
    sessions = [run_cosim(small_job(config), HOSTILE, verilog=verilog) for verilog in (whole, instances)]
    assert not any(session.results.difference for session in sessions)
    assert sessions[0].results.cycles == sessions[1].results.cycles


def lanes_alone(*widths: int, settings: Sequence[str]) -> list:
    """A configuration for each of ``widths`` lanes, one bank a lane."""
    return [
        tiny([*MAIN, f"lanes={lanes}", "banks_per_lane=1", f"lane_filter={8 if lanes > 4 else 0}", *settings])
        for lanes in widths
    ]


LEARNING = [
    list(WIDTHS.values()),
    pytest.param([tiny(MAIN_FROZEN), *lanes_alone(4, settings=FROZEN)], marks=pytest.mark.slow),
    pytest.param(lanes_alone(1, 8, settings=FROZEN), marks=pytest.mark.slow),
    pytest.param(lanes_alone(1, 4, 8, settings=("policy=srrip", "tracker_arrays=1")), marks=pytest.mark.slow),
    pytest.param(
        lanes_alone(1, 2, 16, settings=(*FROZEN, "tracker_sets=1024", "tracker_ways=2")), marks=pytest.mark.slow
    ),
    pytest.param(lanes_alone(1, 2, 16, settings=("tracker_sets=1024", "tracker_ways=2")), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("configurations", LEARNING, ids=lambda some: "-".join(str(c.lanes) for c in some))
def test_learning_is_the_same_for_any_number_of_lanes_and_any_stalls(configurations):
    """The tracker's contents, DUMPed after several mini-batches of random, skewed samples; or before them, where a hot set is
    learnt first."""
    contents = []
    for n, config in enumerate(configurations):
        job = small_job(config, "synthetic:samples=300,exponent=1.4", resident=None, learn=1.0, batch_size=100)
        session = run_cosim(job, HOSTILE.with_seed(n) if n % 2 else IDEAL)
        assert not session.results.difference
        buffer = session.transport.host.buffers["hot list"]
        contents.append(session.transport.host.words(buffer.address, buffer.size // 4).copy())
    for config, other in zip(configurations[1:], contents[1:], strict=True):
        assert np.array_equal(contents[0], other), f"{config.lanes} lanes"


@pytest.mark.parametrize("settings", [MAIN, MAIN_FROZEN], ids=["following", "frozen"])
def test_a_dumped_hot_list_can_be_loaded_into_another_accelerator(settings):
    job = small_job(tiny(settings))
    with CosimTransport(job.config, job.host, job.device) as transport:
        session = learn(Session(job, transport))
        session._dump()
    fresh = small_job(tiny(settings))
    buffer = job.host.buffers["hot list"]
    hot = job.host.words(buffer.address, buffer.size // 4)
    fresh.host.words(buffer.address, buffer.size // 4)[:] = hot
    with CosimTransport(fresh.config, fresh.host, fresh.device) as transport:
        other = Session(fresh, transport)
        other.driver.load_model(fresh.model)
        other._both(fresh.hot_list(Opcode.LOAD))
        other._allow({"completion ring", "hot list"}, set())
        transport.host.words(buffer.address, buffer.size // 4)[:] = 0
        other._both(fresh.hot_list(Opcode.DUMP))
        assert np.array_equal(transport.host.words(buffer.address, buffer.size // 4), hot)
        other._split(0)


def test_popular_output_is_complete_before_everything_is():
    session = run_cosim(small_job(tiny(MAIN_FROZEN)), SLOW)
    results = session.results
    assert not results.difference
    assert results.popular_cycles < 0.7 * results.split_cycles, "with slow rows, popular is done long before"


@pytest.mark.parametrize("settings", [MAIN, MAIN_FROZEN], ids=["following", "frozen"])
def test_counters_agree_with_what_happened(settings):
    session = run_cosim(small_job(tiny(settings)))
    results, counters = session.results, session.results.counters
    memory = results.memory
    assert counters["gathered_rows"] == results.working_rows
    assert counters["host_read_beats"] == memory["host"]["read_beats"]
    assert counters["device_write_beats"] == memory["device"]["write_beats"]
    assert counters["device_read_beats"] == memory["device"]["read_beats"]
    assert counters["cycles_busy"] <= results.cycles
    assert counters["accesses_seen"] >= results.accesses
    assert (counters["accesses_seen"] > results.accesses) == (settings == MAIN_FROZEN), "LEARN counts too"


def test_first_difference_names_buffer_and_values():
    from hotline_golden.memory import Buffer
    from hotline_sim.run.session import first_difference

    a = MemoryImage(0x100, np.zeros(4096, np.uint8), {"table 0": Buffer("table 0", 0x140, 64)})
    b = MemoryImage(0x100, np.zeros(4096, np.uint8), a.buffers)
    assert first_difference(a, b, "host") == ""
    a.words(0x148, 1)[0] = 7
    assert first_difference(a, b, "host") == ("host memory at table 0 + 0x8: RTL 0x00000007, golden 0x00000000")


@pytest.mark.parametrize(
    "seed, settings",
    [
        (1, MAIN),
        (2, MAIN),
        (3, MAIN_FROZEN),
        (4, MAIN_FROZEN),
        *(pytest.param(n, [*MAIN, "policy=sample_aware"], marks=pytest.mark.slow) for n in (1, 3)),
        (3, WIDE),
        (4, WIDE),
        *(pytest.param(n, [*MAIN, f"link_slices={n}"], marks=pytest.mark.slow) for n in range(2, 6)),
    ],
    ids=lambda value: value if isinstance(value, int) else "-".join(value[1:]) or "main",
)
def test_commands_queued_at_random_act_as_one_after_another(seed, settings):
    """LEARN and SPLIT overlap, all others run alone, some are refused; every byte as golden has it. With a shadow,
    SWAPs come between SPLITs in flight: each sees the hot set before or after, in ring order. Registers between blocks change
    nothing."""
    config = tiny(settings)
    shadow = config.shadow
    random = np.random.default_rng(seed)
    trace = open_trace("synthetic:samples=400,scale=0.001")
    job = prepare(trace, config, batch_size=40, resident=None, output_sets=4)
    bad = job.host.words(job.source(9), 40 * job.model.sample_words).reshape(40, -1)
    bad[17, job.model.payload_words + 2] = 0x7FFF_FFFF  # outside its table
    golden = job.golden()
    timing = [IDEAL, SLOW, HOSTILE][seed % 3].with_seed(seed)
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        buffers = transport.host.buffers
        driver = Driver(transport, job.config, rings(transport.host))
        driver.load_model(job.model)
        driver.write("swap_worth", 4)
        golden.swap_worth = 4
        transport.host_memory.allow(set(buffers) - {"samples", "command ring"})
        transport.device_memory.allow(set(transport.device.buffers))
        commands, rows, spoilt = [Command(Opcode.CLEAR, 0), job.learn(0, 1)], 0, set()
        expected = [c for command in commands for c in golden.execute(command)]
        for tag in range(2, 40):
            batch, into = int(random.integers(10)), int(random.integers(4))
            kinds = {"split": 0.6, "learn": 0.15, "scatter": 0.1, "dump": 0.05, "refused": 0.1}
            if shadow:
                kinds = {"split": 0.45, "learn": 0.25, "scatter": 0.05, "dump": 0.05, "refused": 0.05, "swap": 0.15}
            kind = random.choice(list(kinds), p=list(kinds.values()))
            if kind == "refused":
                command = job.split(batch, tag, into)
                command = Command(**{**command.__dict__, "popular": command.popular + 4})
            elif kind == "swap":
                room = int(random.choice([0, 3, 20, 1000]))
                command = Command(**{**job.swap(tag).__dict__, "working_limit": min(room, 256)})
            elif kind == "scatter" and rows:
                command = job.scatter(rows, tag)
            else:
                flags = Flag.FOLLOW if shadow and random.integers(2) else 0
                split = replace(job.split(batch, tag, into), flags=flags)
                command = {"split": split, "learn": job.learn(batch, tag)}.get(kind, job.hot_list(Opcode.DUMP, tag))
            done = golden.execute(command)
            if command.opcode == Opcode.SPLIT and kind != "refused":
                if done[-1].status:
                    spoilt.add(into)
                if into == 0:  # what a SCATTER may take
                    rows = 0 if done[-1].status else done[-1].working_rows
            commands.append(command)
            expected += done
        got, sent = [], 0
        while len(got) < len(expected):
            ended = sum(c.kind != Kind.POPULAR for c in got)
            while sent < len(commands) and sent - ended < 8:
                driver.submit(commands[sent])
                sent += 1
            got.append(driver.next_completion())
        assert [c.untimed() for c in got] == [c.untimed() for c in expected]
        for ring in ("command ring", "completion ring"):
            words = buffers[ring].size // 4
            golden.host.words(buffers[ring].address, words)[:] = transport.host.words(buffers[ring].address, words)
        # What a command that failed has written into its own buffers is unspecified.
        for name in {name for into in spoilt for name in output_buffers(into)}:
            buffer = transport.device.buffers[name]
            golden.device.words(buffer.address, buffer.size // 4)[:] = transport.device.words(
                buffer.address, buffer.size // 4
            )
        assert not first_difference(transport.device, golden.device, "device")
        assert not transport.host_memory.violation and not transport.device_memory.violation
        assert not first_difference(transport.host, golden.host, "host")
