"""How a row lies in memory when it is trained: its values, then the optimizer's state of the row.

Both move together, between host memory, working rows and hot table; so a SCATTER carries the state, too.
"""

from dataclasses import dataclass

import numpy as np
import torch

TYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class RowFormat:
    """``dim`` values and ``state`` values of the optimizer, all of ``dtype`` (float32 or float64)."""

    dim: int
    state: int
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Elements of a row."""
        return self.dim + self.state

    @property
    def words(self) -> int:
        """32-bit words of a row."""
        return self.width * self.dtype.itemsize // 4

    @property
    def bytes(self) -> int:
        return self.width * self.dtype.itemsize

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(np.float64 if self.dtype == torch.float64 else np.float32)

    def view(self, words: np.ndarray) -> np.ndarray:
        """[n, width] view of ``words`` uint32 [n, words]: the same memory."""
        return words.view(self.numpy)

    def initial(self, values: np.ndarray) -> np.ndarray:
        """[n, width] rows that begin with ``values`` [n, dim], and no state."""
        rows = np.zeros((len(values), self.width), self.numpy)
        rows[:, : self.dim] = values
        return rows
