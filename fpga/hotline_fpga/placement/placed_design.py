"""A placed design, as nextpnr writes it: what lies where, what is connected, and how long signals take.

Everything is in arrays, for `refinement`. A *place* is a LUT, a flip-flop or the write side of a LUT memory in a tile: LUTs
are places 0 to 7 of their tile, flip-flops 8 to 15, write sides 16 to 23. A *wire* is one way from a cell that drives a
net to one that reads it. A *path* goes from register to register; its delay is the sum of what wires and LUTs take.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

LUT, REGISTER, WRITE_SIDE, OTHER = range(4)
PLACES = 24  # of a tile
KINDS = {"TRELLIS_COMB": LUT, "TRELLIS_FF": REGISTER, "TRELLIS_RAMW": WRITE_SIDE}
BELS = {LUT: "K", REGISTER: "FF", WRITE_SIDE: "RAMW"}
BEL = re.compile(r"X(\d+)/Y(\d+)/(?:SLICE([A-D])\.(?:K|FF|RAMW)(\d?))?")
#: Pins of a multiplier's factors.
FACTOR = re.compile(r"[AB]\d+$")
#: Nets of more cells do not count for wire length.
LARGEST_NET = 64
CLOCK_PINS = {"CLK", "CLKA", "CLKB", "WCK", "CLK0", "CLK1", "CLK2", "CLK3"}

#: ns that a wire of so many tiles takes, speed grade 8: means of a routed design (`--detailed-timing-report`).
TILES = [0, 1, 2, 3, 4, 6, 8, 10, 13, 18, 23, 30, 40, 53, 75, 240]
WIRE_NS = [0.4, 0.6, 0.66, 0.76, 0.83, 0.94, 1.0, 1.07, 1.23, 1.42, 1.63, 1.88, 2.18, 2.67, 3.5, 9.0]
#: More for a wire to these pins.
SLOW_PINS, SLOW_NS = ("CE", "LSR", "WRE"), 0.2
#: ns that cells take, speed grade 8 (nextpnr's reports). From the clock: a flip-flop, a block RAM and a multiplier with
#: and without a register behind them. Through a LUT, and through half a carry cell by whether a path comes from its chain, and
#: whether it goes on there.
WRITE_NS = 0.3
LUT_NS = {(False, False): 0.18, (False, True): 0.355, (True, False): 0.328, (True, True): 0.056}
CLOCK_NS = {("TRELLIS_FF", False): 0.4, ("DP16KD", False): 4.3, ("DP16KD", True): 0.9,
            ("MULT18X18D", False): 3.5, ("MULT18X18D", True): 1.0}  # fmt: skip
#: To the clock of a multiplier without registers before it.
MULTIPLY_NS = 2.6
#: Pins by which paths go through a LUT, where they come out, and pins of multiplexers of several LUTs.
INPUTS, OUTPUTS, MULTIPLEXED = ("A", "B", "C", "D", "FCI"), ("F", "FCO"), ("F1", "FXA", "FXB")
#: A flip-flop's wire from the LUT beside it, and what a path must not end with.
BESIDE_NS, NO_END = 0.12, -1000.0


class Cells(NamedTuple):
    """By cell. ``x``, ``y``, ``tile``, ``place``: where it is (tile -1: it stays there). ``kind``: LUT to OTHER. ``stays``: it
    moves with its tile only. ``beside``: a flip-flop that belongs to the LUT in the same place. ``enable``, ``reset``:
    numbers of what flip-flops of a slice, of a tile, must have in common. ``home``: where it was, PLACES * tile + place."""

    x: np.ndarray
    y: np.ndarray
    tile: np.ndarray
    place: np.ndarray
    kind: np.ndarray
    stays: np.ndarray
    beside: np.ndarray
    enable: np.ndarray
    reset: np.ndarray
    home: np.ndarray


class Tiles(NamedTuple):
    """By tile. ``cell`` [tile, place]: what is there, or -1. ``at`` [x, y]: the tile there, or -1. ``first``, ``length``: of the
    row of tiles that must stay together (a carry chain)."""

    x: np.ndarray
    y: np.ndarray
    cell: np.ndarray
    at: np.ndarray
    first: np.ndarray
    length: np.ndarray


class Wires(NamedTuple):
    """By wire: cells at its ends, its net, ns if that is fixed (else -1), ns as it was routed, right while both ends are at home
    (-1: it was not), and ns from its end to the clock (NO_END: it does not end there). ``of_cell``, ``of_cell_from``: numbers of
    each cell's wires that are not fixed, cell after cell."""

    source: np.ndarray
    sink: np.ndarray
    net: np.ndarray
    fixed: np.ndarray
    routed: np.ndarray
    end: np.ndarray
    of_cell: np.ndarray
    of_cell_from: np.ndarray


