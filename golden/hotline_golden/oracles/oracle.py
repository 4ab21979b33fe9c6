"""Hot sets chosen offline, with all learning samples at hand: what a tracker is held against.

All take samples as ``ids`` int64 [samples, accesses]: keys numbered from 0 to ``distinct`` - 1, -1 where
there is no tracked access (:func:`number_keys`), and return the ids of at most ``entries`` keys.
"""

import heapq
from collections.abc import Callable
from functools import partial

import numpy as np


def number_keys(keys: np.ndarray, tracked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``ids`` int64 of ``keys`` uint64 where ``tracked``, both [samples, accesses]; and the key of each id."""
    distinct, inverse = np.unique(keys[tracked], return_inverse=True)
    ids = np.full(keys.shape, -1, np.int64)
    ids[tracked] = inverse
    return ids, distinct


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


def is_hot(ids: np.ndarray, distinct: int, hot: np.ndarray) -> np.ndarray:
    """bool [samples, accesses]: the access is in ``hot``, or there is none."""
    table = np.zeros(distinct + 1, bool)
    table[hot] = table[-1] = True  # id -1 is the last
    return table[ids]


def by_count(ids: np.ndarray, distinct: int, entries: int) -> np.ndarray:
    """The frequency oracle."""
    return _top(np.bincount(ids[ids >= 0], minlength=distinct).astype(float), entries)


def by_threshold(ids: np.ndarray, distinct: int, entries: int) -> np.ndarray:
    """All keys of at least a count, the least for which they are no more than ``entries``.

    How FAE chooses its hot rows: Adnan et al., "Accelerating Recommendation System Training by Leveraging
    Popular Choices", VLDB 2022, section 4.
    """
    counts = np.bincount(ids[ids >= 0], minlength=distinct)
    if (counts > 0).sum() <= entries:
        return np.flatnonzero(counts)
    return np.flatnonzero(counts > np.sort(counts)[::-1][entries])


def by_samples(ids: np.ndarray, distinct: int, entries: int, *, rounds: int = 4, factor: float = 0.5) -> np.ndarray:
    """Counts again and again, an access by ``factor`` to the power of its sample's other misses against the
    set of the round before."""
    hot = by_count(ids, distinct, entries)
    there = ids >= 0
    for _ in range(rounds):
        missed = ~is_hot(ids, distinct, hot)
        others = missed.sum(axis=1)[:, None] - missed
        hot = _top(np.bincount(ids[there], (factor**others)[there], distinct), entries)
    return hot


def removal_order(ids: np.ndarray, distinct: int, compile: Callable = lambda f: f) -> np.ndarray:
    """Keys that the samples use, from the least wanted on. Greedy over samples, backwards: the key that the fewest
    popular samples use goes, and they with it; the last ``entries`` of the order are a hot set.

    The densest-subgraph greedy (Charikar, 2000) on the hypergraph of samples. ``compile``: as in ``Tracker``.
    """
    samples, columns = np.nonzero(ids >= 0)
    pairs = np.unique(ids[samples, columns] * len(ids) + samples)  # a key counts once in a sample
    keys, users = np.divmod(pairs, len(ids))
    key_starts = np.searchsorted(keys, np.arange(distinct + 1))
    by_user = np.argsort(users, kind="stable")
    sample_starts = np.searchsorted(users[by_user], np.arange(len(ids) + 1))
    order = compile(_removal_order)(key_starts, users, sample_starts, keys[by_user])
    return order[np.diff(key_starts)[order] > 0]


def _removal_order(key_starts, users, sample_starts, used):
    """Ids in the order of removal. Sample lists of key k: users[key_starts[k]:key_starts[k + 1]]; key lists alike."""
    distinct = len(key_starts) - 1
    counts = key_starts[1:] - key_starts[:-1]
    alive = np.ones(len(sample_starts) - 1, np.bool_)
    gone = np.zeros(distinct, np.bool_)
    order = np.empty(distinct, np.int64)
    heap = [(counts[k], k) for k in range(distinct)]
    heapq.heapify(heap)
    n = 0
    while heap:
        count, key = heapq.heappop(heap)
        if gone[key] or count != counts[key]:
            continue
        gone[key] = True
        order[n] = key
        n += 1
        for i in range(key_starts[key], key_starts[key + 1]):
            sample = users[i]
            if alive[sample]:
                alive[sample] = False
                for j in range(sample_starts[sample], sample_starts[sample + 1]):
                    other = used[j]
                    if not gone[other]:
                        counts[other] -= 1
                        heapq.heappush(heap, (counts[other], other))
    return order


def best_offline(
    ids: np.ndarray, distinct: int, sizes: list[int], compile: Callable = lambda f: f
) -> list[np.ndarray]:
    """For each of ``sizes`` the best of the sets above: all are made of the first three quarters of the samples,
    the best of them on the last quarter is made again of all."""
    cut = len(ids) * 3 // 4
    orders = {len(part): removal_order(part, distinct, compile) for part in (ids[:cut], ids)}

    def by_removal(part, distinct, entries):
        return orders[len(part)][-entries:]

    candidates: list[Callable] = [by_count, by_removal]
    candidates += [partial(by_samples, factor=f) for f in (0.75, 0.5, 0.25)]

    def score(candidate, entries):
        return is_hot(ids[cut:], distinct, candidate(ids[:cut], distinct, entries)).all(axis=1).mean()

    return [max(candidates, key=partial(score, entries=n))(ids, distinct, n) for n in sizes]


def _top(scores: np.ndarray, entries: int) -> np.ndarray:
    order = np.argsort(-scores, kind="stable")[:entries]
    return order[scores[order] > 0]
