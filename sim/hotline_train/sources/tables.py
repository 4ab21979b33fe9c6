"""Tables in host memory, as arrays that are trained on."""

import numpy as np

from hotline_sim.run.job import initial_parts

from ..rows import RowFormat


class HostTables:
    """Tables in host memory as arrays [rows, width], or one rank's part of them: row ``r`` is with rank ``r mod ranks``.

    ``all``: all its rows, table after table; ``start``, which is trained on, or the initial rows. Keys are (table, row), [n, 2].
    """

    def __init__(
        self, table_rows: np.ndarray, rows: RowFormat, rank: int = 0, ranks: int = 1, start: np.ndarray | None = None
    ):
        self.ranks, self.format = ranks, rows
        counts = (table_rows - rank + ranks - 1) // ranks
        ends = np.cumsum(counts)
        self.first = ends - counts
        if start is not None:
            self.all = start
            return
        self.all = np.zeros((int(ends[-1]), rows.width), rows.numpy)
        for table, count in enumerate(table_rows.tolist()):
            for part, values in initial_parts(table, np.arange(rank, count, ranks), rows.dim):
                self.all[self.first[table] + part // ranks, : rows.dim] = values

    def table(self, number: int) -> np.ndarray:
        """[rows, width] view of a table."""
        return np.split(self.all, self.first[1:])[number]

    def places(self, keys: np.ndarray) -> np.ndarray:
        """int64 [n]: where ``keys``, all of this rank's, lie in ``all``."""
        return self.first[keys[:, 0]] + keys[:, 1].astype(np.int64) // self.ranks

    def read(self, keys: np.ndarray) -> np.ndarray:
        return self.all[self.places(keys)]

    def write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self.all[self.places(keys)] = rows


def distinct_keys(tables: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (table, row) keys of ``tables`` and ``rows`` [n], uint32 [k, 2] in order; and which is which, int64 [n]."""
    packed, place = np.unique(tables.astype(np.uint64) << np.uint64(32) | rows, return_inverse=True)
    keys = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFF_FFFF)], axis=1)
    return keys.astype(np.uint32), place.reshape(-1)
