"""Parquet and Arrow IPC files (Feather is one of these), some rows at a time."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from ..trace import TraceError
from .columns import ColumnsReader, damage, is_text
from .reader import Piece
from .schema import Schema

#: Rows that are read at once.
ROWS = 1 << 15
#: What Arrow raises for a damaged file.
DAMAGED = (OSError, pa.ArrowException, KeyError, UnicodeDecodeError)


class ParquetReader(ColumnsReader):
    """Parquet files, a group of rows at a time."""

    def __init__(self, name: str, files: list[Path], schema: Schema, limit: int | None):
        opened = parquet_schema(files[0])
        super().__init__(name, files, schema, {f.name for f in opened if is_text(f.type)}, limit)

    def _pieces(self, cursor: dict | None, most: int | None) -> Iterator[Piece]:
        at = cursor or {"file": 0, "row": 0}
        for number in range(at["file"], len(self.files)):
            path = self.files[number]
            skip = at["row"] if number == at["file"] else 0
            row = 0
            try:
                with pq.ParquetFile(path) as file:
                    groups = []
                    for group in range(file.num_row_groups):
                        rows = file.metadata.row_group(group).num_rows
                        if row + rows > skip:
                            groups.append(group)
                        elif not groups:
                            row += rows
                    total = file.metadata.num_rows or 1
                    for batch in file.iter_batches(
                        ROWS, row_groups=groups, columns=list(dict.fromkeys(self.schema.columns))
                    ):
                        first, row = row, row + len(batch)
                        if row <= skip:
                            continue
                        batch = batch.slice(max(0, skip - first))
                        yield self._piece(pa.table(batch), number, max(first, skip), row, row / total)
            except DAMAGED as e:
                raise TraceError(f"{path}, after row {row}: {damage(e)}") from None

    def _piece(self, table: pa.Table, number: int, first: int, row: int, part: float) -> Piece:
        path = self.files[number]
        return Piece(
            table,
            lambda n: f"{path}, row {first + n}",
            {"file": number, "row": row},
            (number + part) / len(self.files),
        )

    def _content(self, piece: Piece) -> pa.Table:
        assert isinstance(piece.content, pa.Table)
        return piece.content


class ArrowReader(ParquetReader):
    """Arrow IPC files or streams, a record batch at a time."""

    def __init__(self, name: str, files: list[Path], schema: Schema, limit: int | None):
        text = {f.name for f in arrow_schema(files[0]) if is_text(f.type)}
        ColumnsReader.__init__(self, name, files, schema, text, limit)

    def _pieces(self, cursor: dict | None, most: int | None) -> Iterator[Piece]:
        at = cursor or {"file": 0, "row": 0}
        columns = list(dict.fromkeys(self.schema.columns))
        for number in range(at["file"], len(self.files)):
            path = self.files[number]
            skip = at["row"] if number == at["file"] else 0
            row = 0
            try:
                with pa.memory_map(str(path)) as source:
                    for batch in _batches(source):
                        table = pa.table(batch).select(columns)
                        for start in range(0, len(table), ROWS):
                            part = table.slice(start, ROWS)
                            first, row = row, row + len(part)
                            if row > skip:
                                part = part.slice(max(0, skip - first))
                                yield self._piece(
                                    part, number, max(first, skip), row, source.tell() / max(1, source.size())
                                )
            except DAMAGED as e:
                raise TraceError(f"{path}, after row {row}: {damage(e)}") from None


def _batches(source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    """The record batches of an IPC file or stream. Arrow trusts offsets and lengths in them, so they are looked at first."""
    if source.read(6) == b"ARROW1":
        file = ipc.open_file(source)
        batches: Iterator = (file.get_batch(n) for n in range(file.num_record_batches))
    else:
        source.seek(0)
        batches = iter(ipc.open_stream(source))
    for batch in batches:
        batch.validate(full=True)
        yield batch


def parquet_schema(path: Path) -> pa.Schema:
    """Names and types of a Parquet file's columns. Raises TraceError."""
    try:
        return _with_names(pq.read_schema(path))
    except DAMAGED as e:
        raise TraceError(f"{path}: not a Parquet file, or a damaged one: {damage(e)}") from None


def _with_names(schema: pa.Schema) -> pa.Schema:
    """``schema``, once its names have been read: they are not before."""
    assert schema.names is not None
    return schema


def arrow_schema(path: Path) -> pa.Schema:
    """Names and types of an Arrow IPC file's or stream's columns. Raises TraceError."""
    try:
        with pa.memory_map(str(path)) as source:
            if source.read(6) == b"ARROW1":
                return _with_names(ipc.open_file(source).schema)
            source.seek(0)
            return _with_names(ipc.open_stream(source).schema)
    except DAMAGED as e:
        raise TraceError(f"{path}: not an Arrow IPC file, or a damaged one: {damage(e)}") from None


def sample_rows(scheme: str, path: Path, count: int) -> pa.Table:
    """The first rows of a Parquet or Arrow file. Raises TraceError."""
    try:
        if scheme == "parquet":
            with pq.ParquetFile(path) as file:
                return pa.table(
                    next(file.iter_batches(count), pa.RecordBatch.from_pylist([], schema=file.schema_arrow))
                )
        with pa.memory_map(str(path)) as source:
            return pa.table(next(_batches(source))).slice(0, count)
    except (*DAMAGED, StopIteration) as e:
        raise TraceError(f"{path}: no rows: {damage(e)}") from None
