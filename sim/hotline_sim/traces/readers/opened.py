"""The reader of a SPEC whose log is text or columns."""

import re
from collections.abc import Callable
from pathlib import Path

from ..shapes import CRITEO_KAGGLE_ROWS
from ..trace import TraceError, shortened
from .columns import ColumnsReader
from .criteo import CATEGORICALS, CriteoReader
from .csv_files import CsvForm, CsvReader
from .libsvm import Field, LibsvmReader
from .parquet import ArrowReader, ParquetReader, arrow_schema, parquet_schema
from .reader import Reader
from .schema import at_least, decimal, read_schema, rules, schema, table_sizes
from .shards import shards

#: Endings of the files in a folder that are of a scheme.
FILE_ENDINGS = {"parquet": (".parquet", ".pq"), "arrow": (".arrow", ".feather", ".ipc", ".arrows")}
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}
INDEX_RANGE = re.compile(r"([0-9]{1,18}):([0-9]{1,18})(?:\*([0-9]{1,6}))?")


def opened_reader(
    spec: str, scheme: str, path: str, keys: dict[str, str], limit: int | None, schema_file: Path | None
) -> Reader:
    """The reader of ``scheme`` for ``path``, with the SPEC's own ``keys``; at most ``limit`` samples. Raises TraceError."""
    makers: dict[str, Callable[..., Reader]] = {"criteo": _criteo, "libsvm": _libsvm}
    return makers.get(scheme, _columns)(spec, scheme, path, keys, limit, schema_file)


def _criteo(spec: str, scheme: str, path: str, keys: dict[str, str], limit: int | None, _) -> Reader:
    where = f"trace {shortened(spec, 80)}"
    if keys.get("label", "none") != "none":
        raise TraceError(f"{where}: label={shortened(keys['label'])}; none, for a file without labels, is right")
    sizes = table_sizes(where, keys["rows"].split(":")) if "rows" in keys else []
    seed = at_least(spec, "seed", keys.get("seed", "1"), 0)
    rule = keys.get("rule", "hash")
    null = "value" if rule in ("hash", "first-seen") else "skip"  # of an empty field
    found = rules(rule, CATEGORICALS, sizes, seed, null, default=CRITEO_KAGGLE_ROWS)
    return CriteoReader(f"criteo:{path}", shards(path), found, null, labels="label" not in keys, limit=limit)


def _columns(
    spec: str, scheme: str, path: str, keys: dict[str, str], limit: int | None, schema_file: Path | None
) -> ColumnsReader:
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
    threshold = decimal(spec, "threshold", keys["threshold"]) if "threshold" in keys else None
    return LibsvmReader(
        f"libsvm:{path}",
        shards(path),
        ranges("fields"),
        (dense.first, dense.last) if dense else None,
        threshold,
        limit,
    )
