"""The rows that lie on the device: the hot table, and the working rows of some mini-batches."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..rows import RowFormat
from ..sources.source import used_slots
from .device import Device

#: Mini-batches whose working rows are on the device: the one that is trained on, the next, and the one before. With one more
#: they lie where they did as often as records do (RING): a step has few addresses.
SETS = 4


class RowStore:
    """``all`` [slots + SETS * most + 1, width]: ``slots`` hot rows, the working rows of SETS mini-batches, at most ``most`` each,
    and a row of zeros, where there is no access."""

    def __init__(self, slots: int, most: int, rows: RowFormat, device: Device):
        self.slots, self.most, self.rows = slots, most, rows
        self.all = device.zeros(slots + SETS * most + 1, rows.width, dtype=rows.dtype)

    @property
    def none(self) -> int:
        """Where there is no access."""
        return len(self.all) - 1

    def first(self, batch: int) -> int:
        """Where the working rows of a mini-batch begin; ``batch`` counts steps."""
        return self.slots + batch % SETS * self.most

    def working(self, batch: int, count: int) -> Tensor:
        """[count, width] view of a mini-batch's working rows."""
        return self.all[self.first(batch) : self.first(batch) + count]

    def exchange(self, batch: int, slots: Tensor, numbers: Tensor, leaving: int) -> None:
        """The rows of ``slots`` int64 [n] and working rows ``numbers`` int64 [n] of a mini-batch change places: the first
        ``leaving`` of them; to the other slots they are copied."""
        numbers = numbers + self.first(batch)
        out, come = self.all[slots[:leaving]], self.all[numbers]
        self.all[numbers[:leaving]] = out
        self.all[slots] = come

    def load(self, slots: Tensor, rows: Tensor) -> None:
        """Puts ``rows`` [n, width] into ``slots`` int64 [n]."""
        self.all[slots] = rows

    def read(self, slots: Tensor) -> Tensor:
        """[n, width]: a copy of what lies in ``slots``."""
        return self.all[slots]

    def bring_hot(self, hot_list: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> None:
        """The rows of ``hot_list`` uint32 [slots, 2] come into their slots, as ``read`` gives them [n, width] for keys [n, 2]."""
        slots = used_slots(hot_list)
        self.load(self._tensor(slots), self._tensor(read(hot_list[slots])))

    def return_hot(self, hot_list: np.ndarray, write: Callable[[np.ndarray, np.ndarray], None]) -> None:
        """They go back: to ``write``, keys [n, 2] and rows [n, width]. Waits for the device."""
        slots = used_slots(hot_list)
        write(hot_list[slots], self.read(self._tensor(slots)).cpu().numpy())

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.all.device)

    def finite(self) -> bool:
        """Whether all hot rows are. Waits for the device."""
        return bool(torch.isfinite(self.all[: self.slots]).all())
