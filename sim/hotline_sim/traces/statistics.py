"""``hotline trace describe``: a trace's tables and skew, and the popular share that hot sets of several sizes would give.

The trace is read once. Of every row the uses are counted; hot sets are the most frequent keys of the first half of the samples,
as the frequency oracle of golden has them, and the second half judges them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from hotline_golden.layouts import NO_ACCESS

from .trace import Trace

#: Hot sets: all distinct keys of the first half, a half of them, and so on.
SIZES = 7
#: The level of a key that no hot set holds.
COLD = SIZES
#: Tables up to so many rows are counted by one histogram a part.
SMALL = 1 << 16
#: Samples that are read at once.
PART = 1 << 16


@dataclass(frozen=True)
class Point:
    """A hot set of ``entries`` keys, as a share ``of_distinct`` keys: shares of later accesses and samples."""

    entries: int
    of_distinct: float
    hot_accesses: float
    popular_share: float


@dataclass(frozen=True)
class TableUse:
    """A table of ``rows``: ``used`` of them by ``accesses``, of which the ten most used have ``top_share``."""

    rows: int
    accesses: int
    used: int
    top_share: float


@dataclass(frozen=True)
class Description:
    """What :func:`describe` finds; ``memory``: bytes that counting takes."""

    trace: str
    samples: int
    accesses: int
    payload_words: int
    tables: list[TableUse]
    curve: list[Point]
    memory: int

    def numbers(self) -> dict:
        """What ``--json`` holds."""
        return {
            "trace": self.trace, "samples": self.samples, "accesses": self.accesses, "payload_words": self.payload_words,
            "table_rows": [t.rows for t in self.tables], "distinct_keys": sum(t.used for t in self.tables),
            "curve": [p.__dict__ for p in self.curve],
        }  # fmt: skip

    def for_people(self) -> list[Table]:
        """Two tables."""
        sizes = Table(
            "table",
            "rows",
            "accesses a sample",
            "distinct rows used",
            "share of its 10 most used",
            title=f"{self.trace}: {self.samples:,} samples",
        )
        for number, t in enumerate(self.tables):
            sizes.add_row(
                str(number), f"{t.rows:,}", f"{t.accesses / self.samples:.2f}", f"{t.used:,}", f"{t.top_share:.1%}"
            )
        curve = Table(
            "hot keys",
            "share of distinct keys",
            "hot accesses",
            "popular samples",
            title="the most frequent keys of the first half, judged on the second",
        )
        for p in self.curve:
            curve.add_row(f"{p.entries:,}", f"{p.of_distinct:.3f}", f"{p.hot_accesses:.1%}", f"{p.popular_share:.1%}")
        return [sizes, curve]


class Uses:
    """Of each row of a table: how often it has been used, and the sample that used it first."""

    def __init__(self, rows: int):
        self.counts = np.zeros(rows, np.uint32)
        self.first = np.zeros(rows, np.uint32)
        self.level = np.zeros(0, np.uint8)

    def add(self, rows: np.ndarray, sample: np.ndarray) -> None:
        """``rows`` were used by ``sample``, in order."""
        new = self.counts[rows] == 0
        if new.any():  # of several samples that use a new row, the first one is written last
            self.first[rows[new][::-1]] = sample[new][::-1]
        self.count(rows)

    def count(self, rows: np.ndarray) -> None:
        """``rows`` were used; who did it first does not matter."""
        if len(self.counts) <= SMALL:
            self.counts += np.bincount(rows, minlength=len(self.counts)).astype(np.uint32)
        else:
            np.add.at(self.counts, rows, np.uint32(1))

    @property
    def memory(self) -> int:
        return self.counts.nbytes + self.first.nbytes + len(self.counts)

    def summary(self) -> TableUse:
        used = self.counts[self.counts > 0]
        top = np.sort(np.partition(used, -10)[-10:] if len(used) > 10 else used)
        total = int(used.sum(dtype=np.int64))
        return TableUse(len(self.counts), total, len(used), float(top.sum(dtype=np.int64) / total) if total else 0.0)


def describe(trace: Trace, progress: Callable[[int, int], None] = lambda done, total: None) -> Description:
    """Reads ``trace``; ``progress``: called with samples read, and all."""
    uses = [Uses(rows) for rows in trace.table_rows.tolist()]
    columns = [np.flatnonzero(trace.table_of == number) for number in range(len(uses))]
    half = trace.samples // 2
    hot_accesses, popular = np.zeros(256, np.int64), np.zeros(256, np.int64)
    sizes: list[int] = []
    with ThreadPoolExecutor(2) as pool:

        def learn(number: int, rows: np.ndarray, first: int) -> None:
            mine = rows[:, columns[number]]
            there = mine != NO_ACCESS
            sample = np.broadcast_to(np.arange(first, first + len(rows), dtype=np.uint32)[:, None], mine.shape)
            uses[number].add(mine[there], sample[there])

        def judge(number: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            mine = rows[:, columns[number]]
            there = mine != NO_ACCESS
            levels = uses[number].level[np.where(there, mine, 0)]
            uses[number].count(mine[there])
            counts = np.bincount(levels[there], minlength=256)
            levels[~there] = 0
            return levels.max(axis=1), counts

        for first in range(0, half, PART):
            rows = trace.part(first, min(first + PART, half)).rows
            list(pool.map(lambda number, r=rows, f=first: learn(number, r, f), range(len(uses))))
            progress(first + len(rows), trace.samples)
        sizes = _set_levels(uses)
        for first in range(half, trace.samples, PART):
            rows = trace.part(first, first + PART).rows
            found = list(pool.map(lambda number, r=rows: judge(number, r), range(len(uses))))
            popular += np.bincount(np.max([levels for levels, _ in found], axis=0), minlength=256)
            hot_accesses += sum(counts for _, counts in found)
            progress(first + len(rows), trace.samples)
    later, accesses = trace.samples - half, max(1, int(hot_accesses.sum()))
    distinct = max(1, sizes[-1])
    curve = [
        Point(
            size,
            size / distinct,
            float(hot_accesses[: n + 1].sum() / accesses),
            float(popular[: n + 1].sum() / later),
        )
        for n, size in enumerate(sizes)
    ]
    return Description(
        trace.name,
        trace.samples,
        trace.accesses,
        trace.payload_words,
        [u.summary() for u in uses],
        curve,
        sum(u.memory for u in uses),
    )


def _set_levels(uses: list[Uses]) -> list[int]:
    """Sets the level of every row: the first of the hot sets that holds it; returns how many keys each holds. Of keys that are
    used as often, those that came first are hotter."""
    used = [np.flatnonzero(u.counts) for u in uses]
    counts = np.concatenate([u.counts[rows] for u, rows in zip(uses, used, strict=True)])
    first = np.concatenate([u.first[rows] for u, rows in zip(uses, used, strict=True)])
    # The most frequent first, then the earliest; a stable sort of one word does both.
    order = np.argsort((np.uint64(0xFFFF_FFFF) - counts << np.uint64(32)) | first, kind="stable")
    sizes = [max(1, len(counts) >> shift) for shift in range(SIZES - 1, -1, -1)]
    levels = np.empty(len(counts), np.uint8)
    levels[order] = np.searchsorted(sizes, np.arange(len(counts)), side="right")
    start = 0
    for u, rows in zip(uses, used, strict=True):
        u.level = np.full(len(u.counts), COLD, np.uint8)
        u.level[rows] = levels[start : start + len(rows)]
        start += len(rows)
    return sizes
