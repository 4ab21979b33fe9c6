"""Moves cells of a placed design until its long paths are shorter: simulated annealing on delays and on wire.

nextpnr's static placer makes little wire but does not look at timing. Here a move exchanges what is in two places, or in two
rows of tiles (so that carry chains and LUT memories move, too); it is judged by the delay of the wires that change, each
weighted by how long the longest path through it is, and by the wire of their nets. Paths are analysed anew every round, and
weights follow slowly (Marquardt, Betz and Rose, FPGA 2000: timing-driven annealing). In the last rounds only what makes long
paths shorter is kept. Other delays are estimates; the router has the last word.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from .placed_design import LUT, NO_END, PLACES, TILES, WIRE_NS, PlacedDesign

#: Rounds of annealing, moves that are tried in each, and among them exchanges of rows of tiles.
ROUNDS, MOVES, ROW_MOVES = 40, 1_000_000, 10_000
#: Rounds after these in which only what is better is kept, and their moves.
LAST_ROUNDS, LAST_MOVES = 800, 600
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
UNTIE_ROUNDS, UNTIE_NS = 10, 1.0
#: Cells of a path that are moved together at most, in exchanges of cells.
LINKS = 4
#: Paths of more than this part of the goal are moved by themselves, too, and count in the last rounds.
LONG = 0.9

# Numba compiles constants in, those of other modules, too, and its cache would not see them change: so there is none.
NS = np.interp(np.arange(TILES[-1] + 1), TILES, WIRE_NS)


@njit(nogil=True, inline="always")
def _wire_ns(w, wires, cells):
    if wires.fixed[w] >= 0:
        return wires.fixed[w]
    a, b = wires.source[w], wires.sink[w]
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
def _add_row(x, y, size, some, count, tiles):
    """Puts the cells of ``size`` tiles from (x, y) on behind the first ``count`` of ``some``; returns how many there are then."""
    for n in range(size):
        for cell in tiles.cell[tiles.at[x + n, y]]:
            if cell >= 0:
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
def _swap_rows(x0, y0, x, y, size, cells, tiles):
    """Exchanges all that is in ``size`` tiles from (x0, y0) on with what is in those from (x, y) on."""
    for n in range(size):
        for place in range(PLACES):
            _swap(tiles.at[x0 + n, y0], place, tiles.at[x + n, y], place, cells, tiles)


@njit(nogil=True)
def _move(cell, x, y, some, weights, cells, tiles, wires, nets):
    """Exchanges ``cell`` with what is in some place of tile (``x``, ``y``), if that may be; returns the exchange, and what it has
    changed. Tiles of -1: none was made."""
    none = (-1, 0, -1, 0, False, False)
    here, place = cells.tile[cell], cells.place[cell]
    if here < 0 or place >= 16 or x < 0 or y < 0 or x >= tiles.at.shape[0] or y >= tiles.at.shape[1]:
        return none, 0.0
    there, index, other = tiles.at[x, y], place % 8, np.random.randint(8)
    if there < 0 or there == here:
        return none, 0.0
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
def exchange_cells(seed, moves, temperature, reach, weights, critical, movable, cells, tiles, wires, nets):
    """Tries ``moves`` exchanges of what is in two places: of any cells, and of those at ``critical`` wires. What a long path goes
    through is pulled to one end of its wire; if that alone is not better, the next of the path follows, up to LINKS."""
    np.random.seed(seed)
    some = np.empty(4, np.int32)
    made = [(-1, 0, -1, 0, False, False) for _ in range(LINKS)]
    for _ in range(moves):
        far, links = min(reach, 3), 1
        dx = dy = 0
        before = -1
        if len(critical) and np.random.random() < 0.5:
            w = critical[np.random.randint(len(critical))]
            cell, end = wires.source[w], wires.sink[w]
            if np.random.random() < 0.5:
                cell, end = end, cell
            where = np.random.random()
            if where < 0.4:
                some[0] = cell
                dx, dy = _centre(some, 1, weights, wires, cells)
            elif where < 0.7:
                dx, dy = cells.x[end] - cells.x[cell], cells.y[end] - cells.y[cell]
                before, links = end, LINKS
            else:
                far = reach
        else:
            cell = movable[np.random.randint(len(movable))]
            far = reach
        x, y = cells.x[cell] + dx, cells.y[cell] + dy
        count, change, kept = 0, 0.0, False
        while count < links and not kept:
            exchange, more = _move(
                cell, x + np.random.randint(-far, far + 1), y + np.random.randint(-far, far + 1),
                some, weights, cells, tiles, wires, nets,
            )  # fmt: skip
            if exchange[0] < 0:
                break
            made[count] = exchange
            count += 1
            change += more
            kept = _kept(change, temperature)
            if not kept and count < links:
                x, y = cells.x[cell], cells.y[cell]
                following = _heaviest(cell, before, weights, wires)
                if following < 0:
                    break
                before, cell = cell, following
        if not kept:
            for n in range(count):
                _swap_cells(made[count - 1 - n], cells, tiles)


@njit(nogil=True)
def exchange_rows(moves, temperature, reach, weights, critical, cells, tiles, wires, nets):
    """Tries ``moves`` exchanges of a row of tiles that must stay together, or of one tile, with others: of any, and of those at
    ``critical`` wires."""
    longest = tiles.length.max()
    some = np.empty(2 * PLACES * longest, np.int32)
    first, length = np.empty(longest, np.int32), np.empty(longest, np.int32)
    for _ in range(moves):
        tile = np.random.randint(len(tiles.x))
        if len(critical) and np.random.random() < 0.5:
            w = critical[np.random.randint(len(critical))]
            tile = cells.tile[wires.source[w] if np.random.random() < 0.5 else wires.sink[w]]
            if tile < 0:
                continue
        begin = tiles.first[tile]
        size, x0, y0 = tiles.length[begin], tiles.x[begin], tiles.y[begin]
        count = _add_row(x0, y0, size, some, 0, tiles)
        far, dx, dy = reach, 0, 0
        if np.random.random() < 0.5:
            dx, dy = _centre(some, count, weights, wires, cells)
            far = min(reach, 3)
        x, y = x0 + dx + np.random.randint(-far, far + 1), y0 + dy + np.random.randint(-far, far + 1)
        if (
            x < 0
            or y < 0
            or x + size > tiles.at.shape[0]
            or y >= tiles.at.shape[1]
            or (y == y0 and abs(x - x0) < size)
        ):
            continue
        whole = True  # no row there goes on outside
        for n in range(size):
            tile = tiles.at[x + n, y]
            if tile < 0:
                whole = False
                break
            begins = tiles.x[tiles.first[tile]]
            whole = whole and begins >= x and begins + tiles.length[tile] <= x + size
        if not whole:
            continue
        count = _add_row(x, y, size, some, count, tiles)
        before = _cost(some, count, weights, wires, nets, cells)
        _swap_rows(x0, y0, x, y, size, cells, tiles)
        # Wires inside count twice in what hangs on the cells, and do not change.
        if _kept(_cost(some, count, weights, wires, nets, cells) - before, temperature):
            for n in range(size):
                there = tiles.at[x + n, y]
                first[n], length[n] = tiles.x[tiles.first[there]] - x, tiles.length[there]
            for n in range(size):
                here, there = tiles.at[x0 + n, y0], tiles.at[x + n, y]
                tiles.first[there], tiles.length[there] = tiles.at[x, y], size
                tiles.first[here], tiles.length[here] = tiles.at[x0 + first[n], y0], length[n]
        else:
            _swap_rows(x0, y0, x, y, size, cells, tiles)


def _untie(design: PlacedDesign, path: np.ndarray, long: float) -> None:
    """Parts flip-flops from LUTs that others read, where paths of more than ``long`` ns go through either."""
    wires, shared = design.wires, design.shared_luts()
    longest = np.zeros(len(design.names))  # path through what each cell drives, but for the flip-flop beside it
    others = np.ones(len(path), bool)
    others[shared] = False
    np.maximum.at(longest, wires.source[others], path[others])
    through = np.maximum(longest[wires.source[shared]], longest[wires.sink[shared]])
    design.untie(shared[(through > long) & (path[shared] + UNTIE_NS < long)])


def refine(
    placed: Path, seed: int, out: Path, progress: Callable[[str], None] = lambda text: None
) -> tuple[float, float]:
    """Writes the design ``placed`` with other places to ``out``; returns the longest path before and after, ns, as estimated.

    The same ``seed`` gives the same places. Raises ValueError for a design that is not placed.
    """
    design = PlacedDesign(placed)
    cells, tiles, wires, nets, arcs = design.cells, design.tiles, design.wires, design.nets, design.arcs
    movable = np.flatnonzero((cells.tile >= 0) & ~cells.stays).astype(np.int32)
    ends = wires.end >= 0
    path = analyse(wires, arcs, cells)
    began = float(path.max())
    goal = GOAL * began
    random = np.random.default_rng(seed)

    def weigh(steepness: int) -> np.ndarray:
        return np.minimum((path / goal) ** steepness, HEAVIEST)

    def longer_than(ns: float) -> np.ndarray:
        return np.flatnonzero((path > ns) & (wires.fixed < 0)).astype(np.int32)

    def draw() -> int:
        return int(random.integers(1 << 31))

    # The best of what has been, by how much too long its paths are.
    state = (cells.x, cells.y, cells.tile, cells.place, tiles.cell, tiles.first, tiles.length)
    best, best_path, least = [one.copy() for one in state], path, np.inf

    def keep_the_better() -> None:
        nonlocal path, best_path, least
        badness = float((np.maximum(path[ends] - LONG * goal, 0) ** 3).sum())
        is_better = badness < least
        for kept, now in zip(best, state, strict=True):
            if is_better:
                kept[...] = now
            else:
                now[...] = kept
        if is_better:
            best_path, least = path, badness
        else:
            path = best_path

    weights = weigh(STEEPNESS)
    for step in range(ROUNDS):
        left = 1 - step / (ROUNDS - 1)
        temperature, reach = TEMPERATURE * left**2 + 1e-6, max(2, round(FARTHEST * left))
        critical = longer_than(LONG * goal)
        exchange_cells(draw(), MOVES, temperature, reach, weights, critical, movable, cells, tiles, wires, nets)
        exchange_rows(ROW_MOVES, temperature, reach, weights, critical, cells, tiles, wires, nets)
        path = analyse(wires, arcs, cells)
        goal = min(goal, GOAL * float(path.max()))
        if step % UNTIE_ROUNDS == UNTIE_ROUNDS - 1:
            _untie(design, path, LONG * goal)
            wires = design.wires
        weights = INERTIA * weights + (1 - INERTIA) * weigh(STEEPNESS)
        progress(f"refining: longest path about {path.max():.1f} ns")
    weights = weigh(LAST_STEEPNESS)
    for _ in range(LAST_ROUNDS):
        keep_the_better()
        critical = longer_than(max(LONG * goal, path.max() - random.choice([0.3, 1.0, 2.5])))
        exchange_cells(draw(), LAST_MOVES, 1e-6, FARTHEST, weights, critical, movable, cells, tiles, wires, nets)
        path = analyse(wires, arcs, cells)
        weights = INERTIA * weights + (1 - INERTIA) * weigh(LAST_STEEPNESS)
    keep_the_better()
    progress(f"refined: longest path about {path.max():.1f} ns")
    design.write(out)
    return began, float(path.max())
