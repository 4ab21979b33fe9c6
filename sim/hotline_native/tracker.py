"""The hot-entry tracker in compiled code: learning, hot lists, and following by a shadow.

The semantics are golden's ``tracker``, ``policies``, ``sample_scorer`` and ``forgetting``; a mini-batch is learnt in one
compiled call.
"""

import numba
import numpy as np

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_ACCESS, NO_WORKING_ROW
from hotline_golden.tracker.forgetting import DRIFT_SHIFT, MAX_SILENT, MAX_SPAN, SILENCE
from hotline_golden.tracker.placement import CELL_ARRAYS, WORD_CELLS, Placement
from hotline_golden.tracker.policies import POLICIES
from hotline_golden.tracker.sample_scorer import (
    AGING_SHIFT,
    BEST_PART,
    BLOCK_ACCESSES,
    LEVEL_SHIFT,
    MAX_LEVEL,
)
from hotline_golden.tracker.tracker import HotListError

from .compiler import compiled, in_parallel, several
from .keys import (
    ARRAYS,
    INDEX_BITS,
    KEEP_BITS,
    ROW_BITS,
    cell_of,
    hash_tables,
    key_of_slot,
    key_shape,
    permuted,
    set_of,
)

#: What a policy's training is, by its name.
SRRIP, FREQUENCY = 0, 1
KINDS = {"srrip": SRRIP, "frequency": FREQUENCY, "sample_aware": FREQUENCY}
#: Places in the numbers that learning keeps: those of golden's SampleScorer, and of its Forgetting.
PRESSURE, THRESHOLD, MISSES, SPAN = range(4)
#: In place of a permuted key: no access.
NO_KEY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
#: Accesses for each thread that follows, at least.
LEAST_ACCESSES = 4096


