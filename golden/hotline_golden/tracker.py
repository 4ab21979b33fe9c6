"""The hot-entry tracker: a set-associative memory of keys, learnt one access at a time.

Slots: set ``s`` and way ``w`` are slot ``s * ways + w``. The set is the low bits of the permuted
key, the tag the rest. The RTL twin is ``hotline_rtl.tracker``.
"""

import numpy as np

from .keys import KeySpace
from .layouts import EMPTY_SLOT
from .policies import POLICIES


class HotListError(ValueError):
    """A hot list that no tracker could have dumped; ``slot`` is the first slot at fault."""

    def __init__(self, slot: int, why: str):
        super().__init__(f"hot list, slot {slot}: {why}")
        self.slot = slot


class Tracker:
    """``sets`` (a power of two) x ``ways`` entries under a replacement policy.

    ``tags`` uint64, ``valid`` bool, ``state`` int: each [sets, ways].
    """

    def __init__(self, keys: KeySpace, sets: int, ways: int, policy: str = "srrip", state_bits: int = 3):
        if sets & (sets - 1) or sets < 1:
            raise ValueError(f"sets must be a power of two, not {sets}")
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; known: {', '.join(POLICIES)}")
        self.keys = keys
        self.sets = sets
        self.ways = ways
        self.set_bits = sets.bit_length() - 1
        self.policy = POLICIES[policy](state_bits)
        self.clear()

    @property
    def slots(self) -> int:
        return self.sets * self.ways

    def clear(self) -> None:
        """Empties every slot."""
        self.tags = np.zeros((self.sets, self.ways), np.uint64)
        self.valid = np.zeros((self.sets, self.ways), bool)
        self.state = np.zeros((self.sets, self.ways), np.int64)

    def _place(self, keys) -> tuple[np.ndarray, np.ndarray]:
        permuted = self.keys.permute(keys)
        return (permuted & np.uint64(self.sets - 1)).astype(np.int64), permuted >> np.uint64(self.set_bits)

    def learn(self, keys) -> int:
        """Shows ``keys`` (uint64 [n], trace order) one at a time; returns how many were hits."""
        sets, tags = self._place(keys)
        hits = 0
        lines: dict[int, tuple[list[int], list[bool], list[int]]] = {}
        for s, tag in zip(sets.tolist(), tags.tolist(), strict=True):
            if s not in lines:
                lines[s] = (self.tags[s].tolist(), self.valid[s].tolist(), self.state[s].tolist())
            line_tags, valid, state = lines[s]
            for way in range(self.ways):
                if valid[way] and line_tags[way] == tag:
                    self.policy.on_hit(state, way)
                    hits += 1
                    break
            else:
                way = self.policy.on_miss(valid, state)
                line_tags[way], valid[way] = tag, True
        for s, (line_tags, valid, state) in lines.items():
            self.tags[s], self.valid[s], self.state[s] = line_tags, valid, state
        return hits

    def lookup(self, keys) -> np.ndarray:
        """int64 [n]: the slot of each key, or -1. Changes nothing."""
        sets, tags = self._place(keys)
        match = self.valid[sets] & (self.tags[sets] == tags[:, None])
        return np.where(match.any(axis=1), sets * self.ways + match.argmax(axis=1), -1)

    def dump(self) -> np.ndarray:
        """uint32 [slots, 2]: (table, row) of every slot, ``EMPTY_SLOT`` twice where empty."""
        sets = np.arange(self.sets, dtype=np.uint64)[:, None]
        tables, rows = self.keys.unpack(self.keys.inverse((self.tags << np.uint64(self.set_bits)) | sets))
        hot = np.stack([tables, rows], axis=-1)
        hot[~self.valid] = EMPTY_SLOT
        return hot.reshape(self.slots, 2)

    def load(self, hot_list: np.ndarray) -> None:
        """Replaces the contents by ``hot_list`` (as :meth:`dump` gives it), newly inserted entries all.

        Raises :class:`HotListError`, changing nothing, for a key in a set that is not its own, a key
        that stands twice, a table or row too large for its field, or a half-empty slot.
        """
        hot = np.asarray(hot_list, np.uint32).reshape(self.slots, 2)
        empty = (hot == EMPTY_SLOT).all(axis=1)
        too_large = (hot[:, 0] >> self.keys.table_bits != 0) | (hot[:, 1] >> self.keys.row_bits != 0)
        sets, tags = self._place(self.keys.pack(hot[:, 0], hot[:, 1]))
        misplaced = sets != np.arange(self.slots) // self.ways
        bad = ~empty & (too_large | misplaced)
        line_tags = tags.reshape(self.sets, self.ways)
        line_used = ~empty.reshape(self.sets, self.ways)
        twice = np.zeros((self.sets, self.ways), bool)
        for way in range(1, self.ways):
            same = (line_tags[:, :way] == line_tags[:, way : way + 1]) & line_used[:, :way]
            twice[:, way] = line_used[:, way] & same.any(axis=1)
        bad |= twice.reshape(-1)
        if bad.any():
            slot = int(bad.argmax())
            why = "too large for its field" if too_large[slot] else "not this set's key, or there twice"
            raise HotListError(slot, f"(table, row) = ({hot[slot, 0]}, {hot[slot, 1]}) is {why}")
        self.clear()
        self.tags = np.where(line_used, line_tags, np.uint64(0))
        self.valid = line_used
        self.state = np.where(line_used, self.policy.inserted, 0)

    def place(self, keys) -> np.ndarray:
        """A hot list that holds as many of ``keys`` (most wanted first) as their sets have ways for.

        This is how a hot set chosen offline becomes something that ``LOAD`` takes.
        """
        keys = np.asarray(keys, np.uint64)
        sets, _ = self._place(keys)
        order = np.argsort(sets, kind="stable")
        sorted_sets = sets[order]
        ways = np.arange(len(keys)) - np.searchsorted(sorted_sets, sorted_sets)
        fits = ways < self.ways
        hot = np.full((self.slots, 2), EMPTY_SLOT, np.uint32)
        tables, rows = self.keys.unpack(keys[order][fits])
        slots = sorted_sets[fits] * self.ways + ways[fits]
        hot[slots, 0], hot[slots, 1] = tables, rows
        return hot
