"""What kernels there are: one contract for Triton and PyTorch."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..optimizers import RowOptimizer
from ..rows import RowFormat
from ..step.records import RecordFormat


class Kernels(ABC):
    """For one format of records and rows, on one device. Nothing waits for the device, and no size depends on data there.

    ``store`` [rows + 1, width]: hot rows, then working rows, then one row that stays zero. Its last row is where accesses
    lie that are none.
    """

    def __init__(self, records: RecordFormat, rows: RowFormat):
        self.records, self.rows = records, rows

    @abstractmethod
    def look_up(
        self,
        store: Tensor,
        first: Tensor,
        second: Tensor,
        first_working: int,
        header: Tensor,
        dense: Tensor,
        labels: Tensor,
        pooled: Tensor,
    ) -> None:
        """Reads records as they lie: those of ``first``, then those of ``second``, both int32 [1 + most, record words].
        Sets ``dense`` [size, dense], ``labels`` [size], ``pooled`` [size, tables, dim]: for each table the sum of the rows
        that a sample accesses, in the order of accesses. What lies behind the last record gets zeros. ``header`` int32 [2]
        becomes how many records there are, and the mini-batch's samples. ``first_working``: where working row 0 lies in
        ``store``."""

    @abstractmethod
    def places(self, first: Tensor, second: Tensor, first_working: int, none: int, out: Tensor) -> None:
        """``out`` int32 [size, accesses]: the row of ``store`` of each access of these records; ``none`` for none."""

    def sort(self, places: Tensor, out: tuple[Tensor, Tensor]) -> None:
        """``out`` becomes ``places`` int32 [n], sorted, and int64 [n]: where each was. Equal ones stay in order."""
        torch.sort(places, stable=True, out=out)

    @abstractmethod
    def update(self, store: Tensor, places: Tensor, order: Tensor, gradient: Tensor, optimizer: RowOptimizer) -> None:
        """A step of every row of ``store`` that ``places`` and ``order`` (see :meth:`sort`) name, but the last one, by the sum of
        ``gradient`` [samples, tables, dim] over its accesses. Sums have an order that depends on ``places`` alone."""

    @abstractmethod
    def carry(self, store: Tensor, to: int, source: int, carried: Tensor, words: Tensor) -> None:
        """Row ``to + k`` of ``store`` becomes row ``source + carried[k]``, for ``carried`` int32 [most], where that is not
        negative, and for ``k`` less than the working rows of the records ``words``."""

    @abstractmethod
    def gather(self, table: Tensor, rows: Tensor, carried: Tensor, out: Tensor) -> None:
        """``out`` [k, width] becomes ``rows`` int64 [k] of ``table`` [n, width], which lies in host memory, where ``carried``
        int32 [k] is negative; the other ones stay."""

    @abstractmethod
    def scatter(self, table: Tensor, rows: Tensor, source: Tensor) -> None:
        """``rows`` int64 [k], all different, of ``table`` in host memory become ``source`` [k, width]."""
