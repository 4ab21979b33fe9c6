"""The software engine: what the accelerator does, in compiled code on a CPU, byte for byte.

It needs Numba, and knows golden's layouts; how it computes is its own. Everything here is an array in, arrays out; several
threads work on one mini-batch.
"""

from .engine import NativeEngine
from .tracker import NativeTracker

__all__ = ["NativeEngine", "NativeTracker"]
