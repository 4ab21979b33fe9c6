"""A trace: the samples of a click log as row numbers and payload words, whatever it came from, one part at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hotline_golden.layouts import NO_ACCESS

#: Samples that are read together where no other number is asked for.
PART = 1 << 15
#: What the payload words are: float32 values by their bits, the label first, or words without meaning.
PAYLOAD_TYPES = ("float32", "uint32")


class TraceError(ValueError):
    """Input that cannot be used; the message names file, line or sample, column, and what would be right."""


class Samples(NamedTuple):
    """Consecutive samples: ``rows`` uint32 [n, accesses], ``payload`` uint32 [n, payload words]."""

    rows: np.ndarray
    payload: np.ndarray

    @property
    def records(self) -> np.ndarray:
        """uint32 [n, payload words + accesses]: sample records as host memory holds them."""
        return np.concatenate([self.payload, self.rows], axis=1)


class Trace(ABC):
    """A log of ``samples`` samples, each ``payload_words`` words of payload and an access for each of ``table_of``.

    ``table_of`` int64 [accesses]: the table of each access. ``table_rows`` int64 [tables]: rows of each table.
    ``payload_type``: one of PAYLOAD_TYPES. ``NO_ACCESS`` among the rows pads a multi-hot list.

    Nothing is held in memory but what :meth:`part` gives, except by an :class:`ArrayTrace`.
    """

    def __init__(
        self,
        name: str,
        samples: int,
        table_of: np.ndarray,
        table_rows: np.ndarray,
        payload_words: int,
        payload_type: str = "float32",
    ):
        """Raises TraceError for sizes that do not fit together."""
        self.name, self.samples, self.payload_words, self.payload_type = name, samples, payload_words, payload_type
        self.table_of, self.table_rows = table_of, table_rows
        if samples < 1 or not len(table_of):
            raise TraceError(f"{name}: no samples or no accesses")
        if table_rows.ndim != 1 or not len(table_rows):
            raise TraceError(f"{name}: `table_rows` must list the tables' rows")
        if (table_rows < 1).any() or (table_rows >= NO_ACCESS).any():
            raise TraceError(f"{name}: every table must have 1 to {NO_ACCESS - 1} rows")
        if (table_of < 0).any() or (table_of >= len(table_rows)).any():
            raise TraceError(f"{name}: `table_of` must name tables 0 to {len(table_rows) - 1}")

    @property
    def accesses(self) -> int:
        return len(self.table_of)

    @abstractmethod
    def _read(self, first: int, last: int) -> Samples:
        """Samples ``first`` to ``last`` - 1, which are there."""

    def part(self, first: int = 0, last: int | None = None) -> Samples:
        """Samples ``first`` to ``last`` - 1, as far as there are any; all of them by default. They are not to be changed: the
        arrays may be the trace's own.

        Raises TraceError for a row that its table does not have.
        """
        last = self.samples if last is None else min(last, self.samples)
        found = self._read(min(first, last), last)
        check_rows(self.name, found.rows, self.table_of, self.table_rows, first)
        return found

    def parts(self, size: int = PART) -> Iterator[Samples]:
        """All samples in order, ``size`` at a time."""
        for first in range(0, self.samples, size):
            yield self.part(first, first + size)

    def head(self, samples: int) -> "Trace":
        """The first ``samples`` samples, or all."""
        return self if samples >= self.samples else Window(self, 0, samples)

    def after(self, samples: int) -> "Trace":
        """The samples after the first ``samples``."""
        return Window(self, samples, self.samples)

    def __reduce__(self):
        """Another process gets the samples themselves."""
        whole = self.part()
        return ArrayTrace, (self.name, whole.rows, self.table_of, self.table_rows, whole.payload, self.payload_type)

    def same_shape(self, name: str, samples: int) -> dict:
        """What a trace that is made of this one passes to the constructor."""
        return {"name": name, "samples": samples, "table_of": self.table_of, "table_rows": self.table_rows,
                "payload_words": self.payload_words, "payload_type": self.payload_type}  # fmt: skip


class ArrayTrace(Trace):
    """A trace in memory: ``rows`` uint32 [samples, accesses], ``payload`` uint32 [samples, payload words].

    Raises :class:`TraceError` for arrays that do not fit together, or a row that its table does not have.
    """

    def __init__(
        self,
        name: str,
        rows: np.ndarray,
        table_of: np.ndarray,
        table_rows: np.ndarray,
        payload: np.ndarray,
        payload_type: str = "float32",
    ):
        check_arrays(name, rows, table_of, payload)
        super().__init__(name, len(rows), table_of, table_rows, payload.shape[1], payload_type)
        check_rows(name, rows, table_of, table_rows)
        self.rows, self.payload = rows, payload

    def _read(self, first: int, last: int) -> Samples:
        return Samples(self.rows[first:last], self.payload[first:last])


class Window(Trace):
    """Samples ``first`` to ``last`` - 1 of another trace."""

    def __init__(self, trace: Trace, first: int, last: int):
        super().__init__(**trace.same_shape(trace.name, last - first))
        self.trace, self.first = trace, first

    def _read(self, first: int, last: int) -> Samples:
        return self.trace.part(self.first + first, self.first + last)


def in_memory(trace: Trace) -> ArrayTrace:
    """``trace`` as arrays. For small ones, and for whoever says that it holds the whole trace."""
    if isinstance(trace, ArrayTrace):
        return trace
    whole = trace.part()
    return ArrayTrace(trace.name, whole.rows, trace.table_of, trace.table_rows, whole.payload, trace.payload_type)


def used_rows(trace: Trace) -> list[np.ndarray]:
    """int64 for each table: the rows that ``trace`` accesses, ascending. Reads it once, and takes a byte for each row."""
    used = [np.zeros(rows, bool) for rows in trace.table_rows.tolist()]
    for part in trace.parts():
        for access, table in enumerate(trace.table_of.tolist()):
            rows = part.rows[:, access]
            used[table][rows[rows != NO_ACCESS]] = True
    return [np.flatnonzero(rows) for rows in used]


def check_arrays(name: str, rows: np.ndarray, table_of: np.ndarray, payload: np.ndarray) -> None:
    """Raises TraceError for arrays of other types or sizes than an :class:`ArrayTrace` has."""
    if rows.ndim != 2 or rows.dtype != np.uint32:
        raise TraceError(f"{name}: `rows` must be uint32 [samples, accesses], not {rows.dtype} {list(rows.shape)}")
    samples, accesses = rows.shape
    if table_of.shape != (accesses,):
        raise TraceError(
            f"{name}: `table_of` must have {accesses} entries, one for each access, not {list(table_of.shape)}"
        )
    if payload.ndim != 2 or len(payload) != samples or payload.dtype != np.uint32:
        raise TraceError(
            f"{name}: `payload` must be 32-bit [{samples}, words], not {payload.dtype} {list(payload.shape)}"
        )


def check_rows(name: str, rows: np.ndarray, table_of: np.ndarray, table_rows: np.ndarray, first: int = 0) -> None:
    """Raises TraceError for the first of ``rows`` that its table does not have; ``first``: the sample they begin with."""
    # Padding becomes 0 and every row one more, so that one comparison does.
    limits = table_rows[table_of].astype(np.uint32)
    bad = rows + np.uint32(1) > limits
    if not bad.any():
        return
    sample, access = divmod(int(bad.argmax()), rows.shape[1])
    table = int(table_of[access])
    raise TraceError(
        f"{name}: sample {first + sample}, access {access}: row {rows[sample, access]} is outside table {table}, which has "
        f"rows 0 to {table_rows[table] - 1}"
    )


def whole_numbers(where: str | Path, name: str, array: np.ndarray, most: int, first: int = 0) -> np.ndarray:
    """``array`` if its values are whole numbers from 0 to ``most``, whatever its dtype; ``first``: what its first index counts
    from, in messages. Raises TraceError."""
    if not np.issubdtype(array.dtype, np.integer):
        raise TraceError(f"{where}: `{name}` must hold integers, not {array.dtype}")
    bad = (array < 0) | (array > most)
    if bad.any():
        place = np.argwhere(bad)[0]
        place[0] += first
        raise TraceError(
            f"{where}: `{name}[{', '.join(str(int(n)) for n in place)}]` is {int(array[bad][0])}; 0 to {most} is right"
            + (f", where {NO_ACCESS} pads a shorter list" if most == NO_ACCESS and name == "rows" else "")
        )
    return array


def cause(error: OSError) -> str:
    """Why a file cannot be read, for a message that has named it."""
    return "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)


def shortened(text: str, most: int = 24) -> str:
    """``text`` in quotes for a message, cut after ``most`` characters."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}... ({len(text):,} characters)"
