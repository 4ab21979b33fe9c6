"""A mini-batch split into its micro-batches, by several threads.

Whether a row is hot, and its slot, is looked up in one array of all rows (:class:`HotMap`). Each thread classifies a
part of the samples; one thread numbers the working rows in order of first use, of cold accesses only; then each thread writes
records.
"""

import numba
import numpy as np

from hotline_golden.layouts import NO_ACCESS, NO_WORKING_ROW, WORKING_ROW
from hotline_golden.model import Model
from hotline_golden.split import RowOutsideTable, SplitResult

from .compiler import compiled, in_parallel, several

#: A row of the map that is not in the hot set.
COLD = np.int32(-1)
#: Samples that are worth a thread.
LEAST = 256


class HotMap:
    """The slot of every row of every table, int32 [all rows], or COLD; ``first`` int64 [tables]: where each table begins.

    Rows of resident tables always have their slots.
    """

    def __init__(self, model: Model):
        ends = np.cumsum(model.rows)
        self.model = model
        self.first = ends - model.rows
        self.slots = np.full(int(ends[-1]), COLD)
        for number, table in enumerate(model.tables):
            if table.resident:
                start = self.first[number]
                self.slots[start : start + table.rows] = table.first_slot + np.arange(table.rows, dtype=np.int32)

    def set(self, hot_list: np.ndarray) -> None:
        """The hot set is ``hot_list`` uint32 [slots, 2] from now on. A key that it has twice is in the lower slot."""
        for number, table in enumerate(self.model.tables):
            if not table.resident:
                start = self.first[number]
                self.slots[start : start + table.rows] = COLD
        slots = np.arange(len(hot_list), dtype=np.int32)[::-1]
        self._put(hot_list[::-1], slots)

    def change(self, delta: np.ndarray) -> None:
        """A SWAP's ``delta`` uint32 [n, DELTA_WORDS] has happened."""
        self._put(delta[:, 1:3], np.full(len(delta), COLD))
        self._put(delta[:, 3:5], delta[:, 0].astype(np.int32))

    def _put(self, keys: np.ndarray, slots: np.ndarray) -> None:
        """Rows (table, row) uint32 [n, 2] get ``slots``; those that no tracked table has are left out."""
        there = self.known(keys)
        self.slots[self.places(keys[there])] = slots[there]

    def known(self, keys: np.ndarray) -> np.ndarray:
        """bool [n]: a tracked table has the row, of (table, row) uint32 [n, 2]."""
        tables = keys[:, 0].astype(np.int64)
        there = tables < len(self.first)
        there[there] &= ~self.model.resident[tables[there]] & (keys[there, 1] < self.model.rows[tables[there]])
        return there

    def places(self, keys: np.ndarray) -> np.ndarray:
        """int64 [n]: where the rows stand in ``slots``."""
        return self.first[keys[:, 0].astype(np.int64)] + keys[:, 1]