class NativeTracker:
    """A tracker of golden's shape and contents: ``tags`` [sets, ways], -1 for an empty entry, and ``state`` of the same shape,
    ``sketch`` [cells]; with ``shadow``, ``hot`` is what lookups see until :meth:`swap`. Each is of the smallest integers that
    hold its values: the sketch of a large tracker stays in the caches of a CPU. ``held`` as golden's, empty without a shadow.
    ``silent``, ``kept`` int64 [4]: what golden's tracker counts for forgetting and for scoring samples."""

    def __init__(
        self,
        keys: KeySpace,
        sets: int,
        ways: int,
        policy: str,
        state_bits: int = 0,
        *,
        arrays: int = 1,
        sketch_cells: int = 16,
        sketch_bits: int = 6,
        shadow: bool = False,
    ):
        if policy not in KINDS:
            raise ValueError(f"unknown policy {policy!r}; there are {', '.join(KINDS)}")
        self.policy = POLICIES[policy]
        self.keys = keys
        placement = Placement(keys.key_bits, sets, ways, arrays, sketch_cells if self.policy.sketch else 0)
        self.shape, self.tables = key_shape(keys, placement), hash_tables(keys, placement)
        self.kind = KINDS[policy]
        self.sets, self.ways, self.shadow = sets, ways, shadow
        self.cells = CELL_ARRAYS * WORD_CELLS * placement.words
        self.state_max, self.cell_max = (1 << (state_bits or self.policy.bits)) - 1, (1 << sketch_bits) - 1
        self.types = (
            np.int32 if placement.tag_bits < 32 else np.int64,
            np.uint8 if self.state_max < 256 else np.uint16 if self.state_max < 1 << 16 else np.int64,
            np.uint8 if self.cell_max < 256 else np.uint16 if self.cell_max < 1 << 16 else np.int64,
        )
        self.clear()

    @property
    def slots(self) -> int:
        return self.sets * self.ways

    def clear(self) -> None:
        """Empties every slot, and forgets all counts."""
        tag, state, cell = self.types
        self.tags = np.full((self.sets, self.ways), -1, tag)
        self.state = np.zeros((self.sets, self.ways), state)
        self.sketch = np.zeros(self.cells, cell)
        self.silent = np.zeros((self.sets, self.ways), np.uint8)
        self.hot = self.tags.copy() if self.shadow else self.tags
        self.held = np.zeros((self.sets if self.shadow else 0, self.ways), np.bool_)
        self.kept = np.zeros(4, np.int64)
        self.cursor = 0

    def learn(self, rows: np.ndarray, tables: np.ndarray, tracked: np.ndarray) -> int:
        """Shows the tracked accesses of ``rows`` uint32 [samples, accesses], one at a time; ``tables`` int64 and ``tracked`` bool
        [accesses]: their table, and whether it is tracked. Returns how many were hits."""
        return int(_learn(rows, tables, tracked, self.policy.scores_samples, *self._shape_and_contents()))

    def follow(
        self,
        rows: np.ndarray,
        tables: np.ndarray,
        tracked: np.ndarray,
        shift: int = 0,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        """Shows the tracked accesses of ``rows``, each with its whole weight; of every ``1 << shift`` samples the one whose
        position ends in the bits of ``seed``. Partitions of the tracker know nothing of each other: ``threads`` share them."""
        keys = np.empty(rows.shape, np.uint64)
        partitions = 1 << int(self.shape[KEEP_BITS])
        parts = max(1, min(threads, partitions, rows.size // LEAST_ACCESSES))
        kept = np.zeros((parts, len(self.kept)), np.int64)
        with several(threads):
            _permute(rows, tables, tracked, shift, seed, self.shape, keys, parts)
            shape, hashes, contents, *numbers = self._shape_and_contents()
            _follow(keys.reshape(-1), shape, hashes, contents[:-1], kept, *numbers)
        self.kept[MISSES] += kept[:, MISSES].sum()

    def _shape_and_contents(self) -> tuple:
        contents = self.tags, self.state, self.silent, self.sketch, self.hot, self.held, self.kept
        return self.shape, self.tables, contents, self.kind, self.policy.weight, self.state_max, self.cell_max

    def contents(self) -> dict[str, np.ndarray]:
        """Copies of all that the tracker holds, as golden's ``contents``."""
        found = {
            name: getattr(self, name).copy() for name in ("tags", "state", "silent", "sketch", "hot", "held", "kept")
        }
        return found | {"cursor": np.array(self.cursor)}

    def restore(self, contents: dict[str, np.ndarray]) -> None:
        """Takes what :meth:`contents` of a tracker of the same shape gave."""
        self.clear()
        for name in ("tags", "state", "silent", "sketch", "held", "kept"):
            getattr(self, name)[...] = contents[name]
        self.hot = contents["hot"].astype(self.types[0]) if self.shadow else self.tags
        self.cursor = int(contents["cursor"])

    def dump(self) -> np.ndarray:
        """uint32 [slots, 2]: (table, row) of every slot, EMPTY_SLOT twice where empty."""
        return _dump(self.shape, self.tables, self.hot)

    def load(self, hot_list: np.ndarray) -> None:
        """Replaces the contents by a hot list, entries new and all counts forgotten. Raises HotListError, changing nothing."""
        hot = np.ascontiguousarray(hot_list, np.uint32).reshape(self.slots, 2)
        tags = np.empty((self.sets, self.ways), self.types[0])
        bad = _load(hot, self.keys.table_bits, self.keys.row_bits, self.shape, self.tables, tags)
        if bad >= 0:
            why = "is too large for its field, or not this set's key, or there twice"
            raise HotListError(int(bad), f"(table, row) = ({hot[bad, 0]}, {hot[bad, 1]}) {why}")
        self.clear()
        self.tags = tags
        self.hot = tags.copy() if self.shadow else tags
        self.state[tags >= 0] = self.policy.inserted(self.state_max)

    def swap(self, limit: int, worth: int = 0) -> tuple[np.ndarray, int]:
        """Takes over what the shadow has learnt, at most ``limit`` slots, then forgets if an epoch has ended: the delta list,
        uint32 [n, DELTA_WORDS], without working rows, and how many slots still differ."""
        delta = np.empty((min(limit, self.slots), DELTA_WORDS), np.uint32)
        delta[:, -1] = NO_WORKING_ROW
        taken, left, self.cursor = _swap(
            self.shape, self.tables, self.tags, self.state, self.hot, self.held, worth, self.cursor, delta
        )
        if self.shadow and self.policy.counts and self.kept[MISSES] >= self.slots:
            _end_epoch(self.tags, self.state, self.silent, self.sketch, self.kept, self.policy.weight)
        return delta[:taken].copy(), int(left)


@compiled
def _find(tags, sets, tag, arrays):
    """Whether ``tag`` stands in one of ``sets``."""
    for a in range(arrays):
        s = sets[a]
        for w in range(tags.shape[1]):
            if tags[s, w] == tag:
                return True
    return False


@compiled
def _count(tags, state, silent, sketch, sets, tag, cells, weight, arrays, state_max, cell_max, margin):
    """Frequency: an entry counts its key, the sketch all others; a key takes the place of one counted no more often, or with a
    ``margin`` of 1 less often. (Whether it was a hit, the key's set and way now, or -1)."""
    ways = tags.shape[1]
    victim_set, victim_way, smallest = np.int64(-1), np.int64(-1), np.int64(state_max + 1)
    hit_set, hit_way = np.int64(-1), np.int64(-1)
    for a in range(arrays):
        s = sets[a]
        for w in range(ways):
            if tags[s, w] == tag:
                state[s, w] = min(np.int64(state_max), np.int64(state[s, w]) + weight)
                silent[s, w] = 0
                hit_set, hit_way = s, np.int64(w)
            count = np.int64(-1) if tags[s, w] < 0 else np.int64(state[s, w])
            if count < smallest:
                victim_set, victim_way, smallest = s, np.int64(w), count
    if hit_set >= 0:
        return True, hit_set, hit_way
    first, second = np.int64(sketch[cells[0]]), np.int64(sketch[cells[1]])
    estimate = min(np.int64(cell_max), min(first, second) + weight)
    sketch[cells[0]] = max(first, estimate)
    sketch[cells[1]] = max(second, estimate)
    if estimate < smallest + margin:
        return False, np.int64(-1), np.int64(-1)
    tags[victim_set, victim_way] = tag
    state[victim_set, victim_way] = min(np.int64(state_max), estimate)
    silent[victim_set, victim_way] = 0
    return False, victim_set, victim_way


@compiled
def _predict(tags, state, sets, tag, arrays, state_max):
    """SRRIP with hit promotion: a hit is near, a miss takes an empty entry or the most distant, which ages all to it.
    Returns what ``_count`` does."""
    ways = tags.shape[1]
    victim_set, victim_way, oldest = np.int64(-1), np.int64(-1), np.int64(-1)
    hit_set, hit_way = np.int64(-1), np.int64(-1)
    for a in range(arrays):
        s = sets[a]
        for w in range(ways):
            if tags[s, w] == tag:
                state[s, w] = 0
                hit_set, hit_way = s, np.int64(w)
            age = np.int64(state_max + 1) if tags[s, w] < 0 else np.int64(state[s, w])
            if age > oldest:
                victim_set, victim_way, oldest = s, np.int64(w), age
    if hit_set >= 0:
        return True, hit_set, hit_way
    if oldest <= state_max:
        for a in range(arrays):
            for w in range(ways):
                state[sets[a], w] = np.int64(state[sets[a], w]) + state_max - oldest
    tags[victim_set, victim_way] = tag
    state[victim_set, victim_way] = state_max - 1
    return False, victim_set, victim_way


@compiled
def _train(contents, kind, sets, tag, cells, weight, arrays, state_max, cell_max, margin):
    """One access, by the policy of that ``kind``; whether it was a hit."""
    tags, state, silent, sketch, hot, held, kept = contents
    if kind == FREQUENCY:
        hit, s, w = _count(tags, state, silent, sketch, sets, tag, cells, weight, arrays, state_max, cell_max, margin)
    else:
        hit, s, w = _predict(tags, state, sets, tag, arrays, state_max)
    kept[MISSES] += not hit
    if held.size and s >= 0:
        held[s, w] = _find(hot, sets, tag, arrays)
    return hit


@compiled
def _learn(
    rows,
    tables,
    tracked,
    scores,
    shape,
    hashes,
    contents,
    kind,
    weight,
    state_max,
    cell_max,
):
    """A mini-batch, block by block of whole samples: a block is placed and looked up first, if samples are scored by their
    misses, and then trained."""
    samples, accesses = rows.shape
    arrays = np.int64(shape[ARRAYS])
    room = BLOCK_ACCESSES + accesses
    sets, cells = np.empty((room, arrays), np.int64), np.zeros((room, 2), np.int64)
    wanted, sample_of = np.empty(room, np.int64), np.empty(room, np.int64)
    misses = np.empty(room, np.int64)
    tags, state, _, sketch, _, _, kept = contents
    entries = tags.size
    hits = 0
    next_sample = 0
    while next_sample < samples:
        # The next block: whole samples until there are enough accesses.
        count, scored = 0, 0
        while next_sample < samples and count < BLOCK_ACCESSES:
            missed, before = 0, count
            for j in range(accesses):
                row = rows[next_sample, j]
                if row == NO_ACCESS or not tracked[j]:
                    continue
                key = permuted(shape, (np.uint64(tables[j]) << shape[ROW_BITS]) | np.uint64(row))
                wanted[count] = np.int64(key >> shape[INDEX_BITS])
                for a in range(arrays):
                    sets[count, a] = set_of(shape, hashes, key, a)
                if kind == FREQUENCY:
                    cells[count, 0] = cell_of(shape, hashes, key, 0)
                    cells[count, 1] = cell_of(shape, hashes, key, 1)
                sample_of[count] = scored
                if scores and not _find(tags, sets[count], wanted[count], arrays):
                    missed += 1
                count += 1
            if count > before:
                misses[scored] = missed
                scored += 1
            next_sample += 1
        if not count:
            continue
        level = min(MAX_LEVEL, _bits(kept[PRESSURE] // (entries << LEVEL_SHIFT)))
        for n in range(count):
            shift = min(max(misses[sample_of[n]] - kept[THRESHOLD], 0), level) if scores else 0
            at, tag, cell, counts = sets[n], wanted[n], cells[n], weight >> shift
            hit = _train(contents, kind, at, tag, cell, counts, arrays, state_max, cell_max, 0)
            if hit and not scores:
                hits += 1
        if scores:
            hits += count - _note(misses[:scored], kept, entries)
            if kept[PRESSURE] >= entries << AGING_SHIFT:
                kept[PRESSURE] >>= 1
                _halve(state, sketch, kept)
    return hits


@in_parallel
def _permute(rows, tables, tracked, shift, seed, shape, keys, parts):
    """``keys`` uint64 [samples, accesses]: the permuted key of each access that is shown, NO_KEY for others."""
    samples, accesses = rows.shape
    mask = (np.int64(1) << shift) - 1
    for part in numba.prange(parts):
        for sample in range(samples * part // parts, samples * (part + 1) // parts):
            for j in range(accesses):
                row = rows[sample, j]
                if (sample ^ seed) & mask or row == NO_ACCESS or not tracked[j]:
                    keys[sample, j] = NO_KEY
                else:
                    keys[sample, j] = permuted(shape, (np.uint64(tables[j]) << shape[ROW_BITS]) | np.uint64(row))


@in_parallel
def _follow(keys, shape, hashes, entries, kept, kind, weight, state_max, cell_max):
    """Accesses, one at a time, each with its whole weight. ``kept`` int64 [parts, 4]: what each part of the partitions keeps."""
    arrays = np.int64(shape[ARRAYS])
    partitions = (np.uint64(1) << shape[KEEP_BITS]) - np.uint64(1)
    parts = np.uint64(len(kept))
    for part in numba.prange(len(kept)):
        contents = (*entries, kept[part])
        sets, cells = np.empty(arrays, np.int64), np.zeros(2, np.int64)
        for key in keys:
            if key == NO_KEY or (key & partitions) % parts != np.uint64(part):
                continue
            tag = np.int64(key >> shape[INDEX_BITS])
            for a in range(arrays):
                sets[a] = set_of(shape, hashes, key, a)
            if kind == FREQUENCY:
                cells[0], cells[1] = cell_of(shape, hashes, key, 0), cell_of(shape, hashes, key, 1)
            _train(contents, kind, sets, tag, cells, weight, arrays, state_max, cell_max, 1)


@compiled
def _halve(state, sketch, kept):
    """All counters, and the span that they stand for."""
    for s in range(state.shape[0]):
        for w in range(state.shape[1]):
            state[s, w] = state[s, w] >> 1
    for n in range(sketch.size):
        sketch[n] = sketch[n] >> 1
    kept[SPAN] >>= 1


@compiled
def _end_epoch(tags, state, silent, sketch, kept, weight):
    """Forgets entries whose silence is improbable; halves counters where many are, or the span has become long."""
    kept[MISSES] = 0
    kept[SPAN] += 1
    least = SILENCE * kept[SPAN] * weight
    forgotten = 0
    for s in range(tags.shape[0]):
        for w in range(tags.shape[1]):
            if tags[s, w] >= 0 and np.int64(silent[s, w]) * np.int64(state[s, w]) >= least:
                state[s, w] = 0
                forgotten += 1
            silent[s, w] = min(silent[s, w] + 1, MAX_SILENT)
    if forgotten << DRIFT_SHIFT >= tags.size or kept[SPAN] == MAX_SPAN:
        _halve(state, sketch, kept)


@compiled
def _bits(value):
    """Bits of a number."""
    found = 0
    while value:
        value >>= 1
        found += 1
    return found


@compiled
def _note(misses, kept, entries):
    """Moves the threshold towards what the best samples miss, and adds to the pressure; returns all misses."""
    at_most, fewer, total = 0, 0, 0
    for m in misses:
        at_most += m <= kept[THRESHOLD]
        fewer += m < kept[THRESHOLD]
        total += m
    if BEST_PART * at_most < len(misses):
        kept[THRESHOLD] += 1
    elif BEST_PART * fewer >= len(misses):
        kept[THRESHOLD] -= 1
    kept[PRESSURE] += total
    return total


@compiled
def _dump(shape, hashes, tags):
    sets, ways = tags.shape
    hot = np.empty((sets * ways, 2), np.uint32)
    mask = (np.uint64(1) << shape[ROW_BITS]) - np.uint64(1)
    for s in range(sets):
        for w in range(ways):
            slot = s * ways + w
            if tags[s, w] < 0:
                hot[slot, 0] = hot[slot, 1] = EMPTY_SLOT
            else:
                key = key_of_slot(shape, hashes, tags[s, w], s)
                hot[slot, 0], hot[slot, 1] = key >> shape[ROW_BITS], key & mask
    return hot


@compiled
def _load(hot, table_bits, row_bits, shape, hashes, tags):
    """Fills ``tags``; returns the first slot that no tracker could have dumped, or -1."""
    sets, ways = tags.shape
    lines = np.int64(1) << np.int64(shape[INDEX_BITS])
    for s in range(sets):
        for w in range(ways):
            slot = s * ways + w
            table, row = np.int64(hot[slot, 0]), np.int64(hot[slot, 1])
            tags[s, w] = -1
            if table == EMPTY_SLOT and row == EMPTY_SLOT:
                continue
            if table >> table_bits or row >> row_bits:
                return slot
            key = permuted(shape, (np.uint64(table) << shape[ROW_BITS]) | np.uint64(row))
            if set_of(shape, hashes, key, s // lines) != s:
                return slot
            tags[s, w] = np.int64(key >> shape[INDEX_BITS])
            for other in range(w):
                if tags[s, other] == tags[s, w]:
                    return slot
    return -1


@compiled
def _swap(shape, hashes, tags, state, hot, held, worth, cursor, delta):
    """Changes, set by set in each partition, from turn ``cursor`` on, until ``delta`` is full; (taken, left, the next cursor)."""
    sets, ways = tags.shape
    mask = (np.uint64(1) << shape[ROW_BITS]) - np.uint64(1)
    taken, left, kept_back = 0, 0, -1
    partitions = np.int64(1) << np.int64(shape[KEEP_BITS])
    in_partition = sets // partitions
    for n in range(sets):
        turn = (cursor + n) % sets
        s = turn % in_partition * partitions + turn // in_partition
        for w in range(ways):
            if tags[s, w] == hot[s, w] or tags[s, w] < 0 or state[s, w] < worth:
                continue
            if held[s, w]:
                left += 1
                continue
            if taken >= len(delta):
                left += 1
                if kept_back < 0:
                    kept_back = turn
                continue
            delta[taken, 0] = s * ways + w
            if hot[s, w] < 0:
                delta[taken, 1] = delta[taken, 2] = EMPTY_SLOT
            else:
                old = key_of_slot(shape, hashes, hot[s, w], s)
                delta[taken, 1], delta[taken, 2] = old >> shape[ROW_BITS], old & mask
            new = key_of_slot(shape, hashes, tags[s, w], s)
            delta[taken, 3], delta[taken, 4] = new >> shape[ROW_BITS], new & mask
            hot[s, w] = tags[s, w]
            taken += 1
    return taken, left, cursor if kept_back < 0 else kept_back
