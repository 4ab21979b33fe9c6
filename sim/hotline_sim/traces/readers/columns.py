"""Logs with named columns: what is the same for CSV, Parquet and Arrow IPC files. A schema says what each column is."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..trace import TraceError, shortened
from .reader import Column, Parsed, Piece, Reader
from .schema import Schema
from .values import log1p

#: What a number is in text, whole: as the field writes it. No other number is taken.
NUMBER = r"^-?[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][-+]?[0-9]{1,3})?$|^-?(?:inf|Inf|nan|NaN)$"


class ColumnsReader(Reader):
    """What the three have in common. ``text``: columns whose values are text."""

    def __init__(self, name: str, files: list[Path], schema: Schema, text: set[str], limit: int | None):
        self.schema = schema
        of_tables = [any(column in text for column in table) for table in schema.tables]
        for table, some in zip(schema.tables, of_tables, strict=True):
            if some and not all(column in text for column in table):
                raise TraceError(
                    f"{name}: columns {' and '.join(table)} share a table; all of them hold text, or none"
                )
        super().__init__(
            name, files, 1 + len(schema.dense), schema.widths(), schema.rules(of_tables), schema.nulls, limit
        )

    @abstractmethod
    def _content(self, piece: Piece) -> pa.Table:
        """The columns that a piece holds."""

    def _parse(self, piece: Piece) -> Parsed:
        try:
            return self._parse_columns(self._content(piece), piece.where)
        except pa.ArrowException as e:  # what a damaged file holds
            raise TraceError(f"{piece.where(0)} or later: {damage(e)}") from None

    def _parse_columns(self, table: pa.Table, where: Callable[[int], str]) -> Parsed:
        schema = self.schema
        payload = np.full((len(table), self.payload_words), np.nan, np.float32)
        if schema.label:
            payload[:, 0] = self._label(flat(table, schema.label), where)
        for n, name in enumerate(schema.dense):
            payload[:, 1 + n] = self._dense(name, flat(table, name), where)
        tables = [[self._column(name, flat(table, name), where) for name in group] for group in schema.tables]
        return Parsed(payload, tables, where)

    def _label(self, column: pa.Array, where: Callable[[int], str]) -> np.ndarray:
        name, threshold = self.schema.label, self.schema.threshold
        assert name is not None
        found = _floats(name, column, where, np.nan)
        if threshold is not None:
            bad = ~np.isfinite(found)
            right = "a finite number is right"
            labels = (found >= threshold).astype(np.float32)
        else:
            bad = (found != 0) & (found != 1)
            right = "0 or 1 is right; threshold=N makes 1 of what is at least N"
            labels = found.astype(np.float32)
        if bad.any():
            row = int(bad.argmax())
            value = column[row].as_py()
            raise TraceError(
                f"{where(row)}, column {name}: label {'empty' if value is None else shortened(str(value))}; {right}"
            )
        return labels

    def _dense(self, name: str, column: pa.Array, where: Callable[[int], str]) -> np.ndarray:
        found = _floats(name, column, where, 0.0)
        values = log1p(found) if self.schema.transform == "log1p" else _narrow(found)
        bad = ~np.isfinite(values)
        if bad.any() and self.schema.nonfinite == "zero":
            values = np.where(bad, np.float32(0), values)
        elif bad.any():
            row = int(bad.argmax())
            raise TraceError(
                f"{where(row)}, column {name}: {shortened(str(column[row].as_py()))}; a finite float32 is right; nonfinite=zero "
                "takes others for 0"
            )
        return values

    def _column(self, name: str, column: pa.Array, where: Callable[[int], str]) -> Column:
        """A column's values, ``width`` places for each row."""
        if not is_list(column.type):
            return _values(name, column, where)
        width, rows = self.schema.width(name), len(column)
        column = column.cast(pa.large_list(column.type.value_type))
        flat = pc.list_flatten(column)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        if self.schema.longer == "refuse" and (lengths > width).any():
            row = int((lengths > width).argmax())
            raise TraceError(
                f"{where(row)}, column {name}: a list of {lengths[row]}; at most {width} is right: hot={name}:N, or longer=cut"
            )
        at = np.arange(width)
        there = (at < lengths[:, None]).reshape(-1)
        places = (starts[:, None] + at).reshape(-1)
        taken = flat.take(pa.array(places[there]))
        inner = _values(name, taken, lambda n: where(int(np.flatnonzero(there)[n]) // width))
        full = Column(name, width, absent=~there)
        spread = np.zeros(rows * width, np.int64)
        spread[there] = np.arange(int(there.sum()))
        if inner.texts is not None:
            texts = inner.texts if len(inner.texts) else pa.array([""], pa.string())
            full.texts = texts.take(pa.array(spread))
        else:
            assert inner.numbers is not None
            full.numbers = np.zeros(rows * width, np.uint64)
            full.numbers[there] = inner.numbers
        if inner.null is not None:
            full.null = np.zeros(rows * width, bool)
            full.null[there] = inner.null
        return full


def is_list(kind: pa.DataType) -> bool:
    """A type whose values are lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """A type, or one of lists, whose values are text or bytes."""
    if is_list(kind):
        return is_text(kind.value_type)
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def flat(table: pa.Table, name: str) -> pa.Array:
    """A column as one array, without a dictionary."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _floats(name: str, column: pa.Array, where: Callable[[int], str], null: float) -> np.ndarray:
    """float64 of a column of numbers, or of text that is a number each; ``null`` where there is none."""
    kind = column.type
    if is_text(kind):
        column = checked_text(name, column, NUMBER, "a number is right", where)
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        raise TraceError(f"{where(0)}, column {name}: {kind}; numbers are right")
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    found = column.cast(pa.float64(), safe=False)
    return found.fill_null(null).to_numpy(zero_copy_only=False)


def _narrow(values: np.ndarray) -> np.ndarray:
    """float32; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def checked_text(name: str, column: pa.Array, pattern: str, right: str, where: Callable[[int], str]) -> pa.Array:
    """``column`` as strings, if each matches ``pattern``."""
    texts = _strings(name, column, where)
    good = pc.fill_null(pc.match_substring_regex(texts, pattern), True).to_numpy(zero_copy_only=False)
    if not good.all():
        row = int(good.argmin())
        raise TraceError(f"{where(row)}, column {name}: {shortened(texts[row].as_py())}; {right}")
    return texts


def _strings(name: str, column: pa.Array, where: Callable[[int], str]) -> pa.Array:
    try:
        texts = column.cast(pa.string())
        texts.validate(full=True)  # files that say that they hold text may hold other bytes
        return texts
    except pa.ArrowInvalid as e:
        raise TraceError(f"{where(0)} or later, column {name}: not UTF-8 text: {e}") from None


def _values(name: str, column: pa.Array, where: Callable[[int], str]) -> Column:
    """A column of integers, or text. Floats and decimals without fraction count as integers."""
    kind = column.type
    null = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    if is_text(kind):
        return Column(name, texts=_strings(name, column, where), null=null)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        floats = column.cast(pa.float64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False)
        bad = ~(np.abs(floats) < 2.0**53) | (floats != np.floor(floats))
        if bad.any():
            row = int(bad.argmax())
            raise TraceError(f"{where(row)}, column {name}: {column[row].as_py()}; an integer or text is right")
        return Column(name, numbers=floats.astype(np.int64).view(np.uint64), null=null)
    elif not (pa.types.is_integer(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind)):
        raise TraceError(f"{where(0)}, column {name}: {kind}; integers, text, or lists of these are right")
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    if not pa.types.is_uint64(column.type):
        column = column.cast(pa.int64())
    numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
    return Column(name, numbers=numbers.view(np.uint64), null=null)


def damage(error: Exception) -> str:
    """The first line of what a library says."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
