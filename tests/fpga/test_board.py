"""The ULX3S board: its top level simulated through its pins, and what the tools are asked to build it from."""

import re
from pathlib import Path

from hotline_fpga.board.ulx3s import Ulx3s
from hotline_fpga.flow import PINS
from hotline_fpga.harness import ports
from hotline_rtl.config import preset
from hotline_rtl.verilog import component_verilog
from hotline_sim.cocotb_build import run_cocotb

DIVISOR, BYTES = 8, 4096


def test_a_computer_works_with_the_board_over_the_serial_line():
    board = Ulx3s(
        preset("tiny").with_settings(["tracker_sets=16", "banks_per_lane=1"]), divisor=DIVISOR, memory_bytes=BYTES
    )
    run_cocotb(
        component_verilog(board, "ulx3s"), "ulx3s", "bench_board", search_path=[Path(__file__).parent],
        environment={"BENCH_DIVISOR": str(DIVISOR), "BENCH_BYTES": str(BYTES)},
    )  # fmt: skip


def test_every_port_of_the_board_has_a_pin():
    pins = set()
    for name, (bits, _) in ports(component_verilog(Ulx3s(preset("tiny")), "ulx3s"), "ulx3s").items():
        pins |= {f"{name}[{n}]" for n in range(bits)} if bits > 1 else {name}
    constraints = (PINS / "ulx3s.lpf").read_text()
    assert (
        pins
        == set(re.findall(r'LOCATE COMP "(.*?)"', constraints))
        == set(re.findall(r'IOBUF PORT "(.*?)"', constraints))
    )
    assert len(set(re.findall(r'SITE "(.*?)"', constraints))) == len(pins), "no pin twice"
