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
        "LUTs": {**{f"LUT{n}": 1 for n in range(1, 7)}, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
                 "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM64X1S": 1, "SRL16E": 1, "SRLC32E": 1},
        "flip-flops": {name: 1 for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        "block RAMs": {"RAMB36E1": 1, "RAMB36E2": 1, "RAMB18E1": 0.5, "RAMB18E2": 0.5},
        "UltraRAMs": {"URAM288": 1, "URAM288_BASE": 1}, "DSPs": {"DSP48E1": 1, "DSP48E2": 1},
    },
}  # fmt: skip
LATCHES = re.compile(r"\$_?DLATCH|^LD[CP]E|\$dlatch")


@dataclass(frozen=True)
class Netlist:
    """The cells of the top module: kind and hierarchical name of each."""

    cells: list[tuple[str, str]]
    family: str

    @classmethod
    def read(cls, path: Path, top: str, family: str) -> "Netlist":
        """Reads Yosys' JSON. The name of a LUT is that of the signal that it drives, if it has none of its own."""
        module = json.loads(path.read_text())["modules"][top]
        names: dict[int, str] = {}
        for name, net in module["netnames"].items():
            for bit in net["bits"]:
                if isinstance(bit, int) and (bit not in names or _rank(name) < _rank(names[bit])):
                    names[bit] = name
        cells = []
        for name, cell in module["cells"].items():
            if cell["type"].startswith("$scope"):
                continue
            directions = cell["port_directions"]
            driven = (
                bit for port, bits in cell["connections"].items() if directions[port] == "output" for bit in bits
            )
            signal = next((names[bit] for bit in driven if bit in names), name)
            cells.append((cell["type"], name if "." in name and not name.startswith("$") else signal))
        return cls(cells, "ecp5" if family == "ecp5" else "xilinx")

    def used(self) -> dict[str, int]:
        """Resources by kind."""
        return _sum(Counter(kind for kind, _ in self.cells), self.family)

    def by_block(self, below: str) -> dict[str, dict[str, int]]:
        """The same for each block just below instance ``below``; ``harness`` holds what is outside, ``top`` its own."""
        counts: dict[str, Counter] = defaultdict(Counter)
        for kind, name in self.cells:
            path = name.split(".")
            if path[0] != below:
                block = "harness" if name.startswith("harness") else "top"
            else:
                block = path[1] if len(path) > 2 else "top"
            counts[block][kind] += 1
        return {block: _sum(some, self.family) for block, some in sorted(counts.items())}

    def latches(self) -> list[str]:
        """Names of all latches."""
        return [name for kind, name in self.cells if LATCHES.search(kind)]


def _rank(name: str) -> tuple[bool, int]:
    """The best name of a bit is one that the source has, in the innermost block."""
    return (name.startswith("$") or "_LUT" in name or "PFUMX" in name, -name.count("."))


def _sum(kinds: Counter, family: str) -> dict[str, int]:
    return {
        resource: round(sum(kinds[kind] * size for kind, size in sizes.items()))
        for resource, sizes in KINDS[family].items()
    }
