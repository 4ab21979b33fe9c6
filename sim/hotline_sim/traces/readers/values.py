"""From a categorical value to a row, by a stated rule.

- ``hash``: SplitMix64 of SplitMix64 of (value ^ table << 40), XOR seed; modulo the table's rows.
- ``modulo``: the value modulo the table's rows.
- ``first-seen``: values are numbered in the order in which they appear; a table becomes as large as needed.
- ``as-is``: the value is the row; where the table's rows are not given, it becomes as large as needed.

A value is an integer of 64 bits, negative ones in two's complement. Text has a value for ``hash``, by ``text_values.py``,
and for ``first-seen``. What an empty value, a null, becomes is one of NULLS:

- ``value``: a value of its own: 2**64 - 1 for ``hash``, row 0 for ``first-seen``, which keeps it free.
- ``skip``: no access.
- ``refuse``: an error.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from hotline_golden.keys import mix64
from hotline_golden.layouts import NO_ACCESS

from ..trace import TraceError

RULES = ("hash", "modulo", "first-seen", "as-is")
NULLS = ("value", "skip", "refuse")
NULL_VALUE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


class ValueFault(ValueError):
    """A value that its rule cannot take. ``place``: its index in the flat array; ``what``: for the message."""

    def __init__(self, place: int, what: str):
        super().__init__(what)
        self.place, self.what = place, what


class Rule(ABC):
    """Rows of one table. ``rows`` of a flat array come in the order of samples, and of accesses within each."""

    #: Has no memory: values may be asked for in any order, by several threads.
    stateless = True

    @abstractmethod
    def rows(self, values: np.ndarray, null: np.ndarray | None) -> np.ndarray:
        """uint32 [n] of ``values`` uint64 [n]; ``null`` bool [n] or None, where there is none. Raises ValueFault."""

    @abstractmethod
    def table_rows(self) -> int:
        """Rows of the table, after all values."""

    @property
    def memory(self) -> int:
        """Bytes that are held for values seen."""
        return 0

    def save(self, path: Path) -> None:
        """Writes what has been seen to ``path``, if anything is kept: a name without the suffix that tells the type."""
        return

    def restore(self, path: Path) -> None:
        """Takes what :meth:`save` wrote."""
        return


class Sized(Rule):
    """A rule for a table of ``size`` rows, whose number is ``table``."""

    def __init__(self, size: int, table: int, seed: int):
        self.size = np.uint64(size)
        self.table, self.seed = np.uint64(table << 40), np.uint64(seed)

    def table_rows(self) -> int:
        return int(self.size)


class Hash(Sized):
    def rows(self, values: np.ndarray, null: np.ndarray | None) -> np.ndarray:
        if null is not None:
            values = np.where(null, NULL_VALUE, values)
        return (mix64(mix64(values ^ self.table) ^ self.seed) % self.size).astype(np.uint32)


class Modulo(Sized):
    def rows(self, values: np.ndarray, null: np.ndarray | None) -> np.ndarray:
        _refuse_negative(values, null)
        return (values % self.size).astype(np.uint32)


class AsIs(Rule):
    """``size``: rows of the table, or None for as many as needed."""

    stateless = False

    def __init__(self, size: int | None):
        self.size, self.most = size, 0

    def rows(self, values: np.ndarray, null: np.ndarray | None) -> np.ndarray:
        _refuse_negative(values, null)
        limit = self.size or NO_ACCESS - 1
        bad = values >= limit if null is None else (values >= limit) & ~null
        if bad.any():
            place = int(bad.argmax())
            raise ValueFault(place, f"row {int(values[place])}; 0 to {limit - 1} is right")
        there = values if null is None else values[~null]
        if len(there):
            self.most = max(self.most, int(there.max()) + 1)
        return values.astype(np.uint32)

    def table_rows(self) -> int:
        return self.size or max(self.most, 1)

    def save(self, path: Path) -> None:
        np.save(path.with_suffix(".npy"), np.array(self.most))

    def restore(self, path: Path) -> None:
        self.most = int(np.load(path.with_suffix(".npy")))


class FirstSeen(Rule):
    """Values in sorted runs, of which the longer ones are older: a value is looked for in each of them."""

    stateless = False

    def __init__(self, null: str):
        self.reserved = int(null == "value")  # row 0
        self.runs: list[tuple[np.ndarray, np.ndarray]] = []
        self.seen: list[np.ndarray] = []  # in the order of rows
        self.count = self.reserved

    def rows(self, values: np.ndarray, null: np.ndarray | None) -> np.ndarray:
        found = np.zeros(len(values), np.uint32)
        there = slice(None) if null is None else ~null
        found[there] = self._number(values[there])
        return found

    def _number(self, values: np.ndarray) -> np.ndarray:
        distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        rows = np.full(len(distinct), -1, np.int64)
        for keys, numbers in self.runs:
            place = np.minimum(np.searchsorted(keys, distinct), len(keys) - 1)
            hit = keys[place] == distinct
            rows[hit] = numbers[place[hit]]
        new = np.flatnonzero(rows < 0)
        if len(new):
            order = new[np.argsort(first[new])]
            if self.count + len(order) >= NO_ACCESS:
                raise TraceError(f"more than {NO_ACCESS - 1} different values in one table: use rule=hash")
            rows[order] = self.count + np.arange(len(order))
            self.count += len(order)
            self.seen.append(distinct[order])
            self._add(distinct[new], rows[new].astype(np.uint32))
        return rows[inverse.reshape(-1)]

    def _add(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        while self.runs and len(self.runs[-1][0]) <= 2 * len(keys):
            older, old_numbers = self.runs.pop()
            keys, numbers = np.concatenate([older, keys]), np.concatenate([old_numbers, numbers])
            order = np.argsort(keys, kind="stable")
            keys, numbers = keys[order], numbers[order]
        self.runs.append((keys, numbers))

    def table_rows(self) -> int:
        return max(self.count, 1)

    @property
    def memory(self) -> int:
        return sum(keys.nbytes + numbers.nbytes for keys, numbers in self.runs) + sum(s.nbytes for s in self.seen)

    def values(self) -> np.ndarray:
        """uint64: the values, in the order of their rows; without the row that is kept free."""
        return np.concatenate([np.zeros(0, np.uint64), *self.seen])

    def save(self, path: Path) -> None:
        np.save(path.with_suffix(".npy"), self.values())

    def restore(self, path: Path) -> None:
        self._number(np.load(path.with_suffix(".npy")))


class FirstSeenText(FirstSeen):
    """The same for text: each is a value of its own, whatever its characters."""

    def __init__(self, null: str):
        super().__init__(null)
        self.numbers: dict[str, int] = {}

    def text(self, distinct: list[str]) -> np.ndarray:
        """uint64 [n]: values that stand for ``distinct``."""
        numbers = self.numbers
        return np.array([numbers.setdefault(text, len(numbers)) for text in distinct], np.uint64)

    @property
    def memory(self) -> int:
        return super().memory + sum(len(text) + 150 for text in self.numbers)

    def texts(self) -> list[str]:
        """The texts, in the order of their rows."""
        by_number = list(self.numbers)
        return [by_number[int(n)] for n in self.values()]

    def save(self, path: Path) -> None:
        path.with_suffix(".json").write_text(json.dumps([None] * self.reserved + self.texts()))

    def restore(self, path: Path) -> None:
        self._number(self.text(json.loads(path.with_suffix(".json").read_text())[self.reserved :]))


def _refuse_negative(values: np.ndarray, null: np.ndarray | None) -> None:
    bad = values >> np.uint64(63) != 0
    if null is not None:
        bad &= ~null
    if bad.any():
        place = int(bad.argmax())
        raise ValueFault(
            place, f"{int(values[place].astype(np.int64))}; 0 or more is right for rule=as-is and rule=modulo"
        )


def log1p(numbers: np.ndarray) -> np.ndarray:
    """float32 ``log(1 + max(x, 0))`` of integers or floats, made in float64."""
    return np.log1p(np.maximum(numbers, 0).astype(np.float64)).astype(np.float32)
