"""Replacement policies of the tracker, one file each; their golden twins are in ``hotline_golden.tracker.policies``.

A policy is a class, made with (bits of state, entries that a key may choose from). ``weight`` is what a whole access counts.
Methods are combinational and see one entry each. What sizes depend on is in ``hotline_rtl.config.POLICY_TRAITS``.
"""

from .frequency import Frequency
from .sample_aware import SampleAware
from .srrip import Srrip

__all__ = ["POLICIES", "Frequency", "SampleAware", "Srrip"]

#: By the name that the configuration uses.
POLICIES: dict[str, type] = {"srrip": Srrip, "frequency": Frequency, "sample_aware": SampleAware}
