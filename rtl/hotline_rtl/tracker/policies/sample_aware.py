"""The keys of samples that can become popular: ``frequency``, with accesses weighted by their sample.

The golden twin is ``hotline_golden.tracker.policies.sample_aware``.
"""

from amaranth.hdl import Const, Value

from .frequency import Frequency


class SampleAware(Frequency):
    """See :class:`Frequency`; the weights come from ``hotline_rtl.classify.sample_scorer``."""

    weight = 4

    def weight_of(self, shift: Value) -> Value:
        return Const(self.weight) >> shift
