"""RTLIL to Verilog: what Amaranth's own way writes, with names that do not tell what came before."""

import re

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hotline_rtl.emit.rtlil import rtlil_to_verilog
from hotline_rtl.emit.verilog import component_rtlil, component_verilog

from .fifo_row import FIFOS, FifoRow


def without_numbers(text):
    return re.sub(r"(\$auto\$\S+\$)\d+", r"\1", text)


def test_it_is_what_amaranth_has_yosys_write(monkeypatch):
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "builtin")
    netlist = component_rtlil(FifoRow(), "fifos")
    whole = verilog._convert_rtlil_text(netlist, strip_internal_attrs=True)
    assert whole.count("\nmodule ") > 2 * FIFOS
    assert without_numbers(rtlil_to_verilog(netlist)) == without_numbers(whole)


def test_modules_that_are_alike_come_back_alike():
    text = rtlil_to_verilog(component_rtlil(FifoRow(), "fifos"))
    modules = re.findall(r"^module \\(\S+)(.*?)^endmodule", text, re.M | re.S)
    bodies = {name: body.replace(name, "") for name, body in modules}
    assert all(bodies[f"fifos.fifo_{number}"] == bodies[f"fifos.fifo_{2 - number % 2}"] for number in range(1, 10))
    assert bodies["fifos.fifo_1"] != bodies["fifos.fifo_2"]
    assert all(f"  \\fifos.fifo_{number}  fifo_{number} (" in text for number in range(FIFOS))


def test_what_yosys_cannot_read_is_said():
    with pytest.raises(RuntimeError, match="cannot write this as Verilog.*syntax error"):
        rtlil_to_verilog("module \\a\n  cell\nend\n")


class PartlyConstant(wiring.Component):
    """A structure of which a process drives a field, and nothing another."""

    def __init__(self):
        super().__init__({"go": In(1), "o": Out(3)})

    def elaborate(self, platform):
        m = Module()
        fields = Signal(data.StructLayout({"driven": 1, "constant": 1, "go": 1}))
        m.d.comb += [self.o.eq(fields), fields.go.eq(self.go)]
        with m.FSM():
            with m.State("A"):
                with m.If(self.go):
                    m.next = "B"
            with m.State("B"):
                m.d.comb += fields.driven.eq(1)
        return m


def test_bits_that_nothing_drives_are_set_when_a_simulation_begins():
    """A process that sets a constant waits for no signal, so nothing but the register that Yosys makes for it wakes it."""
    text = component_verilog(PartlyConstant(), "partly")
    assert re.search(r"always @\* begin\n +if \(auto_verilog_backend\w+ *\) begin end\n +o\[1\] = 1'h0;\n", text)
    assert not re.search(r"always @\*\n +\S+ = \d+'", text)
