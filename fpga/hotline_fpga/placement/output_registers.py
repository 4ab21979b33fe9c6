"""Block RAMs and multipliers take in the registers behind them: they have output registers, which Yosys does not use.

A block RAM's data comes 4.3 ns after the clock without its register (speed grade 8), and a multiplier takes 2.7 ns; with it
there is one net less, and the flip-flops are free for others. A register of the part is used when nothing but flip-flops
without a reset hangs on the outputs that it serves, one on each, all of one clock and one enable. So results do not change.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OutputRegister:
    """Of a kind of cell: the outputs behind one register, by how their names begin; its clock, enable and reset pins, and the
    parameters that put it in."""

    outputs: str
    clock: str
    enable: str
    reset: str
    parameters: dict[str, str]
    #: The cell has a clock of its own besides the register's, so the two must be one.
    clocked: bool = True


REGISTERS = {
    "DP16KD": [
        OutputRegister(f"DO{port}", f"CLK{port}", f"OCE{port}", f"RST{port}", {f"REGMODE_{port}": "OUTREG"})
        for port in "AB"
    ],
    "MULT18X18D": [
        OutputRegister(
            "P", "CLK0", "CE0", "RST0",
            {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}, clocked=False,
        ),
    ],
}  # fmt: skip


def absorb(cells: dict) -> int:
    """Changes the ``cells`` of a module (Yosys' JSON, of an ECP5); returns how many flip-flops have gone."""
    sinks: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    if isinstance(bit, int):
                        sinks[bit].append((name, port))
    gone = 0
    for cell in [cell for cell in cells.values() if cell["type"] in REGISTERS]:
        for register in REGISTERS[cell["type"]]:
            behind = _behind(cell, register.outputs, sinks, cells)
            controls = {(cells[name]["connections"]["CLK"][0], _enable(cells[name])) for name in behind.values()}
            if len(controls) != 1:
                continue
            ((clock, enable),) = controls
            if register.clocked and cell["connections"][register.clock] != [clock]:
                continue
            for port, name in behind.items():
                cell["connections"][port] = cells.pop(name)["connections"]["Q"]
            gone += len(behind)
            for pin, bit in ((register.clock, clock), (register.enable, enable), (register.reset, "0")):
                cell["connections"][pin], cell["port_directions"][pin] = [bit], "input"
            cell["parameters"] |= register.parameters
    return gone


def _behind(cell: dict, outputs: str, sinks: dict, cells: dict) -> dict[str, str]:
    """For each used output the flip-flop behind it; for none when any of them has other uses."""
    behind = {}
    for port, bits in cell["connections"].items():
        if port.startswith(outputs) and port[len(outputs) :].isdigit() and bits and sinks.get(bits[0]):
            name, pin = sinks[bits[0]][0]
            sink = cells[name]
            fits = (
                len(sinks[bits[0]]) == 1
                and sink["type"] == "TRELLIS_FF"
                and pin == "DI"
                and sink["connections"].get("LSR", ["0"]) == ["0"]
                and sink["parameters"].get("CLKMUX", "CLK") == "CLK"
                and _enable(sink) is not None
            )
            if not fits:
                return {}
            behind[port] = name
    return behind


def _enable(flip_flop: dict) -> int | str | None:
    """The net that enables it, "1" when it always is; None when that is inverted."""
    kind = flip_flop["parameters"]["CEMUX"].strip()
    return flip_flop["connections"]["CE"][0] if kind == "CE" else "1" if kind == "1" else None


def use_output_registers(netlist: Path, top: str) -> int:
    """Rewrites a ``netlist`` of an ECP5 part; returns how many flip-flops have gone."""
    design = json.loads(netlist.read_text())
    gone = absorb(design["modules"][top]["cells"])
    netlist.write_text(json.dumps(design))
    return gone
