"""Where block RAMs and multipliers go: a placement of the whole netlist, of which only they are kept.

Block RAMs are in four rows of the largest ECP5, and four fifths of them are taken. nextpnr's placers look for places as if
they were anywhere, and move them to the rows when all else has been placed: that makes half of all wire. Here they are on
their sites from the beginning. A placement is solved for, spread and solved for again, each time a little nearer to what
spreading gave (SimPL: Kim, Lee and Markov, ICCAD 2010), with springs from each net's two ends to all its other cells
(Bound2Bound: Spindler, Schlichtmann and Johannes, TCAD 2008). Spreading gives block RAMs and multipliers the sites that
are nearest in sum; all other cells are halved again and again, so that no region is fuller than ``FILL``.
"""

import json
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import cg, lobpcg

from ..netlist import ECP5_LUTS
from ..parts import Part
from ..tools import find_tool, run

# LOBPCG need not converge: what it finds is a beginning. Set once, since `warnings.catch_warnings` is not for threads.
warnings.filterwarnings("ignore", r"\s*Exited (at iteration|postprocessing)", UserWarning)

#: Cells with few sites, and what a part calls their number.
MACROS = {"DP16KD": "block RAMs", "MULT18X18D": "DSPs"}
#: What other cells take of a tile, in LUTs and flip-flops.
TILE_AREA = 16
AREAS = {**ECP5_LUTS, "TRELLIS_FF": 1}
#: Fraction of a tile that is filled at most.
FILL = 0.87
#: Nets of more cells pull nowhere in particular.
LARGEST_NET = 64
CLOCK_PINS = {"CLK", "CLKA", "CLKB", "WCK"}
ROUNDS = 200
#: Pull of what spreading gave, as a part of a two-cell net's: grows by this much each round.
PULL = 0.004
#: Shortest spring, tiles: shorter ones pull no harder.
SHORTEST = 1.0


@dataclass(frozen=True)
class Site:
    """A place for a macro: its tile, and nextpnr's name for it."""

    x: int
    y: int
    bel: str


@dataclass
class Nets:
    """Cells and what connects them. ``pins``: cell numbers, net after net; ``first``: where each net's begin."""

    cells: list[str]
    kinds: np.ndarray
    pins: np.ndarray
    first: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        return np.diff(np.append(self.first, len(self.pins)))

    @cached_property
    def net_of(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.first)), self.sizes)

    def wire(self, *axes: np.ndarray) -> float:
        """Half the perimeters of all nets' bounding boxes, tiles."""
        ends = [
            (np.maximum.reduceat(at[self.pins], self.first), np.minimum.reduceat(at[self.pins], self.first))
            for at in axes
        ]
        return float(sum((high - low).sum() for high, low in ends))

    def springs(self, at: np.ndarray) -> csr_matrix:
        """Symmetric matrix of what pulls cells together along one axis, where they are ``at``: Bound2Bound."""
        here = at[self.pins]
        order = np.lexsort((here, self.net_of))
        low, high = order[self.first], order[self.first + self.sizes - 1]
        pairs = []
        for end in (low, high):
            other = np.repeat(end, self.sizes)
            pairs.append((self.pins, self.pins[other], np.abs(here - here[other])))
        # The two ends see each other once.
        is_low, is_high = np.zeros((2, len(here)), bool)
        is_low[low] = is_high[high] = True
        keep = np.concatenate([~is_low, ~(is_low | is_high)])
        a, b, apart = (np.concatenate(part)[keep] for part in zip(*pairs, strict=True))
        pull = 1 / (np.maximum(apart, SHORTEST) * np.tile(self.sizes[self.net_of] - 1, 2)[keep])
        one_way = coo_matrix((pull, (a, b)), shape=(len(at), len(at)))
        return (one_way + one_way.T).tocsr()


def read_nets(netlist: dict) -> Nets:
    """Cells and nets of the top module of a netlist that Yosys wrote; without clocks and the widest nets."""
    cells = _top(netlist)["cells"]
    names = [
        name
        for name, cell in cells.items()
        if cell["type"] in MACROS or cell["type"] in AREAS or "MUX" in cell["type"]
    ]
    nets: dict[int, set[int]] = defaultdict(set)
    for number, name in enumerate(names):
        for port, bits in cells[name]["connections"].items():
            if port not in CLOCK_PINS:
                for bit in bits:
                    if isinstance(bit, int):
                        nets[bit].add(number)
    kept = [sorted(net) for net in nets.values() if 2 <= len(net) <= LARGEST_NET]
    sizes = np.array([len(net) for net in kept])
    return Nets(
        names, np.array([cells[name]["type"] for name in names]), np.concatenate(kept), np.cumsum(sizes) - sizes
    )


def macro_sites(part: Part, folder: Path) -> dict[str, list[Site]]:
    """All sites of each kind of macro: nextpnr places a design that takes them all, in ``folder``."""
    design = folder / "sites.json"
    cells = {
        f"{kind}_{n}": {
            "hide_name": 0, "type": kind, "parameters": {}, "attributes": {}, "port_directions": {}, "connections": {},
        }
        for kind, resource in MACROS.items() for n in range(part.resources[resource])
    }  # fmt: skip
    top = {"attributes": {"top": 1}, "ports": {}, "cells": cells, "netnames": {}}
    design.write_text(json.dumps({"creator": "hotline", "modules": {"sites": top}}))
    arguments = [*part.options, "--json", design.name, "--no-route", "--write", design.name]
    run(find_tool("nextpnr-ecp5"), arguments, folder, folder / "sites.log")
    sites: dict[str, list[Site]] = {kind: [] for kind in MACROS}
    for cell in next(iter(json.loads(design.read_text())["modules"].values()))["cells"].values():
        if cell["type"] in MACROS:
            bel = cell["attributes"]["NEXTPNR_BEL"]
            x, y = (int(place[1:]) for place in bel.split("/")[:2])
            sites[cell["type"]].append(Site(x, y, bel))
    design.unlink()
    return sites


