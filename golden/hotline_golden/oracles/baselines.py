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
