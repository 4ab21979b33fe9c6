"""Trace SPECs: ``SCHEME:PATH[,key=value...]``."""

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from .mapped.folder import FolderTrace
from .mapped.npy import NpyTrace
from .mapped.npz import NpzTrace
from .readers.columns import ColumnsReader
from .readers.criteo import CATEGORICALS, CriteoReader
from .readers.csv_files import CsvForm, CsvReader
from .readers.libsvm import Field, LibsvmReader
from .readers.parquet import ArrowReader, ParquetReader, arrow_schema, parquet_schema
from .readers.reader import Reader
from .readers.schema import DECIMAL, KEYS, read_schema, rules, schema, table_sizes, whole_number
from .readers.shards import shards
from .shapes import CRITEO_KAGGLE_ROWS
from .shuffle import ShuffledTrace
from .spool import SpooledTrace
from .synthetic import SyntheticTrace
from .trace import Trace, TraceError, shortened

SCHEMES = ("criteo", "csv", "parquet", "arrow", "npy", "libsvm", "npz", "folder", "synthetic")
#: Keys of every SPEC: the first samples only; a seed to shuffle by.
COMMON = ("samples", "shuffle")
#: Those of each scheme. ``schema``: a file with more of them.
SCHEME_KEYS = {
    "criteo": ("label", "rule", "rows", "seed"),
    "csv": ("header", "sep", "list", "schema", *KEYS),
    "parquet": ("schema", *KEYS),
    "arrow": ("schema", *KEYS),
    "npy": ("rule", "rows", "seed", "transform"),
    "libsvm": ("fields", "dense", "threshold"),
    "npz": (),
    "folder": (),
    "synthetic": ("scale", "seed", "exponent", "correlation"),
}
#: Endings of the files in a folder that are of a scheme.
FILE_ENDINGS = {"parquet": (".parquet", ".pq"), "arrow": (".arrow", ".feather", ".ipc", ".arrows")}
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}
INDEX_RANGE = re.compile(r"([0-9]{1,18}):([0-9]{1,18})(?:\*([0-9]{1,6}))?")
USE = f"use SCHEME:PATH[,key=value...] with one of {', '.join(SCHEMES)}; `hotline trace --help` has examples"

#: Called with samples, and the part of the log that has been read.
Progress = Callable[[int, float], None]


def open_trace(spec: str, *, samples: int | None = None, schema_file: Path | None = None,
               progress: Progress = lambda samples, part: None) -> Trace:  # fmt: skip
    """The trace that ``spec`` names, or the first ``samples`` of it. ``schema_file``: more keys, for logs with named columns.

    A log that can only be read in order is read now, with ``progress``, into temporary files. Raises TraceError for what
    cannot be read, saying why.
    """
    source = open_source(spec, samples=samples, schema_file=schema_file)
    if isinstance(source, Reader):
        shuffle = split_spec(spec)[2].get("shuffle")
        source = SpooledTrace(source, progress)
        return ShuffledTrace(source, _at_least(spec, "shuffle", shuffle, 0)) if shuffle is not None else source
    return source


def open_source(spec: str, *, samples: int | None = None, schema_file: Path | None = None) -> Trace | Reader:
    """The same, but a log that can only be read in order is given as its reader, and nothing of it is read yet."""
    scheme, path, keys = split_spec(spec)
    wanted = [_at_least(spec, "samples", keys["samples"], 1)] if "samples" in keys else []
    limit = min([*wanted, *([samples] if samples is not None else [])], default=None)
    if schema_file is not None and "schema" not in SCHEME_KEYS[scheme]:
        raise TraceError(f"trace {spec!r}: --schema is for csv:, parquet: and arrow:")
    own = {key: value for key, value in keys.items() if key not in COMMON}
    source: Trace | Reader
    if scheme == "synthetic":
        source, limit = _synthetic(spec, path, own, wanted[0] if wanted else None), samples
    elif scheme in ("npz", "folder"):
        source = NpzTrace(Path(path)) if scheme == "npz" else FolderTrace(Path(path))
    elif scheme == "npy":
        source = _npy(spec, path, own, limit)
    else:
        makers: dict[str, Callable[..., Reader]] = {"criteo": _criteo, "libsvm": _libsvm}
        return makers.get(scheme, _columns)(spec, scheme, path, own, limit, schema_file)
    if limit is not None:
        source = source.head(limit)
    return ShuffledTrace(source, _at_least(spec, "shuffle", keys["shuffle"], 0)) if "shuffle" in keys else source


def split_spec(spec: str) -> tuple[str, str, dict[str, str]]:
    """Scheme, path and keys. A path may have commas: the longest that is there counts. Raises TraceError."""
    scheme, colon, rest = spec.partition(":")
    if scheme not in SCHEMES:
        hint = f"; is it folder:{spec}?" if Path(spec).is_dir() else ""
        raise TraceError(f"trace {shortened(spec, 80)}: {USE}{hint}")
    allowed = (*COMMON, *SCHEME_KEYS[scheme])
    parts = rest.split(",")
    first = next((n for n in range(len(parts), 0, -1) if os.path.exists(",".join(parts[:n]))), 0)
    if not first:  # no such file, or a pattern
        first = len(parts)
        while first > 1 and "=" in parts[first - 1]:
            first -= 1
    if scheme == "synthetic":
        first = int("=" not in parts[0])
    path, settings = ",".join(parts[:first]), parts[first:]
    if not path and scheme != "synthetic":
        raise TraceError(f"trace {shortened(spec, 80)}: no path; {USE}")
    keys = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in allowed:
            raise TraceError(
                f"trace {shortened(spec, 80)}: {shortened(setting)} is not key=value with one of {', '.join(allowed)}"
            )
        if key in keys:
            raise TraceError(f"trace {shortened(spec, 80)}: {key} is given twice")
        keys[key] = value
    return scheme, path, keys


