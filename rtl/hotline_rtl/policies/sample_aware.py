"""The keys of samples that can become popular: ``frequency``, with accesses weighted by their sample.

The golden twin is ``hotline_golden.policies.sample_aware``.
"""

from .frequency import Frequency


class SampleAware(Frequency):
    """See :class:`Frequency`; the weights come from ``hotline_rtl.rehearsal``."""

    weight = 4
    rehearses = True
