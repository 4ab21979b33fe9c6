"""What all readers have in common: pieces are read in order, parsed by several threads, and numbered in order again."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hotline_golden.layouts import NO_ACCESS

from ..trace import Samples, TraceError
from .shards import identity
from .text_blocks import text_blocks
from .values import FirstSeenText, Rule, ValueFault

if TYPE_CHECKING:
    import pyarrow as pa

#: Threads that parse, and pieces that are read ahead of the one that is wanted.
WORKERS, AHEAD = 2, 3


@dataclass(frozen=True)
class Piece:
    """A part of a file as it was read. ``content``: for the reader's ``_parse``; ``where(row)``: file and line of its
    ``row``-th sample, for messages; ``cursor``: where the next piece begins, for JSON; ``done``: the part of all bytes that
    has been read then."""

    content: object
    where: Callable[[int], str]
    cursor: dict
    done: float


@dataclass
class Column:
    """Values of one column or list of a table, ``width`` accesses a sample: ``numbers`` uint64 [n * width] or ``texts``, an Arrow
    array of as many; ``null`` bool, or None where there is none; ``absent`` bool, or None: no access, a shorter list's rest."""

    name: str
    width: int = 1
    numbers: np.ndarray | None = None
    texts: "pa.Array | None" = None
    null: np.ndarray | None = None
    absent: np.ndarray | None = None


@dataclass
class Parsed:
    """``payload`` float32 [n, words], and for each table the columns that it is read by; ``rows`` uint32 [n, accesses], as far as
    rules without memory have made them."""

    payload: np.ndarray
    tables: list[list[Column]]
    where: Callable[[int], str]
    rows: np.ndarray = field(init=False)


class Chunk(NamedTuple):
    """Samples, where those after them begin, and the part of the log that has been read."""

    samples: Samples
    cursor: dict
    done: float


class Reader(ABC):
    """A log that is read once, from its beginning or from a chunk's ``cursor``.

    ``widths``: accesses of each table. The payload is float32. Raises TraceError for what cannot be read.
    """

    payload_type = "float32"

    def __init__(
        self,
        name: str,
        files: list[Path],
        payload_words: int,
        widths: list[int],
        rules: list[Rule],
        null: str,
        limit: int | None = None,
    ):
        self.name, self.files, self.payload_words = name, files, payload_words
        self.widths, self.rules, self.null, self.limit = widths, rules, null, limit
        self.table_of = np.repeat(np.arange(len(widths)), widths)

    @abstractmethod
    def _pieces(self, cursor: dict | None, most: int | None) -> Iterator[Piece]:
        """The pieces from ``cursor`` on; no more than ``most`` samples of them are wanted."""

    @abstractmethod
    def _parse(self, piece: Piece) -> Parsed:
        """A piece's columns. Has no memory."""

    @property
    def identity(self) -> list:
        """What tells whether the files are still those that were read."""
        return identity(self.files)

    @property
    def table_rows(self) -> np.ndarray:
        """int64 [tables], once all chunks have been read."""
        return np.array([rule.table_rows() for rule in self.rules], np.int64)

    @property
    def memory(self) -> int:
        """Bytes held for values that have been seen."""
        return sum(rule.memory for rule in self.rules)

    def save(self, folder: Path) -> None:
        """Writes what the rules have seen into ``folder``."""
        for number, rule in enumerate(self.rules):
            rule.save(folder / f"values_{number:03}")

    def restore(self, folder: Path) -> None:
        """Takes what :meth:`save` wrote."""
        for number, rule in enumerate(self.rules):
            rule.restore(folder / f"values_{number:03}")

    def chunks(self, cursor: dict | None = None, already: int = 0) -> Iterator[Chunk]:
        """The log from ``cursor`` on, ``already`` samples lying before it. Raises TraceError, with the place, for what is
        malformed; everything before it has been given then."""
        left = None if self.limit is None else self.limit - already
        if left == 0:
            return
        for piece, parsed in in_order(self._parse_and_number, self._pieces(cursor, left)):
            if left is not None and left <= len(parsed.payload):
                yield self._chunk(parsed, left, piece)
                return
            if left is not None:
                left -= len(parsed.payload)
            yield self._chunk(parsed, len(parsed.payload), piece)

    def _chunk(self, parsed: Parsed, count: int, piece: Piece) -> Chunk:
        rows = parsed.rows[:count]
        self._number(parsed, rows, False)
        payload = np.ascontiguousarray(parsed.payload[:count]).view(np.uint32)
        return Chunk(Samples(np.ascontiguousarray(rows), payload), piece.cursor, piece.done)

    def _parse_and_number(self, piece: Piece) -> Parsed:
        """Parses; rules without memory number at once."""
        parsed = self._parse(piece)
        parsed.rows = np.empty((len(parsed.payload), len(self.table_of)), np.uint32)
        self._number(parsed, parsed.rows, True)
        return parsed

    def _number(self, parsed: Parsed, rows: np.ndarray, stateless: bool) -> None:
        """Rows of the tables whose rule is ``stateless`` or not, into ``rows``."""
        first = 0
        for columns, width, rule in zip(parsed.tables, self.widths, self.rules, strict=True):
            if rule.stateless == stateless:
                rows[:, first : first + width] = self._rows_of(columns, rule, len(rows), parsed.where)
            first += width

    def _rows_of(self, columns: list[Column], rule: Rule, count: int, where: Callable[[int], str]) -> np.ndarray:
        """uint32 [count, width]: a table's rows of the first ``count`` samples."""
        width = sum(c.width for c in columns)
        values = _side_by_side([_numbers(c, rule)[: count * c.width] for c in columns], columns, count)
        null = _side_by_side([_flags(c.null, count * c.width) for c in columns], columns, count)
        absent = _side_by_side([_flags(c.absent, count * c.width) for c in columns], columns, count)
        if null.any() and self.null == "refuse":
            sample, access = divmod(int(null.argmax()), width)
            raise TraceError(
                f"{where(sample)}, column {_column(columns, access)}: no value; null=skip takes it for no access"
            )
        if self.null == "skip":
            absent = absent | null
            null = np.zeros(0, bool)
        there = ~absent if absent.any() else slice(None)
        try:
            found = rule.rows(values[there], null[there] if null.any() else None)
        except ValueFault as e:
            place = int(np.flatnonzero(there)[e.place]) if isinstance(there, np.ndarray) else e.place
            sample, access = divmod(place, width)
            raise TraceError(f"{where(sample)}, column {_column(columns, access)}: {e.what}") from None
        if isinstance(there, np.ndarray):
            rows = np.full(count * width, NO_ACCESS, np.uint32)
            rows[there] = found
            found = rows
        return found.reshape(count, width)


