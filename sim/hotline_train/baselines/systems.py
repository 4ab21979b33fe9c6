"""All systems, in the order in which they are timed. The first one is PyTorch's own code: the others are compared with it."""

from .fae import Fae
from .fbgemm import FbgemmLfu, FbgemmLru
from .hotline import GpuOnly, Hotline
from .hybrid import FusedHybrid, TableHybrid
from .system import System

SYSTEMS: list[type[System]] = [TableHybrid, FusedHybrid, Hotline, GpuOnly, Fae, FbgemmLru, FbgemmLfu]
