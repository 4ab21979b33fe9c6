"""Replacement policies of the tracker, one file each; their golden twins are in ``hotline_golden.policies``.

A policy is a class, made with (bits of state, entries that a key may choose from). Class attributes:
``default_bits`` of state; ``weight``, what a whole access counts; ``sketch``: it counts keys that have no
entry; ``rehearses``: accesses are weighted by their sample (``hotline_rtl.rehearsal``). Their methods are
combinational, and see one entry each.
"""

from .frequency import Frequency
from .sample_aware import SampleAware
from .srrip import Srrip

__all__ = ["POLICIES", "Frequency", "SampleAware", "Srrip"]

#: By the name that the configuration uses.
POLICIES: dict[str, type] = {"srrip": Srrip, "frequency": Frequency, "sample_aware": SampleAware}
