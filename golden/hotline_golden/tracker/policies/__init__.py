"""Replacement policies of the tracker, one file each; their RTL twins are in ``hotline_rtl.tracker.policies``.

A policy's ``learn`` is a plain function on arrays of integers, so that a compiler (Numba) can take it
as it stands:

    learn(tags, state, silent, sketch, sets, wanted, cells, weights, state_max, cell_max, margin) -> hits

``tags`` int64 [all sets, ways] (-1: empty), ``state`` and ``silent`` int64 of the same shape, and ``sketch`` int64 [all
cells] are changed in place; a policy that counts makes ``silent`` 0 for an entry that is used or taken in. Of each of the n
accesses, in order: ``sets`` int64 [n, arrays] it may live in, ``wanted`` int64 [n] its tag, ``cells`` int64
[n, CELL_ARRAYS], ``weights`` int64 [n]. ``margin``: by how much more than an entry a key must have been counted to take its
place, 0 or 1.
"""

from .frequency import FREQUENCY
from .policy import Policy
from .sample_aware import SAMPLE_AWARE
from .srrip import SRRIP

__all__ = ["POLICIES", "Policy"]

#: By the name that the configuration uses.
POLICIES: dict[str, Policy] = {p.name: p for p in (SRRIP, FREQUENCY, SAMPLE_AWARE)}
