"""What a synthesis run reads and writes, without running one; `make synth` runs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hotline_rtl
from hotline_fpga import baseline
from hotline_fpga.flow import DEEP, LARGE, yosys_script
from hotline_fpga.harness import harness_verilog, ports
from hotline_fpga.netlist import Netlist
from hotline_fpga.parts import PARTS, part
from hotline_fpga.sharing import keep_apart, share_modules
from hotline_fpga.timing import Timing
from hotline_fpga.tools import FpgaToolError, find_tool, run, version_numbers
from hotline_rtl.config import preset
from hotline_rtl.emit.verilog import component_verilog, plain_names
from hotline_rtl.lib.fifo import BLOCK_RAM_BITS, StreamFifo
from hotline_sim.engine.emission import emitted_verilog

from ..configurations import MAIN, tiny


def test_the_harness_connects_every_port_of_the_accelerator():
    verilog = emitted_verilog(tiny(MAIN))
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
    assert "\\" not in emitted_verilog(tiny(MAIN))


def test_a_tool_that_fails_says_where_and_with_what(tmp_path):
    with pytest.raises(FpgaToolError, match=r"failed \(exit code 1\), see .*log:\n(.|\n)*nowhere.v"):
        run(find_tool("yosys"), ["-p", "read_verilog nowhere.v"], tmp_path, tmp_path / "log")


@pytest.mark.fpga
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


def memories_verilog(shapes: list[tuple[int, int]]) -> str:
    """Module ``top`` with a memory ``ram_N`` of each (width, depth), all their ports its own."""
    ports, body = ["input clk"], []
    for n, (width, depth) in enumerate(shapes):
        bits = (depth - 1).bit_length()
        ports += [f"input [{2 * bits + width + 1}:0] i{n}", f"output [{width - 1}:0] o{n}"]
        body.append(
            f"hotline_ram #(.WIDTH({width}), .DEPTH({depth}), .ADDRESS_BITS({bits})) ram_{n} (.clk(clk), .w_en(i{n}[0]), "
            f".r_en(i{n}[1]), .w_addr(i{n}[2 +: {bits}]), .r_addr(i{n}[{2 + bits} +: {bits}]), "
            f".w_data(i{n}[{2 + 2 * bits} +: {width}]), .r_data(o{n}));"
        )
    ram = (Path(hotline_rtl.__file__).parent / "lib" / "verilog" / "hotline_ram.v").read_text()
    return f"{ram}\nmodule top({', '.join(ports)});\n" + "\n".join(body) + "\nendmodule\n"


@pytest.mark.fpga
def test_every_memory_of_the_ecp5_preset_above_2_kibit_lies_in_block_ram(tmp_path):
    """One of each shape that it has, mapped to the part: none in LUTs or flip-flops."""
    verilog = emitted_verilog(preset("ecp5"))
    large = sorted((w, d) for w, d in memories(verilog) if w * d > BLOCK_RAM_BITS)
    assert large
    (tmp_path / "top.v").write_text(memories_verilog(large))
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


def test_cells_of_a_module_count_for_each_of_its_instances(tmp_path):
    def cell(kind, bit):
        return {"type": kind, "port_directions": {"O": "output"}, "connections": {"O": [bit]}}

    def module(cells, **names):
        return {"attributes": {}, "netnames": {name: {"bits": [bit]} for name, bit in names.items()}, "cells": cells}

    modules = {
        "LUT6": {"attributes": {"blackbox": 1}, "netnames": {}, "cells": {}},
        "top": module({"$a": cell("LUT6", 2), "banks": cell("banks", 3)}, busy=2),
        "banks": module({"bank_0": cell("bank", 2), "bank_1": cell("bank", 3), "$b": cell("FDRE", 4)}, hit=4),
        "bank": module({"$c": cell("LUT6", 2), "ram.0": cell("URAM288", 3)}, meets=2),
    }
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": modules}))
    netlist = Netlist.read(path, "top", "xcup")
    assert sorted(netlist.cells) == [
        ("FDRE", "banks.hit"),
        ("LUT6", "banks.bank_0.meets"),
        ("LUT6", "banks.bank_1.meets"),
        ("LUT6", "busy"),
        ("URAM288", "banks.bank_0.ram.0"),
        ("URAM288", "banks.bank_1.ram.0"),
    ]
    blocks = netlist.by_block("")
    assert set(blocks) == {"banks", "top"} and blocks["top"]["LUTs"] == 1
    assert (blocks["banks"]["LUTs"], blocks["banks"]["UltraRAMs"], blocks["banks"]["flip-flops"]) == (2, 2, 1)


def test_cells_that_the_source_does_not_know_belong_to_what_takes_them(tmp_path):
    def cell(kind, takes, drives):
        return {
            "type": kind, "port_directions": {"I": "input", "O": "output"}, "connections": {"I": takes, "O": [drives]}
        }  # fmt: skip

    module = {
        "attributes": {},
        "netnames": {"gather.busy": {"bits": [5]}, "$x$1": {"bits": [4]}, "taken": {"bits": [2]}},
        "cells": {"$a": cell("LUT4", [2], 3), "$b.1": cell("LUT4", ["0", 3], 4), "$c": cell("FDRE", [4, 4], 5),
                  "$d": cell("LUT4", [2], 6)},
    }  # fmt: skip
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": module}}))
    netlist = Netlist.read(path, "top", "xcup")
    assert netlist.cells == [
        ("LUT4", "gather.busy"),
        ("LUT4", "gather.busy"),
        ("FDRE", "gather.busy"),
        ("LUT4", "$d"),
    ]
    assert {name: block["LUTs"] for name, block in netlist.by_block("").items()} == {"gather": 2, "top": 1}


@pytest.mark.fpga
def test_modules_that_are_alike_become_one_and_none_is_lost(tmp_path):
    """Of the whole accelerator: the same cells before and after, in far fewer modules."""
    before = emitted_verilog(tiny(MAIN))
    after = share_modules(before)
    assert share_modules(after) == after
    assert after.count("\nmodule ") < 0.75 * before.count("\nmodule ")
    cells = []
    for name, verilog in (("before", before), ("after", after)):
        (tmp_path / f"{name}.v").write_text(verilog)
        script = (
            f"read_verilog -sv {name}.v; hierarchy -check -top hotline; proc; flatten; tee -o {name}.json stat -json"
        )
        run(find_tool("yosys"), ["-p", script], tmp_path, tmp_path / "log")
        cells.append(json.loads((tmp_path / f"{name}.json").read_text())["design"]["num_cells_by_type"])
    assert cells[0] == cells[1]


def test_modules_that_there_are_many_of_are_marked():
    """In one other module: what is once in each of many counts once."""
    bank, top = "module bank (\n  x);\nendmodule\n", "module top (\n);\n"
    top += "".join(f"  bank  bank_{n} (\n    .x(y)\n  );\n" for n in range(3)) + "endmodule\n"
    assert keep_apart(bank + top, 3) == "(* keep_hierarchy *)\n" + bank + top
    assert keep_apart(bank + top, 4) == bank + top


def test_modules_that_differ_are_not_shared():
    """Neither in what they do, nor in a name that is more than a number."""
    one = "module a_0 (\n  x);\n  input x;\nendmodule\n"
    others = one.replace("a_0", "b_0") + one.replace("a_0", "a_1").replace("input", "output")
    assert share_modules(one + others) == one + others
    top = "module top (\n);\n  a_0  first (\n    .x(y)\n  );\n  a_2  second (\n    .x(y)\n  );\nendmodule\n"
    assert share_modules(one + one.replace("a_0", "a_2") + top) == one + top.replace("a_2", "a_0")


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


def test_a_baseline_that_does_not_fit_is_refused_before_the_synthesis(tmp_path):
    file, folder = tmp_path / "baseline.json", tmp_path / "out"
    file.write_text(json.dumps(baseline.kept(found(), "ecp5", [])))
    command = [str(Path(sys.executable).with_name("hotline")), "synth", "--check", str(file), "--out", str(folder)]
    for options, message in (([], "the baseline has digest 'd'"), (["--seeds", "6"], "the baseline has 5 seeds")):
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        assert done.returncode == 2 and message in done.stderr and not folder.exists()


def found(**changes) -> dict:
    report = {
        "hotline": "1.2.3", "digest": "d", "target": "ecp5-85k", "part": "P", "speed": 8, "seeds": 5, "refined": False,
        "tools": {"yosys": "Y"},
        "used": {"LUTs": [1000, 10000]},
        "fmax_mhz": {"best": 110.0, "median": 100.0, "worst": 90.0, "by_seed": [90.0, 110.0, 100.0, 105.0, 95.0]},
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
        "LUTs: 1,051, 5.1% more than 1,000",
        "median clock: 94.9 MHz, 5.1% less than 100.0 MHz",
    ]
    assert baseline.worse(found(seeds=1, fmax_mhz=slower | {"median": 85.5}), before) == []  # of 90 MHz
    assert baseline.worse(found(seeds=2, fmax_mhz=slower | {"median": 94.0}), before) == [
        "median clock: 94.0 MHz, 6.0% less than 100.0 MHz"
    ]
    for seeds in (0, 6):
        with pytest.raises(ValueError, match=f"the baseline has 5 seeds, this synthesis {seeds}"):
            baseline.worse(found(seeds=seeds), before)
    for name, value in (("digest", "e"), ("target", "ecp5-45k"), ("speed", 7), ("refined", True)):
        with pytest.raises(ValueError, match=f"the baseline has {name} .*, this synthesis {value!r}"):
            baseline.worse(found(**{name: value}), before)
    for text, message in (("[]", "not a baseline"), ("x", "not JSON")):
        file.write_text(text)
        with pytest.raises(ValueError, match=f"baseline.json: {message}"):
            baseline.read(file)


def test_the_table_of_the_docs_is_that_of_the_baselines():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "fpga.md").read_text()
    kept = [baseline.read(file) for file in sorted((root / "fpga" / "baselines").glob("*.json"))]
    assert kept and baseline.markdown(kept) in page, "run `make registers`"
    row = baseline.markdown([baseline.kept(found(), "ecp5", ["lanes=2"])])
    assert "**100.0**" in row and "| 1.2.3 |" in row


@pytest.mark.fpga
@pytest.mark.parametrize("apart", ["", "(* keep_hierarchy *) "])
def test_a_trackers_lines_lie_in_ultra_ram_where_there_is_some(tmp_path, apart):
    """A bank's memory of lines, and one of the same size that holds none; of two banks."""
    ports = ".clk(clk), .w_en(we), .w_addr(to), .w_data(in), .r_en(1'b1), .r_addr(from)"
    ram = "hotline_ram #(.WIDTH(100), .DEPTH(1024), .ADDRESS_BITS(10)) ram"
    sides = "input clk, input we, input [9:0] to, from, input [99:0] in, output [99:0]"
    pass_on = ".clk(clk), .we(we), .to(to), .from(from), .in(in)"
    source = (Path(hotline_rtl.__file__).parent / "lib" / "verilog" / "hotline_ram.v").read_text() + (
        f"module memory({sides} out); {ram}({ports}, .r_data(out)); endmodule\n"
        f"module sketch({sides} out); memory ram_0({pass_on}, .out(out)); endmodule\n"
        f"{apart}module bank_0({sides} a, b); memory ram_0({pass_on}, .out(a)); sketch sketch({pass_on}, .out(b)); endmodule\n"
        f"module top({sides} a, b, c, d); bank_0 bank_0({pass_on}, .a(a), .b(b)); bank_0 bank_1({pass_on}, .a(c), .b(d)); "
        "endmodule\n"
    )
    (tmp_path / "top.v").write_text(source)
    script = f"read_verilog -sv top.v; {yosys_script(PARTS['xcup'], 'top')}"
    run(find_tool("yosys"), ["-p", script], tmp_path, tmp_path / "log")
    used = Netlist.read(tmp_path / "netlist.json", "top", "xcup").used()
    assert (used["UltraRAMs"], used["block RAMs"], used["flip-flops"]) == (4, 6, 0)


