"""What an access is worth to a tracker that looks for popular samples.

Samples are learnt in blocks: a block is whole samples until they have ``BLOCK_ACCESSES`` tracked accesses
(samples without any do not count). Before a block is learnt, all of it is looked up; the misses of each
sample, against the tracker as it was before the block, decide what its accesses count: the full weight for
samples with at most ``threshold`` misses, then half of it for one miss more, and so on, down to
``weight >> level``.

``threshold`` follows the data: after each block it moves by one towards the misses that the best
eighth of the samples stays within. ``pressure`` counts misses. While there are few of them for each entry,
counters are small, differences of weight would only be noise, and all accesses count the same
(level 0); from ``8 x entries`` on the level is 1, from ``16 x entries`` on it is 2. At
``32 x entries`` all counters are halved, and pressure with them: what comes later counts more.

The RTL twin is ``hotline_rtl.classify.sample_scorer``.
"""

import numpy as np

BLOCK_ACCESSES = 1024
#: One sample of this many is to be at or below the threshold.
BEST_PART = 8
#: The level is 1 from ``entries << LEVEL_SHIFT`` misses on, 2 from twice as many, at most ``MAX_LEVEL``.
LEVEL_SHIFT = 3
MAX_LEVEL = 2
#: Counters are halved at ``entries << AGING_SHIFT`` misses.
AGING_SHIFT = 5


def blocks(lengths: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of samples, block by block; ``lengths`` int [samples] are their tracked accesses, none 0."""
    ends = np.cumsum(lengths)
    found = []
    first = 0
    while first < len(lengths):
        before = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, before + BLOCK_ACCESSES)) + 1
        found.append((first, min(last, len(lengths))))
        first = last
    return found


class SampleScorer:
    """``pressure`` and ``threshold`` for a tracker of ``entries`` entries (a power of two)."""

    def __init__(self, entries: int):
        self.entries = entries
        self.clear()

    def clear(self) -> None:
        self.pressure = 0
        self.threshold = 0

    @property
    def level(self) -> int:
        scaled = self.pressure // (self.entries << LEVEL_SHIFT)
        return min(MAX_LEVEL, scaled.bit_length())

    def shifts(self, misses: np.ndarray) -> np.ndarray:
        """int64 [samples]: by how many bits the weight of each sample's accesses is shifted down."""
        return np.clip(misses - self.threshold, 0, self.level)

    def note(self, misses: np.ndarray) -> bool:
        """Takes in a block's ``misses`` int64 [samples]; True when counters are to be halved after it."""
        n, q = len(misses), self.threshold
        if BEST_PART * int((misses <= q).sum()) < n:
            self.threshold += 1
        elif BEST_PART * int((misses < q).sum()) >= n:
            self.threshold -= 1
        self.pressure += int(misses.sum())
        aged = self.pressure >= self.entries << AGING_SHIFT
        if aged:
            self.pressure >>= 1
        return aged
