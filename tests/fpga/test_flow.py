"""What nextpnr is asked to do, and what is made of its answer; the tools themselves are not run."""

import time

import pytest

from hotline_fpga import flow
from hotline_fpga.parts import PARTS
from hotline_fpga.timing import Timing
from hotline_fpga.tools import FpgaToolError, Tool, run
from hotline_rtl.config import preset


def test_each_seed_is_placed_and_routed_by_itself(monkeypatch, tmp_path):
    asked = []

    def once(netlist, seed, mhz, options, results, progress):
        asked.append((netlist, seed, mhz, options, results))
        return Timing(100.0 + seed, [], {})

    monkeypatch.setattr(flow, "placer", lambda part, folder, refine: once)
    progress = []
    found = flow.place_and_route(PARTS["ecp5-85k"], 8, 3, tmp_path, 2, lambda *told: progress.append(told))
    assert [timing.fmax_mhz for timing in found] == [101, 102, 103]
    assert sorted(seed for _, seed, *_ in asked) == [1, 2, 3] and {seed for seed, _ in progress} == {1, 2, 3}
    for netlist, seed, mhz, options, results in asked:
        assert netlist == tmp_path / "netlist.json" and mhz == flow.TARGET_MHZ
        assert options == [*PARTS["ecp5-85k"].options, "--speed", "8", "--lpf-allow-unconstrained"]
        assert results == {"--report": f"timing_{seed}.json"}


def test_when_a_seed_fails_the_others_are_stopped(monkeypatch, tmp_path):
    started = []

    def once(netlist, seed, *rest):
        started.append(seed)
        if seed == 1:
            raise FpgaToolError("no place")
        run(Tool("sleep", "sleep 1.0"), ["100"], tmp_path, tmp_path / f"log_{seed}")

    monkeypatch.setattr(flow, "placer", lambda part, folder, refine: once)
    began = time.monotonic()
    with pytest.raises(FpgaToolError, match="no place"):
        flow.place_and_route(PARTS["ecp5-85k"], 8, 5, tmp_path, 2, lambda *told: None)
    assert time.monotonic() - began < 50 and set(started) <= {1, 2, 3}


def test_no_bitstream_is_built_of_what_is_too_slow_for_the_board(monkeypatch, tmp_path):
    slow = Timing(24.94, [("gather.key", 0.4), ("gather.address", 40.1)], {})
    monkeypatch.setattr(flow, "component_verilog", lambda *arguments: "")
    monkeypatch.setattr(flow, "_run_yosys", lambda *arguments: tmp_path / "netlist.json")
    monkeypatch.setattr(flow, "place_and_route_once", lambda *arguments: slow)
    with pytest.raises(
        FpgaToolError, match="25.* MHz: 24.9 MHz as routed; longest path: gather.key -> gather.address"
    ):
        flow.bitstream(preset("tiny"), tmp_path, lambda text: None)
    assert not (tmp_path / "hotline.bit").exists()