class Splitter:
    """Splits mini-batches of ``model``; holds what is needed in between. One call at a time."""

    def __init__(self, model: Model, hot: HotMap, threads: int):
        self.model, self.hot, self.threads = model, hot, threads
        tables = np.array(model.table_of, np.int64)
        self.table_of = tables.astype(np.uint32)
        self.first, self.rows = hot.first[tables], model.rows[tables].astype(np.uint32)
        self.tracked = ~model.resident[tables]
        # The working set of the newest mini-batch: see _number.
        self.table, self.size = np.zeros(0, np.int64), 0
        self.refs = np.zeros((0, len(tables)), np.uint32)
        self.cold, self.place = np.zeros(0, np.int32), np.zeros(0, np.int32)

    def split(
        self, rows: np.ndarray, payload: np.ndarray, out: "tuple[np.ndarray, np.ndarray] | None" = None
    ) -> SplitResult:
        """``rows`` uint32 [n, accesses], ``payload`` uint32 [n, payload words]. ``out``: arrays uint32 [n or more, record words]
        into which the popular and the other records go; new ones, if it is not given. Raises RowOutsideTable."""
        samples, accesses = rows.shape
        if len(self.refs) < samples:
            self.refs = np.empty((samples, accesses), np.uint32)
            self.cold, self.place = np.empty(samples, np.int32), np.empty(samples, np.int32)
        refs, cold, place = self.refs[:samples], self.cold[:samples], self.place[:samples]
        width = 1 + payload.shape[1] + accesses
        popular, other = out or (np.empty((samples, width), np.uint32), np.empty((samples, width), np.uint32))
        parts = max(1, min(self.threads, samples // LEAST))
        counts = np.zeros((parts, 4), np.int64)
        with several(self.threads):
            _classify_all(rows, self.first, self.rows, self.tracked, self.hot.slots, refs, cold, counts)
            present, tracked, total, bad = counts.sum(axis=0).tolist()
            self.size = 0
            if bad:
                self._refuse(rows)
            self.size = size = 1 << max(4, (2 * total).bit_length())
            if len(self.table) < size:
                self.table = np.empty(size, np.int64)
            keys = np.empty((total, 2), np.uint32)
            working, popular_count = _number(
                rows, refs, cold, place, self.first, self.table_of, self.table[:size], keys
            )
            _write_all(payload, refs, cold, place, popular, other, parts)
        return SplitResult(
            popular[:popular_count],
            other[: samples - popular_count],
            keys[:working].copy(),
            present,
            present - total,
            tracked,
            total,
        )

    def numbers(self, keys: np.ndarray) -> np.ndarray:
        """uint32 [n]: the number of each of ``keys`` uint32 [n, 2] in the working set of the newest mini-batch that was split,
        or NO_WORKING_ROW."""
        found = np.full(len(keys), NO_WORKING_ROW, np.uint32)
        there = self.hot.known(keys)
        if self.size:
            found[there] = _numbers_of(self.hot.places(keys[there]), self.table[: self.size])
        return found

    def _refuse(self, rows: np.ndarray) -> None:
        bad = (rows != NO_ACCESS) & (rows >= self.rows)
        sample, access = divmod(int(bad.argmax()), rows.shape[1])
        raise RowOutsideTable(sample, access, int(rows[sample, access]), int(self.rows[access]))


@compiled
def _classify(rows, firsts, limits, tracked, slots, refs, cold, first, last, counts):
    """References of hot accesses and paddings of samples ``first`` to ``last`` - 1, WORKING_ROW for cold ones; ``cold``: how many
    each has; ``counts``: present, tracked, cold accesses, and those outside their tables."""
    accesses = rows.shape[1]
    present, followed, all_cold, bad = 0, 0, 0, 0
    for s in range(first, last):
        missing = 0
        for j in range(accesses):
            row = rows[s, j]
            if row >= limits[j]:
                refs[s, j] = NO_ACCESS
                bad += row != NO_ACCESS
                continue
            present += 1
            followed += tracked[j]
            slot = slots[firsts[j] + np.int64(row)]
            if slot >= 0:
                refs[s, j] = np.uint32(slot)
            else:
                refs[s, j] = np.uint32(WORKING_ROW)
                missing += 1
        cold[s] = missing
        all_cold += missing
    counts[0] += present
    counts[1] += followed
    counts[2] += all_cold
    counts[3] += bad


@in_parallel
def _classify_all(rows, firsts, limits, tracked, slots, refs, cold, counts):
    parts, samples = len(counts), len(rows)
    for part in numba.prange(parts):
        _classify(
            rows,
            firsts,
            limits,
            tracked,
            slots,
            refs,
            cold,
            samples * part // parts,
            samples * (part + 1) // parts,
            counts[part],
        )


@compiled
def _bits_of(table):
    """Bits of the index of ``table``."""
    bits = 0
    while (np.int64(1) << bits) < len(table):
        bits += 1
    return bits


@compiled
def _place_of(table, bits, key):
    """Where ``key`` stands in ``table``, or would: see :func:`_number`."""
    mask = np.int64(len(table) - 1)
    at = (key * np.int64(-7046029254386353131) >> 20) & mask
    while table[at] >= 0 and table[at] >> bits != key:
        at = (at + 1) & mask
    return at


@compiled
def _numbers_of(keys, table):
    """uint32: the numbers of ``keys`` in ``table``, or NO_WORKING_ROW."""
    bits = _bits_of(table)
    found = np.empty(len(keys), np.uint32)
    for n in range(len(keys)):
        entry = table[_place_of(table, bits, np.int64(keys[n]))]
        found[n] = NO_WORKING_ROW if entry < 0 else np.uint32(entry & ((np.int64(1) << bits) - 1))
    return found


@compiled
def _number(rows, refs, cold, place, firsts, table_of, table, keys):
    """Numbers the cold rows in order of first use, and samples among the popular or the other ones (``place``); returns how many
    working rows and popular samples there are. ``table``: a hash table whose size is a power of two and at least twice the cold
    accesses; an entry is a row's place among all rows, shifted, with its number."""
    table[:] = -1
    bits = _bits_of(table)  # of the number, too
    found, popular, other = 0, 0, 0
    for s in range(len(cold)):
        left = cold[s]
        if left:
            place[s] = other
            other += 1
        else:
            place[s] = popular
            popular += 1
        j = 0
        while left:
            if refs[s, j] == np.uint32(WORKING_ROW):
                left -= 1
                key = firsts[j] + np.int64(rows[s, j])
                at = _place_of(table, bits, key)
                if table[at] < 0:
                    table[at] = key << bits | found
                    keys[found, 0], keys[found, 1] = table_of[j], rows[s, j]
                    found += 1
                refs[s, j] = np.uint32(WORKING_ROW) | np.uint32(table[at] & ((np.int64(1) << bits) - 1))
            j += 1
    return found, popular


@compiled
def _write(payload, refs, cold, place, popular, other, first, last):
    """The records of samples ``first`` to ``last`` - 1."""
    words, accesses = payload.shape[1], refs.shape[1]
    for s in range(first, last):
        record = other[place[s]] if cold[s] else popular[place[s]]
        record[0] = s
        for k in range(words):
            record[1 + k] = payload[s, k]
        for j in range(accesses):
            record[1 + words + j] = refs[s, j]


@in_parallel
def _write_all(payload, refs, cold, place, popular, other, parts):
    samples = len(refs)
    for part in numba.prange(parts):
        _write(payload, refs, cold, place, popular, other, samples * part // parts, samples * (part + 1) // parts)
