"""What a synthesised netlist (Yosys' JSON) is made of: cells by kind and by block, and how memories were built."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

#: What each kind of ECP5 cell takes of the part. A carry cell is two LUTs; a distributed RAM of 16 words of 4 bits is
#: four LUTs, and keeps two more from being used.
ECP5_LUTS: dict[str, float] = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
KINDS: dict[str, dict[str, dict[str, float]]] = {
    "ecp5": {
        "flip-flops": {"TRELLIS_FF": 1}, "block RAMs": {"DP16KD": 1, "PDPW16KD": 1}, "DSPs": {"MULT18X18D": 1},
        "LUTs": ECP5_LUTS,
    },
    "xilinx": {
        "LUTs": {**{f"LUT{n}": 1 for n in range(1, 7)}, "INV": 1, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
                 "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM64X1S": 1, "SRL16E": 1, "SRLC32E": 1},
        "flip-flops": {name: 1 for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        "block RAMs": {"RAMB36E1": 1, "RAMB36E2": 1, "RAMB18E1": 0.5, "RAMB18E2": 0.5},
        "UltraRAMs": {"URAM288": 1, "URAM288_BASE": 1}, "DSPs": {"DSP48E1": 1, "DSP48E2": 1},
    },
}  # fmt: skip
LATCHES = re.compile(r"\$_?DLATCH|^LD[CP]E|\$dlatch")


@dataclass(frozen=True)
class Netlist:
    """All cells: kind and hierarchical name of each, those of modules that were kept apart once for each instance."""

    cells: list[tuple[str, str]]
    family: str

    @classmethod
    def read(cls, path: Path, top: str, family: str) -> "Netlist":
        """Reads Yosys' JSON. A LUT has the name of the signal that it drives, if it has none of its own; if the source does not
        know that signal, either, that of a cell that takes it."""
        cells = _cells(json.loads(path.read_text())["modules"], top, {})
        return cls(cells, "ecp5" if family == "ecp5" else "xilinx")

    def used(self) -> dict[str, int]:
        """Resources by kind."""
        return _sum(Counter(kind for kind, _ in self.cells), self.family)

    def by_block(self, below: str) -> dict[str, dict[str, int]]:
        """The same for each block just below instance ``below``, or below the top module itself if that is empty;
        ``harness`` holds what is outside, ``top`` its own."""
        outside = f"{below}." if below else ""
        counts: dict[str, Counter] = defaultdict(Counter)
        for kind, name in self.cells:
            path = name.removeprefix(outside).split(".")
            if not name.startswith(outside):
                block = "harness" if name.startswith("harness") else "top"
            else:
                block = path[0] if len(path) > 1 and not name.startswith("$") else "top"
            counts[block][kind] += 1
        return {block: _sum(some, self.family) for block, some in sorted(counts.items())}

    def latches(self) -> list[str]:
        """Names of all latches."""
        return [name for kind, name in self.cells if LATCHES.search(kind)]


def _cells(modules: dict, module: str, known: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """The cells of ``module`` and of all that it has instances of. ``known``: those of modules that were asked for before."""
    if module in known:
        return known[module]
    names: dict[int, str] = {}
    for name, net in modules[module]["netnames"].items():
        for bit in net["bits"]:
            if isinstance(bit, int) and (bit not in names or _rank(name) < _rank(names[bit])):
                names[bit] = name
    cells: list[tuple[str, str]] = []
    inputs: dict[int, list[int]] = {}  # of cells without a name, by their place among the cells
    nameless: dict[int, int] = {}  # their places, by what they drive
    takers: list[tuple[str, list[int]]] = []  # cells with a name, and what they take
    for name, cell in modules[module]["cells"].items():
        kind = cell["type"]
        if kind.startswith("$scope"):
            continue
        driven, taken = _bits(cell, "output"), _bits(cell, "input")
        if kind in modules and "blackbox" not in modules[kind]["attributes"]:
            cells += [(of, f"{name}.{its}") for of, its in _cells(modules, kind, known)]
            takers.append((name, taken))
            continue
        signal = next((names[bit] for bit in driven if bit in names), name)
        of_source = name if "." in name and not name.startswith("$") else signal
        if of_source.startswith("$"):
            inputs[len(cells)] = taken
            nameless |= dict.fromkeys(driven, len(cells))
        else:
            takers.append((of_source, taken))
        cells.append((kind, of_source))
    while takers:
        name, taken = takers.pop()
        for bit in taken:
            place = nameless.get(bit, -1)
            if place in inputs:
                cells[place] = (cells[place][0], name)
                takers.append((name, inputs.pop(place)))
    known[module] = cells
    return cells


def _bits(cell: dict, direction: str) -> list[int]:
    """The nets at the cell's ports of this direction."""
    ports = (bits for port, bits in cell["connections"].items() if cell["port_directions"][port] == direction)
    return [bit for bits in ports for bit in bits if isinstance(bit, int)]


def _rank(name: str) -> tuple[bool, int]:
    """The best name of a bit is one that the source has, in the innermost block."""
    return (name.startswith("$") or "_LUT" in name or "PFUMX" in name, -name.count("."))


def _sum(kinds: Counter, family: str) -> dict[str, int]:
    return {
        resource: round(sum(kinds[kind] * size for kind, size in sizes.items()))
        for resource, sizes in KINDS[family].items()
    }
