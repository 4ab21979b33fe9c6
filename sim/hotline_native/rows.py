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
    table, rows = _blocks(table, rows)
    parts = min(threads, len(places) // LEAST)
    if parts < 2:
        alone(table, places, rows, 0, len(places))
        return
    with several(threads):
        together(table, places, rows, parts)


def _blocks(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same memory, rows in blocks of 64 bytes [rows, blocks, 8], where they are made of these; else [rows, width, 1]."""
    if all(a.flags.c_contiguous and a.shape[1] * a.itemsize % 64 == 0 for a in arrays):
        return tuple(a.view(np.uint64).reshape(len(a), a.shape[1] * a.itemsize // 64, 8) for a in arrays)
    return tuple(a[:, :, None] for a in arrays)


@compiled
def _block(to, a, source, b, k):
    """One block of a row: without a loop, so that the processor asks for other rows while this one is still coming."""
    if source.shape[2] == 8:
        w0, w1, w2, w3 = source[b, k, 0], source[b, k, 1], source[b, k, 2], source[b, k, 3]
        w4, w5, w6, w7 = source[b, k, 4], source[b, k, 5], source[b, k, 6], source[b, k, 7]
        to[a, k, 0], to[a, k, 1], to[a, k, 2], to[a, k, 3] = w0, w1, w2, w3
        to[a, k, 4], to[a, k, 5], to[a, k, 6], to[a, k, 7] = w4, w5, w6, w7
    else:
        to[a, k, 0] = source[b, k, 0]


@compiled
def _gather(table, places, out, first, last):
    for n in range(np.uint64(first), np.uint64(last)):
        row = np.uint64(places[n])
        for k in range(np.uint64(table.shape[1])):
            _block(out, n, table, row, k)


@compiled
def _scatter(table, places, rows, first, last):
    for n in range(np.uint64(first), np.uint64(last)):
        row = np.uint64(places[n])
        for k in range(np.uint64(table.shape[1])):
            _block(table, row, rows, n, k)


@in_parallel
def _gather_in_parallel(table, places, out, parts):
    for part in numba.prange(parts):
        _gather(table, places, out, len(places) * part // parts, len(places) * (part + 1) // parts)


@in_parallel
def _scatter_in_parallel(table, places, rows, parts):
    for part in numba.prange(parts):
        _scatter(table, places, rows, len(places) * part // parts, len(places) * (part + 1) // parts)
