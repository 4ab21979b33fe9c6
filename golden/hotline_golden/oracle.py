"""The frequency oracle: the most frequent tracked keys of the learning samples."""

import numpy as np


def most_frequent(keys: np.ndarray, entries: int) -> np.ndarray:
    """The ``entries`` most frequent of ``keys`` uint64 [n]; ties go to the key seen first."""
    distinct, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return distinct[np.lexsort((first, -counts))[:entries]]


def popular_share(keys: np.ndarray, tracked: np.ndarray, hot: np.ndarray) -> float:
    """Share of samples whose tracked accesses are all in ``hot``.

    ``keys`` uint64 and ``tracked`` bool are [samples, accesses]; ``hot`` uint64 [n].
    """
    if not len(keys):
        return 0.0
    return float((np.isin(keys, hot) | ~tracked).all(axis=1).mean())
