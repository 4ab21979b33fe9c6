"""Delays of a routed design's wires, as nextpnr writes them (``--sdf``; IEEE 1497-2001, 5.3.3)."""

import re
from pathlib import Path

#: From where, to which cell and pin, and the longest time of a rising edge, ps.
INTERCONNECT = re.compile(r"\(INTERCONNECT \S+ (\S+)/(\S+) \([^:]*:[^:]*:([^)]*)\)")


def read_delays(path: Path) -> dict[tuple[str, str], float]:
    """ns to each cell's pin, by names of both.

    Raises ValueError when there is none in the file, or it does not count in ps.
    """
    text = path.read_text()
    if "(TIMESCALE 1ps)" not in text[:1000]:
        raise ValueError(f"{path}: no (TIMESCALE 1ps) in its head: not an SDF file of nextpnr's")
    found = INTERCONNECT.findall(text)
    if not found:
        raise ValueError(f"{path}: no INTERCONNECT: not of a routed design")
    return {(cell.replace("\\", ""), pin): float(ps) / 1000 for cell, pin, ps in found}
