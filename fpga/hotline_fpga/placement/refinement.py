"""Moves cells of a placed design until its long paths are shorter: simulated annealing on delays and on wire.

nextpnr's static placer makes little wire but does not look at timing. Here a move exchanges what is in two places, or in two
rows of tiles (so that carry chains and LUT memories move, too); it is judged by the delay of the wires that change, each
weighted by how long the longest path through it is, and by the wire of their nets. Paths are analysed anew every round, and
weights follow slowly (Marquardt, Betz and Rose, FPGA 2000: timing-driven annealing). Few places may hold a given flip-flop, and
hardly any a carry chain, so chance alone seldom finds one: cells of long paths are also *relocated*, to the best of the places
nearest to where they should be. In the last rounds only what makes long paths shorter is kept.

These delays are estimates. A routed design is *repaired* by the router's own delays: the last rounds once more, few of them, so
that most wires stay as they are.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from .placed_design import LUT, NO_END, PLACES, TILES, WIRE_NS, PlacedDesign
from .sdf import read_delays

#: Rounds of annealing, and what is tried in each: exchanges of cells and of rows of tiles, relocations of cells and carry chains.
ROUNDS, MOVES, ROW_MOVES, RELOCATIONS, CHAIN_RELOCATIONS = 40, 500_000, 5_000, 3_000, 200
#: Rounds after these in which only what is better is kept, and what is tried in them.
LAST_ROUNDS, LAST_PULLS, LAST_CHAIN_PULLS = 400, 100, 5
#: The same for what is repaired when it has been routed.
MEND_ROUNDS, MEND_PULLS, MEND_CHAIN_PULLS = 100, 20, 2
#: What the longest path shall become, as a part of the shortest that it has been.
GOAL = 0.8
#: A path's weight is its length as a part of the goal, to the power of STEEPNESS.
STEEPNESS, LAST_STEEPNESS, HEAVIEST = 8, 12, 200.0
#: Part of a weight that stays from round to round.
INERTIA = 0.7
#: What a tile of wire weighs, ns.
WIRE_WEIGHT = 0.04
#: Temperature at the beginning, ns, and how far cells move at most, tiles.
TEMPERATURE, FARTHEST = 0.02, 16
#: Rounds between looks at flip-flops that lie beside a LUT which others read, too: if one of both is on a long path, and the wire
#: between them has so many ns to spare, they go their own ways from then on.
UNPACK_ROUNDS, UNPACK_NS = 10, 1.0
#: Cells of a path that are relocated together, at most.
LINKS = 4
#: How far from where a cell of a long path shall be places are looked at for it, tiles, if there are not so many nearer by.
NEAR, CANDIDATES = 6, 24
#: Cells of paths of more than this part of the goal are relocated; these paths count in the last rounds.
LONG = 0.9

# Numba compiles constants in, those of other modules, too, and its cache would not see them change: so there is none.
NS = np.interp(np.arange(TILES[-1] + 1), TILES, WIRE_NS)


@njit(nogil=True, inline="always")
def _is_at_home(cell, cells):
    return cells.home[cell] == PLACES * cells.tile[cell] + cells.place[cell]


@njit(nogil=True, inline="always")
def _wire_ns(w, wires, cells):
    if wires.fixed[w] >= 0:
        return wires.fixed[w]
    a, b = wires.source[w], wires.sink[w]
    if wires.routed[w] >= 0 and _is_at_home(a, cells) and _is_at_home(b, cells):
        return wires.routed[w]
    return NS[abs(cells.x[a] - cells.x[b]) + abs(cells.y[a] - cells.y[b])]


@njit(nogil=True)
def analyse(wires, arcs, cells):
    """By wire: ns of the longest path through it."""
    count = len(wires.source)
    ns = np.empty(count)
    for w in range(count):
        ns[w] = _wire_ns(w, wires, cells)
    nets = len(arcs.order)
    arrival, rest = arcs.starts.copy(), np.full(nets, NO_END)
    for net in arcs.order:
        for j in range(arcs.into_from[net], arcs.into_from[net + 1]):
            arc = arcs.into[j]
            w = arcs.wire[arc]
            arrival[net] = max(arrival[net], arrival[wires.net[w]] + ns[w] + arcs.ns[arc])
    after = wires.end.copy()
    for w in range(count):
        rest[wires.net[w]] = max(rest[wires.net[w]], ns[w] + after[w])
    for n in range(nets - 1, -1, -1):
        net = arcs.order[n]
        for j in range(arcs.into_from[net], arcs.into_from[net + 1]):
            arc = arcs.into[j]
            w = arcs.wire[arc]
            after[w] = max(after[w], arcs.ns[arc] + rest[net])
            rest[wires.net[w]] = max(rest[wires.net[w]], ns[w] + after[w])
    path = np.empty(count)
    for w in range(count):
        path[w] = max(0.0, arrival[wires.net[w]] + ns[w] + after[w])
    return path


@njit(nogil=True)
def _half_perimeter(net, nets, cells):
    first = nets.cells[nets.cells_from[net]]
    left = right = cells.x[first]
    low = high = cells.y[first]
    for j in range(nets.cells_from[net] + 1, nets.cells_from[net + 1]):
        x, y = cells.x[nets.cells[j]], cells.y[nets.cells[j]]
        left, right, low, high = min(left, x), max(right, x), min(low, y), max(high, y)
    return right - left + high - low


@njit(nogil=True)
def wire_length(nets, cells):
    """Half the perimeters of all nets' bounding boxes, tiles."""
    total = 0
    for net in range(len(nets.cells_from) - 1):
        total += _half_perimeter(net, nets, cells)
    return total


