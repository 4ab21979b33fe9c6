"""The hot-entry tracker: memories of keys, learnt one access at a time.

With a *shadow* it follows the data. What is learnt trains the shadow; lookups see the hot set, which takes over the
shadow's changes at a SWAP. How the shadow forgets is in ``forgetting``.

Slots: set ``s`` and way ``w`` are slot ``s * ways + w``; sets are numbered through all arrays
(``hotline_golden.tracker.placement``). The RTL twins are ``bank`` and ``list_swap`` of ``hotline_rtl.tracker``.
"""

from collections.abc import Callable

import numpy as np

from ..keys import KeySpace
from ..layouts import DELTA_WORDS, EMPTY_SLOT, NO_WORKING_ROW
from .forgetting import Forgetting
from .placement import CELL_ARRAYS, WORD_CELLS, Placement
from .policies import POLICIES
from .sample_scorer import SampleScorer, blocks


class HotListError(ValueError):
    """A hot list that no tracker could have dumped; ``slot`` is the first slot at fault."""

    def __init__(self, slot: int, why: str):
        super().__init__(f"hot list, slot {slot}: {why}")
        self.slot = slot


def _as_it_is(function: Callable) -> Callable:
    return function


class Tracker:
    """``sets`` (a power of two) x ``ways`` entries in ``arrays`` arrays, under a replacement policy.

    ``state_bits`` of state for each entry (0: what the policy likes); ``sketch_cells`` cells of
    ``sketch_bits`` for each entry, if the policy has a sketch. ``tags`` int64 [sets, ways] (-1: empty),
    ``state`` int64 of the same shape, ``sketch`` int64 [cells]. ``compile`` makes the policy's function
    faster (``numba.njit``); it changes no result.

    With ``shadow`` these are only a shadow of the hot set: lookups go to ``hot`` int64 [sets, ways], which learning
    does not touch, until :meth:`swap` takes changes over; ``silent`` int64 of the same shape counts the epochs since an
    entry was used.
    """

    def __init__(
        self,
        keys: KeySpace,
        sets: int,
        ways: int,
        policy: str = "srrip",
        state_bits: int = 0,
        *,
        arrays: int = 1,
        sketch_cells: int = 16,
        sketch_bits: int = 6,
        shadow: bool = False,
        compile: Callable[[Callable], Callable] = _as_it_is,
    ):
        if sets & (sets - 1) or sets < arrays:
            raise ValueError(f"sets must be a power of two, at least one for each array, not {sets}")
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; known: {', '.join(POLICIES)}")
        self.keys = keys
        self.policy = POLICIES[policy]
        self.placement = Placement(keys.key_bits, sets, ways, arrays, sketch_cells if self.policy.sketch else 0)
        self.sets = sets
        self.ways = ways
        self.state_max = (1 << (state_bits or self.policy.bits)) - 1
        self.cell_max = (1 << sketch_bits) - 1
        self.shadow = shadow
        self.scorer = SampleScorer(sets * ways)
        self.forgetting = Forgetting(sets * ways, self.policy.weight)
        self._learn = compile(self.policy.learn)
        self.clear()

    @property
    def slots(self) -> int:
        return self.sets * self.ways

    @property
    def valid(self) -> np.ndarray:
        """bool [sets, ways]: the entry holds a key."""
        return self.tags >= 0

    def clear(self) -> None:
        """Empties every slot, and forgets all counts."""
        self.tags = np.full((self.sets, self.ways), -1, np.int64)
        self.state = np.zeros((self.sets, self.ways), np.int64)
        self.sketch = np.zeros(CELL_ARRAYS * WORD_CELLS * self.placement.words, np.int64)
        self.silent = np.zeros((self.sets, self.ways), np.int64)
        self.hot = self.tags.copy() if self.shadow else self.tags
        self.held = np.zeros((self.sets, self.ways), bool)
        self.cursor = 0
        self.scorer.clear()
        self.forgetting.clear()

    def learn(self, keys, samples=None) -> int:
        """Shows ``keys`` (uint64 [n], trace order) one at a time; returns how many were hits.

        ``samples`` int [n] tells which sample each belongs to (rising; a sample each, if not given). Hits are
        counted as each key comes, or, where the policy scores samples, as the scorer finds them.
        """
        if not self.policy.scores_samples:
            return self._train(*self._place(keys))
        sets, tags, cells, weights = self._place(keys)
        samples = np.arange(len(tags)) if samples is None else np.asarray(samples)
        starts = np.flatnonzero(np.r_[len(samples) > 0, samples[1:] != samples[:-1]])
        bounds = np.r_[starts, len(samples)]
        hits = 0
        for first, last in blocks(np.diff(bounds)):
            part = slice(bounds[first], bounds[last])
            missed = self._find(self.tags, sets[part], tags[part]) < 0
            misses = np.add.reduceat(missed, bounds[first:last] - bounds[first], dtype=np.int64)
            hits += int((~missed).sum())
            shifts = np.repeat(self.scorer.shifts(misses), np.diff(bounds[first : last + 1]))
            self._train(sets[part], tags[part], cells[part], weights[part] >> shifts)
            if self.scorer.note(misses):
                self._halve()
        return hits

    def follow(self, keys) -> int:
        """Shows ``keys`` (uint64 [n], trace order) one at a time, each with its whole weight, whatever the policy thinks of
        samples; returns how many were hits as they came. This is how a SPLIT learns: a key that counts takes an entry's place
        only if it was counted more often."""
        return self._train(*self._place(keys), margin=1)

    def _place(self, keys) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Sets, tags, cells and whole weights of ``keys``."""
        permuted = self.keys.permute(keys)
        sets, tags = self.placement.place(permuted)
        cells = np.zeros((len(tags), CELL_ARRAYS), np.int64)
        if self.policy.sketch:
            cells = self.placement.place_cells(permuted)
        return sets, tags, cells, np.full(len(tags), self.policy.weight, np.int64)

    def _halve(self) -> None:
        self.state >>= 1
        self.sketch >>= 1
        self.forgetting.span >>= 1

    def _train(self, sets, tags, cells, weights, margin=0) -> int:
        entries = self.tags, self.state, self.silent, self.sketch
        hits = int(self._learn(*entries, sets, tags, cells, weights, self.state_max, self.cell_max, margin))
        self.forgetting.misses += len(tags) - hits
        if self.shadow:
            slots = self._find(self.tags, sets, tags)
            there = slots >= 0
            self.held.reshape(-1)[slots[there]] = self._find(self.hot, sets, tags)[there] >= 0
        return hits

    def _find(self, where: np.ndarray, sets: np.ndarray, tags: np.ndarray) -> np.ndarray:
        """int64 [n]: the slot of each key in ``where`` int64 [sets, ways], or -1."""
        match = (where[sets] == tags[:, None, None]).reshape(len(tags), sets.shape[1] * self.ways)
        slots = (sets[:, :, None] * self.ways + np.arange(self.ways)).reshape(match.shape)
        found = np.take_along_axis(slots, match.argmax(axis=1)[:, None], axis=1)[:, 0]
        return np.where(match.any(axis=1), found, -1)

    def lookup(self, keys) -> np.ndarray:
        """int64 [n]: the slot of each key, or -1. Changes nothing."""
        return self._find(self.hot, *self.placement.place(self.keys.permute(keys)))

    def swap(self, limit: int, worth: int = 0, working_keys: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """Takes over what the shadow has learnt, at most ``limit`` slots of it; then forgets, if an epoch has ended.

        Returns the delta list, uint32 [n, DELTA_WORDS]: slot, (table, row) that it held, (table, row) that it holds now,
        the number of the new key in ``working_keys`` uint32 [n, 2] or NO_WORKING_ROW; and how many slots still differ but
        for their worth. Only entries with at least ``worth`` of state are taken, and only keys that were not in the hot set
        when they were learnt last: a key is never in two slots. Sets are visited partition by partition, from the
        first in which the limit kept a change back last time.
        """
        numbers = {} if working_keys is None else {(t, r): n for n, (t, r) in enumerate(working_keys.tolist())}
        differs = (self.tags != self.hot) & (self.tags >= 0) & (self.state >= worth)
        sets = np.flatnonzero(differs.any(axis=1))
        turns = self.placement.turn(sets)
        order = np.lexsort((turns, turns < self.cursor))
        delta: list[tuple] = []
        left, kept_back = 0, None
        for s, turn in zip(sets[order].tolist(), turns[order].tolist(), strict=True):
            ways = np.flatnonzero(differs[s])
            own = np.full(len(ways), s)
            old, new = (self.keys.inverse(self.placement.unplace(own, t[s, ways])) for t in (self.hot, self.tags))
            held = self.held[s, ways]
            was_empty = self.hot[s, ways] < 0
            for n, way in enumerate(ways.tolist()):
                if held[n] or len(delta) >= limit:
                    if not held[n] and kept_back is None:
                        kept_back = turn
                    left += 1
                    continue
                before = (EMPTY_SLOT, EMPTY_SLOT) if was_empty[n] else self._table_row(old[n])
                after = self._table_row(new[n])
                delta.append((s * self.ways + way, *before, *after, numbers.get(after, NO_WORKING_ROW)))
                self.hot[s, way] = self.tags[s, way]
        self.cursor = self.cursor if kept_back is None else kept_back
        if self.shadow and self.policy.counts and self.forgetting.epoch_ends:
            if self.forgetting.end_epoch(self.valid, self.state, self.silent):
                self._halve()
        return np.array(delta, np.uint32).reshape(-1, DELTA_WORDS), left

    def _table_row(self, key: np.uint64) -> tuple[int, int]:
        table, row = self.keys.unpack(key)
        return int(table), int(row)

    def contents(self) -> dict[str, np.ndarray]:
        """Copies of all that the tracker holds, by name: what :meth:`restore` takes. ``kept`` int64 [4]: the sample scorer's
        pressure and threshold, the misses and the span of forgetting."""
        found = {name: getattr(self, name).copy() for name in ("tags", "state", "silent", "sketch", "hot")}
        scorer, forgetting = self.scorer, self.forgetting
        kept = np.array([scorer.pressure, scorer.threshold, forgetting.misses, forgetting.span], np.int64)
        held = self.held if self.shadow else self.held[:0]
        return found | {"held": held.copy(), "kept": kept, "cursor": np.array(self.cursor)}

    def restore(self, contents: dict[str, np.ndarray]) -> None:
        """Takes what :meth:`contents` of a tracker of the same shape gave."""
        self.clear()
        for name in ("tags", "state", "silent", "sketch"):
            getattr(self, name)[...] = contents[name]
        if self.shadow:
            self.hot[...], self.held[...] = contents["hot"], contents["held"]
        scorer, forgetting = self.scorer, self.forgetting
        scorer.pressure, scorer.threshold, forgetting.misses, forgetting.span = contents["kept"].tolist()
        self.cursor = int(contents["cursor"])

    def dump(self) -> np.ndarray:
        """uint32 [slots, 2]: (table, row) of every slot, ``EMPTY_SLOT`` twice where empty."""
        sets = np.broadcast_to(np.arange(self.sets)[:, None], self.hot.shape)
        tables, rows = self.keys.unpack(self.keys.inverse(self.placement.unplace(sets, self.hot)))
        hot = np.stack([tables, rows], axis=-1)
        hot[self.hot < 0] = EMPTY_SLOT
        return hot.reshape(self.slots, 2)

    def load(self, hot_list: np.ndarray) -> None:
        """Replaces the contents by ``hot_list`` (as :meth:`dump` gives it), entries new and all counts forgotten.

        Raises :class:`HotListError`, changing nothing, for a key in a set that is not its own, a key
        that stands twice in its set, a table or row too large for its field, or a half-empty slot. A key
        in two arrays is found in the lower one.
        """
        hot = np.asarray(hot_list, np.uint32).reshape(self.slots, 2)
        empty = (hot == EMPTY_SLOT).all(axis=1)
        too_large = (hot[:, 0] >> self.keys.table_bits != 0) | (hot[:, 1] >> self.keys.row_bits != 0)
        sets, tags = self.placement.place(self.keys.permute(self.keys.pack(hot[:, 0], hot[:, 1])))
        own = np.arange(self.slots) // self.ways
        misplaced = sets[np.arange(self.slots), own // self.placement.lines] != own
        bad = ~empty & (too_large | misplaced)
        line_tags = np.where(empty, -1, tags).reshape(self.sets, self.ways)
        twice = np.zeros((self.sets, self.ways), bool)
        for way in range(1, self.ways):
            same = line_tags[:, :way] == line_tags[:, way : way + 1]
            twice[:, way] = (line_tags[:, way] >= 0) & same.any(axis=1)
        bad |= twice.reshape(-1)
        if bad.any():
            slot = int(bad.argmax())
            why = "too large for its field" if too_large[slot] else "not this set's key, or there twice"
            raise HotListError(slot, f"(table, row) = ({hot[slot, 0]}, {hot[slot, 1]}) is {why}")
        self.clear()
        self.tags = line_tags
        self.hot = line_tags.copy() if self.shadow else line_tags
        self.state = np.where(line_tags >= 0, self.policy.inserted(self.state_max), 0)

    def place(self, keys) -> np.ndarray:
        """A hot list that holds as many of ``keys`` (most wanted first) as their sets have ways for.

        Each goes where its sets are emptiest. This is how a hot set chosen offline becomes something
        that ``LOAD`` takes.
        """
        keys = np.asarray(keys, np.uint64)
        sets, _ = self.placement.place(self.keys.permute(keys))
        used = [0] * self.sets
        slots = np.full(len(keys), -1, np.int64)
        for n, candidates in enumerate(sets.tolist()):
            s = min(candidates, key=used.__getitem__)
            if used[s] < self.ways:
                slots[n] = s * self.ways + used[s]
                used[s] += 1
        hot = np.full((self.slots, 2), EMPTY_SLOT, np.uint32)
        tables, rows = self.keys.unpack(keys)
        fits = slots >= 0
        hot[slots[fits], 0], hot[slots[fits], 1] = tables[fits], rows[fits]
        return hot
