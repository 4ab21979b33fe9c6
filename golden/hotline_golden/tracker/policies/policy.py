"""What the tracker needs to know of a replacement policy."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """A replacement policy.

    ``learn``: see the package's page. ``bits``: state of an entry when the configuration names no number.
    ``weight``: what a whole access counts. ``counts``: state is a counter of accesses, so entries can be forgotten by what
    they count (``hotline_golden.tracker.forgetting``). ``inserted(state_max)``: state of an entry from a hot list.
    ``sketch``: it counts keys that have no entry. ``scores_samples``: accesses are weighted by their sample
    (``hotline_golden.tracker.sample_scorer``).
    """

    name: str
    learn: Callable
    bits: int
    inserted: Callable[[int], int]
    weight: int = 1
    counts: bool = False
    sketch: bool = False
    scores_samples: bool = False