@njit(nogil=True)
def _cost(some, count, weights, wires, nets, cells):
    """Of all that hangs on the first ``count`` cells of ``some``."""
    total = 0.0
    for n in range(count):
        cell = some[n]
        for j in range(nets.of_cell_from[cell], nets.of_cell_from[cell + 1]):
            total += WIRE_WEIGHT * _half_perimeter(nets.of_cell[j], nets, cells)
        for j in range(wires.of_cell_from[cell], wires.of_cell_from[cell + 1]):
            w = wires.of_cell[j]
            total += weights[w] * _wire_ns(w, wires, cells)
    return total


@njit(nogil=True)
def _may_hold(tile, index, register, cells, tiles):
    """Whether place ``index`` of the tile's registers may hold ``register`` beside those of its other places."""
    if register < 0:
        return True
    neighbour = tiles.cell[tile, 8 + (index ^ 1)]
    if neighbour >= 0 and cells.enable[neighbour] != cells.enable[register]:
        return False
    for other in range(8):
        there = tiles.cell[tile, 8 + other]
        if other != index and there >= 0 and cells.reset[there] != cells.reset[register]:
            return False
    return True


@njit(nogil=True)
def _centre(some, count, weights, wires, cells):
    """Where what hangs on the cells is, on average by weight, relative to each."""
    x, y, total = 0.0, 0.0, 1e-9
    for n in range(count):
        cell = some[n]
        for j in range(wires.of_cell_from[cell], wires.of_cell_from[cell + 1]):
            w = wires.of_cell[j]
            other = wires.sink[w] if wires.source[w] == cell else wires.source[w]
            weight = weights[w] + WIRE_WEIGHT
            x += weight * (cells.x[other] - cells.x[cell])
            y += weight * (cells.y[other] - cells.y[cell])
            total += weight
    return round(x / total), round(y / total)


@njit(nogil=True)
def _choose(x0, y0, x, y, size, whole, cells, tiles, chosen):
    """Marks in ``chosen`` [tile, place] what goes with an exchange of ``size`` tiles from (x0, y0) on with those from (x, y) on:
    all (``whole``), or the carry chains in both and the flip-flops that belong to them. Returns whether that may be: LUT
    memories go with all that is in their tile."""
    chosen[:size] = whole
    for n in range(0 if whole else size):
        here, there = tiles.at[x0 + n, y0], tiles.at[x + n, y]
        for place in range(16, PLACES):
            if tiles.cell[here, place] >= 0 or tiles.cell[there, place] >= 0:
                return False
        for tile in (here, there):
            for index in range(8):
                lut = tiles.cell[tile, index]
                chosen[n, index] = chosen[n, index] or (lut >= 0 and cells.stays[lut])
        for tile in (here, there):
            for index in range(8):
                register = tiles.cell[tile, 8 + index]
                if chosen[n, index] and register >= 0 and cells.beside[register]:
                    chosen[n, 8 + index] = True
    return True


