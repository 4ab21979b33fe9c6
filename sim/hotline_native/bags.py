"""Embedding bags on the CPU: pooled look-up, and one fused, sorted update of the rows that a mini-batch has used.

A hybrid training does this for every row, where Hotline leaves it the cold ones: the baseline is to be as good as it gets. Sums
are made in the order of the accesses, whatever the number of threads.
"""

from dataclasses import dataclass

import numba
import numpy as np

from .compiler import in_parallel, several

SGD, ROW_WISE_ADAGRAD, ADAGRAD = 0, 1, 2
#: Parts of the work for each thread: some are longer than others.
PARTS = 4


@dataclass(frozen=True)
class Grouped:
    """A mini-batch's accesses by row: ``rows`` int64 [k], all different; those of row ``n`` are ``accesses`` int64, flat places
    in [samples, accesses], from ``starts[n]`` to ``starts[n + 1]``. It depends on keys alone, so it can be made ahead."""

    rows: np.ndarray
    starts: np.ndarray
    accesses: np.ndarray

    @staticmethod
    def of(keys: np.ndarray) -> "Grouped":
        """Of ``keys`` int64 [samples, accesses], -1 for no access."""
        flat = keys.reshape(-1)
        order = np.argsort(flat, kind="stable")
        order = order[np.searchsorted(flat[order], 0) :]
        rows, starts = np.unique(flat[order], return_index=True)
        return Grouped(rows, np.append(starts, len(order)), order)


def pool(
    table: np.ndarray,
    keys: np.ndarray,
    table_of: np.ndarray,
    out: np.ndarray,
    threads: int,
    late: np.ndarray | None = None,
    which: bool = False,
) -> None:
    """``out`` [samples, tables, dim] becomes rows ``keys`` int64 [samples, accesses] of ``table`` [rows, width], summed by
    ``table_of`` int64 [accesses]; -1 for no access. With ``late`` bool [samples, tables] only where it is ``which``."""
    late = np.zeros(out.shape[:2], np.bool_) if late is None else late
    with several(threads):
        _pool(table, keys, table_of, out, late, which, threads * PARTS)


def late_bags(before: np.ndarray, keys: np.ndarray, table_of: np.ndarray, tables: int) -> np.ndarray:
    """bool [samples, tables]: the bags of ``keys`` that hold a row of ``before``, int64 [n] in ascending order: they can be
    looked up after these rows are updated, and the others at any time."""
    place = np.minimum(np.searchsorted(before, keys), max(0, len(before) - 1))
    changes = (before[place] == keys) if len(before) else np.zeros(keys.shape, np.bool_)
    late = np.zeros((len(keys), tables), np.bool_)
    for access, number in enumerate(table_of.tolist()):
        late[:, number] |= changes[:, access]
    return late


def update(
    table: np.ndarray,
    grouped: Grouped,
    table_of: np.ndarray,
    gradient: np.ndarray,
    optimizer: int,
    rate: float,
    epsilon: float,
    threads: int,
) -> None:
    """One step of the rows of ``table`` [rows, width] that ``grouped`` names, by ``gradient`` [samples, tables, dim] of
    what :func:`pool` gave. SGD, or row-wise Adagrad, whose sum is the value after the ``dim`` ones of a row, or Adagrad,
    with a sum for each of them."""
    with several(threads):
        _update(
            table,
            grouped.rows,
            grouped.starts,
            grouped.accesses,
            table_of,
            gradient,
            optimizer,
            table.dtype.type(rate),
            table.dtype.type(epsilon),
            threads * PARTS,
        )


@in_parallel
def _pool(table, keys, table_of, out, late, which, parts):
    samples, accesses = keys.shape
    tables, dim = np.uint64(out.shape[1]), np.uint64(out.shape[2])
    for part in numba.prange(parts):
        for s in range(np.uint64(samples * part // parts), np.uint64(samples * (part + 1) // parts)):
            for t in range(tables):
                if late[s, t] == which:
                    out[s, t] = 0
            for j in range(np.uint64(accesses)):
                row, to = np.uint64(keys[s, j]), np.uint64(table_of[j])  # unsigned: no index counts from the end
                if keys[s, j] >= 0 and late[s, to] == which:
                    for k in range(dim):
                        out[s, to, k] += table[row, k]


@in_parallel
def _update(table, rows, starts, accesses, table_of, gradient, optimizer, rate, epsilon, parts):
    dim, width = np.uint64(gradient.shape[2]), np.uint64(len(table_of))
    count = len(rows)
    for part in numba.prange(parts):
        total = np.empty(dim, table.dtype)
        for n in range(count * part // parts, count * (part + 1) // parts):
            total[:] = 0
            for a in range(starts[n], starts[n + 1]):
                place = np.uint64(accesses[a])
                s, of = place // width, np.uint64(table_of[place % width])
                for k in range(dim):
                    total[k] += gradient[s, of, k]
            row = np.uint64(rows[n])
            step = rate
            if optimizer == ROW_WISE_ADAGRAD:
                squares = total[0] * total[0]
                for k in range(np.uint64(1), dim):
                    squares += total[k] * total[k]
                table[row, dim] += squares / table.dtype.type(dim)
                step = rate / (np.sqrt(table[row, dim]) + epsilon)
            for k in range(dim):
                if optimizer == ADAGRAD:
                    table[row, dim + k] += total[k] * total[k]
                    step = rate / (np.sqrt(table[row, dim + k]) + epsilon)
                table[row, k] -= step * total[k]
