"""Registers behind block RAMs and multipliers go into them, where that changes nothing."""

import json
from pathlib import Path

import pytest

from hotline_fpga.flow import yosys_script
from hotline_fpga.parts import PARTS
from hotline_fpga.placement.output_registers import absorb, use_output_registers
from hotline_fpga.timing import Timing
from hotline_fpga.tools import find_tool, run

pytestmark = pytest.mark.fpga


def ram(**outputs: int) -> dict:
    connections = {"CLKB": [1], "OCEB": ["1"], "RSTB": ["0"], **{port: [bit] for port, bit in outputs.items()}}
    return {
        "type": "DP16KD", "parameters": {"REGMODE_B": "NOREG"}, "connections": connections,
        "port_directions": {port: "output" if port in outputs else "input" for port in connections},
    }  # fmt: skip


def flip_flop(d: int, q: int, **changes) -> dict:
    connections = {"CLK": [1], "DI": [d], "LSR": ["0"], "Q": [q]}
    parameters = {"CEMUX": "1 ", "CLKMUX": "CLK"}
    for name, value in changes.items():
        (parameters if name.endswith("MUX") else connections)[name] = value
    return {
        "type": "TRELLIS_FF", "parameters": parameters, "connections": connections,
        "port_directions": {port: "output" if port == "Q" else "input" for port in connections},
    }  # fmt: skip


def test_registers_behind_all_outputs_go_into_the_memory():
    cells = {"ram": ram(DOB0=10, DOB1=11, DOB2=12), "a": flip_flop(10, 20), "b": flip_flop(11, 21)}  # one is not used
    assert absorb(cells) == 2
    assert cells == {"ram": {**ram(DOB0=20, DOB1=21, DOB2=12), "parameters": {"REGMODE_B": "OUTREG"}}}


def test_an_enable_goes_in_with_them():
    enabled = {"CE": [5], "CEMUX": "CE"}
    cells = {"ram": ram(DOB0=10, DOB1=11), "a": flip_flop(10, 20, **enabled), "b": flip_flop(11, 21, **enabled)}
    assert absorb(cells) == 2
    assert cells["ram"]["connections"]["OCEB"] == [5]


@pytest.mark.parametrize(
    "other",
    [
        {"CE": [5], "CEMUX": "CE"},  # the first has none
        {"LSR": [5]},
        {"CLK": [2]},
        {"CE": [5], "CEMUX": "INV"},
    ],
    ids=["enable", "reset", "clock", "inverted enable"],
)
def test_registers_that_differ_stay(other):
    cells = {"ram": ram(DOB0=10, DOB1=11), "a": flip_flop(10, 20), "b": flip_flop(11, 21, **other)}
    before = str(cells)
    assert absorb(cells) == 0 and str(cells) == before


def test_an_output_with_another_use_keeps_its_register_outside():
    lut = {"type": "LUT4", "parameters": {}, "connections": {"A": [10], "Z": [30]},
           "port_directions": {"A": "input", "Z": "output"}}  # fmt: skip
    cells = {"ram": ram(DOB0=10, DOB1=11), "a": flip_flop(10, 20), "b": flip_flop(11, 21), "lut": lut}
    assert absorb(cells) == 0 and len(cells) == 4


VERILOG = """
module top(input clk, input [47:0] in, output reg [35:0] out);
  reg [35:0] memory [0:511]; reg [35:0] read, behind; reg [17:0] a, b; reg [35:0] product;
  reg [8:0] from, to; reg write;
  always @(posedge clk) begin
    {from, to, write, a, b} <= {in, in[6:0]};
    if (write) memory[to] <= {a, b};
    if (write && from == to) read <= 'x; else read <= memory[from];
    behind <= read; product <= a * b;
    out <= behind ^ product;
  end
endmodule
"""


NARROW = """
module top(input clk, input [13:0] in, output reg [1:0] out);
  reg [1:0] memory [0:1023]; reg [1:0] read, behind; reg [9:0] from, to; reg write, moves;
  always @(posedge clk) begin
    {write, moves, to} <= in[11:0]; from <= from + 1;
    if (write) memory[to] <= in[13:12];
    if (write && from == to) read <= 'x; else read <= memory[from];
    if (moves) behind <= read;
    out <= behind ^ out;
  end
endmodule
"""


def netlist(verilog: str, folder: Path) -> Path:
    """Yosys' for the module ``top``."""
    (folder / "top.v").write_text(verilog)
    script = f"read_verilog top.v; {yosys_script(PARTS['ecp5-25k'], 'top')}"
    run(find_tool("yosys"), ["-p", script], folder, folder / "yosys.log")
    return folder / "netlist.json"


def test_the_register_behind_a_narrow_memory_has_its_enable(tmp_path):
    """Elsewhere enables of so few flip-flops are in LUTs."""
    path = netlist(NARROW, tmp_path)
    assert use_output_registers(path, "top") == 2
    (memory,) = (
        cell for cell in json.loads(path.read_text())["modules"]["top"]["cells"].values() if cell["type"] == "DP16KD"
    )
    assert isinstance(memory["connections"]["OCEB"][0], int)


def test_nextpnr_is_faster_with_them(tmp_path):
    """A memory and a multiplier between registers: with theirs outside, the memory alone takes more than 5 ns."""
    netlist(VERILOG, tmp_path)
    clocks = []
    for name in ("without", "with"):
        if name == "with":
            assert use_output_registers(tmp_path / "netlist.json", "top") >= 36 + 36
        arguments = [
            *PARTS["ecp5-25k"].options,
            "--speed",
            "8",
            "--json",
            "netlist.json",
            "--freq",
            "400",
            "--report",
            f"{name}.json",
            "--timing-allow-fail",
            "--lpf-allow-unconstrained",
            "--seed",
            "1",
        ]
        run(find_tool("nextpnr-ecp5"), arguments, tmp_path, tmp_path / f"{name}.log")
        clocks.append(Timing.read(tmp_path / f"{name}.json").fmax_mhz)
    assert clocks[0] < 200 < clocks[1]