@njit(nogil=True)
def _add_row(x, y, size, chosen, some, count, tiles):
    """Puts the cells in the ``chosen`` places of ``size`` tiles from (x, y) on behind the first ``count`` of ``some``; returns
    how many there are then."""
    for n in range(size):
        for place in range(PLACES):
            cell = tiles.cell[tiles.at[x + n, y], place]
            if chosen[n, place] and cell >= 0:
                some[count] = cell
                count += 1
    return count


@njit(nogil=True)
def _kept(change, temperature):
    return change <= 0 or np.random.random() < np.exp(-change / temperature)


@njit(nogil=True)
def _swap(here, place, there, other, cells, tiles):
    """Exchanges what is in two places. Twice, and all is as it was."""
    a, b = tiles.cell[here, place], tiles.cell[there, other]
    tiles.cell[here, place], tiles.cell[there, other] = b, a
    if a >= 0:
        cells.tile[a], cells.place[a], cells.x[a], cells.y[a] = there, other, tiles.x[there], tiles.y[there]
    if b >= 0:
        cells.tile[b], cells.place[b], cells.x[b], cells.y[b] = here, place, tiles.x[here], tiles.y[here]


@njit(nogil=True)
def _swap_cells(exchange, cells, tiles):
    """Carries out ``exchange``: (tile, index) of the one and the other, and whether of LUTs, of registers."""
    here, index, there, other, luts, registers = exchange
    if luts:
        _swap(here, index, there, other, cells, tiles)
    if registers:
        _swap(here, 8 + index, there, 8 + other, cells, tiles)


@njit(nogil=True)
def _swap_rows(x0, y0, x, y, size, chosen, cells, tiles):
    """Exchanges what is in the ``chosen`` places of ``size`` tiles from (x0, y0) on with what is in those from (x, y) on."""
    for n in range(size):
        for place in range(PLACES):
            if chosen[n, place]:
                _swap(tiles.at[x0 + n, y0], place, tiles.at[x + n, y], place, cells, tiles)


@njit(nogil=True)
def _may_be(x, y, size, cells, tiles):
    """Whether the flip-flops in ``size`` tiles from (x, y) on may be in one tile, and in one slice, each with its neighbours."""
    for n in range(size):
        tile = tiles.at[x + n, y]
        for index in range(8):
            if not _may_hold(tile, index, tiles.cell[tile, 8 + index], cells, tiles):
                return False
    return True


@njit(nogil=True)
def _try(cell, there, other, some, weights, cells, tiles, wires, nets):
    """Exchanges ``cell`` with what is in place ``other`` of tile ``there``, if that may be; returns the exchange, and what it has
    changed. Tiles of -1: none was made."""
    none = (-1, 0, -1, 0, False, False)
    here, index = cells.tile[cell], cells.place[cell] % 8
    lut, lut_there = tiles.cell[here, index], tiles.cell[there, other]
    register, register_there = tiles.cell[here, 8 + index], tiles.cell[there, 8 + other]
    bound = (register >= 0 and cells.beside[register]) or (register_there >= 0 and cells.beside[register_there])
    luts, registers = bound or cells.kind[cell] == LUT, bound or cells.kind[cell] != LUT
    if luts and ((lut >= 0 and cells.stays[lut]) or (lut_there >= 0 and cells.stays[lut_there])):
        return none, 0.0
    if registers and not (
        _may_hold(there, other, register, cells, tiles) and _may_hold(here, index, register_there, cells, tiles)
    ):
        return none, 0.0
    count = 0
    for wanted, moved in ((luts, lut), (luts, lut_there), (registers, register), (registers, register_there)):
        if wanted and moved >= 0:
            some[count] = moved
            count += 1
    exchange = (here, index, there, other, luts, registers)
    before = _cost(some, count, weights, wires, nets, cells)
    _swap_cells(exchange, cells, tiles)
    return exchange, _cost(some, count, weights, wires, nets, cells) - before


