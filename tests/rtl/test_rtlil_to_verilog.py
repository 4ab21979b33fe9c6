"""RTLIL to Verilog: what Amaranth's own way writes, with names that do not tell what came before."""

import re

import pytest
from amaranth.back import verilog

from hotline_rtl.emit.rtlil import rtlil_to_verilog
from hotline_rtl.emit.verilog import component_rtlil

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
