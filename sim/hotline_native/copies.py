"""Plain copies of lines of 64 bytes at random places: what memory gives at most, for figures to be held against."""

import numba
import numpy as np

from .compiler import compiled, in_parallel, several


def copy_from(table: np.ndarray, places: np.ndarray, lines: np.ndarray, threads: int) -> None:
    """``lines`` uint64 [n, 8] become lines ``places`` int64 [n] of ``table`` uint64 [rows, 8]."""
    with several(threads):
        _copy_from(table, places, lines, threads)


def copy_to(table: np.ndarray, places: np.ndarray, lines: np.ndarray, threads: int) -> None:
    """Lines ``places`` of ``table`` become ``lines``."""
    with several(threads):
        _copy_to(table, places, lines, threads)


@compiled
def _line(to, a, source, b):
    to[a, 0], to[a, 1], to[a, 2], to[a, 3] = source[b, 0], source[b, 1], source[b, 2], source[b, 3]
    to[a, 4], to[a, 5], to[a, 6], to[a, 7] = source[b, 4], source[b, 5], source[b, 6], source[b, 7]


@in_parallel
def _copy_from(table, places, lines, parts):
    for part in numba.prange(parts):
        for n in range(len(places) * part // parts, len(places) * (part + 1) // parts):
            _line(lines, n, table, places[n])


@in_parallel
def _copy_to(table, places, lines, parts):
    for part in numba.prange(parts):
        for n in range(len(places) * part // parts, len(places) * (part + 1) // parts):
            _line(table, places[n], lines, n)
