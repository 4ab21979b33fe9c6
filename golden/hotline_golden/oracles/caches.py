"""Caches of rows on the device, as embedding libraries have them: every row that a mini-batch uses comes in, and others go.

They are fully associative, and change once a mini-batch. What stays, where there is no room for all, is the policy's to say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class CacheRun:
    """What a cache did, mini-batch by mini-batch: ``popular`` samples, all of whose keys it held before; keys ``fetched``, and
    keys ``evicted`` after it. Of ``accesses``, ``hits`` found their key held."""

    popular: list[int] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)
    accesses: int = 0
    hits: int = 0


class Uses:
    """The distinct keys of each mini-batch of ``ids`` int64 [samples, accesses], -1 for no access; and what is known of
    ``distinct`` keys by then: in which mini-batch each was used ``last``, and in how many (``count``)."""

    def __init__(self, ids: np.ndarray, distinct: int, batch: int):
        self.parts = [ids[first : first + batch] for first in range(0, len(ids), batch)]
        self.keys = [np.unique(part[part >= 0]) for part in self.parts]
        self.distinct = distinct
        self.last, self.count = np.full(distinct, -1), np.zeros(distinct, np.int64)

    def next(self, after: int, window: int) -> np.ndarray:
        """int64 [distinct]: the first of the ``window`` mini-batches after one that uses each key, or a number beyond all."""
        found = np.full(self.distinct, len(self.keys))
        for later in reversed(range(after + 1, min(after + 1 + window, len(self.keys)))):
            found[self.keys[later]] = later
        return found


#: ``policy(uses, batch, keys)``: columns by which ``keys`` are sorted, the last one first; those at the end go.
Policy = Callable[[Uses, int, np.ndarray], tuple[np.ndarray, ...]]


def least_recently_used(uses: Uses, batch: int, keys: np.ndarray) -> tuple[np.ndarray, ...]:
    """Keys used last stay (FBGEMM's LRU; HugeCTR's embedding cache)."""
    return (-uses.last[keys],)


def least_often_used(uses: Uses, batch: int, keys: np.ndarray) -> tuple[np.ndarray, ...]:
    """Keys used in most mini-batches stay (FBGEMM's LFU)."""
    return -uses.last[keys], -uses.count[keys]


def looks_ahead(window: int) -> Policy:
    """Keys stay whose next use within ``window`` mini-batches is nearest (Belady, 1966), after them those used last (BagPipe,
    SOSP 2023; ScratchPipe, ISCA 2022)."""

    def policy(uses: Uses, batch: int, keys: np.ndarray) -> tuple[np.ndarray, ...]:
        return -uses.last[keys], uses.next(batch, window)[keys]

    return policy


def run_cache(
    ids: np.ndarray, distinct: int, entries: int, batch: int, policy: Policy, hot: np.ndarray | None = None
) -> CacheRun:
    """A cache of ``entries`` keys that begins with ``hot``, or empty, on mini-batches of ``batch`` samples."""
    uses, found = Uses(ids, distinct, batch), CacheRun()
    held = np.zeros(distinct + 1, bool)
    held[-1] = True  # id -1, no access, is the last
    if hot is not None:
        held[hot] = True
    for number, (part, used) in enumerate(zip(uses.parts, uses.keys, strict=True)):
        there = held[part]
        found.popular.append(int(there.all(axis=1).sum()))
        found.hits += int((there & (part >= 0)).sum())
        found.accesses += int((part >= 0).sum())
        found.fetched.append(int((~held[used]).sum()))
        held[used] = True
        uses.last[used] = number
        uses.count[used] += 1
        keys = np.flatnonzero(held[:-1])
        if len(keys) > entries:
            held[:-1] = False
            held[keys[np.lexsort(policy(uses, number, keys))[:entries]]] = True
        found.evicted.append(max(0, len(keys) - entries))
    return found
