"""The Criteo Kaggle format: label, 13 integers, 26 hexadecimal categoricals, separated by tabs.

Any field but the label may be empty, and a line may end early. A value becomes a row by a stated rule:

- ``hash``: SplitMix64 of (seed, column, value) modulo the table's rows; an empty field is value 2**64 - 1;
- ``first-seen``: values are numbered in order of appearance, an empty field is row 0; each table is as
  large as its column needs.

Integers become float32 ``log(1 + max(x, 0))``, as in DLRM; an empty one is 0.
"""

import re
from pathlib import Path

import numpy as np

from hotline_golden.keys import mix64
from hotline_golden.layouts import NO_ACCESS

from .shapes import CRITEO_KAGGLE_ROWS
from .text_lines import shortened, text_lines
from .trace import Trace, TraceError

INTEGERS = 13
CATEGORICALS = 26
COLUMNS = 1 + INTEGERS + CATEGORICALS
EMPTY = 0xFFFF_FFFF_FFFF_FFFF

#: What each kind of field may be, whole. Digits are ASCII; 18 of them fit 64 bits.
LABEL = r"[01]"
INTEGER = r"(?:[0-9]{1,18}|-0*[1-9][0-9]{0,17})"
CATEGORICAL = r"[0-9A-Fa-f]{1,8}"
#: Of each column: what its fields match, and what is right, for messages.
KINDS = (
    [(re.compile(LABEL), "0 or 1")]
    + [(re.compile(f"{INTEGER}?"), "an integer of up to 18 digits, or nothing,")] * INTEGERS
    + [(re.compile(f"(?:{CATEGORICAL})?"), "up to 8 hexadecimal digits, or nothing,")] * CATEGORICALS
)


def read_criteo(path: Path, *, rule: str = "hash", seed: int = 1, table_rows: list[int] | None = None,
                samples: int | None = None) -> Trace:  # fmt: skip
    """Reads the first ``samples`` (all by default) of a file, which gzip, bzip2, xz or zstd may have compressed.

    ``table_rows`` are the sizes for ``hash``: one for all tables or one for each; by default Criteo Kaggle's own
    cardinalities. Blank lines at the end are left out. Raises TraceError with line and column for malformed input.
    """
    if rule not in ("hash", "first-seen"):
        raise TraceError(f"unknown rule {rule!r} for categorical values: use hash or first-seen")
    if not 0 <= seed < 1 << 64:
        raise TraceError(f"seed={seed}: 0 to 2**64 - 1 is right")
    if samples is not None and samples < 1:
        raise TraceError(f"samples={samples}: at least 1 is right")
    sizes = _table_sizes(table_rows or CRITEO_KAGGLE_ROWS)
    labels: list[float] = []
    integers: list[list[int]] = []
    values: list[list[int]] = []
    blank = 0
    for number, line in text_lines(path):
        if samples is not None and len(labels) >= samples:
            break
        if not line:
            blank = blank or number
            continue
        if blank:
            raise TraceError(f"{path}, line {blank}: a blank line; only at the end of a file is one right")
        fields = line.split("\t")
        if (
            not all(kind.fullmatch(field) for (kind, _), field in zip(KINDS, fields, strict=False))
            or len(fields) > COLUMNS
        ):
            _refuse(f"{path}, line {number}", fields)
        fields += [""] * (COLUMNS - len(fields))
        labels.append(float(fields[0]))
        integers.append([int(x) if x else 0 for x in fields[1 : 1 + INTEGERS]])
        values.append([int(x, 16) if x else EMPTY for x in fields[1 + INTEGERS :]])
    if not labels:
        raise TraceError(f"{path}: no samples; lines of label, 13 integers and 26 categoricals are right")

    raw = np.array(values, np.uint64)
    if rule == "hash":
        columns = np.arange(CATEGORICALS, dtype=np.uint64) << np.uint64(40)
        hashed = mix64(mix64(raw ^ columns) ^ np.uint64(seed))
        rows = (hashed % sizes.astype(np.uint64)).astype(np.uint32)
    else:
        rows, sizes = _first_seen(raw)
    dense = np.log1p(np.maximum(np.array(integers, np.float64), 0)).astype(np.float32)
    payload = np.concatenate([np.array(labels, np.float32)[:, None], dense], axis=1)
    return Trace(f"criteo:{path}", rows, np.arange(CATEGORICALS), sizes, payload.view(np.uint32),
                 {"rule": rule, "seed": seed})  # fmt: skip


def _refuse(where: str, fields: list[str]) -> None:
    """Raises TraceError for the first field that is not as it must be."""
    for column, ((kind, right), field) in enumerate(zip(KINDS, fields, strict=False), 1):
        if not kind.fullmatch(field):
            what = "label " if column == 1 else ""
            raise TraceError(f"{where}, column {column}: {what}{shortened(field)}; {right} is right")
    raise TraceError(f"{where}: {len(fields)} columns; at most {COLUMNS} separated by tabs are right")


def _table_sizes(given: list[int]) -> np.ndarray:
    sizes = np.array(given * CATEGORICALS if len(given) == 1 else given, np.int64)
    if len(sizes) != CATEGORICALS:
        raise TraceError(f"table sizes: {len(given)} given; one for all tables, or {CATEGORICALS}, are right")
    if (sizes < 1).any() or (sizes >= NO_ACCESS).any():
        raise TraceError(
            f"table sizes: {sizes[(sizes < 1) | (sizes >= NO_ACCESS)][0]}; 1 to {NO_ACCESS - 1} rows are right"
        )
    return sizes


def _first_seen(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.empty(raw.shape, np.uint32)
    sizes = np.empty(raw.shape[1], np.int64)
    for column in range(raw.shape[1]):
        numbers: dict[int, int] = {EMPTY: 0}
        rows[:, column] = [numbers.setdefault(v, len(numbers)) for v in raw[:, column].tolist()]
        sizes[column] = len(numbers)
    return rows, sizes
