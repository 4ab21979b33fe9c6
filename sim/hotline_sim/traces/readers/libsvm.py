"""LIBSVM text: a label, then ``index:value`` pairs; a range of indices is a table, or dense features.

A pair whose value is not 0 is an access to row ``index - first`` of the table in whose range its index lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..trace import TraceError, shortened
from .columns import NUMBER
from .reader import Column, Parsed, Piece, Reader, text_pieces
from .text_blocks import Block, check_utf8
from .values import AsIs

INDEX = r"^[0-9]{1,18}$"


@dataclass(frozen=True)
class Field:
    """Indices ``first`` to ``last`` are the rows of a table, of which a sample has up to ``hot``."""

    first: int
    last: int
    hot: int = 1


class LibsvmReader(Reader):
    """``dense``: the first and last index of dense features, or None; ``threshold``: a label is 1 from this value on."""

    def __init__(
        self,
        name: str,
        files: list[Path],
        fields: list[Field],
        dense: tuple[int, int] | None,
        threshold: float | None,
        limit: int | None,
    ):
        self.fields, self.dense, self.threshold = fields, dense, threshold
        self.dense_words = dense[1] - dense[0] + 1 if dense else 0
        ranges = sorted([(f.first, f.last) for f in fields] + ([dense] if dense else []))
        for (first, last), after in zip(ranges, [*ranges[1:], None], strict=True):
            if last < first:
                raise TraceError(f"{name}: indices {first}:{last}: the first comes first")
            if after and after[0] <= last:
                raise TraceError(f"{name}: indices {first}:{last} and {after[0]}:{after[1]} overlap")
        super().__init__(
            name,
            files,
            1 + self.dense_words,
            [f.hot for f in fields],
            [AsIs(f.last - f.first + 1) for f in fields],
            "refuse",
            limit,
        )
        # Which range an index is in: the last that begins at or before it. Range 0 is the dense one.
        self.firsts = np.array([dense[0] if dense else 0, *(f.first for f in fields)])
        self.lasts = np.array([dense[1] if dense else -1, *(f.last for f in fields)])
        self.by_first = np.argsort(self.firsts, kind="stable")

    def _pieces(self, cursor: dict | None, most: int | None) -> Iterator[Piece]:
        return text_pieces(self.files, cursor, most)

    def _parse(self, piece: Piece) -> Parsed:
        block = piece.content
        assert isinstance(block, Block)
        text = pa.array([check_utf8(block)[:-1]])
        lines = pc.list_flatten(pc.split_pattern(text, "\n"))
        tokens, line = _flatten(pc.ascii_split_whitespace(pc.ascii_trim_whitespace(lines)))
        is_label = np.diff(line, prepend=-1) != 0
        labels = self._labels(tokens.filter(pa.array(is_label)), piece)
        indices, values, line = self._pairs(tokens.filter(pa.array(~is_label)), line[~is_label], piece)
        payload = np.zeros((len(lines), self.payload_words), np.float32)
        payload[:, 0] = labels
        where = self._ranges(indices, line, piece)
        mine = where == 0
        if mine.any():
            places = line[mine] * self.dense_words + indices[mine] - self.firsts[0]
            self._refuse_twice(places, line[mine], indices[mine], piece)
            payload[line[mine], 1 + indices[mine] - self.firsts[0]] = self._finite(values[mine], line[mine], piece)
        tables = []
        for number, field in enumerate(self.fields, 1):
            mine = (where == number) & (values != 0)
            tables.append([self._accesses(field, len(lines), line[mine], indices[mine], piece)])
        return Parsed(payload, tables, piece.where)

    def _labels(self, texts: pa.Array, piece: Piece) -> np.ndarray:
        found = _numbers(texts, np.arange(len(texts)), "label", piece)
        if self.threshold is not None and np.isfinite(found).all():
            found = (found >= self.threshold).astype(np.float64)
        bad = (found != 0) & (found != 1)
        if bad.any():
            row = int(bad.argmax())
            raise TraceError(
                f"{piece.where(row)}: label {shortened(texts[row].as_py())}; 0 or 1 is right; threshold=N makes 1 of what is at "
                "least N"
            )
        return found.astype(np.float32)

    def _pairs(self, texts: pa.Array, line: np.ndarray, piece: Piece) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices int64, values float64, and the line of each."""
        parts, of = _flatten(pc.split_pattern(texts, ":"))
        good = np.bincount(of, minlength=len(texts)) == 2
        if good.all():
            keys = parts.take(pa.array(np.arange(0, len(parts), 2)))
            good = pc.match_substring_regex(keys, INDEX).to_numpy(zero_copy_only=False)
        if not good.all():
            at = int(good.argmin())
            raise TraceError(f"{piece.where(int(line[at]))}: {shortened(texts[at].as_py())}; index:value is right")
        values = _numbers(parts.take(pa.array(np.arange(1, len(parts), 2))), line, "value", piece)
        return keys.cast(pa.int64()).to_numpy(), values, line

    def _ranges(self, indices: np.ndarray, line: np.ndarray, piece: Piece) -> np.ndarray:
        """The range of each index: 0 for dense features, n + 1 for field n."""
        place = np.searchsorted(self.firsts[self.by_first], indices, side="right") - 1
        found = self.by_first[np.maximum(place, 0)]
        bad = (place < 0) | (indices > self.lasts[found])
        if bad.any():
            at = int(bad.argmax())
            ranges = ", ".join(f"{a}:{b}" for a, b in zip(self.firsts, self.lasts, strict=True) if b >= 0)
            raise TraceError(f"{piece.where(int(line[at]))}: index {indices[at]} is in no range; there are {ranges}")
        return found

    def _accesses(self, field: Field, count: int, line: np.ndarray, indices: np.ndarray, piece: Piece) -> Column:
        """A table's column: the pairs of each line, in their order."""
        first = np.flatnonzero(np.diff(line, prepend=-1) != 0)
        rank = np.arange(len(line)) - np.repeat(first, np.diff(first, append=len(line)))
        if (rank >= field.hot).any():
            at = int((rank >= field.hot).argmax())
            raise TraceError(
                f"{piece.where(int(line[at]))}: more than {field.hot} of the indices {field.first}:{field.last}; fields="
                f"{field.first}:{field.last}*N takes N"
            )
        numbers, absent = np.zeros(count * field.hot, np.uint64), np.ones(count * field.hot, bool)
        places = line * field.hot + rank
        numbers[places], absent[places] = indices - field.first, False
        return Column(f"{field.first}:{field.last}", field.hot, numbers=numbers, absent=absent)

    def _refuse_twice(self, places: np.ndarray, line: np.ndarray, indices: np.ndarray, piece: Piece) -> None:
        order = np.argsort(places, kind="stable")
        twice = order[1:][np.diff(places[order]) == 0]
        if len(twice):
            at = int(twice.min())
            raise TraceError(f"{piece.where(int(line[at]))}: index {indices[at]} comes twice")

    def _finite(self, values: np.ndarray, line: np.ndarray, piece: Piece) -> np.ndarray:
        with np.errstate(over="ignore"):
            found = values.astype(np.float32)
        if not np.isfinite(found).all():
            at = int(np.isfinite(found).argmin())
            raise TraceError(f"{piece.where(int(line[at]))}: value {values[at]}; a finite float32 is right")
        return found


def _flatten(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The items of lists, and the list that each is in."""
    return pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()


def _numbers(texts: pa.Array, line: np.ndarray, what: str, piece: Piece) -> np.ndarray:
    """float64 of ``texts``, each of which is a number; a plus sign may come first, as labels have it."""
    texts = pc.replace_substring_regex(texts, r"^\+", "")
    good = pc.match_substring_regex(texts, NUMBER).to_numpy(zero_copy_only=False)
    if not good.all():
        at = int(good.argmin())
        raise TraceError(f"{piece.where(int(line[at]))}: {what} {shortened(texts[at].as_py())}; a number is right")
    return texts.cast(pa.float64()).to_numpy()
