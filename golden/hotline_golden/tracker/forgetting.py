"""How a tracker that follows the data forgets: by what it observes, without a rate that someone must choose.

Misses are the clock. An *epoch* ends at the first SWAP at which as many accesses have missed as the tracker has
entries. The *span* is how many epochs the counters stand for. So an entry with counter ``c`` is expected to be used
``c / span`` times in an epoch, and if its popularity has not changed, the chance of no use in ``u`` epochs is about
``exp(-u * c / span)``.

- **An entry is forgotten when its silence is improbable**: where ``u * c / span`` is at least ``SILENCE`` its counter
  becomes 0, and the next key that comes takes its place. Where popularity stands still this hardly ever happens; a row
  that was used a lot and is not used any more goes within three epochs.
- **The span follows the drift**: when one entry in ``1 << DRIFT_SHIFT`` was forgotten at the end of an epoch, all
  counters are halved, and the span with them, so that new keys need fewer accesses to get in. Where nothing drifts, the
  span grows until it is ``MAX_SPAN``, and is halved then.

The test for silence is that of a Poisson process. Counting is the policy's, as in TinyLFU (Einziger, Friedman and Manes,
2017), whose sample size is fixed; here it is found.

The RTL twin is ``hotline_rtl.tracker.forgetting``.
"""

from dataclasses import dataclass

import numpy as np

#: An entry is forgotten whose silence has a chance of exp(-SILENCE).
SILENCE = 6
#: Epochs of silence that are told apart: 0, 1, 2, and 3 or more.
MAX_SILENT = 3
#: The popularity of rows is drifting when one entry in ``1 << DRIFT_SHIFT`` is forgotten in an epoch.
DRIFT_SHIFT = 6
#: Epochs that counters stand for, at most.
MAX_SPAN = 64


@dataclass
class Forgetting:
    """The clock of a tracker of ``entries`` entries: ``misses`` since the last epoch ended; the ``span``, in epochs.
    ``weight``: what a whole access counts."""

    entries: int
    weight: int
    misses: int = 0
    span: int = 0

    def clear(self) -> None:
        self.misses = self.span = 0

    @property
    def epoch_ends(self) -> bool:
        return self.misses >= self.entries

    def end_epoch(self, valid: np.ndarray, state: np.ndarray, silent: np.ndarray) -> bool:
        """Forgets entries; ``valid`` bool, ``state`` and ``silent`` int64, each [sets, ways], the last two changed in place:
        the counters, and the epochs without a use. True when all counters are to be halved, and the span."""
        self.misses = 0
        self.span += 1
        forgotten = valid & (silent * state >= SILENCE * self.span * self.weight)
        state[forgotten] = 0
        np.minimum(silent + 1, MAX_SILENT, out=silent)
        drifts = int(forgotten.sum()) << DRIFT_SHIFT >= self.entries
        return drifts or self.span == MAX_SPAN