@njit(nogil=True)
def _tile_at(x, y, tiles):
    """The tile there, or -1."""
    if x < 0 or y < 0 or x >= tiles.at.shape[0] or y >= tiles.at.shape[1]:
        return -1
    return tiles.at[x, y]


@njit(nogil=True)
def _best(cell, x, y, some, weights, cells, tiles, wires, nets):
    """Makes the exchange of ``cell`` with one of the places nearest to (``x``, ``y``) that changes costs most for the better, or
    least for the worse; returns as `_try`."""
    found, least, count = (-1, 0, -1, 0, False, False), np.inf, 0
    here = cells.tile[cell]
    if here < 0 or cells.place[cell] >= 16:
        return found, 0.0
    for distance in range(NEAR + 1):
        for dx in range(-distance, distance + 1):
            for dy in range(-distance, distance + 1, 1 if abs(dx) == distance else max(1, 2 * distance)):
                there = _tile_at(x + dx, y + dy, tiles)
                if there < 0 or there == here:
                    continue
                for other in range(8):
                    exchange, change = _try(cell, there, other, some, weights, cells, tiles, wires, nets)
                    if exchange[0] >= 0:
                        _swap_cells(exchange, cells, tiles)
                        count += 1
                        if change < least:
                            found, least = exchange, change
        if count >= CANDIDATES:
            break
    if found[0] >= 0:
        _swap_cells(found, cells, tiles)
    return found, least


@njit(nogil=True)
def _heaviest(cell, without, weights, wires):
    """What is at the other end of the cell's heaviest wire, but for those to the cell ``without``; -1: nothing."""
    found, most = -1, -1.0
    for j in range(wires.of_cell_from[cell], wires.of_cell_from[cell + 1]):
        w = wires.of_cell[j]
        other = wires.sink[w] if wires.source[w] == cell else wires.source[w]
        if other != without and weights[w] > most:
            found, most = other, weights[w]
    return found


@njit(nogil=True)
def exchange_cells(seed, moves, temperature, reach, weights, movable, cells, tiles, wires, nets):
    """Tries ``moves`` exchanges of what is in two places, at most ``reach`` tiles apart."""
    np.random.seed(seed)
    some = np.empty(4, np.int32)
    for _ in range(moves):
        cell = movable[np.random.randint(len(movable))]
        x, y = np.random.randint(-reach, reach + 1), np.random.randint(-reach, reach + 1)
        there = _tile_at(cells.x[cell] + x, cells.y[cell] + y, tiles)
        if there < 0 or there == cells.tile[cell]:
            continue
        exchange, change = _try(cell, there, np.random.randint(8), some, weights, cells, tiles, wires, nets)
        if exchange[0] >= 0 and not _kept(change, temperature):
            _swap_cells(exchange, cells, tiles)


@njit(nogil=True)
def relocate_cells(seed, moves, weights, critical, cells, tiles, wires, nets):
    """Moves what is at ``moves`` of the ``critical`` wires where it is best: near all that it is wired to, to the wire's other
    end, or anywhere on the way there. If that is not better, the next cell of the path follows, up to LINKS; if nothing helps,
    all stay."""
    np.random.seed(seed)
    some = np.empty(4, np.int32)
    made = [(-1, 0, -1, 0, False, False) for _ in range(LINKS)]
    for _ in range(moves if len(critical) else 0):
        w = critical[np.random.randint(len(critical))]
        cell, before, links = wires.source[w], wires.sink[w], 1
        if np.random.random() < 0.5:
            cell, before = before, cell
        x, y = cells.x[before], cells.y[before]
        if np.random.random() < 0.5:
            some[0] = cell
            dx, dy = _centre(some, 1, weights, wires, cells)
            x, y = cells.x[cell] + dx, cells.y[cell] + dy
        else:
            links = LINKS
        if np.random.random() < 0.5:
            part = np.random.random()
            x = cells.x[cell] + round(part * (x - cells.x[cell]))
            y = cells.y[cell] + round(part * (y - cells.y[cell]))
        count, change = 0, 0.0
        while count < links and cell >= 0:
            exchange, more = _best(cell, x, y, some, weights, cells, tiles, wires, nets)
            if exchange[0] < 0:
                break
            made[count] = exchange
            count += 1
            change += more
            if change < 0:
                break
            x, y = cells.x[cell], cells.y[cell]
            before, cell = cell, _heaviest(cell, before, weights, wires)
        if change >= 0:
            for n in range(count):
                _swap_cells(made[count - 1 - n], cells, tiles)


