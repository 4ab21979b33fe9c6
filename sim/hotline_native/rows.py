"""Rows copied from and to large tables, by several threads."""

import numba
import numpy as np

from .compiler import compiled, in_parallel, several

#: Rows that are worth a thread.
LEAST = 512


def gather(table: np.ndarray, places: np.ndarray, out: np.ndarray, threads: int) -> None:
    """``out`` [n, width] becomes rows ``places`` int64 [n] of ``table`` [rows, width]."""
    _run(_gather, _gather_in_parallel, table, places, out, threads)


def scatter(table: np.ndarray, places: np.ndarray, rows: np.ndarray, threads: int) -> None:
    """Rows ``places`` int64 [n], all different, of ``table`` [rows, width] become ``rows`` [n, width]."""
    _run(_scatter, _scatter_in_parallel, table, places, rows, threads)


def _run(alone, together, table: np.ndarray, places: np.ndarray, rows: np.ndarray, threads: int) -> None:
    parts = min(threads, len(places) // LEAST)
    if parts < 2:
        alone(table, places, rows, 0, len(places))
        return
    with several(threads):
        together(table, places, rows, parts)


@compiled
def _gather(table, places, out, first, last):
    for n in range(first, last):
        row = places[n]
        for k in range(table.shape[1]):
            out[n, k] = table[row, k]


@compiled
def _scatter(table, places, rows, first, last):
    for n in range(first, last):
        row = places[n]
        for k in range(table.shape[1]):
            table[row, k] = rows[n, k]


@in_parallel
def _gather_in_parallel(table, places, out, parts):
    for part in numba.prange(parts):
        _gather(table, places, out, len(places) * part // parts, len(places) * (part + 1) // parts)


@in_parallel
def _scatter_in_parallel(table, places, rows, parts):
    for part in numba.prange(parts):
        _scatter(table, places, rows, len(places) * part // parts, len(places) * (part + 1) // parts)
