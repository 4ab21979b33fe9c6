"""The whole accelerator under cocotb: the reference engine, with the same driver and memories."""

import numpy as np
import pytest

from hotline_rtl.emit.verilog import accelerator_verilog, component_verilog
from hotline_rtl.lib.register_slice import RegisterSlice
from hotline_sim.engine.cocotb_build import run_cocotb
from hotline_sim.run.cocotb_engine import run_in_cocotb

from ..configurations import LEAST, MAIN, tiny
from .conftest import HOSTILE, IDEAL, cold_job, run_cosim, small_job

SPEC = "synthetic:samples=60"


@pytest.mark.parametrize(
    "settings, timing, resident",
    [
        pytest.param(MAIN, IDEAL, -1, marks=pytest.mark.slow),
        (MAIN, HOSTILE, None),
        pytest.param([*MAIN, "lanes=4", "bus_bits=128"], HOSTILE, -1, marks=pytest.mark.slow),
    ],
    ids=["ideal", "hostile-no-residents", "hostile-lanes4-bus128"],
)
def test_rtl_equals_golden_in_cocotb(settings, timing, resident):
    job = small_job(tiny(settings), SPEC, resident=resident, batch_size=30)
    results = run_in_cocotb(job, timings=(timing, timing.with_seed(5)))
    assert not results.difference and results.samples == 60


def test_prefetch_equals_golden_in_cocotb():
    job = small_job(tiny(MAIN), SPEC, resident=None, batch_size=20, prefetch=True, step_cycles=500)
    results = run_in_cocotb(job, timings=(HOSTILE, HOSTILE.with_seed(5)))
    assert not results.difference and results.samples == 60


def test_both_engines_leave_the_same_memory_after_the_same_cycles():
    """One memory model: the engines agree in every byte, and each SPLIT takes the same cycles in both.

    All cycles together differ: between commands the driver reads and writes registers, which takes either engine its own time.
    """
    ours, theirs = (small_job(tiny(MAIN), SPEC, batch_size=30) for _ in range(2))
    cosim = run_cosim(ours, IDEAL).results
    cocotb = run_in_cocotb(theirs, timings=(IDEAL, IDEAL.with_seed(8)))
    assert np.array_equal(ours.device.data, theirs.device.data)
    rings = ours.host.buffers["completion ring"].end - ours.host.base
    assert np.array_equal(ours.host.data[rings:], theirs.host.data[rings:])
    assert cosim.working_rows == cocotb.working_rows
    assert (cosim.split_cycles, cosim.popular_cycles) == (cocotb.split_cycles, cocotb.popular_cycles)


@pytest.mark.slow
def test_broken_rtl_is_found_in_cocotb(monkeypatch):
    """Slow for its accelerator of its own: by default a block that is broken is found (test_benches)."""
    monkeypatch.setattr("hotline_rtl.lib.keys.PRODUCT_SHIFT", 7)
    config = tiny(LEAST)
    bad = accelerator_verilog.__wrapped__(config)
    job = cold_job(config, batches=2, samples=3, accesses=4, seed=1)
    assert run_in_cocotb(job, timings=(IDEAL, IDEAL), verilog=bad).difference


def test_verilators_runtime_is_compiled_once_and_waves_are_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOTLINE_BUILD", str(tmp_path / "build"))
    (tmp_path / "nothing.py").write_text("import cocotb\n\n\n@cocotb.test()\nasync def ends(dut):\n    pass\n")
    for width in (1, 2):
        verilog, waves = component_verilog(RegisterSlice(width), "top"), tmp_path / f"{width}.vcd"
        run_cocotb(verilog, "top", "nothing", search_path=[tmp_path], waves=waves)
        assert " top " in waves.read_text()
    compiled = [len(list(tmp_path.rglob(f"cocotb/*/build/{name}.d"))) for name in ("verilator", "verilated")]
    assert compiled == [2, 1]
