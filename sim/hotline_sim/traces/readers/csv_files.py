"""CSV: text whose columns a separator divides, with or without a line of their names."""

import csv as standard
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ..trace import TraceError, shortened
from .columns import ColumnsReader, checked_text, flat, is_list
from .reader import Piece, text_pieces
from .schema import Schema
from .text_blocks import Block, check_utf8, first_lines

#: What an integer is in text, whole.
INTEGER = r"^(?:-?[1-9][0-9]{0,18}|0[0-9]{0,18})$"


class CsvReader(ColumnsReader):
    """Text with a separator. Values of tables are text; but integers in the columns ``integers``, and, for rules that take only
    these, in all."""

    def __init__(self, name: str, files: list[Path], schema: Schema, form: "CsvForm", limit: int | None):
        self.form = form
        self.integers = set(schema.sparse if schema.rule in ("as-is", "modulo") else schema.integers)
        super().__init__(name, files, schema, set(schema.sparse) - self.integers, limit)

    def _pieces(self, cursor: dict | None, most: int | None) -> Iterator[Piece]:
        return text_pieces(self.files, cursor, most, header=self.form.header)

    def _content(self, piece: Piece) -> pa.Table:
        block = piece.content
        assert isinstance(block, Block)
        table = self.form.table(block, self.schema.columns)
        arrays = {}
        for name in self.schema.columns:
            column = flat(table, name)
            if name in self.schema.hot:
                column = _split(column, self.form.list)
            if name in self.integers:
                column = _integers(name, column, piece.where)
            arrays[name] = column
        return pa.table(arrays)


def _split(column: pa.Array, separator: str) -> pa.Array:
    """Lists of the parts of each field; an empty one gives none."""
    return pc.if_else(column.is_null(), pa.scalar(None, pa.list_(pa.string())), pc.split_pattern(column, separator))


def _integers(name: str, column: pa.Array, where: Callable[[int], str]) -> pa.Array:
    """int64 of text, or lists of it. Raises TraceError for a field that is no integer."""
    if is_list(column.type):
        flat = pc.list_flatten(column)
        parents = pc.list_parent_indices(column)
        inner = _integers(name, flat, lambda n: where(parents[n].as_py()))
        offsets = np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy())])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner)
    texts = checked_text(
        name,
        column,
        INTEGER,
        "an integer of 64 bits is right",
        where,
    )
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:
        for row, text in enumerate(texts.to_pylist()):
            if text is not None and not -(1 << 63) <= int(text) < 1 << 63:
                raise TraceError(
                    f"{where(row)}, column {name}: {shortened(text)}; an integer of 64 bits is right"
                ) from None
        raise


class CsvForm:
    """How a CSV file is written: ``separator``; ``header``: whether its first line names the columns, or else they are 1, 2, ...;
    ``list``: what separates the values of a list within a field. Quotes are those of RFC 4180, without line ends within them."""

    def __init__(self, file: Path, separator: str, header: bool, list_separator: str):
        if len(separator.encode()) != 1:
            raise TraceError(f"{file}: sep={separator!r}; one ASCII character, tab or comma is right")
        if len(list_separator) != 1:
            raise TraceError(f"{file}: list={list_separator!r}; one character, pipe or space is right")
        self.file, self.separator, self.header, self.list = file, separator, header, list_separator
        lines = first_lines(file, 1)
        if not lines:
            raise TraceError(f"{file}: no lines")
        names = next(csv_rows(lines, separator))
        self.names = names if header else [str(n + 1) for n in range(len(names))]
        twice = [n for n in self.names if self.names.count(n) > 1]
        if twice:
            raise TraceError(
                f"{file}, line 1: column {twice[0]!r} is named twice; header=none numbers columns from 1"
            )

    def table(self, block: Block, columns: list[str]) -> pa.Table:
        """The wanted columns of a block, as strings; null where a field is empty."""
        check_utf8(block)
        faults: list = []

        def fault(row) -> str:
            faults.append(row)
            return "error"

        try:
            return csv.read_csv(
                pa.BufferReader(block.data),
                csv.ReadOptions(column_names=self.names, use_threads=False, block_size=len(block.data) + 1),
                csv.ParseOptions(delimiter=self.separator, ignore_empty_lines=False, invalid_row_handler=fault),
                csv.ConvertOptions(
                    column_types={name: pa.string() for name in columns},
                    include_columns=list(dict.fromkeys(columns)),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as e:
            if faults:
                line = block.where((faults[0].number or 1) - 1)
                raise TraceError(
                    f"{line}: {faults[0].actual_columns} columns; {faults[0].expected_columns} are right, as in the first line"
                ) from None
            raise TraceError(f"{block.where(0)} or later: {e}") from None


def csv_rows(lines: list[str], separator: str) -> Iterator[list[str]]:
    """Fields of a few lines."""
    return standard.reader(lines, delimiter=separator)
