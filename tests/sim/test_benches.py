"""Every block in cocotb on Verilator, against golden, under back-pressure and hostile memories.

The narrow configuration goes through all timings, the others by default through some, and in the slow tests through all.
``HOTLINE_SEED=n`` sets the seed, which a failing bench prints; ``HOTLINE_WAVES=DIR`` writes waves there.
"""

import os
import re
import sys
import time
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from amaranth.hdl import Cat

from hotline_rtl.config import FROZEN, AcceleratorConfig, preset
from hotline_rtl.emit.verilog import component_verilog
from hotline_rtl.lib.shared_module import SharedModulePlatform
from hotline_sim.engine.cocotb_build import run_cocotb
from hotline_sim.engine.toolchain import ToolError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
#: By the name of the block: what makes it, the module of its bench, and the names of its tests, if not all of that.
BLOCKS = {
    name: (make, module, tests)
    for file in sorted((HERE / "benches").glob("*/*.py"))
    for module in [f"benches.{file.parent.name}.{file.stem}"]
    for name, (make, tests) in import_module(module).BLOCKS.items()
}

CONFIGURATIONS = {
    "lanes2-bus64": "",
    "lanes4-bus128": "lanes=4,bus_bits=128",
    "lanes1-bus256": "lanes=1,bus_bits=256",
    "lanes1-bus512": "lanes=1,bus_bits=512",
}
#: Blocks that take long to build on the widest bus: by default they take half of it.
HEAVY = {"tracker", "gather", "scatter", "row_mover"}
#: A tracker so small, and so many samples, that blocks end, weights differ and counters age.
AGING = {
    "lanes2": "tracker_sets=16,banks_per_lane=1",
    "lanes2-shadow": "tracker_sets=16,banks_per_lane=1,shadow=1",
    "lanes2-shadow-frequency": "tracker_sets=16,banks_per_lane=1,shadow=1,policy=frequency",
    "lanes8-bus256-filter8": "tracker_sets=64,tracker_ways=2,lanes=8,banks_per_lane=1,lane_filter=8,bus_bits=256,sketch_bits=5,"
    "shadow=1",
}
#: Wider than a bench needs, except where lanes, banks and filters meet.
WIDE = {
    "tracker": {
        "srrip": "policy=srrip,tracker_arrays=1",
        "srrip-arrays4": "policy=srrip,tracker_arrays=4,tracker_sets=128",
        "frequency-bits": "policy=frequency,policy_bits=5,sketch_bits=4,sketch_cells=8",
        "sample-aware-arrays1": "tracker_arrays=1",
        "shadow": "shadow=1",
        "shadow-srrip": "shadow=1,policy=srrip,tracker_ways=2",
    },
    "record_reader": {"shadow": "shadow=1"},
    "working_set": {"shadow": "shadow=1"},
    "read_master": {
        "one-id-each": "id_bits=1,outstanding_rows=16",
        "few-ids": "id_bits=2,outstanding_rows=30,burst_beats=8",
    },
    "gather": {"one-id": "id_bits=1,outstanding_rows=16"},
}
#: Blocks that no configuration changes.
FIXED = {
    "command_check",
    "credit_fifo",
    "delay_line",
    "fifo",
    "half_slice",
    "keys",
    "model_store",
    "performance_counters",
    "register_block",
    "register_slice",
    "scoreboard",
}
#: Blocks that take the middle configuration by default, too, not only in the slow tests: where lanes meet.
MIDDLE = {"packer", "merger", "fragmenter", "word_queue"}
#: Configurations for the slow tests alone: each of their parts is in another one.
SLOW = {"srrip-arrays4", "frequency-bits", "shadow-srrip", "lanes2-shadow", "few-ids", "sample-aware-arrays1"}


def cases(slow: bool):
    """By default (not ``slow``) each block in its configurations; slow, in all of them but the narrow one."""
    for name in BLOCKS:
        for label, settings in {**CONFIGURATIONS, **WIDE.get(name, {})}.items():
            others = {
                "lanes4-bus128": name in MIDDLE,
                "lanes1-bus256": name in HEAVY,
                "lanes1-bus512": name not in HEAVY,
            }
            by_default = label not in SLOW and others.get(label, True)
            if settings and name in FIXED or not (settings if slow else by_default):
                continue
            yield pytest.param(name, settings, id=f"{name}-{label}")


@cache
def verilog(name: str, config: AcceleratorConfig) -> str:
    """Of a block. Not for one that a test has broken."""
    return component_verilog(BLOCKS[name][0](config), name)


