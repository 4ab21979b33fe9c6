"""The whole accelerator in the co-simulation, byte for byte against golden."""

import numpy as np
import pytest

from hotline_golden.layouts import Opcode
from hotline_golden.memory import MemoryImage
from hotline_rtl.verilog import accelerator_verilog
from hotline_sim.cosim import CosimTransport
from hotline_sim.session import Session

from .conftest import HOSTILE, IDEAL, SLOW, run_cosim, small_job, tiny

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
WIDTHS = [(1, 64), (2, 128), (4, 512)]


@pytest.mark.parametrize("lanes, bus", WIDTHS)
@pytest.mark.parametrize("spec, changes", SHAPES)
def test_rtl_equals_golden_for_any_lanes_and_bus_width(lanes, bus, spec, changes):
    job = small_job(tiny(f"lanes={lanes}", f"bus_bits={bus}"), spec, **changes)
    session = run_cosim(job)
    assert not session.results.difference
    assert session.results.samples == job.trace.samples


@pytest.mark.parametrize("lanes, bus", WIDTHS)
@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_memories_change_no_byte(lanes, bus, seed):
    session = run_cosim(small_job(tiny(f"lanes={lanes}", f"bus_bits={bus}")), HOSTILE.with_seed(seed))
    assert not session.results.difference


def test_neither_timing_nor_lanes_nor_bus_width_change_results():
    outputs = []
    for (lanes, bus), timing in zip(WIDTHS, (IDEAL, SLOW, HOSTILE), strict=True):
        session = run_cosim(small_job(tiny(f"lanes={lanes}", f"bus_bits={bus}")), timing)
        buffers = session.transport.host.buffers
        hot = session.transport.host.words(buffers["hot list"].address, buffers["hot list"].size // 4).copy()
        outputs.append((hot, session.outputs))
    first_hot, first = outputs[0]
    for hot, other in outputs[1:]:
        assert np.array_equal(hot, first_hot)
        for a, b in zip(first, other, strict=True):
            for name in ("popular", "non_popular", "working_keys", "working_rows"):
                assert np.array_equal(getattr(a, name), getattr(b, name)), name


def test_learning_is_the_same_for_any_number_of_lanes_and_any_stalls():
    """The tracker's contents, DUMPed after each of several LEARNs of random, skewed samples."""
    contents = []
    for n, lanes in enumerate((1, 2, 4, 8, 16)):
        config = tiny(f"lanes={lanes}", f"lane_filter={8 if lanes > 4 else 0}")
        job = small_job(config, "synthetic:samples=300,exponent=1.4", resident=None, learn=1.0, batch_size=100)
        session = run_cosim(job, HOSTILE.with_seed(n) if n % 2 else IDEAL)
        assert not session.results.difference
        buffer = session.transport.host.buffers["hot list"]
        contents.append(session.transport.host.words(buffer.address, buffer.size // 4).copy())
    for lanes, other in zip((2, 4, 8, 16), contents[1:], strict=True):
        assert np.array_equal(contents[0], other), f"{lanes} lanes"


def test_a_dumped_hot_list_can_be_loaded_into_another_accelerator():
    job = small_job(tiny())
    with CosimTransport(job.config, job.host, job.device) as transport:
        session = Session(job, transport)
        session._learn()
    fresh = small_job(tiny())
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
    session = run_cosim(small_job(tiny()), SLOW)
    results = session.results
    assert not results.difference
    assert results.popular_cycles < 0.7 * results.split_cycles, "with slow rows, popular is done long before"


def test_counters_agree_with_what_happened():
    session = run_cosim(small_job(tiny()))
    results, counters = session.results, session.results.counters
    memory = results.memory
    assert counters["gathered_rows"] == results.working_rows
    assert counters["host_read_beats"] == memory["host"]["read_beats"]
    assert counters["device_write_beats"] == memory["device"]["write_beats"]
    assert counters["device_read_beats"] == memory["device"]["read_beats"]
    assert counters["cycles_busy"] <= results.cycles
    assert counters["accesses_seen"] > results.accesses, "learning counts too"


BREAKAGES = {
    # The tag comparison of every bank ignores one bit.
    "tag bit dropped": ("hotline_rtl.tracker", "match_entries",
                        lambda line, tag: _match_without_a_bit(line, tag)),
    # A hit in a set promotes nothing.
    "no promotion": ("hotline_rtl.policies.srrip.Srrip", "on_hit", lambda self, m, state, way: list(state)),
}  # fmt: skip


def _match_without_a_bit(line, tag):
    from amaranth.hdl import Cat

    return Cat(entry.valid & (entry.tag[:3] == tag[:3]) for entry in line)


@pytest.mark.parametrize("name", BREAKAGES)
def test_broken_rtl_is_found(name, monkeypatch):
    module, attribute, replacement = BREAKAGES[name]
    good = accelerator_verilog(tiny())
    monkeypatch.setattr(f"{module}.{attribute}", replacement)
    bad = accelerator_verilog.__wrapped__(tiny())
    assert bad != good
    session = run_cosim(small_job(tiny(), resident=None), verilog=bad)
    assert session.results.difference


def test_first_difference_names_buffer_and_values():
    from hotline_golden.memory import Buffer
    from hotline_sim.session import first_difference

    a = MemoryImage(0x100, np.zeros(4096, np.uint8), {"table 0": Buffer("table 0", 0x140, 64)})
    b = MemoryImage(0x100, np.zeros(4096, np.uint8), a.buffers)
    assert first_difference(a, b, "host") == ""
    a.words(0x148, 1)[0] = 7
    assert first_difference(a, b, "host") == ("host memory at table 0 + 0x8: RTL 0x00000007, golden 0x00000000")