def _synthetic(spec: str, name: str, keys: dict[str, str], samples: int | None) -> Trace:
    numbers: dict = {"samples": samples} if samples is not None else {}
    for key, value in keys.items():
        numbers[key] = _at_least(spec, key, value, 0) if key == "seed" else _decimal(spec, key, value)
    return SyntheticTrace(name or "criteo-kaggle", **numbers)


def _criteo(spec: str, scheme: str, path: str, keys: dict[str, str], limit: int | None, _) -> Reader:
    where = f"trace {shortened(spec, 80)}"
    if keys.get("label", "none") != "none":
        raise TraceError(f"{where}: label={shortened(keys['label'])}; none, for a file without labels, is right")
    sizes = table_sizes(where, keys["rows"].split(":")) if "rows" in keys else []
    seed = _at_least(spec, "seed", keys.get("seed", "1"), 0)
    rule = keys.get("rule", "hash")
    null = "value" if rule in ("hash", "first-seen") else "skip"  # of an empty field
    found = rules(rule, CATEGORICALS, sizes, seed, null, default=CRITEO_KAGGLE_ROWS)
    return CriteoReader(f"criteo:{path}", shards(path), found, null, labels="label" not in keys, limit=limit)


def _columns(spec: str, scheme: str, path: str, keys: dict[str, str], limit: int | None,
             schema_file: Path | None) -> ColumnsReader:  # fmt: skip
    where, name = f"trace {shortened(spec, 80)}", f"{scheme}:{path}"
    file = schema_file or (Path(keys.pop("schema")) if "schema" in keys else None)
    settings: dict = {**(read_schema(file) if file else {}), **keys}
    files = shards(path, FILE_ENDINGS.get(scheme, ()))
    if scheme != "csv":
        found = (parquet_schema if scheme == "parquet" else arrow_schema)(files[0])
        made = schema(settings, found.names, where)
        return (ParquetReader if scheme == "parquet" else ArrowReader)(name, files, made, limit)
    form = csv_form(files[0], settings, where)
    return CsvReader(name, files, schema(settings, form.names, where), form, limit)


def csv_form(file: Path, settings: dict, where: str) -> CsvForm:
    """How a CSV file is written, by keys, which are taken out of ``settings``. Raises TraceError."""
    separator = str(settings.pop("sep", ","))
    header = str(settings.pop("header", "first"))
    if header not in ("first", "none"):
        raise TraceError(
            f"{where}: header={shortened(header)}; first (the first line names the columns) or none is right"
        )
    listed = str(settings.pop("list", "pipe"))
    return CsvForm(file, SEPARATORS.get(separator, separator), header == "first", SEPARATORS.get(listed, listed))


def _npy(spec: str, path: str, keys: dict[str, str], limit: int | None) -> Trace:
    where = f"trace {shortened(spec, 80)}"
    if keys.get("transform", "none") not in ("none", "log1p"):
        raise TraceError(f"{where}: transform={shortened(keys['transform'])}; none or log1p is right")
    return NpyTrace(
        path, rule=keys.get("rule", "as-is"), seed=_at_least(spec, "seed", keys.get("seed", "1"), 0),
        sizes=tuple(table_sizes(where, keys["rows"].split(":"))) if "rows" in keys else (),
        transform=keys.get("transform", "none"), samples=limit,
    )  # fmt: skip


def _libsvm(spec: str, scheme: str, path: str, keys: dict[str, str], limit: int | None, _) -> Reader:
    where = f"trace {shortened(spec, 80)}"
    if "fields" not in keys:
        raise TraceError(
            f"{where}: fields=... is missing: index ranges of the tables, as in fields=14:113+114:5000*20"
        )

    def ranges(key: str) -> list[Field]:
        found = []
        for text in keys[key].split("+"):
            match = INDEX_RANGE.fullmatch(text)
            if not match:
                raise TraceError(f"{where}: {key}={shortened(text)}; FIRST:LAST, or FIRST:LAST*ACCESSES, is right")
            found.append(Field(int(match[1]), int(match[2]), int(match[3] or 1)))
        return found

    dense = ranges("dense")[0] if "dense" in keys else None
    threshold = _decimal(spec, "threshold", keys["threshold"]) if "threshold" in keys else None
    return LibsvmReader(f"libsvm:{path}", shards(path), ranges("fields"), (dense.first, dense.last) if dense else None,
                        threshold, limit)  # fmt: skip


def _at_least(spec: str, key: str, value: str, least: int) -> int:
    number = whole_number(f"trace {shortened(spec, 80)}: {key}", value)
    if not least <= number < 1 << 64:
        raise TraceError(f"trace {shortened(spec, 80)}: {key}={value}: {least} to 2**64 - 1 is right")
    return number


def _decimal(spec: str, key: str, value: str) -> float:
    if not DECIMAL.fullmatch(value) or not math.isfinite(float(value)):
        raise TraceError(f"trace {shortened(spec, 80)}: {key}={shortened(value)} is not a finite number")
    return float(value)
