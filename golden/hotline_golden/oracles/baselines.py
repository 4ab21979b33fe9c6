"""What others do in the tracker's place, to compare with.

Samples are ``ids`` as in ``hotline_golden.oracles.oracle``.
"""

from collections.abc import Callable

import numpy as np

from ..keys import mix64

#: Slots of a bucket of HotSketch.
BUCKET_SLOTS = 4


def hot_sketch(keys: np.ndarray, slots: int, entries: int, compile: Callable = lambda f: f) -> np.ndarray:
    """The ``entries`` keys that HotSketch counted most, of ``keys`` int64 [n] in trace order.

    Buckets of four slots of (key, count); a key that is not in its bucket takes the slot counted least, and
    its count plus one (SpaceSaving). Source: Zhang et al., "CAFE: Towards Compact, Adaptive, and Fast
    Embedding for Large-scale Recommendation Models", SIGMOD 2024, section 3.2.
    """
    buckets = max(1, slots // BUCKET_SLOTS)
    held = np.full((buckets, BUCKET_SLOTS), -1, np.int64)
    counts = np.zeros((buckets, BUCKET_SLOTS), np.int64)
    where = (mix64(keys.astype(np.uint64)) % np.uint64(buckets)).astype(np.int64)
    compile(_space_saving)(held, counts, where, keys)
    order = np.argsort(-counts, axis=None, kind="stable")[:entries]
    hot = held.reshape(-1)[order]
    return hot[hot >= 0]


def _space_saving(held, counts, where, keys):
    for n in range(len(keys)):
        b = where[n]
        least = 0
        slot = -1
        for s in range(held.shape[1]):
            if held[b, s] == keys[n]:
                slot = s
            if counts[b, s] < counts[b, least]:
                least = s
        if slot < 0:
            slot = least
            held[b, slot] = keys[n]
        counts[b, slot] += 1


def look_ahead(
    ids: np.ndarray, distinct: int, hot: np.ndarray, entries: int, batch: int, window: int
) -> tuple[float, float, float]:
    """A cache of ``entries`` keys that knows the next ``window`` mini-batches of ``batch`` samples.

    It begins with ``hot``. Every mini-batch's keys pass through it; of them and what it held, it keeps those
    whose next use is nearest (Belady, 1966), after them those used last. Returns (share of samples
    all of whose keys it held before their mini-batch, share of accesses, keys fetched for each sample).
    Systems like it: BagPipe (SOSP 2023), ScratchPipe (ISCA 2022).
    """
    batches = -(-len(ids) // batch)
    uses = [np.unique(b[b >= 0]) for b in (ids[t * batch : (t + 1) * batch] for t in range(batches))]
    held = np.zeros(distinct + 1, bool)
    held[hot] = held[-1] = True  # id -1, no access, is the last
    last_use = np.full(distinct, -1)
    popular = accesses = hits = fetched = 0
    for t in range(batches):
        part = ids[t * batch : (t + 1) * batch]
        found = held[part]
        popular += int(found.all(axis=1).sum())
        hits += int((found & (part >= 0)).sum())
        accesses += int((part >= 0).sum())
        fetched += int((~held[uses[t]]).sum())
        held[uses[t]] = True
        last_use[uses[t]] = t
        keys = np.flatnonzero(held[:-1])
        if len(keys) > entries:
            coming = np.full(distinct, batches)
            for later in reversed(range(t + 1, min(t + 1 + window, batches))):
                coming[uses[later]] = later
            held[:-1] = False
            held[keys[np.lexsort((-last_use[keys], coming[keys]))[:entries]]] = True
    return popular / len(ids), hits / max(1, accesses), fetched / len(ids)
