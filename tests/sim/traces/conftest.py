"""Helpers for tests of traces."""

import gzip
from pathlib import Path

import numpy as np

from hotline_golden.keys import mix64

REAL = Path(__file__).parents[4] / "shared" / "data" / "criteo_sample.tsv"
FIELDS = ["1", *map(str, range(13)), *[f"{0xA0 + n:08x}" for n in range(26)]]


def line(**changes) -> str:
    """A line in the Criteo format; ``c15="ff"`` changes its 15th column."""
    fields = list(FIELDS)
    for column, value in changes.items():
        fields[int(column[1:]) - 1] = value
    return "\t".join(fields)


def write(path: Path, *lines: str) -> Path:
    """A text file; compressed by gzip if its name says so."""
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def hashed(value: int, table: int, rows: int, seed: int = 1) -> int:
    """The row of a value by rule=hash, one at a time."""
    word = np.array([(value & (1 << 64) - 1) ^ (table << 40)], np.uint64)
    return int(mix64(mix64(word) ^ np.uint64(seed))[0]) % rows


def text_value(text: str) -> int:
    """The value of a text, byte by byte as the docs say."""
    data = text.encode()
    h = len(data)
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at : at + 8].ljust(8, b"\0"), "little")
        h = int(mix64(np.array([h ^ word], np.uint64))[0])
    return h
