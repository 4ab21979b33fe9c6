"""What is done with a netlist, in which order, and what is kept of it; the tools themselves are not run."""

import json

import pytest

from hotline_fpga.placement import floorplan, flow, refinement
from hotline_fpga.timing import Timing

pytestmark = pytest.mark.fpga


@pytest.fixture
def repairs(monkeypatch, tmp_path):
    """Runs the flow on a tool that reaches the given clocks, one after the other; returns the result and what was repaired, which
    became shorter but for attempts ``in_vain``."""

    def place_and_route(reached: list[float], aim: float, in_vain=()) -> tuple[Timing, list[tuple[str, int]]]:
        clocks, repaired = iter(reached), []

        def run(tool, arguments, folder, log, progress):
            assert folder == tmp_path
            log.touch()
            for option, name in zip(arguments, arguments[1:], strict=False):
                if option in ("--write", "--sdf", "--textcfg"):
                    (folder / name).write_text(log.name)
                if option == "--report":
                    step = {"delay": 1.0, "to": {"cell": "dut.a_TRELLIS_FF_Q"}}
                    path = {"from": "posedge clk", "to": "posedge clk", "path": [step]}
                    report = {
                        "fmax": {"clk": {"achieved": next(clocks)}},
                        "critical_paths": [path],
                        "utilization": {},
                    }
                    (folder / name).write_text(json.dumps(report))

        def repair(routed, delays, seed, out):
            assert routed.read_text() == delays.read_text()
            repaired.append((routed.read_text(), seed))
            return 6.0, 6.0 if seed in in_vain else 5.0

        monkeypatch.setattr(flow, "run", run)
        monkeypatch.setattr(flow, "find_tool", lambda name: None)
        monkeypatch.setattr(floorplan, "floorplan", lambda netlist, sites, seed, out: None)
        monkeypatch.setattr(refinement, "refine", lambda placed, seed, out, progress: None)
        monkeypatch.setattr(refinement, "repair", repair)
        results = {"--report": "timing.json", "--textcfg": "hotline.config"}
        timing = flow.place_and_refine({}, tmp_path / "netlist.json", 7, aim, [], results, lambda text: None)
        return timing, repaired

    return place_and_route


def test_of_what_is_repaired_the_fastest_counts(repairs, tmp_path):
    timing, repaired = repairs([140.0, 146.0, 143.0, 144.0, 145.0, 145.9, 145.0], 200)
    assert timing.fmax_mhz == 146
    assert repaired == [("route_7.log", 1), *(("repair_7_1.log", number) for number in (2, 3, 4, 5, 6))]
    assert Timing.read(tmp_path / "timing.json") == timing
    logs = ["place_7.log", *(f"repair_7_{number}.log" for number in range(1, 7)), "route_7.log"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hotline.config", *logs, "timing.json"]
    assert (tmp_path / "hotline.config").read_text() == "repair_7_1.log"


def test_what_did_not_become_shorter_is_not_routed_again(repairs, tmp_path):
    timing, repaired = repairs([140.0, 146.0, 150.0], 150, in_vain=(1, 3))
    assert timing.fmax_mhz == 150
    assert repaired == [("route_7.log", 1), ("route_7.log", 2), ("repair_7_2.log", 3), ("repair_7_2.log", 4)]


@pytest.mark.parametrize("reached, times", [([25.0], 0), ([24.9, 25.1], 1)])
def test_what_is_fast_enough_is_not_repaired(repairs, reached, times):
    timing, repaired = repairs(reached, 25)
    assert (timing.fmax_mhz, len(repaired)) == (reached[-1], times)
