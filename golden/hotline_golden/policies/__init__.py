"""Replacement policies of the tracker, one file each; their RTL twins are in ``hotline_rtl.policies``."""

from .srrip import Srrip

__all__ = ["POLICIES", "Srrip"]

#: Constructors by the name that the configuration uses; each takes the bits of state per entry.
POLICIES = {"srrip": Srrip}
