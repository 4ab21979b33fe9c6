"""The Criteo Kaggle format: label, 13 integers, 26 hexadecimal categoricals, separated by tabs.

Any field but the label may be empty, and a line may end early. A value becomes a row by a stated rule:

- ``hash``: SplitMix64 of (seed, column, value) modulo the table's rows; an empty field is value -1;
- ``first-seen``: values are numbered in order of appearance, an empty field is row 0; each table is as
  large as its column needs.

Integers become float32 ``log(1 + max(x, 0))``, as in DLRM; an empty one is 0.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from hotline_golden.keys import mix64

from .shapes import CRITEO_KAGGLE_ROWS
from .trace import Trace, TraceError

INTEGERS = 13
CATEGORICALS = 26
EMPTY = 0xFFFF_FFFF_FFFF_FFFF


def read_criteo(path: Path, *, rule: str = "hash", seed: int = 1, table_rows: list[int] | None = None,
                samples: int | None = None) -> Trace:  # fmt: skip
    """Reads the first ``samples`` (all by default) of a file, gzip if it ends in .gz.

    ``table_rows`` are the sizes for ``hash``; by default Criteo Kaggle's own cardinalities. Raises
    TraceError with line and column for malformed input.
    """
    if rule not in ("hash", "first-seen"):
        raise TraceError(f"unknown rule {rule!r} for categorical values: use hash or first-seen")
    labels: list[float] = []
    integers: list[list[int]] = []
    values: list[list[int]] = []
    for number, line in enumerate(_lines(path), 1):
        if samples is not None and len(labels) >= samples:
            break
        fields = line.rstrip("\r\n").split("\t")
        where = f"{path}, line {number}"
        expected = 1 + INTEGERS + CATEGORICALS
        if len(fields) > expected or (len(fields) == 1 and not fields[0]):
            raise TraceError(f"{where}: {len(fields)} columns; at most {expected} separated by tabs are right")
        if fields[0] not in ("0", "1"):
            raise TraceError(f"{where}, column 1: label {fields[0]!r}; 0 or 1 is right")
        fields += [""] * (expected - len(fields))
        labels.append(float(fields[0]))
        try:
            integers.append([int(x) if x else 0 for x in fields[1 : 1 + INTEGERS]])
        except ValueError:
            column, text = _first_bad(fields, 1, 1 + INTEGERS, int)
            raise TraceError(f"{where}, column {column + 1}: {text!r}; an integer or nothing is right") from None
        try:
            row = [int(x, 16) if x else EMPTY for x in fields[1 + INTEGERS :]]
        except ValueError:
            column, text = _first_bad(fields, 1 + INTEGERS, expected, lambda x: int(x, 16))
            raise TraceError(
                f"{where}, column {column + 1}: {text!r}; up to 8 hexadecimal digits are right"
            ) from None
        if any(v > 0xFFFF_FFFF and v != EMPTY or v < 0 for v in row):
            raise TraceError(f"{where}: a categorical value has more than 8 hexadecimal digits")
        values.append(row)
    if not labels:
        raise TraceError(f"{path}: no samples; lines of label, 13 integers and 26 categoricals are right")

    raw = np.array(values, np.uint64)
    if rule == "hash":
        sizes = np.array(table_rows or CRITEO_KAGGLE_ROWS, np.int64)
        if len(sizes) != CATEGORICALS:
            raise TraceError(f"table sizes: {len(sizes)} given; {CATEGORICALS} are right")
        columns = np.arange(CATEGORICALS, dtype=np.uint64) << np.uint64(40)
        hashed = mix64(mix64(raw ^ columns) ^ np.uint64(seed))
        rows = (hashed % sizes.astype(np.uint64)).astype(np.uint32)
    else:
        rows, sizes = _first_seen(raw)
    dense = np.log1p(np.maximum(np.array(integers, np.float64), 0)).astype(np.float32)
    payload = np.concatenate([np.array(labels, np.float32)[:, None], dense], axis=1)
    return Trace(f"criteo:{path}", rows, np.arange(CATEGORICALS), sizes, payload.view(np.uint32),
                 {"rule": rule, "seed": seed})  # fmt: skip


def _first_seen(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.empty(raw.shape, np.uint32)
    sizes = np.empty(raw.shape[1], np.int64)
    for column in range(raw.shape[1]):
        numbers: dict[int, int] = {EMPTY: 0}
        rows[:, column] = [numbers.setdefault(v, len(numbers)) for v in raw[:, column].tolist()]
        sizes[column] = len(numbers)
    return rows, sizes


def _first_bad(fields: list[str], low: int, high: int, parse) -> tuple[int, str]:
    for column in range(low, high):
        try:
            parse(fields[column] or "0")
        except ValueError:
            return column, fields[column]
    raise AssertionError("every field can be read")


def _lines(path: Path):
    """Text lines; a truncated or damaged file becomes a TraceError with the line that was reached."""
    number = 0
    try:
        with gzip.open(path, "rt") if str(path).endswith(".gz") else open(path) as file:
            for line in file:
                number += 1
                yield line
    except FileNotFoundError:
        raise TraceError(f"{path}: no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as e:
        raise TraceError(f"{path}: damaged or truncated after line {number}: {e}") from e
    except UnicodeDecodeError as e:
        raise TraceError(f"{path}: not text after line {number}: {e}") from e
