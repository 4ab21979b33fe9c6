"""Blocks that a design has many of: one module each, and instances of it."""

import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hotline_rtl.fifo import StreamFifo
from hotline_rtl.repeated import OneModuleEach, Repeated
from hotline_rtl.rtlil_to_verilog import IN_VERILOG, rtlil_to_verilog
from hotline_rtl.verilog import component_rtlil


class Fifos(wiring.Component):
    """Six FIFOs in a row, in turn of two kinds."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        deep = Repeated("deep", lambda: StreamFifo(8, 16), platform)
        shallow = Repeated("shallow", lambda: StreamFifo(8, 8), platform)
        source = wiring.flipped(self.i)
        for number in range(6):
            fifo = (shallow if number % 2 else deep).add(m, f"fifo_{number}")
            wiring.connect(m, source, fifo.i)
            source = fifo.o
        wiring.connect(m, source, wiring.flipped(self.o))
        return m


def modules(platform) -> dict[str, str]:
    text = rtlil_to_verilog(component_rtlil(Fifos(), "fifos", platform))
    return {module[1]: module[0] for module in IN_VERILOG.finditer(text)}


def test_each_kind_is_one_module_and_all_blocks_are_instances_of_it():
    found = modules(OneModuleEach("fifos"))
    assert set(found) == {"fifos", *(f"fifos.{kind}{of}" for kind in ("deep", "shallow") for of in ("", ".ram"))}
    instances = re.findall(r"^  \\(\S+)\s+(fifo_\d) \($", found["fifos"], re.M)
    assert instances == [(f"fifos.{('deep', 'shallow')[number % 2]}", f"fifo_{number}") for number in range(6)]
    assert found["fifos"].count(".clk(clk),") == found["fifos"].count(".rst(rst)") == 6


def test_without_such_a_platform_they_are_blocks_as_any():
    found = modules(None)
    assert set(found) == {"fifos", *(f"fifos.fifo_{number}{of}" for number in range(6) for of in ("", ".ram"))}


def test_a_kind_is_of_one_sort():
    platform = OneModuleEach("fifos")
    component_rtlil(Fifos(), "fifos", platform)
    with pytest.raises(ValueError, match="kind of their own, not 'deep' a second time"):
        Repeated("deep", lambda: StreamFifo(8, 16), platform)
