"""Fragmenting a mini-batch into its popular and its non-popular micro-batch.

The RTL twins are ``classifier`` and ``fragmenter`` of ``hotline_rtl.classify``, and ``hotline_rtl.working_set.cold_resolver``.
"""

from dataclasses import dataclass

import numpy as np

from .layouts import NO_ACCESS, WORKING_ROW
from .model import Model
from .tracker.tracker import Tracker
from .working_set import number_in_first_use_order


class RowOutsideTable(ValueError):
    """A row that its table does not have; ``sample`` and ``access`` say where."""

    def __init__(self, sample: int, access: int, row: int, rows: int):
        super().__init__(f"sample {sample}, access {access}: row {row} is outside its table of {rows} rows")
        self.sample, self.access = sample, access


@dataclass(frozen=True)
class Classified:
    """Per access, arrays [samples, accesses]: which table, is it one at all, is it tracked, its key."""

    tables: np.ndarray
    present: np.ndarray
    tracked: np.ndarray
    keys: np.ndarray


@dataclass(frozen=True)
class SplitResult:
    """What a SPLIT gives: micro-batch records uint32 [n, record_words], working keys uint32 [n, 2]."""

    popular: np.ndarray
    non_popular: np.ndarray
    working_keys: np.ndarray
    accesses: int
    hot_accesses: int
    tracked_accesses: int
    cold_accesses: int


def first_row_outside(model: Model, rows: np.ndarray) -> tuple[int, int] | None:
    """(sample, access) of the first row in trace order that is outside its table, or None."""
    tables = np.asarray(model.table_of, np.int64)
    bad = (rows != NO_ACCESS) & (rows >= model.rows[tables])
    if not bad.any():
        return None
    sample, access = divmod(int(bad.argmax()), model.accesses)
    return sample, access


def rows_before(rows: np.ndarray, sample: int, access: int) -> np.ndarray:
    """What of ``rows`` comes before an access, in trace order."""
    before = rows[: sample + 1].copy()
    before[sample, access:] = NO_ACCESS
    return before


def check_rows(model: Model, rows: np.ndarray) -> None:
    """Raises :class:`RowOutsideTable` for the first bad row of ``rows`` uint32 [samples, accesses]."""
    if (where := first_row_outside(model, rows)) is not None:
        sample, access = where
        limit = int(model.rows[model.table_of[access]])
        raise RowOutsideTable(sample, access, int(rows[sample, access]), limit)


def classify(model: Model, tracker: Tracker, rows: np.ndarray) -> Classified:
    """Sorts accesses of ``rows`` uint32 [samples, accesses] into padding, resident and tracked."""
    tables = np.broadcast_to(np.asarray(model.table_of, np.int64), rows.shape)
    present = rows != NO_ACCESS
    tracked = present & ~model.resident[tables]
    return Classified(tables, present, tracked, tracker.keys.pack(tables, np.where(present, rows, 0)))


def learn(model: Model, tracker: Tracker, rows: np.ndarray) -> tuple[int, int]:
    """Shows all tracked accesses to the tracker in trace order; returns (accesses, hot accesses)."""
    c = classify(model, tracker, rows)
    hits = tracker.learn(c.keys[c.tracked], np.nonzero(c.tracked)[0])
    accesses = int(c.present.sum())
    return accesses, accesses - int(c.tracked.sum()) + hits


@dataclass(frozen=True)
class Sampling:
    """Which samples a SPLIT learns from: of every ``1 << shift``, the one whose position ends in the bits of ``seed``."""

    shift: int = 0
    seed: int = 0

    def of(self, samples: int) -> np.ndarray:
        """bool [samples]: which of a mini-batch."""
        return (np.arange(samples) ^ self.seed) & ((1 << self.shift) - 1) == 0


def follow(model: Model, tracker: Tracker, rows: np.ndarray, sampling: Sampling) -> None:
    """Shows the tracked accesses of those samples to the tracker, in trace order, as a SPLIT does that learns."""
    c = classify(model, tracker, rows)
    tracker.follow(c.keys[c.tracked & sampling.of(len(rows))[:, None]])


def split(model: Model, tracker: Tracker, samples: np.ndarray) -> SplitResult:
    """Splits ``samples`` uint32 [n, sample_words] against the hot set.

    Raises :class:`RowOutsideTable` for a row that its table does not have.
    """
    payload, rows = samples[:, : model.payload_words], samples[:, model.payload_words :]
    check_rows(model, rows)
    c = classify(model, tracker, rows)
    slots = np.full(rows.shape, -1, np.int64)
    slots[c.tracked] = tracker.lookup(c.keys[c.tracked])
    resident = c.present & ~c.tracked
    slots[resident] = model.first_slot[c.tables[resident]] + rows[resident]
    cold = c.tracked & (slots < 0)
    is_popular = ~cold.any(axis=1)

    numbers, working = number_in_first_use_order(c.keys[cold])
    refs = np.where(c.present, slots, NO_ACCESS).astype(np.uint32)
    refs[cold] = numbers.astype(np.uint32) | np.uint32(WORKING_ROW)
    sample_ids = np.arange(len(samples), dtype=np.uint32)[:, None]
    records = np.concatenate([sample_ids, payload, refs], axis=1).astype(np.uint32)
    return SplitResult(
        popular=records[is_popular],
        non_popular=records[~is_popular],
        working_keys=np.stack(tracker.keys.unpack(working), axis=1),
        accesses=int(c.present.sum()),
        hot_accesses=int(c.present.sum() - cold.sum()),
        tracked_accesses=int(c.tracked.sum()),
        cold_accesses=int(cold.sum()),
    )
