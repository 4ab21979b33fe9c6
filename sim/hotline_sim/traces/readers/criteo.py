"""The Criteo format, Kaggle's and Terabyte's: label, 13 integers, 26 hexadecimal categoricals, separated by tabs.

Any field but the label may be empty, and a line may end early. A test file has no label (``label=none``). Payload: the label, or
NaN where there is none; then float32 ``log(1 + max(x, 0))`` of the integers, as in DLRM, 0 for an empty one. Categoricals
become rows by a rule of ``values.py``.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ..trace import TraceError, shortened
from .reader import Column, Parsed, Piece, Reader, text_pieces
from .text_blocks import Block
from .values import NULL_VALUE, Rule, log1p

INTEGERS = 13
CATEGORICALS = 26

#: What each kind of field may be, whole; and what is right, for messages. A number may be written as a float without fraction.
LABEL = (r"[01](?:\.0+)?", "label {}; 0 or 1 is right")
INTEGER = (
    r"(?:(?:0*[0-9]{1,18}|-0*[1-9][0-9]{0,17})(?:\.0+)?)?",
    "{}; an integer of up to 18 digits, or nothing, is right",
)
CATEGORICAL = (r"[0-9A-Fa-f]{0,8}", "{}; up to 8 hexadecimal digits, or nothing, are right")
#: No other byte is in a block that is read at once. Others are read with care, or refused.
PLAIN = b"0123456789abcdefABCDEF-\t\n"
LARGEST = 10**18


class CriteoReader(Reader):
    """Fields of bytes other than those of usual logs are looked at one kind after another, and the first that is not as it must
    be is refused with line and column."""

    def __init__(
        self,
        name: str,
        files: list[Path],
        rules: list[Rule],
        null: str,
        *,
        labels: bool = True,
        limit: int | None = None,
    ):
        super().__init__(name, files, 1 + INTEGERS, [1] * CATEGORICALS, rules, null, limit)
        self.labels = labels
        self.columns = labels + INTEGERS + CATEGORICALS

    def _pieces(self, cursor: dict | None, most: int | None) -> Iterator[Piece]:
        return text_pieces(self.files, cursor, most)

    def _parse(self, piece: Piece) -> Parsed:
        block = piece.content
        assert isinstance(block, Block)
        data = block.data
        usual = not data.translate(None, PLAIN) and not _has_minus_zero(data)
        found = self._fast(data) if usual else None
        if found is None:
            data = self._complete(block)
            found = (self._fast(data) if usual else None) or self._careful(block, data)
        payload, values = found
        first = self.labels + INTEGERS + 1
        tables = [[Column(str(first + n), numbers=v, null=v == NULL_VALUE)] for n, v in enumerate(values)]
        return Parsed(payload, tables, piece.where)

    def _complete(self, block: Block) -> bytes:
        """The block's lines, with the tabs that are missing at their ends. Raises TraceError for a line of too many."""
        data = block.data
        text = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        before = np.searchsorted(np.flatnonzero(text == ord("\t")), ends)
        missing = self.columns - 1 - np.diff(before, prepend=0)
        if (missing < 0).any():
            line = int((missing < 0).argmax())
            raise TraceError(
                f"{block.where(line)}: {self.columns - int(missing[line])} columns; at most {self.columns} separated by tabs "
                "are right"
            )
        return np.insert(text, np.repeat(ends, missing), ord("\t")).tobytes() if missing.any() else data

    def _table(self, data: bytes, numbers: pa.DataType) -> pa.Table:
        """The lines as columns named 1, 2, ..., integers as ``numbers``, all others as bytes."""
        names = [str(n + 1) for n in range(self.columns)]
        types = {
            name: numbers if self.labels <= n < self.labels + INTEGERS else pa.binary()
            for n, name in enumerate(names)
        }
        return csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False, check_utf8=False),
        )

    def _fast(self, data: bytes) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Payload and categoricals, or None where a field is not as in usual logs."""
        try:
            table = self._table(data, pa.int64())
        except pa.ArrowInvalid:
            return None
        payload = np.empty((len(table), 1 + INTEGERS), np.float32)
        if self.labels:
            offsets, text = _bytes_of(table.column(0).chunk(0))
            if (
                len(text) != len(table)
                or (np.diff(offsets) != 1).any()
                or (text > ord("1")).any()
                or (text < ord("0")).any()
            ):
                return None
            payload[:, 0] = text - ord("0")
        else:
            payload[:, 0] = np.nan
        for n in range(INTEGERS):
            column = table.column(self.labels + n).chunk(0).fill_null(0).to_numpy()
            if column.max() >= LARGEST or column.min() <= -LARGEST:
                return None
            payload[:, 1 + n] = log1p(column)
        values = []
        for n in range(CATEGORICALS):
            offsets, text = _bytes_of(table.column(self.labels + INTEGERS + n).chunk(0))
            found = hexadecimal(offsets, text)
            if found is None:
                return None
            values.append(found)
        return payload, values

    def _careful(self, block: Block, data: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
        """The same for any text. Raises TraceError for the first field that is not as it must be."""
        table = self._table(data, pa.binary())
        kinds = [LABEL] * self.labels + [INTEGER] * INTEGERS + [CATEGORICAL] * CATEGORICALS
        faults = []
        for n, (pattern, right) in enumerate(kinds):
            column = table.column(n).chunk(0)
            good = pc.match_substring_regex(column, f"^(?:{pattern})$").to_numpy(zero_copy_only=False)
            if not good.all():
                faults.append((int(good.argmin()), n, right))
        if faults:
            row, n, right = min(faults)
            text = table.column(n)[row].as_py().decode(errors="backslashreplace")
            raise TraceError(f"{block.where(row)}, column {n + 1}: {right.format(shortened(text))}")
        payload = np.full((len(table), 1 + INTEGERS), np.nan, np.float32)
        if self.labels:
            payload[:, 0] = _floats(table.column(0))
        for n in range(INTEGERS):
            payload[:, 1 + n] = log1p(_floats(table.column(self.labels + n)))
        values = []
        for n in range(CATEGORICALS):
            found = hexadecimal(*_bytes_of(table.column(self.labels + INTEGERS + n).chunk(0)))
            assert found is not None
            values.append(found)
        return payload, values


def _has_minus_zero(data: bytes) -> bool:
    """Whether there is a minus before a zero: faster than ``in``, and other threads go on meanwhile."""
    text = np.frombuffer(data, np.uint8)
    return bool((text[np.flatnonzero(text[:-1] == ord("-")) + 1] == ord("0")).any())


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """float64; 0 for an empty field."""
    text = column.chunk(0).cast(pa.string())
    return pc.if_else(pc.equal(text, ""), "0", text).cast(pa.float64()).to_numpy()


def _bytes_of(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets int32 [n + 1] and the bytes uint8 of a column of bytes, from the first one's on."""
    _, offsets, data = column.buffers()
    found = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(data, np.uint8)[found[0] : found[-1]] if data else np.zeros(0, np.uint8)
    return found - found[0], text


