"""The ULX3S board: its top level simulated through its pins, and what the tools are asked to build it from."""

import re
from pathlib import Path

import pytest
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import wiring

from hotline_fpga import flow
from hotline_fpga.board.ulx3s import Ulx3s
from hotline_fpga.flow import PINS
from hotline_fpga.tools import find_tool, run
from hotline_rtl.config import preset
from hotline_rtl.emit.verilog import component_verilog
from hotline_rtl.lib.shared_module import ports
from hotline_sim.engine.cocotb_build import run_cocotb

DIVISOR, BYTES = 8, 4096


@pytest.mark.fpga
def test_a_computer_works_with_the_board_over_the_serial_line():
    board = Ulx3s(
        preset("tiny").with_settings(["tracker_sets=16", "banks_per_lane=1"]), divisor=DIVISOR, memory_bytes=BYTES
    )
    run_cocotb(
        component_verilog(board, "ulx3s"),
        "ulx3s",
        "bench_board",
        search_path=[Path(__file__).parent],
        environment={"BENCH_DIVISOR": str(DIVISOR), "BENCH_BYTES": str(BYTES)},
    )


def test_every_port_of_the_board_has_a_pin():
    pins = set()
    for name, value in ports(Ulx3s(preset("tiny"))).items():
        pins |= {f"{name}[{n}]" for n in range(len(value))} if len(value) > 1 else {name}
    constraints = (PINS / "ulx3s.lpf").read_text()
    assert (
        pins
        == set(re.findall(r'LOCATE COMP "(.*?)"', constraints))
        == set(re.findall(r'IOBUF PORT "(.*?)"', constraints))
    )
    assert len(set(re.findall(r'SITE "(.*?)"', constraints))) == len(pins), "no pin twice"


class SmallTop(wiring.Component):
    """The ports of the board's top level, and little behind them: a counter, and an echo of the serial line."""

    def __init__(self, config):
        super().__init__(Ulx3s(config).signature)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain()
        count = Signal(28)
        m.d.comb += [sync.clk.eq(self.clk_25mhz), sync.rst.eq(self.fire), self.wifi_gpio0.eq(1)]
        m.d.sync += [count.eq(count + self.ftdi_txd), self.ftdi_rxd.eq(self.ftdi_txd), self.led.eq(count[-8:])]
        return m


def configuration_of_pins(text: str) -> dict[str, list[str]]:
    """What a textual bitstream says of pins: settings by tile; and of the whole part."""
    tiles = re.findall(r"^\.tile (\S+)\n((?:.+\n)*)", text, re.M)
    found = {
        name: sorted(re.findall(r"^enum: (?:PIO|IOLOGIC|\S*BANK).*$", body, re.M))
        for name, body in tiles
        if "PIO" in body
    }
    return {"sysconfig": re.findall(r"^\.sysconfig.*$", text, re.M), **{k: v for k, v in found.items() if v}}


@pytest.mark.fpga
def test_a_bitstream_is_built_with_the_boards_pins(monkeypatch, tmp_path):
    """Of a small design: pins, their settings, and those of the part."""
    monkeypatch.setattr(flow, "Ulx3s", SmallTop)
    bit, timing = flow.bitstream(preset("tiny"), tmp_path, lambda text: None)
    assert bit.stat().st_size > 1000 and timing.fmax_mhz > 25
    ours = configuration_of_pins((tmp_path / "hotline.config").read_text())
    arguments = [
        "--85k",
        "--package",
        "CABGA381",
        "--speed",
        "6",
        "--lpf",
        "ulx3s.lpf",
        "--json",
        "netlist.json",
        "--textcfg",
        "one.config",
    ]
    run(find_tool("nextpnr-ecp5"), arguments, tmp_path, tmp_path / "log")
    assert ours == configuration_of_pins((tmp_path / "one.config").read_text())
    assert len(ours) > 8 and ours["sysconfig"]
