"""The samples of a trace in another order, chosen by a seed: blocks of them anywhere, and within a group of blocks one by one."""

import numpy as np

from .trace import Samples, Trace

#: Samples of a block, which are read together; and blocks of a group, which is held in memory.
BLOCK, GROUP = 2048, 32


class ShuffledTrace(Trace):
    """Every sample of ``trace`` once. Blocks are dealt into groups over the whole file, and the samples of a group shuffled: two
    neighbours may end up anywhere, with a chance of 1 in the number of groups of staying near."""

    def __init__(self, trace: Trace, seed: int):
        super().__init__(**trace.same_shape(f"{trace.name}, shuffled by {seed}", trace.samples))
        self.trace, self.seed = trace, seed
        blocks = -(-trace.samples // BLOCK)
        self.order = np.random.default_rng(seed).permutation(blocks)
        sizes = np.minimum(BLOCK, trace.samples - self.order * BLOCK)
        #: Where each group begins, and the last ends.
        self.starts = np.append(np.cumsum(sizes)[::GROUP] - sizes[::GROUP], trace.samples)
        self.held: tuple[int, Samples] | None = None

    def _group(self, number: int) -> Samples:
        if self.held is None or self.held[0] != number:
            blocks = self.order[number * GROUP : (number + 1) * GROUP]
            # In the order of the file, so that it is read from front to back.
            parts = [self.trace.part(b * BLOCK, (b + 1) * BLOCK) for b in np.sort(blocks).tolist()]
            rows, payload = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            order = np.random.default_rng([self.seed, number]).permutation(len(rows))
            self.held = (number, Samples(rows[order], payload[order]))
        return self.held[1]

    def _read(self, first: int, last: int) -> Samples:
        found: list[Samples] = []
        for number in range(int(np.searchsorted(self.starts, first, side="right")) - 1, len(self.starts) - 1):
            start = int(self.starts[number])
            if start >= last and found:
                break
            found.append(Samples(*(a[max(0, first - start) : max(0, last - start)] for a in self._group(number))))
        return found[0] if len(found) == 1 else Samples(*(np.concatenate(a) for a in zip(*found, strict=True)))