def hexadecimal(offsets: np.ndarray, text: np.ndarray) -> np.ndarray | None:
    """uint64 [n]: the numbers that fields of up to 8 hexadecimal digits stand for, NULL_VALUE for an empty one; None where a
    field is longer, or has another character. Eight digits are worked on as one word."""
    lengths = np.diff(offsets)
    there = lengths > 0
    if lengths.max(initial=0) > 8:
        return None
    some = lengths[there]
    if (some == 8).all():
        digits = text
    else:  # zeros before the shorter ones
        padded = np.full((len(some), 8), ord("0"), np.uint8)
        padded[np.arange(8) >= 8 - some[:, None]] = text
        digits = padded.reshape(-1)
    words = np.ascontiguousarray(digits).view(">u8").astype(np.uint64)
    ones = np.uint64(0x0101_0101_0101_0101)
    letter = (words >> np.uint64(6)) & ones
    digit = (words >> np.uint64(4)) & ones & ~letter
    if ((letter | digit) != ones).any():
        return None
    words = (words & np.uint64(0x0F0F_0F0F_0F0F_0F0F)) + letter * np.uint64(9)
    words = (words | words >> np.uint64(4)) & np.uint64(0x00FF_00FF_00FF_00FF)
    words = (words | words >> np.uint64(8)) & np.uint64(0x0000_FFFF_0000_FFFF)
    words = (words | words >> np.uint64(16)) & np.uint64(0xFFFF_FFFF)
    found = np.full(len(lengths), NULL_VALUE)
    found[there] = words
    return found
