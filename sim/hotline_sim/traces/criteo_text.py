"""A trace as text in the Criteo format, to try readers with: of a size that nobody has to download."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ..files.whole_file import whole_file
from .readers.criteo import CATEGORICALS, INTEGERS
from .trace import Trace, TraceError

DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def write_criteo(
    trace: Trace, path: Path, progress: Callable[[int, float], None] = lambda samples, part: None
) -> None:
    """Writes ``trace`` as ``path``, compressed by gzip if its name ends in .gz; whole or not at all.

    An integer is what a dense feature is the logarithm of; a row becomes 8 hexadecimal digits, other rows others. Raises
    TraceError for a trace of other columns than a label, 13 features and 26 accesses.
    """
    if (trace.accesses, trace.payload_words, trace.payload_type) != (CATEGORICALS, 1 + INTEGERS, "float32"):
        raise TraceError(
            f"{trace.name}: {trace.accesses} accesses and {trace.payload_words} payload words; the Criteo format has "
            f"{CATEGORICALS} and {1 + INTEGERS}"
        )
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    done = 0
    with whole_file(path) as beside, (gzip.open if path.suffix == ".gz" else open)(beside, "wb") as file:
        for part in trace.parts():
            csv.write_csv(_table(part.payload.view(np.float32), part.rows), file, options)
            done += len(part.rows)
            progress(done, done / trace.samples)


def _table(payload: np.ndarray, rows: np.ndarray) -> pa.Table:
    columns = {"label": pa.array(payload[:, 0].astype(np.int8))}
    for n in range(INTEGERS):
        columns[f"i{n}"] = pa.array(np.rint(np.expm1(payload[:, 1 + n].astype(np.float64))).astype(np.int64))
    shifts = np.arange(28, -1, -4, dtype=np.uint32)
    for n in range(CATEGORICALS):
        # Multiplying by an odd number gives every row a word of its own.
        words = (rows[:, n] + np.uint32(n << 16)) * np.uint32(2654435761)
        text = DIGITS[(words[:, None] >> shifts) & np.uint32(15)]
        offsets = np.arange(len(rows) + 1, dtype=np.int32) * 8
        columns[f"c{n}"] = pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(text))
    return pa.table(columns)