@njit(nogil=True)
def _fits(x, y, size, tiles):
    """Whether there are ``size`` tiles from (x, y) on, and no row of tiles that goes on outside."""
    if x < 0 or y < 0 or x + size > tiles.at.shape[0] or y >= tiles.at.shape[1]:
        return False
    for n in range(size):
        tile = tiles.at[x + n, y]
        if tile < 0:
            return False
        begins = tiles.x[tiles.first[tile]]
        if begins < x or begins + tiles.length[tile] > x + size:
            return False
    return True


@njit(nogil=True)
def _try_rows(x0, y0, x, y, size, whole, room, weights, cells, tiles, wires, nets):
    """Exchanges ``size`` tiles from (x0, y0) on with those from (x, y) on: all that is in them, or the carry chains only. Returns
    whether that may be, and what it has changed; which places have is in ``room``."""
    some, chosen = room
    if (y == y0 and abs(x - x0) < size) or not _fits(x, y, size, tiles):
        return False, 0.0
    if not _choose(x0, y0, x, y, size, whole, cells, tiles, chosen):
        return False, 0.0
    count = _add_row(x0, y0, size, chosen, some, 0, tiles)
    count = _add_row(x, y, size, chosen, some, count, tiles)
    # Wires inside count twice in what hangs on the cells; they do not change, but for those that were routed.
    before = _cost(some, count, weights, wires, nets, cells)
    _swap_rows(x0, y0, x, y, size, chosen, cells, tiles)
    if whole or (_may_be(x0, y0, size, cells, tiles) and _may_be(x, y, size, cells, tiles)):
        return True, _cost(some, count, weights, wires, nets, cells) - before
    _swap_rows(x0, y0, x, y, size, chosen, cells, tiles)
    return False, 0.0


@njit(nogil=True)
def _mark_rows(x0, y0, x, y, size, tiles):
    """Two rows of ``size`` tiles have been exchanged: which of them must stay together has gone with them."""
    first, length = np.empty(size, np.int32), np.empty(size, np.int32)
    for n in range(size):
        there = tiles.at[x + n, y]
        first[n], length[n] = tiles.x[tiles.first[there]] - x, tiles.length[there]
    for n in range(size):
        here, there = tiles.at[x0 + n, y0], tiles.at[x + n, y]
        tiles.first[there], tiles.length[there] = tiles.at[x, y], size
        tiles.first[here], tiles.length[here] = tiles.at[x0 + first[n], y0], length[n]


@njit(nogil=True)
def _room_for_rows(tiles):
    """Where `_try_rows` keeps cells and chosen places."""
    longest = tiles.length.max()
    return np.empty(2 * PLACES * longest, np.int32), np.empty((longest, PLACES), np.bool_)


@njit(nogil=True)
def exchange_rows(seed, moves, temperature, reach, weights, cells, tiles, wires, nets):
    """Tries ``moves`` exchanges of all that is in a row of tiles that must stay together, or in one tile, with what is in others,
    at most ``reach`` tiles away."""
    np.random.seed(seed)
    room = _room_for_rows(tiles)
    for _ in range(moves):
        begin = tiles.first[np.random.randint(len(tiles.x))]
        size, x0, y0 = tiles.length[begin], tiles.x[begin], tiles.y[begin]
        x, y = x0 + np.random.randint(-reach, reach + 1), y0 + np.random.randint(-reach, reach + 1)
        made, change = _try_rows(x0, y0, x, y, size, True, room, weights, cells, tiles, wires, nets)
        if not made:
            continue
        if _kept(change, temperature):
            _mark_rows(x0, y0, x, y, size, tiles)
        else:
            _swap_rows(x0, y0, x, y, size, room[1], cells, tiles)


