"""Micro-batch records on the device, and the memory that a step works in.

Where the two micro-batches of a step are worked on one after another, they lie around the middle of buffers for two times
the most samples: the popular one ends there, the other one begins there. So they are one piece, whatever their sizes, and
each has few addresses: one for each size. Where they are worked on together, they lie at the beginning, one behind the
other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hotline_golden.layouts import NO_ACCESS

from ..rows import RowFormat
from .device import Device, Event

#: A reference, as int32, to nothing; and to working row 0.
NONE = int(np.uint32(NO_ACCESS).view(np.int32))
FIRST_WORKING_ROW = -(2**31)
#: Mini-batches whose records have memory: used, copied, being made.
RING = 4
#: Micro-batches are padded to multiples of this part of the most samples, where sizes are to be few.
SIZES = 8


@dataclass(frozen=True)
class RecordFormat:
    """``payload_words``: the label, then dense features; ``table_of`` int64 [accesses]; ``tables``: how many there are."""

    payload_words: int
    table_of: tuple[int, ...]
    tables: int

    @property
    def accesses(self) -> int:
        return len(self.table_of)

    @property
    def dense(self) -> int:
        """Dense features of a sample."""
        return self.payload_words - 1

    @property
    def words(self) -> int:
        """32-bit words of a record: sample number, payload, references."""
        return 1 + self.payload_words + self.accesses

    @cached_property
    def by_table(self) -> np.ndarray:
        """int64 [accesses]: the accesses, those of table 0 first."""
        return np.argsort(self.table_of, kind="stable")

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [tables + 1]: where each table's accesses begin in ``by_table``."""
        return np.searchsorted(np.sort(self.table_of), np.arange(self.tables + 1))


@dataclass(frozen=True)
class MicroBatch:
    """``words`` int32 [1 + most, record words] on the device: a header (how many records; samples and working rows of the
    mini-batch), then the records. ``count``: how many, known to the host, too. Whole from ``arrived`` on."""

    words: Tensor
    count: int
    arrived: Event | None = None


def write_header(words: np.ndarray, count: int, samples: int, working: int) -> None:
    """Into ``words`` int32 [1 + most, record words]."""
    words[0, :3] = count, samples, working


class Workspace:
    """What the two micro-batches of a step are worked on in, for at most ``most`` samples each.

    ``dense``, ``labels``: of the samples; ``pooled``, ``gradient`` [2 most, tables, dim]; ``places`` int32 [2 most *
    accesses]: where in the row store each access goes; ``sorted`` and ``order`` (see ``Kernels.sort``) have as many;
    ``header`` int32 [2, 2]; ``losses`` [2]. ``padded``: only a few sizes occur."""

    def __init__(self, records: RecordFormat, rows: RowFormat, most: int, device: Device, padded: bool):
        self.records, self.rows, self.most, self.padded = records, rows, most, padded
        both = 2 * most
        self.dense = device.zeros(both, records.dense, dtype=rows.dtype)
        self.labels = device.zeros(both, dtype=rows.dtype)
        self.pooled = device.zeros(both, records.tables, rows.dim, dtype=rows.dtype)
        self.gradient = device.zeros(both, records.tables, rows.dim, dtype=rows.dtype)
        self.places = device.zeros(both, records.accesses, dtype=torch.int32)
        self.sorted = device.zeros(both * records.accesses, dtype=torch.int32)
        self.order = device.zeros(both * records.accesses, dtype=torch.int64)
        self.header = device.zeros(2, 2, dtype=torch.int32)
        self.losses = device.zeros(2, dtype=rows.dtype)

    def size(self, count: int) -> int:
        """Samples that a micro-batch of ``count`` is worked on as."""
        if not self.padded:
            return count
        step = -(-self.most // SIZES)
        return min(self.most, -(-count // step) * step)

    def parts(self, popular: int, other: int) -> tuple[slice, slice]:
        """Where micro-batches of so many samples lie that are worked on one after another."""
        return slice(self.most - self.size(popular), self.most), slice(self.most, self.most + self.size(other))