class Arcs(NamedTuple):
    """Ways through LUTs: from a wire to a net, in ns. ``into``, ``into_from``: each net's arcs. ``order``: nets, inputs first.
    ``starts``: by net, ns after the clock, or NO_END."""

    wire: np.ndarray
    net: np.ndarray
    ns: np.ndarray
    into: np.ndarray
    into_from: np.ndarray
    order: np.ndarray
    starts: np.ndarray


class Nets(NamedTuple):
    """Cells of each net that counts for wire length, net after net; and the numbers of each cell's nets."""

    cells: np.ndarray
    cells_from: np.ndarray
    of_cell: np.ndarray
    of_cell_from: np.ndarray


def grouped(keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the entries of ``keys`` (0 to ``count`` - 1) by key, and where each key's begin."""
    order = np.argsort(keys, kind="stable").astype(np.int32)
    return order, np.searchsorted(keys[order], np.arange(count + 1)).astype(np.int64)


class PlacedDesign:
    """A design that nextpnr has packed and placed, and written with ``--write``; with ``delays`` of its wires, ns by cell and pin
    (`sdf.read_delays`), one that it has routed.

    Raises ValueError when it is not placed, or has been mapped with multiplexers of several LUTs, whose places depend on
    each other.
    """

    def __init__(self, path: Path, delays: Mapping[tuple[str, str], float] | None = None):
        self.design = json.loads(path.read_text())
        self.module = next(iter(self.design["modules"].values()))
        self.names = list(self.module["cells"])
        self._cells = list(self.module["cells"].values())
        self._delays = delays or {}
        self._pins()
        self._places()
        self._wires_and_arcs()
        self._chains()
        self._lengths()

    def shared_luts(self) -> np.ndarray:
        """Numbers of the wires from LUTs to flip-flops beside them, of LUTs that others read as well."""
        wires = self.wires
        readers = np.bincount(wires.net, minlength=len(self._nets))
        return np.flatnonzero((wires.fixed == BESIDE_NS) & (readers[wires.net] > 1))

    def unpack(self, some: np.ndarray) -> None:
        """The flip-flops at the ends of ``some`` of `shared_luts` are moved by themselves, and wired to their LUTs."""
        self.cells.beside[self.wires.sink[some]] = False
        self.wires.fixed[some] = -1
        self._list_free_wires()

    def write(self, path: Path) -> None:
        """Writes the design with its cells where they are now. Of a routed one, nets whose drivers are at home stay routed."""
        leaves: set[int] = set()  # bits that come from somewhere else now
        moved = self.cells.home != _numbers(self.cells.tile, self.cells.place)
        for number, cell in enumerate(self._cells):
            tile, place = self.cells.tile[number], self.cells.place[number] % 8
            if tile < 0:
                continue
            kind = int(self.cells.kind[number])
            index = "" if kind == WRITE_SIDE else str(place % 2)
            cell["attributes"]["NEXTPNR_BEL"] = (
                f"X{self.tiles.x[tile]}/Y{self.tiles.y[tile]}/SLICE{'ABCD'[place // 2]}.{BELS[kind]}{index}"
            )
            if kind == REGISTER and _is_beside(cell) and not self.cells.beside[number]:
                cell["parameters"]["SD"] = "0 "
                for what in (cell["port_directions"], cell["connections"]):
                    what["M"] = what.pop("DI")
            if moved[number]:
                for port, bits in cell["connections"].items():
                    if cell["port_directions"][port] == "output":
                        leaves.update(bits)
        for net in self.module["netnames"].values():
            if not self._delays or not leaves.isdisjoint(net["bits"]):
                net["attributes"].pop("ROUTING", None)
        path.write_text(json.dumps(self.design))

    @staticmethod
    def _bit(cell: dict, port: str) -> int:
        bits = cell["connections"].get(port)
        return bits[0] if bits else -1

    def _pins(self) -> None:
        """Who drives and who reads each net; without clocks and constants."""
        driver: dict[int, tuple[int, str]] = {}
        readers: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for number, cell in enumerate(self._cells):
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if cell["port_directions"][port] == "output":
                        driver[bit] = number, port
                    elif port not in CLOCK_PINS:
                        readers[bit].append((number, port))
        constant = {bit for name, net in self.module["netnames"].items() if "$PACKER_" in name for bit in net["bits"]}
        bits = [
            bit
            for bit in driver
            if readers[bit] and bit not in constant and self._cells[driver[bit][0]]["type"] != "DCCA"
        ]
        self._nets = [(driver[bit], readers[bit]) for bit in bits]
        self._net_of = {bit: number for number, bit in enumerate(bits)}

    def _places(self) -> None:
        count = len(self.names)
        x, y, tile, place = (np.full(count, -1, np.int32) for _ in range(4))
        kind = np.full(count, OTHER, np.int32)
        stays, beside = np.zeros(count, bool), np.zeros(count, bool)
        enable, reset = np.zeros(count, np.int32), np.zeros(count, np.int32)
        enables: dict[tuple, int] = {}
        resets: dict[tuple, int] = {}
        tiles: dict[tuple[int, int], int] = {}
        for number, cell in enumerate(self._cells):
            found = BEL.match(cell["attributes"].get("NEXTPNR_BEL", ""))
            if not found:
                raise ValueError(f"{self.names[number]} has no place: not a design that nextpnr has placed")
            x[number], y[number] = int(found[1]), int(found[2])
            if cell["type"] not in KINDS:
                continue
            kind[number] = KINDS[cell["type"]]
            tile[number] = tiles.setdefault((int(found[1]), int(found[2])), len(tiles))
            place[number] = 8 * kind[number] + 2 * "ABCD".index(found[3]) + int(found[4] or 0)
            settings = cell["parameters"]
            if kind[number] == LUT:
                if any(self._bit(cell, port) >= 0 for port in MULTIPLEXED):
                    raise ValueError(
                        f"{self.names[number]} is a multiplexer of several LUTs: map without (-nowidelut)"
                    )
                stays[number] = settings.get("MODE", "LOGIC") != "LOGIC"
            elif kind[number] == REGISTER:
                beside[number] = _is_beside(cell)
                of_slice = (self._bit(cell, "CE"), settings.get("CEMUX"), settings.get("GSR"))
                of_tile = (
                    self._bit(cell, "CLK"),
                    settings.get("CLKMUX"),
                    self._bit(cell, "LSR"),
                    settings.get("LSRMUX"),
                    settings.get("SRMODE"),
                )
                enable[number] = enables.setdefault(of_slice, len(enables))
                reset[number] = resets.setdefault(of_tile, len(resets))
            else:
                stays[number] = True
        self.cells = Cells(x, y, tile, place, kind, stays, beside, enable, reset, _numbers(tile, place))
        tile_x, tile_y = np.array(list(tiles), np.int32).reshape(-1, 2).T.copy()
        cell_at = np.full((len(tiles), PLACES), -1, np.int32)
        inside = np.flatnonzero(tile >= 0)
        cell_at[tile[inside], place[inside]] = inside
        at = np.full((tile_x.max(initial=0) + 1, tile_y.max(initial=0) + 1), -1, np.int32)
        at[tile_x, tile_y] = np.arange(len(tiles))
        first, length = np.arange(len(tiles), dtype=np.int32), np.ones(len(tiles), np.int32)
        self.tiles = Tiles(tile_x, tile_y, cell_at, at, first, length)

    def _wires_and_arcs(self) -> None:
        ends: list[tuple[int, int, int]] = []  # source, sink, net
        delays: list[tuple[float, float, float]] = []  # of the wire, if fixed and if routed, and behind it
        ways: list[tuple[int, int]] = []  # wire, net
        through: list[float] = []
        starts = np.full(len(self._nets), NO_END)
        for number, ((driver, port), readers) in enumerate(self._nets):
            starts[number] = self._start_ns(driver, port)
            for reader, pin in readers:
                for other, ns in self._through(reader, pin):
                    ways.append((len(ends), other))
                    through.append(ns)
                ends.append((driver, reader, number))
                if_fixed, more, behind = self._wire_ns(reader, pin)
                # What the wire takes more counts behind it, as routed, too.
                if_routed = self._delays.get((self.names[reader], pin), -1.0)
                delays.append((if_fixed, max(0.0, if_routed - more) if if_routed >= 0 else -1.0, more + behind))
        source, sink, net = np.array(ends, np.int32).reshape(-1, 3).T.copy()
        fixed, routed, end = np.array(delays, float).reshape(-1, 3).T.copy()
        none = np.empty(0, np.int64)
        self.wires = Wires(source, sink, net, fixed, routed, end, none, none)
        self._list_free_wires()
        wire, into_net = np.array(ways, np.int32).reshape(-1, 2).T.copy()
        into, into_from = grouped(into_net, len(self._nets))
        starts[(starts == NO_END) & (np.diff(into_from) == 0)] = 0.0  # LUTs of constants
        order = _inputs_first(net[wire], into_net, len(self._nets))
        self.arcs = Arcs(wire, into_net, np.array(through, float), into, into_from, order, starts)

    def _list_free_wires(self) -> None:
        wires = self.wires
        free = np.flatnonzero(wires.fixed < 0).astype(np.int32)
        order, of_cell_from = grouped(np.concatenate([wires.source[free], wires.sink[free]]), len(self.names))
        self.wires = wires._replace(of_cell=np.concatenate([free, free])[order], of_cell_from=of_cell_from)

    def _start_ns(self, driver: int, port: str) -> float:
        """From the clock to this output, or NO_END if it does not come from a register."""
        kind, settings = self._cells[driver]["type"], self._cells[driver]["parameters"]
        if kind in ("TRELLIS_COMB", "TRELLIS_IO"):
            return NO_END
        if kind == "DP16KD":
            registered = settings.get("REGMODE_A" if port.startswith("DOA") else "REGMODE_B") == "OUTREG"
        else:
            registered = settings.get("REG_OUTPUT_CLK", "NONE") != "NONE"
        return CLOCK_NS.get((kind, registered), 0.0)

    def _wire_ns(self, reader: int, pin: str) -> tuple[float, float, float]:
        """Of the wire to this pin: ns if it is fixed, else -1; ns more than others; and from its end to the clock."""
        cell = self._cells[reader]
        more = SLOW_NS if pin in SLOW_PINS else 0.0
        if pin == "FCI":
            return 0.0, 0.0, NO_END
        if cell["type"] == "TRELLIS_IO":
            return -1.0, 0.0, NO_END
        if cell["type"] == "TRELLIS_COMB":
            if pin.startswith("WAD") or pin == "WD":
                return WRITE_NS, 0.0, 0.0  # from the write side in the same tile
            return -1.0, more, 0.0 if pin == "WRE" else NO_END
        if pin == "DI" and self.cells.beside[reader]:
            return BESIDE_NS, 0.0, 0.0
        if cell["type"] == "TRELLIS_RAMW":
            return -1.0, 0.0, WRITE_NS
        if cell["type"] == "MULT18X18D" and FACTOR.match(pin):
            is_registered = cell["parameters"].get(f"REG_INPUT{pin[0]}_CLK", "NONE") != "NONE"
            return -1.0, 0.0, 0.0 if is_registered else MULTIPLY_NS
        return -1.0, more, 0.0

    def _through(self, reader: int, pin: str) -> list[tuple[int, float]]:
        """Nets that this pin of a LUT leads to, and ns through it."""
        cell = self._cells[reader]
        if cell["type"] != "TRELLIS_COMB" or pin not in INPUTS:
            return []
        found = []
        for port in OUTPUTS:
            bit = self._bit(cell, port)
            if bit in self._net_of:
                found.append((self._net_of[bit], LUT_NS[pin == "FCI", port == "FCO"]))
        return found

    def _chains(self) -> None:
        """Tiles between which a carry goes stay side by side."""
        tiles, carries = self.tiles, self.wires.fixed == 0
        sides = (self.cells.tile[some[carries]] for some in (self.wires.source, self.wires.sink))
        for a, b in zip(*sides, strict=True):
            if tiles.first[a] != tiles.first[b]:
                joined = np.flatnonzero((tiles.first == tiles.first[a]) | (tiles.first == tiles.first[b]))
                joined = joined[np.argsort(tiles.x[joined])]
                tiles.first[joined], tiles.length[joined] = joined[0], len(joined)

    def _lengths(self) -> None:
        """Which cells each net that counts for wire length connects."""
        every = [sorted({driver, *(reader for reader, _ in readers)}) for (driver, _), readers in self._nets]
        members = [some for some in every if 2 <= len(some) <= LARGEST_NET]
        sizes = np.array([len(some) for some in members])
        cells = np.array([cell for some in members for cell in some], np.int32)
        order, of_cell_from = grouped(cells, len(self.names))
        of_cell = np.repeat(np.arange(len(members), dtype=np.int32), sizes)[order]
        self.nets = Nets(cells, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), of_cell, of_cell_from)


def _numbers(tile: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Of places, through all tiles."""
    return PLACES * tile + place


def _is_beside(cell: dict) -> bool:
    """A flip-flop takes what the LUT in the same place gives (``DI``), not what is wired to it (``M``)."""
    return cell["parameters"]["SD"].strip() == "1"


def _inputs_first(before: np.ndarray, after: np.ndarray, count: int) -> np.ndarray:
    """Numbers 0 to ``count`` - 1 in an order in which each of ``before`` comes earlier than what is ``after`` it."""
    out, out_from = grouped(before, count)
    waits_for = np.bincount(after, minlength=count)
    order = list(np.flatnonzero(waits_for == 0))
    for number in order:
        for arc in out[out_from[number] : out_from[number + 1]]:
            waits_for[after[arc]] -= 1
            if not waits_for[after[arc]]:
                order.append(after[arc])
    if len(order) < count:
        raise ValueError("LUTs form a loop")
    return np.array(order, np.int32)
