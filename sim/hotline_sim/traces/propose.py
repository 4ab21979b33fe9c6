"""A SPEC for a file that nobody has described: what it looks like, from its first bytes, columns and values."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from .mapped.npy import MULTI_HOT, ONE_HOT
from .readers.columns import NUMBER, flat, is_list, is_text
from .readers.criteo import CATEGORICALS
from .readers.csv_files import INTEGER, csv_rows
from .readers.opened import FILE_ENDINGS, SEPARATORS
from .readers.parquet import arrow_schema, parquet_schema, sample_rows
from .readers.shards import shards
from .readers.text_blocks import first_lines
from .trace import TraceError

#: Lines, or rows, that are looked at.
LOOKED_AT = 1000
#: Names that people give to labels, and to times, which are neither features nor tables.
LABELS = re.compile(r"(?i)label|click(ed)?|target|y|is_click|conversion|converted|like(d)?")
TIMES = re.compile(r"(?i).*(time|date|timestamp).*|hour|day|row_?id|index")
#: Names that people give to numbers that are measured or counted.
MEASURED = re.compile(r"(?i)i[0-9]+|.*(count|price|age|amount|num|score|rate|dense|int_?[0-9]+).*")
LIBSVM = re.compile(r"[-+0-9.]+( [0-9]+:[^ ]+)+ ?")
HASH = re.compile(r"([0-9a-f]{8})?")
NUMBER_TEXT = re.compile(NUMBER)
#: Separators of columns, and of lists within one; the words that a SPEC has for them.
COLUMNS, LISTS = "\t,;|", "|; "
WORDS = {character: word for word, character in SEPARATORS.items()}


@dataclass(frozen=True)
class Proposal:
    """``scheme``, ``path`` and ``keys`` of a SPEC; ``columns``: of each its name, type, an example, and what it is taken for."""

    scheme: str
    path: Path
    keys: dict[str, str] = field(default_factory=dict)
    columns: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def spec(self) -> str:
        return ",".join([f"{self.scheme}:{self.path}", *(f"{key}={value}" for key, value in self.keys.items())])

    def tables(self) -> list[Table]:
        """For people."""
        table = Table("column", "holds", "example", "taken for", title="what the file looks like")
        for row in self.columns:
            table.add_row(*row)
        return [table] if self.columns else []

    def numbers(self) -> dict:
        """What ``--json`` holds; ``schema`` is one for ``--schema``."""
        names = ("name", "holds", "example", "taken_for")
        return {
            "spec": self.spec,
            "schema": self.keys,
            "columns": [dict(zip(names, c, strict=True)) for c in self.columns],
        }


def propose(path: Path) -> Proposal:
    """Looks at ``path``. Raises TraceError for what nothing can be made of."""
    if path.is_dir():
        return _folder(path)
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PAR1"):
        return _columns("parquet", path, parquet_schema(path))
    if magic == b"ARROW1":
        return _columns("arrow", path, arrow_schema(path))
    if magic.startswith(b"PK"):
        return Proposal("npz", path)
    if magic == b"\x93NUMPY":
        return Proposal("npy", path.parent)
    return _text(path)


def _folder(path: Path) -> Proposal:
    names = [p.name.lower() for p in path.iterdir()]
    if "trace.json" in names:
        return Proposal("folder", path)
    if any(n.endswith((ONE_HOT, MULTI_HOT)) for n in names):
        return Proposal("npy", path)
    endings = next((e for e in FILE_ENDINGS.values() if any(n.endswith(e) for n in names)), ())
    return replace(propose(shards(str(path), endings)[0]), path=path)


def _text(path: Path) -> Proposal:
    lines = first_lines(path, LOOKED_AT)
    if not lines:
        raise TraceError(f"{path}: no lines")
    if all(LIBSVM.fullmatch(line) for line in lines):
        indices = [int(pair.split(":")[0]) for line in lines for pair in line.split()[1:]]
        most = max(len(line.split()) - 1 for line in lines)
        return Proposal("libsvm", path, {"fields": f"{min(indices)}:{max(indices)}*{most}"})
    fields = [line.split("\t") for line in lines]
    for columns, keys in ((40, {}), (39, {"label": "none"})):
        full = [f for f in fields if len(f) == columns]
        if 2 * len(full) > len(fields) and all(HASH.fullmatch(x) for f in full for x in f[columns - CATEGORICALS :]):
            return Proposal("criteo", path, keys)
    return _csv(path, lines)


def _csv(path: Path, lines: list[str]) -> Proposal:
    separator = max(COLUMNS, key=lambda s: min(line.count(s) for line in lines))
    if not all(separator in line for line in lines):
        raise TraceError(
            f"{path}: its lines have no tab, comma, semicolon or bar in common: this is no log of columns"
        )
    rows = list(csv_rows(lines, separator))
    # A first line of names has no numbers.
    header = len(set(rows[0])) == len(rows[0]) and not any(NUMBER_TEXT.fullmatch(x) for x in rows[0])
    names = rows[0] if header else [str(n + 1) for n in range(len(rows[0]))]
    values = [[r[n] for r in rows[header:] if n < len(r) and r[n]] for n in range(len(names))]
    lists = next((s for s in LISTS if s != separator and any(s in v for column in values for v in column)), "")
    arrays = {}
    for name, column in zip(names, values, strict=True):
        texts = pa.array(column, pa.string())
        if column and pc.all(pc.match_substring_regex(texts, INTEGER)).as_py():
            texts = texts.cast(pa.int64())
        elif column and pc.all(pc.match_substring_regex(texts, NUMBER)).as_py():
            texts = texts.cast(pa.float64())
        elif lists and any(lists in v for v in column):
            texts = pc.split_pattern(texts, lists)
        arrays[name] = texts
    keys = {}
    if separator != ",":
        keys["sep"] = WORDS[separator]
    if not header:
        keys["header"] = "none"
    if lists not in ("", "|"):
        keys["list"] = WORDS[lists]
    found = _of_columns("csv", path, arrays, keys)
    integers = [n for n in found.keys["sparse"].split("+") if pa.types.is_integer(arrays[n].type)]
    return replace(found, keys=found.keys | ({"integers": "+".join(integers)} if integers else {}))


def _columns(scheme: str, path: Path, schema: pa.Schema) -> Proposal:
    table = sample_rows(scheme, path, LOOKED_AT)
    return _of_columns(scheme, path, {name: flat(table, name) for name in schema.names}, {})


def _of_columns(scheme: str, path: Path, arrays: dict[str, pa.Array], keys: dict[str, str]) -> Proposal:
    """What each column is taken for, by its type and its name."""
    columns, dense, sparse, hot, label = [], [], [], [], ""
    for name, array in arrays.items():
        kind, values = array.type, array.drop_null()
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if not label and LABELS.fullmatch(name) and (number or pa.types.is_boolean(kind)):
            label, taken = name, "label"
        elif TIMES.fullmatch(name):
            taken = "left out"
        elif is_list(kind):
            hot.append(f"{name}:{max([1, *pc.list_value_length(values).to_pylist()])}")
            sparse.append(name)
            taken = "a table, several accesses"
        elif (
            is_text(kind) or pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and not MEASURED.fullmatch(name))
        ):
            sparse.append(name)
            taken = "a table"
        elif number:
            dense.append(name)
            taken = "a dense feature"
        else:
            taken = "left out"
        columns.append((name, str(kind), str(values[0].as_py())[:24] if len(values) else "", taken))
    if not sparse:
        raise TraceError(
            f"{path}: no column of it looks like a table: name them, as in {scheme}:{path},sparse=user+item"
        )
    keys = keys | {"label": label or "none"}
    for key, found in (("dense", dense), ("sparse", sparse), ("hot", hot)):
        if found:
            keys[key] = "+".join(found)
    return Proposal(scheme, path, keys, columns)