def place_macros(nets: Nets, sites: dict[str, list[Site]], seed: int) -> dict[str, str]:
    """The site (nextpnr's name) of each macro. Other seeds give other placements, of about the same amount of wire."""
    width, height = (1 + max(getattr(site, axis) for some in sites.values() for site in some) for axis in "xy")
    macros = {kind: np.flatnonzero(nets.kinds == kind) for kind in MACROS}
    places = {
        kind: (np.array([site.x for site in some]), np.array([site.y for site in some]))
        for kind, some in sites.items()
    }
    others = np.flatnonzero(~np.isin(nets.kinds, list(MACROS)))
    areas = np.array([AREAS.get(kind, 0) for kind in nets.kinds])
    x, y = (rank * size for rank, size in zip(_spectral(nets, seed), (width, height), strict=True))
    least, best = np.inf, {}
    for step in range(1, ROUNDS + 1):
        near_x, near_y = _halve(x, y, others, areas, width, height)
        chosen = {}
        for kind, some in macros.items():
            across, along = places[kind]
            cost = (np.abs(x[some][:, None] - across) + np.abs(y[some][:, None] - along)) ** 1.5
            chosen[kind] = linear_sum_assignment(cost)[1]
            near_x[some], near_y[some] = across[chosen[kind]], along[chosen[kind]]
        wire = nets.wire(near_x, near_y)
        if wire < least:
            least, best = wire, chosen
        x, y = (_solve(nets, at, near, PULL * step) for at, near in ((x, near_x), (y, near_y)))
    return {
        nets.cells[cell]: sites[kind][place].bel
        for kind, some in macros.items()
        for cell, place in zip(some, best[kind], strict=True)
    }


def floorplan(netlist: Path, sites: dict[str, list[Site]], seed: int, out: Path) -> None:
    """Writes ``netlist`` with a place for each block RAM and multiplier to ``out``."""
    design = json.loads(netlist.read_text())
    cells = _top(design)["cells"]
    for name, bel in place_macros(read_nets(design), sites, seed).items():
        cells[name].setdefault("attributes", {})["BEL"] = bel
    out.write_text(json.dumps(design))


def _top(netlist: dict) -> dict:
    return next(module for module in netlist["modules"].values() if module.get("attributes", {}).get("top"))


def _spectral(nets: Nets, seed: int) -> list[np.ndarray]:
    """Two coordinates from 0 to 1 for each cell: ranks along the two smoothest vectors of the netlist that are not constant."""
    springs = nets.springs(np.zeros(len(nets.cells)))
    weight = np.asarray(springs.sum(1)).ravel() + 1e-9
    start = np.random.default_rng(seed).standard_normal((len(weight), 3))
    start[:, 0] = 1
    values, vectors = lobpcg(
        (diags(weight) - springs).tocsr(),
        start,
        B=diags(weight),
        M=diags(1 / weight),
        largest=False,
        tol=1e-5,
        maxiter=150,
    )
    ranks = []
    for number in np.argsort(values)[1:3]:
        rank = np.empty(len(weight))
        rank[np.argsort(vectors[:, number], kind="stable")] = np.linspace(0, 1, len(weight))
        ranks.append(rank)
    return ranks


def _solve(nets: Nets, at: np.ndarray, near: np.ndarray, pull: float) -> np.ndarray:
    """Where all springs are at rest along one axis, when each cell is also pulled to where it is ``near``."""
    springs = nets.springs(at)
    anchor = pull / np.maximum(np.abs(at - near), SHORTEST)
    weight = np.asarray(springs.sum(1)).ravel() + anchor
    return cg(diags(weight) - springs, anchor * near, x0=at, rtol=1e-4, maxiter=200, M=diags(1 / weight))[0]


def _halve(x: np.ndarray, y: np.ndarray, some: np.ndarray, areas: np.ndarray, width: float, height: float):
    """Where the cells ``some`` go so that no region is too full, in the order in which they are: halves of halves."""
    near_x, near_y = np.zeros(len(x)), np.zeros(len(y))
    regions = [(some, (0.0, width), (0.0, height))]
    while regions:
        cells, columns, rows = regions.pop()
        wide = columns[1] - columns[0] >= rows[1] - rows[0]
        low, high = columns if wide else rows
        across = rows[1] - rows[0] if wide else columns[1] - columns[0]
        if len(cells) <= 12 or high - low < 2:
            near_x[cells], near_y[cells] = np.clip(x[cells], *columns), np.clip(y[cells], *rows)
            continue
        at = (x if wide else y)[cells]
        order = np.argsort(at, kind="stable")
        filled = np.cumsum(areas[cells][order])
        half = int(np.clip(np.searchsorted(filled, filled[-1] / 2), 1, len(cells) - 1))
        # Between the two halves, but where each has room.
        needs = filled[-1] / 2 / (across * TILE_AREA * FILL)
        cut = (at[order][half - 1] + at[order][half]) / 2
        cut = min(max(cut, low + needs), high - needs) if 2 * needs <= high - low else (low + high) / 2
        for part, (begin, end) in ((order[:half], (low, cut)), (order[half:], (cut, high))):
            regions.append((cells[part], (begin, end) if wide else columns, rows if wide else (begin, end)))
    return near_x, near_y
