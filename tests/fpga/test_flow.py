"""What is done with a netlist, in which order, and what is kept of it; the tools themselves are not run."""

import json

import pytest

from hotline_fpga import floorplan, flow, refinement
from hotline_fpga.timing import Timing
from hotline_fpga.tools import FpgaToolError
from hotline_rtl.config import preset


@pytest.fixture
def mends(monkeypatch, tmp_path):
    """Runs the flow on a tool that reaches the given clocks, one after the other; returns the result and what was mended, which
    became shorter but for attempts ``in_vain``."""

    def place_and_route(reached: list[float], aim: float, in_vain=()) -> tuple[Timing, list[tuple[str, int]]]:
        clocks, mended = iter(reached), []

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

        def mend(routed, delays, seed, out):
            assert routed.read_text() == delays.read_text()
            mended.append((routed.read_text(), seed))
            return 6.0, 6.0 if seed in in_vain else 5.0

        monkeypatch.setattr(flow, "run", run)
        monkeypatch.setattr(floorplan, "floorplan", lambda netlist, sites, seed, out: None)
        monkeypatch.setattr(refinement, "refine", lambda placed, seed, out, progress: None)
        monkeypatch.setattr(refinement, "mend", mend)
        results = {"--report": "timing.json", "--textcfg": "hotline.config"}
        timing = flow._place_and_route(tmp_path / "netlist.json", {}, 7, aim, [], results, lambda text: None)
        return timing, mended

    return place_and_route


def test_of_what_is_mended_the_fastest_counts(mends, tmp_path):
    timing, mended = mends([140.0, 146.0, 143.0, 144.0, 145.0, 145.9, 145.0], 200)
    assert timing.fmax_mhz == 146
    assert mended == [("route_7.log", 1), *(("mend_7_1.log", number) for number in (2, 3, 4, 5, 6))]
    assert Timing.read(tmp_path / "timing.json") == timing
    logs = [*(f"mend_7_{number}.log" for number in range(1, 7)), "place_7.log", "route_7.log"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hotline.config", *logs, "timing.json"]
    assert (tmp_path / "hotline.config").read_text() == "mend_7_1.log"


def test_what_did_not_become_shorter_is_not_routed_again(mends, tmp_path):
    timing, mended = mends([140.0, 146.0, 150.0], 150, in_vain=(1, 3))
    assert timing.fmax_mhz == 150
    assert mended == [("route_7.log", 1), ("route_7.log", 2), ("mend_7_2.log", 3), ("mend_7_2.log", 4)]


@pytest.mark.parametrize("reached, times", [([25.0], 0), ([24.9, 25.1], 1)])
def test_what_is_fast_enough_is_not_mended(mends, reached, times):
    timing, mended = mends(reached, 25)
    assert (timing.fmax_mhz, len(mended)) == (reached[-1], times)


@pytest.mark.fpga
def test_no_bitstream_is_built_of_what_is_too_slow_for_the_board(monkeypatch, tmp_path):
    slow = Timing(24.94, [("gather.key", 0.4), ("gather.address", 40.1)], {})
    monkeypatch.setattr(flow, "_run_yosys", lambda *arguments: tmp_path / "netlist.json")
    monkeypatch.setattr(floorplan, "macro_sites", lambda *arguments: {})
    monkeypatch.setattr(flow, "_place_and_route", lambda *arguments: slow)
    with pytest.raises(
        FpgaToolError, match="25.* MHz: 24.9 MHz as routed; longest path: gather.key -> gather.address"
    ):
        flow.bitstream(preset("tiny"), tmp_path, lambda text: None)
    assert not (tmp_path / "hotline.bit").exists()
