"""Which working rows of a mini-batch were working rows of the one before: these need not be fetched again."""

import numpy as np

from .compiler import compiled


def carried_rows(before: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """``out`` int32 [k]: for each row of ``places`` int64 [k], all different, its position in ``before`` int64 [n], all
    different; -1 for none."""
    size = 1 << max(4, (2 * len(before)).bit_length())
    _carried(before, places, np.empty(size, np.int32), out)


@compiled
def _carried(before, places, table, out):
    """``table``: a hash table of positions in ``before``; its size is a power of two and at least twice their number."""
    table[:] = -1
    mask = np.int64(len(table) - 1)
    for n in range(len(before)):
        at = (before[n] * np.int64(-7046029254386353131) >> 20) & mask
        while table[at] >= 0:
            at = (at + 1) & mask
        table[at] = n
    for k in range(len(places)):
        at = (places[k] * np.int64(-7046029254386353131) >> 20) & mask
        while table[at] >= 0 and before[table[at]] != places[k]:
            at = (at + 1) & mask
        out[k] = table[at]