@pytest.mark.fpga
def test_memories_of_more_than_2_kibit_lie_in_block_ram_where_luts_would_do(tmp_path):
    """32 and 64 words, just below the limit and just above."""
    shapes = [(64, 32), (65, 32), (32, 64), (33, 64)]
    (tmp_path / "top.v").write_text(memories_verilog(shapes))
    script = f"read_verilog -sv top.v; {yosys_script(PARTS['xcup'], 'top')}"
    run(find_tool("yosys"), ["-p", script], tmp_path, tmp_path / "log")
    kinds = {
        name.split(".")[0]: kind
        for kind, name in Netlist.read(tmp_path / "netlist.json", "top", "xcup").cells
        if kind.startswith("RAM")
    }
    assert [kinds[f"ram_{n}"].startswith("RAMB") for n in range(4)] == [False, True, False, True]


def test_what_is_large_is_known_by_depth_and_width():
    """Of every memory of the preset that is not deep anyway."""
    pairs = [(int(d), int(w)) for d, w in re.findall(r"SIZE>=(\d+) r:WIDTH>(\d+)", LARGE)]
    shapes = [(w, d) for w, d in memories(emitted_verilog(preset("ecp5"))) if d < DEEP]
    assert shapes
    for width, depth in shapes:
        assert any(depth >= d and width > w for d, w in pairs) == (width * depth > BLOCK_RAM_BITS)