@njit(nogil=True)
def relocate_chains(seed, moves, weights, critical, cells, tiles, wires, nets):
    """Moves the carry chains at ``moves`` of the ``critical`` wires to where they are best, near what they are wired to: alone,
    or with all that is in their tiles."""
    np.random.seed(seed)
    room = _room_for_rows(tiles)
    some, chosen = room
    for _ in range(moves if len(critical) else 0):
        w = critical[np.random.randint(len(critical))]
        cell = wires.source[w] if np.random.random() < 0.5 else wires.sink[w]
        if cells.tile[cell] < 0 or not cells.stays[cell]:
            continue
        begin = tiles.first[cells.tile[cell]]
        size, x0, y0 = tiles.length[begin], tiles.x[begin], tiles.y[begin]
        alone = _choose(x0, y0, x0, y0, size, False, cells, tiles, chosen)
        if not alone:
            _choose(x0, y0, x0, y0, size, True, cells, tiles, chosen)
        dx, dy = _centre(some, _add_row(x0, y0, size, chosen, some, 0, tiles), weights, wires, cells)
        least, best_x, best_y, best_whole = 0.0, -1, -1, False
        for whole in (False, True):
            if not (alone or whole):
                continue
            for x in range(x0 + dx - NEAR, x0 + dx + NEAR + 1):
                for y in range(y0 + dy - NEAR, y0 + dy + NEAR + 1):
                    made, change = _try_rows(x0, y0, x, y, size, whole, room, weights, cells, tiles, wires, nets)
                    if made:
                        _swap_rows(x0, y0, x, y, size, chosen, cells, tiles)
                        if change < least:
                            least, best_x, best_y, best_whole = change, x, y, whole
        if best_x >= 0:
            _try_rows(x0, y0, best_x, best_y, size, best_whole, room, weights, cells, tiles, wires, nets)
            _mark_rows(x0, y0, best_x, best_y, size, tiles)


def _unpack(design: PlacedDesign, path: np.ndarray, long: float) -> None:
    """Parts flip-flops from LUTs that others read, where paths of more than ``long`` ns go through either."""
    wires, shared = design.wires, design.shared_luts()
    longest = np.zeros(len(design.names))  # path through what each cell drives, but for the flip-flop beside it
    others = np.ones(len(path), bool)
    others[shared] = False
    np.maximum.at(longest, wires.source[others], path[others])
    through = np.maximum(longest[wires.source[shared]], longest[wires.sink[shared]])
    design.unpack(shared[(through > long) & (path[shared] + UNPACK_NS < long)])


