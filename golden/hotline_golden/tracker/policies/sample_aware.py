"""The keys of samples that can become popular: ``frequency``, with accesses weighted by their sample.

A sample is popular only when all its accesses are hot. An access of a sample that misses much is
worth little, however often its key comes. ``hotline_golden.tracker.sample_scorer`` says what each one counts.
"""

from .frequency import learn
from .policy import Policy

SAMPLE_AWARE = Policy(
    "sample_aware",
    learn,
    bits=8,
    inserted=lambda state_max: 4,
    weight=4,
    counts=True,
    sketch=True,
    scores_samples=True,
)
