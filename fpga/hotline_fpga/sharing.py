"""One Verilog module for all that are alike: what is synthesised once need not be synthesised for each of many columns."""

import re
from collections import Counter

from hotline_rtl.emit.rtlil import IN_VERILOG

#: The module that an instance is of, as the emitter writes it on a line of its own.
INSTANCE_OF = re.compile(r"^  (\w+)(?=\s+\w+\s+\($)", re.MULTILINE)


def share_modules(verilog: str) -> str:
    """``verilog`` with one module in place of several that differ in their names' numbers alone.

    Instances keep their names, so hierarchical names stay what they were. Modules that are alike but named otherwise stay
    apart: a block is found by the name of its module.
    """
    while alike := _alike(verilog):
        verilog = _without(alike, verilog)
    return verilog


def keep_apart(verilog: str, times: int) -> str:
    """``verilog`` whose modules that another has at least ``times`` instances of are marked ``keep_hierarchy``."""
    instances = (Counter(INSTANCE_OF.findall(module[0])) for module in IN_VERILOG.finditer(verilog))
    often = {name for counts in instances for name, count in counts.items() if count >= times}
    return IN_VERILOG.sub(
        lambda module: f"(* keep_hierarchy *)\n{module[0]}" if module[1] in often else module[0], verilog
    )


def _alike(verilog: str) -> dict[str, str]:
    """Modules that are like one before them, and that one."""
    first: dict[tuple[str, str], str] = {}
    alike = {}
    for module in IN_VERILOG.finditer(verilog):
        name, body = module[1], module[0][module.end(1) - module.start() :]
        other = first.setdefault((re.sub(r"\d+", "", name), body), name)
        if other != name:
            alike[name] = other
    return alike


def _without(alike: dict[str, str], verilog: str) -> str:
    """``verilog`` without the modules of ``alike``, those that they are like in their place."""
    verilog = IN_VERILOG.sub(lambda module: "" if module[1] in alike else module[0], verilog)
    return INSTANCE_OF.sub(lambda instance: f"  {alike.get(instance[1], instance[1])}", verilog)