def bench(name: str, settings: str, text: str | None = None, **environment: str):
    """Runs the bench of a block on its Verilog, or on ``text``: of the tiny preset without a shadow, and with ``settings``."""
    _, module, test = BLOCKS[name]
    settings = ",".join([*FROZEN, *settings.split(",")])
    config = preset("tiny").with_settings([s for s in settings.split(",") if s])
    waves = Path(os.environ["HOTLINE_WAVES"]) / f"{name}.vcd" if "HOTLINE_WAVES" in os.environ else None
    run_cocotb(
        text or verilog(name, config), name, module, test=test or None, search_path=[HERE], waves=waves,
        environment={"BENCH_SETTINGS": settings, "HOTLINE_SEED": os.environ.get("HOTLINE_SEED", "1"), **environment},
    )  # fmt: skip


@pytest.mark.parametrize("name, settings", list(cases(slow=False)))
def test_block_equals_golden_under_any_timing(name: str, settings: str):
    bench(name, settings, BENCH_TIMINGS="some" if settings else "all")


@pytest.mark.slow
@pytest.mark.parametrize("name, settings", list(cases(slow=True)))
def test_block_equals_golden_under_all_timings(name: str, settings: str):
    bench(name, settings)


BENCH = """
import os, time
import cocotb

@cocotb.test()
async def it(dut):
"""


def runs(pid: str) -> bool:
    """Whether the process is there, and has not ended."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(") ", 1)[1][0] != "Z"


@pytest.mark.parametrize(
    "body, timeout, message",
    [
        ("    value = 3\n    assert value == 4", 100, "assert 3 == 4"),
        ("    open('{pid}', 'w').write(str(os.getpid()))\n    time.sleep(100)", 2, "no end within 2 s"),
        ("    os._exit(7)", 100, "return code: 7"),
    ],
    ids=["assertion", "no end", "no result"],
)
def test_a_bench_that_fails_says_why_and_leaves_nothing_running(body, timeout, message, tmp_path):
    name, pid = "register_slice", tmp_path / "pid"
    (tmp_path / "failing.py").write_text(BENCH + body.format(pid=pid))
    with pytest.raises(ToolError, match=message):
        run_cocotb(verilog(name, preset("tiny")), name, "failing", search_path=[tmp_path], timeout=timeout)
    last = time.monotonic() + 10
    while pid.exists() and runs(pid.read_text()):
        assert time.monotonic() < last, "the simulation is still running"
        time.sleep(0.01)


SMALL_TRACKER = "tracker_sets=16,banks_per_lane=1,lanes=1"
#: By what is broken: block and settings; what is replaced in the RTL, and by what.
BREAKAGES = {
    # The tag comparison of every bank ignores one bit.
    "tag bit dropped": ("tracker", SMALL_TRACKER, "hotline_rtl.tracker.bank.match_entries",
                        lambda entries, tag: Cat(entry.valid & (entry.tag[:3] == tag[:3]) for entry in entries)),
    # A hit does not count.
    "no promotion": ("tracker", SMALL_TRACKER, "hotline_rtl.tracker.policies.frequency.Frequency.touched",
                     lambda self, state, shift: state),
    # The second array places keys otherwise than golden.
    "another hash": ("tracker", SMALL_TRACKER, "hotline_rtl.tracker.placement.hash_masks",
                     lambda function, in_bits, out_bits: [1 << bit for bit in range(out_bits)]),
    # Another bit of each product is the first of a round.
    "another permutation": ("keys", "", "hotline_rtl.lib.keys.PRODUCT_SHIFT", 7),
}  # fmt: skip


@pytest.mark.parametrize("block, settings, what, replacement", BREAKAGES.values(), ids=BREAKAGES)
def test_a_broken_block_is_found(block, settings, what, replacement, monkeypatch):
    verilog.cache_clear()
    monkeypatch.setattr(what, replacement)
    with pytest.raises(ToolError, match=r"failed: \w+_equals_golden"):
        bench(block, settings, BENCH_SAMPLES="400", BENCH_TIMINGS="some")
    verilog.cache_clear()


@pytest.mark.parametrize("label", [label for label in AGING if label not in SLOW])
def test_a_small_tracker_learns_much_as_golden_does(label: str):
    """Its banks, and the crossbar's queues, are instances of a module each, as a design of many lanes has them."""
    config = preset("tiny").with_settings([*FROZEN, *AGING[label].split(",")])
    text = component_verilog(BLOCKS["tracker"][0](config), "tracker", SharedModulePlatform("tracker"))
    for kind in ("bank", "request_queue"):
        assert len(re.findall(rf"^module tracker_\w*{kind} ?\(", text, re.M)) == 1, kind
    bench("tracker", AGING[label], text, BENCH_SAMPLES="800", BENCH_TIMINGS="some")


@pytest.mark.slow
@pytest.mark.parametrize("label", AGING)
def test_a_small_tracker_learns_much_under_all_timings(label: str):
    bench("tracker", AGING[label], BENCH_SAMPLES="800")
