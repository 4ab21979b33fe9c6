"""What a synthesis run reads and writes, without running one; `make synth` runs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hotline_rtl
from hotline_fpga import baseline
from hotline_fpga.flow import yosys_script
from hotline_fpga.harness import harness_verilog, ports
from hotline_fpga.netlist import Netlist
from hotline_fpga.parts import PARTS, part
from hotline_fpga.timing import Timing
from hotline_fpga.tools import FpgaToolError, find_tool, run, version_numbers
from hotline_rtl.config import preset
from hotline_rtl.fifo import BLOCK_RAM_BITS, StreamFifo
from hotline_rtl.verilog import accelerator_verilog, component_verilog, plain_names


def test_the_harness_connects_every_port_of_the_accelerator():
    verilog = accelerator_verilog(preset("tiny"))
    text = harness_verilog(verilog, "X1/Y2/PIOA")
    assert all(f".{name}(" in text for name in ports(verilog))
    assert ports(verilog)["m_axi_host_rdata"] == (64, True) and ports(verilog)["irq"] == (1, False)
    with pytest.raises(ValueError, match="no module hotline"):
        ports("module other(); endmodule")


def test_unknown_targets_are_refused_by_name():
    with pytest.raises(ValueError, match="unknown target 'ice40'; there are ecp5-85k"):
        part("ice40")


def test_versions_compare_as_numbers():
    assert (
        version_numbers("Yosys 0.9 (git)") < version_numbers("Yosys 0.70+12 (git sha1)") < version_numbers("0.70+13")
    )


def test_names_in_verilog_are_plain_and_stay_apart():
    text = "wire \\x[0] ; wire x_0; wire \\$12 ; assign \\x[0] = \\$12 ;"
    assert plain_names(text) == "wire x_0_1 ; wire x_0; wire n12 ; assign x_0_1 = n12 ;"
    assert "\\" not in accelerator_verilog(preset("tiny"))


def test_a_tool_that_fails_says_where_and_with_what(tmp_path):
    with pytest.raises(FpgaToolError, match=r"failed \(exit code 1\), see .*log:\n(.|\n)*nowhere.v"):
        run(find_tool("yosys"), ["-p", "read_verilog nowhere.v"], tmp_path, tmp_path / "log")


def test_memories_of_more_than_2_kibit_lie_in_block_ram(tmp_path):
    """A FIFO well on either side of the limit, through the whole flow of an ECP5."""
    for depth, blocks in ((16, 0), (4 * BLOCK_RAM_BITS // 32, 1)):
        (tmp_path / "hotline.v").write_text(component_verilog(StreamFifo(32, depth), "fifo"))
        script = f"read_verilog -sv hotline.v; {yosys_script(PARTS['ecp5-85k'], 'fifo')}"
        run(find_tool("yosys"), ["-p", script], tmp_path, tmp_path / "log")
        netlist = Netlist.read(tmp_path / "netlist.json", "fifo", "ecp5")
        assert netlist.used()["block RAMs"] == blocks and not netlist.latches()
        assert netlist.used()["flip-flops"] < 200, "none of it is in flip-flops"


def memories(verilog: str) -> set[tuple[int, int]]:
    """(width, depth) of all memories of emitted Verilog."""
    found = re.findall(
        r"hotline_ram #\(\s*\.ADDRESS_BITS\(32'd\d+\),\s*\.DEPTH\(32'd(\d+)\),\s*\.WIDTH\(32'd(\d+)\)", verilog
    )
    return {(int(width), int(depth)) for depth, width in found}


def test_every_memory_of_the_ecp5_preset_above_2_kibit_lies_in_block_ram(tmp_path):
    """One of each shape that it has, mapped to the part: none in LUTs or flip-flops."""
    verilog = accelerator_verilog(preset("ecp5"))
    large = sorted((w, d) for w, d in memories(verilog) if w * d > BLOCK_RAM_BITS)
    assert large
    ports, body = ["input clk"], []
    for n, (width, depth) in enumerate(large):
        bits = (depth - 1).bit_length()
        ports += [f"input [{2 * bits + width + 1}:0] i{n}", f"output [{width - 1}:0] o{n}"]
        body.append(
            f"hotline_ram #(.WIDTH({width}), .DEPTH({depth}), .ADDRESS_BITS({bits})) ram_{n} (.clk(clk), .w_en(i{n}[0]), "
            f".r_en(i{n}[1]), .w_addr(i{n}[2 +: {bits}]), .r_addr(i{n}[{2 + bits} +: {bits}]), "
            f".w_data(i{n}[{2 + 2 * bits} +: {width}]), .r_data(o{n}));"
        )
    ram = (Path(hotline_rtl.__file__).parent / "hotline_ram.v").read_text()
    text = f"{ram}\nmodule top({', '.join(ports)});\n" + "\n".join(body) + "\nendmodule\n"
    (tmp_path / "top.v").write_text(text)
    script = f"read_verilog -sv top.v; {yosys_script(PARTS['ecp5-85k'], 'top')}"
    run(find_tool("yosys"), ["-p", script], tmp_path, tmp_path / "log")
    netlist = Netlist.read(tmp_path / "netlist.json", "top", "ecp5")
    kinds = {kind for kind, _ in netlist.cells}
    assert "TRELLIS_DPR16X4" not in kinds and netlist.used()["block RAMs"] >= len(large)
    assert netlist.used()["flip-flops"] < 100 * len(large), "only what tells whether r_data holds its value"


def test_cells_are_counted_by_block(tmp_path):
    def cell(kind, bit):
        return {"type": kind, "port_directions": {"Z": "output"}, "connections": {"Z": [bit]}}

    module = {
        "netnames": {"dut.gather.mover.send": {"bits": [2]}, "dut.reader.busy": {"bits": [3]}, "harness_in": {"bits": [4]}},
        "cells": {"$a": cell("LUT4", 2), "$b": cell("TRELLIS_FF", 3), "$c": cell("TRELLIS_FF", 4),
                  "dut.gather.ram.0": cell("DP16KD", 5)},
    }  # fmt: skip
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": module}}))
    netlist = Netlist.read(path, "top", "ecp5")
    assert netlist.used() == {"flip-flops": 2, "block RAMs": 1, "DSPs": 0, "LUTs": 1}
    blocks = netlist.by_block("dut")
    assert (blocks["gather"]["LUTs"], blocks["gather"]["block RAMs"]) == (1, 1)
    assert blocks["reader"]["flip-flops"] == 1 and blocks["harness"]["flip-flops"] == 1


def test_timing_is_read_with_names_of_the_source(tmp_path):
    def step(delay, cell):
        return {"delay": delay, "to": {"cell": cell}}

    report = {
        "fmax": {"clk": {"achieved": 151.5}},
        "utilization": {"TRELLIS_COMB": {"used": 5, "available": 10}},
        "critical_paths": [
            {"from": "posedge clk", "to": "posedge clk",
             "path": [step(0.5, "dut.reader.busy_TRELLIS_FF_Q"), step(0.9, "dut.gather.more_LUT4_Z_1"),
                      step(0.2, "dut.gather.more_LUT4_Z_2"), step(5.0, "dut.gather.keys_in_TRELLIS_FF_Q_3")]},
            {"from": "async", "to": "posedge clk", "path": [step(20.0, "x")]},
        ],
    }  # fmt: skip
    path = tmp_path / "timing.json"
    path.write_text(json.dumps(report))
    timing = Timing.read(path)
    assert timing.fmax_mhz == 151.5 and timing.used == {"TRELLIS_COMB": [5, 10]}
    assert timing.path == [("reader.busy", 0.5), ("gather.more", 1.6), ("gather.keys_in", 6.6)]


def test_synth_refuses_what_it_cannot_do():
    command = [str(Path(sys.executable).with_name("hotline")), "synth", "--target", "ice40"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "unknown target 'ice40'" in done.stderr


def found(**changes) -> dict:
    report = {
        "digest": "d", "target": "ecp5-85k", "part": "P", "speed": 8, "seeds": 5, "tools": {"yosys": "Y"},
        "used": {"LUTs": [1000, 10000]}, "fmax_mhz": {"best": 110.0, "median": 100.0, "worst": 90.0},
    }  # fmt: skip
    return report | changes


def test_a_synthesis_is_compared_with_its_baseline(tmp_path):
    file = tmp_path / "baseline.json"
    file.write_text(json.dumps(baseline.kept(found(), "ecp5", [])))
    before = baseline.read(file)
    slower = {"best": 110.0, "median": 94.9, "worst": 90.0}
    assert baseline.worse(found(), before) == []
    assert baseline.worse(found(used={"LUTs": [1050, 10000]}, fmax_mhz=slower | {"median": 95.0}), before) == []
    assert baseline.worse(found(used={"LUTs": [1051, 10000]}, fmax_mhz=slower), before) == [
        "LUTs: 1,051, 5.1% more than 1,000", "median clock: 94.9 MHz, 5.1% less than 100.0 MHz",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="the baseline has seeds 5, this synthesis 1"):
        baseline.worse(found(seeds=1), before)
    for text, message in (("[]", "not a baseline"), ("x", "not JSON")):
        file.write_text(text)
        with pytest.raises(ValueError, match=f"baseline.json: {message}"):
            baseline.read(file)


def test_the_table_of_the_docs_is_that_of_the_baselines():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "fpga.md").read_text()
    kept = [baseline.read(file) for file in sorted((root / "fpga" / "baselines").glob("*.json"))]
    assert kept and baseline.markdown(kept) in page, "run `make registers`"
    assert "**100.0**" in baseline.markdown([baseline.kept(found(), "ecp5", ["lanes=2"])])


def test_a_trackers_lines_lie_in_ultra_ram_where_there_is_some(tmp_path):
    """A memory of a bank's lines, and one of the same size that is none."""
    ports = ".clk(clk), .w_en(we), .w_addr(to), .w_data(in), .r_en(1'b1), .r_addr(from)"
    ram = "hotline_ram #(.WIDTH(100), .DEPTH(1024), .ADDRESS_BITS(10)) ram"
    sides = "input clk, input we, input [9:0] to, from, input [99:0] in, output [99:0]"
    pass_on = ".clk(clk), .we(we), .to(to), .from(from), .in(in)"
    source = (Path(hotline_rtl.__file__).with_name("hotline_ram.v")).read_text() + (
        f"module memory({sides} out); {ram}({ports}, .r_data(out)); endmodule\n"
        f"module bank({sides} out); memory ram_0({pass_on}, .out(out)); endmodule\n"
        f"module top({sides} a, b); bank bank_0({pass_on}, .out(a)); memory other({pass_on}, .out(b)); endmodule\n"
    )
    (tmp_path / "top.v").write_text(source)
    script = f"read_verilog -sv top.v; {yosys_script(PARTS['xcup'], 'top')}"
    run(find_tool("yosys"), ["-p", script], tmp_path, tmp_path / "log")
    used = Netlist.read(tmp_path / "netlist.json", "top", "xcup").used()
    assert (used["UltraRAMs"], used["block RAMs"], used["flip-flops"]) == (2, 3, 0)