def text_pieces(files: list[Path], cursor: dict | None, most: int | None, *, header: bool = False) -> Iterator[Piece]:
    """Pieces of text files whose content is a :class:`Block`."""
    for block in text_blocks(files, cursor, most, header=header):
        yield Piece(block, block.where, block.cursor, block.done)


def _numbers(column: Column, rule: Rule) -> np.ndarray:
    """uint64 values of a column: those of its texts are as ``rule`` wants them."""
    if column.texts is None:
        assert column.numbers is not None
        return column.numbers
    from .text_values import text_values

    encoded = column.texts.fill_null("").dictionary_encode()
    distinct = encoded.dictionary
    values = rule.text(distinct.to_pylist()) if isinstance(rule, FirstSeenText) else text_values(distinct)
    return values[encoded.indices.to_numpy()]


def _flags(flags: np.ndarray | None, count: int) -> np.ndarray:
    return np.zeros(count, bool) if flags is None else flags[:count]


def _side_by_side(parts: list[np.ndarray], columns: list[Column], count: int) -> np.ndarray:
    """Flat arrays of columns as one flat array, sample by sample."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([p.reshape(count, c.width) for p, c in zip(parts, columns, strict=True)], axis=1).reshape(
        -1
    )


def _column(columns: list[Column], access: int) -> str:
    for column in columns:
        if access < column.width:
            return column.name
        access -= column.width
    raise IndexError(access)


def in_order(function: Callable, pieces: Iterator) -> Iterator[tuple]:
    """(piece, ``function`` of it) for all ``pieces``, in order; several at a time, and no more than AHEAD waiting."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque = deque()
        failed: TraceError | None = None
        try:
            while True:
                try:
                    piece = next(pieces, None)
                except TraceError as e:  # what came before it is still to be given
                    piece, failed = None, e
                if piece:
                    waiting.append((piece, pool.submit(function, piece)))
                while waiting and (len(waiting) > AHEAD or not piece):
                    done, future = waiting.popleft()
                    yield done, future.result()
                if not piece:
                    break
            if failed:
                raise failed
        finally:
            for _, future in waiting:
                future.cancel()
