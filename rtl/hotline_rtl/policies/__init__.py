"""Replacement policies of the tracker, one file each; their golden twins are in ``hotline_golden.policies``."""

from .srrip import Srrip

__all__ = ["POLICIES", "Srrip"]

#: Constructors by the name that the configuration uses; each takes (bits of state, ways).
POLICIES = {"srrip": Srrip}