class _Annealing:
    """A design that is being changed, how long the paths through its wires are, and what has been best."""

    def __init__(self, design: PlacedDesign, seed: int):
        self.design = design
        self.random = np.random.default_rng(seed)
        self.path = self._analyse()
        self.goal = GOAL * self.longest

    @property
    def longest(self) -> float:
        """ns, as estimated; of what is at home in a routed design, as routed."""
        return float(self.path.max())

    def _analyse(self) -> np.ndarray:
        return analyse(self.design.wires, self.design.arcs, self.design.cells)

    def _weights(self, steepness: int) -> np.ndarray:
        return np.minimum((self.path / self.goal) ** steepness, HEAVIEST)

    def _arrays(self) -> tuple:
        """What a move looks at, and changes."""
        return self.design.cells, self.design.tiles, self.design.wires, self.design.nets

    def _draw(self) -> int:
        return int(self.random.integers(1 << 31))

    def _relocate(self, weights: np.ndarray, ns: float, relocations: int, chain_relocations: int) -> None:
        """Pulls cells and chains at wires that paths of more than ``ns`` go through."""
        critical = np.flatnonzero((self.path > ns) & (self.design.wires.fixed < 0)).astype(np.int32)
        relocate_cells(self._draw(), relocations, weights, critical, *self._arrays())
        relocate_chains(self._draw(), chain_relocations, weights, critical, *self._arrays())

    def anneal(self, progress: Callable[[str], None]) -> None:
        """Anneals in ROUNDS: at first much is allowed to become worse, in the end nothing."""
        design = self.design
        movable = np.flatnonzero((design.cells.tile >= 0) & ~design.cells.stays).astype(np.int32)
        weights = self._weights(STEEPNESS)
        for step in range(ROUNDS):
            left = 1 - step / (ROUNDS - 1)
            temperature, reach = TEMPERATURE * left**2 + 1e-6, max(2, round(FARTHEST * left))
            exchange_cells(self._draw(), MOVES, temperature, reach, weights, movable, *self._arrays())
            self._relocate(weights, LONG * self.goal, RELOCATIONS, CHAIN_RELOCATIONS)
            exchange_rows(self._draw(), ROW_MOVES, temperature, reach, weights, *self._arrays())
            self.path = self._analyse()
            self.goal = min(self.goal, GOAL * self.longest)
            if step % UNPACK_ROUNDS == UNPACK_ROUNDS - 1:
                _unpack(design, self.path, LONG * self.goal)
            weights = INERTIA * weights + (1 - INERTIA) * self._weights(STEEPNESS)
            progress(f"refining: longest path about {self.longest:.1f} ns")

    def shorten(self, rounds: int, relocations: int, chain_relocations: int) -> None:
        """Pulls what is on long paths for so many rounds; each begins with the best of what has been, by how much too long paths
        are, and that is what stays."""
        cells, tiles, ends = self.design.cells, self.design.tiles, self.design.wires.end >= 0
        state = (cells.x, cells.y, cells.tile, cells.place, tiles.cell, tiles.first, tiles.length)
        best, best_path, least = [one.copy() for one in state], self.path, np.inf
        weights = self._weights(LAST_STEEPNESS)
        for n in range(rounds + 1):
            badness = float((np.maximum(self.path[ends] - LONG * self.goal, 0) ** 3).sum())
            is_better = badness < least
            for kept, now in zip(best, state, strict=True):
                if is_better:
                    kept[...] = now
                else:
                    now[...] = kept
            if is_better:
                best_path, least = self.path, badness
            self.path = best_path
            if n < rounds:
                long = max(LONG * self.goal, self.longest - self.random.choice([0.3, 1.0, 2.5]))
                self._relocate(weights, long, relocations, chain_relocations)
                self.path = self._analyse()
                weights = INERTIA * weights + (1 - INERTIA) * self._weights(LAST_STEEPNESS)


def refine(
    placed: Path, seed: int, out: Path, progress: Callable[[str], None] = lambda text: None
) -> tuple[float, float]:
    """Writes the design ``placed`` with other places to ``out``; returns the longest path before and after, ns, as estimated.

    The same ``seed`` gives the same places. Raises ValueError for a design that is not placed.
    """
    annealing = _Annealing(PlacedDesign(placed), seed)
    began = annealing.longest
    annealing.anneal(progress)
    annealing.shorten(LAST_ROUNDS, LAST_PULLS, LAST_CHAIN_PULLS)
    progress(f"refined: longest path about {annealing.longest:.1f} ns")
    annealing.design.write(out)
    return began, annealing.longest


def repair(routed: Path, delays: Path, seed: int, out: Path) -> tuple[float, float]:
    """Writes the design ``routed`` with other places for a few cells of its longest paths to ``out``; returns the longest path
    before and after, ns: wires between cells that stay take what ``delays``, the router's SDF, says. Writes nothing when it has
    not become shorter.

    What such wires are routed through is kept. The same ``seed`` gives the same places. Raises ValueError for a design that is
    not placed.
    """
    annealing = _Annealing(PlacedDesign(routed, read_delays(delays)), seed)
    began = annealing.longest
    annealing.shorten(MEND_ROUNDS, MEND_PULLS, MEND_CHAIN_PULLS)
    if annealing.longest < began:
        annealing.design.write(out)
    return began, annealing.longest
