"""Blocks that a design has many of: one module each, and instances of it."""

import re

import pytest

from hotline_rtl.emit.rtlil import IN_VERILOG, rtlil_to_verilog
from hotline_rtl.emit.verilog import component_rtlil
from hotline_rtl.lib.fifo import StreamFifo
from hotline_rtl.lib.shared_module import SharedModule, SharedModulePlatform

from .fifo_row import FIFOS, FifoRow


def modules(platform) -> dict[str, str]:
    text = rtlil_to_verilog(component_rtlil(FifoRow(), "fifos", platform))
    return {module[1]: module[0] for module in IN_VERILOG.finditer(text)}


def test_each_kind_is_one_module_and_all_blocks_are_instances_of_it():
    found = modules(SharedModulePlatform("fifos"))
    assert set(found) == {"fifos", *(f"fifos.{kind}{of}" for kind in ("deep", "shallow") for of in ("", ".ram"))}
    instances = re.findall(r"^  \\(\S+)\s+(fifo_\d+) \($", found["fifos"], re.M)
    expected = {f"fifo_{number}": f"fifos.{('deep', 'shallow')[number % 2]}" for number in range(FIFOS)}
    assert instances == [(module, name) for name, module in sorted(expected.items())]
    assert found["fifos"].count(".clk(clk),") == found["fifos"].count(".rst(rst)") == FIFOS


def test_without_such_a_platform_they_are_blocks_as_any():
    found = modules(None)
    assert set(found) == {"fifos", *(f"fifos.fifo_{number}{of}" for number in range(FIFOS) for of in ("", ".ram"))}


def test_a_kind_is_of_one_sort():
    platform = SharedModulePlatform("fifos")
    component_rtlil(FifoRow(), "fifos", platform)
    with pytest.raises(ValueError, match="kind of their own, not 'deep' a second time"):
        SharedModule("deep", lambda: StreamFifo(8, 16), platform)
