"""The working set: distinct cold keys of one non-popular micro-batch, numbered in first-use order.

The RTL twin is ``hotline_rtl.working_set.working_set``.
"""

import numpy as np


def number_in_first_use_order(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``keys`` uint64 [n] in trace order -> (number of each, int64 [n]; the distinct keys by number)."""
    distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    number_of = np.empty(len(distinct), np.int64)
    number_of[order] = np.arange(len(distinct))
    return number_of[inverse.reshape(-1)], distinct[order]
