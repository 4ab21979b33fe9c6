"""How a row lies in memory when it is trained: its values, then the optimizer's state of the row.

Both move together, between host memory, working rows and hot table; so a SCATTER carries the state, too.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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


class RowOptimizer(ABC):
    """Updates rows of one table by their gradients; ``state`` values are kept with each row."""

    state = 0

    def __init__(self, learning_rate: float):
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"the learning rate must be positive and finite, not {learning_rate}")
        self.learning_rate = learning_rate

    @abstractmethod
    def step(self, values: Tensor, state: Tensor, index: Tensor, gradient: Tensor) -> None:
        """Changes rows ``index`` int64 [n], all different, of ``values`` [rows, dim] and ``state`` [rows, state] in place,
        by ``gradient`` [n, dim]."""


class RowSgd(RowOptimizer):
    """Plain SGD: ``w -= lr * g``."""

    def step(self, values: Tensor, state: Tensor, index: Tensor, gradient: Tensor) -> None:
        values.index_add_(0, index, gradient, alpha=-self.learning_rate)


class RowWiseAdagrad(RowOptimizer):
    """Adagrad with one accumulator a row, as DLRM has it: ``s += mean(g * g)``, ``w -= lr * g / (sqrt(s) + eps)``."""

    state = 1
    epsilon = 1e-10

    def step(self, values: Tensor, state: Tensor, index: Tensor, gradient: Tensor) -> None:
        state.index_add_(0, index, gradient.square().mean(dim=1, keepdim=True))
        scale = -self.learning_rate / (state.index_select(0, index).sqrt() + self.epsilon)
        values.index_add_(0, index, gradient * scale)


#: By the name that the command line takes.
ROW_OPTIMIZERS: dict[str, type[RowSgd] | type[RowWiseAdagrad]] = {"sgd": RowSgd, "adagrad": RowWiseAdagrad}
