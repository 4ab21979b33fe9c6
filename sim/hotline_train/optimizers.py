"""The optimizers of rows: each changes the rows that a mini-batch has used, by the sum of their gradients.

    name              state of a row      as in
    sgd               none                torch.optim.SGD
    rowwise-adagrad   one value           DLRM's and FBGEMM's row-wise Adagrad
    adagrad           dim values          torch.optim.Adagrad
    adam              2 dim values        torch.optim.SparseAdam: the moments of rows that are not used stay

A row's constants lie in a tensor on the device, so that a kernel reads what holds for its step without anybody waiting.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

#: What Adagrad adds to the root, as DLRM has it.
EPSILON = 1e-10


class RowOptimizer(ABC):
    """Updates rows by their gradients. ``constants`` [n] of ``dtype`` on ``device``: the learning rate, then what else a step
    needs. ``step``: the steps that have been made already. Raises ValueError for a rate that is not positive."""

    name = ""

    def __init__(
        self,
        learning_rate: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        step: int = 0,
    ):
        self.constants = torch.tensor(self._constants(step), dtype=dtype, device=device)
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if not 0 < rate < math.inf:
            raise ValueError(f"the learning rate must be positive and finite, not {rate}")
        self._rate = rate
        self.constants[0] = rate

    @staticmethod
    def state(dim: int) -> int:
        """Values of state of a row of ``dim`` values."""
        return 0

    def _constants(self, step: int) -> list[float]:
        return [0.0]

    def advance(self) -> None:  # noqa: B027
        """Another step begins. Makes the device change the constants, if the optimizer's depend on the step."""

    @abstractmethod
    def change(self, values: Tensor, state: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """What ``values`` [n, dim] and ``state`` [n, state] become by ``gradient`` [n, dim]."""


class Sgd(RowOptimizer):
    """``w -= lr * g``."""

    name = "sgd"

    def change(self, values: Tensor, state: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return values - self.constants[0] * gradient, state


class RowWiseAdagrad(RowOptimizer):
    """``s += mean(g * g)``, ``w -= lr * g / (sqrt(s) + eps)``."""

    name = "rowwise-adagrad"

    @staticmethod
    def state(dim: int) -> int:
        return 1

    def _constants(self, step: int) -> list[float]:
        return [0.0, EPSILON]

    def change(self, values: Tensor, state: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        state = state + gradient.square().mean(dim=1, keepdim=True)
        return values - gradient * (self.constants[0] / (state.sqrt() + self.constants[1])), state


class Adagrad(RowOptimizer):
    """``s += g * g``, ``w -= lr * g / (sqrt(s) + eps)``, element by element."""

    name = "adagrad"

    @staticmethod
    def state(dim: int) -> int:
        return dim

    def _constants(self, step: int) -> list[float]:
        return [0.0, EPSILON]

    def change(self, values: Tensor, state: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        state = state + gradient * gradient
        return values - gradient * (self.constants[0] / (state.sqrt() + self.constants[1])), state


class Adam(RowOptimizer):
    """``m += (1 - b1) (g - m)``, ``v += (1 - b2) (g * g - v)``, ``w -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) +
    eps)`` with b1 = 0.9, b2 = 0.999 and the number ``t`` of the step, from 1. The constants are the rate, eps, 1 - b1, 1 -
    b2 and the root of ``1 - b2^t`` over ``1 - b1^t``."""

    name = "adam"
    betas = (0.9, 0.999)
    epsilon = 1e-8

    def __init__(
        self,
        learning_rate: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        step: int = 0,
    ):
        super().__init__(learning_rate, dtype, device, step)
        self.powers = torch.tensor([b**step for b in self.betas], dtype=torch.float64, device=device)
        self.decay = torch.tensor(self.betas, dtype=torch.float64, device=device)

    @staticmethod
    def state(dim: int) -> int:
        return 2 * dim

    def _constants(self, step: int) -> list[float]:
        return [0.0, self.epsilon, *(1 - b for b in self.betas), 0.0]

    def advance(self) -> None:
        self.powers *= self.decay
        rest = 1 - self.powers
        self.constants[4].copy_(rest[1].sqrt() / rest[0])

    def change(self, values: Tensor, state: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        rate, epsilon, first, second, correction = self.constants.unbind()
        dim = values.shape[1]
        mean, square = state[:, :dim], state[:, dim:]
        mean = mean + first * (gradient - mean)
        square = square + second * (gradient * gradient - square)
        values = values - rate * correction * mean / (square.sqrt() + epsilon)
        return values, torch.cat([mean, square], dim=1)


ROW_OPTIMIZERS: dict[str, type[RowOptimizer]] = {kind.name: kind for kind in (Sgd, RowWiseAdagrad, Adagrad, Adam)}


def _adagrad(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(parameters, lr, eps=EPSILON)


def _adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    every = list(parameters)
    made = torch.optim.Adam(every, lr, capturable=bool(every) and every[0].is_cuda)
    made._warned_capturable_if_run_uncaptured = True  # its first step is not captured, and that is meant
    return made


#: For the MLPs, by the same names. Their steps may be captured in a CUDA graph.
DENSE_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD, "rowwise-adagrad": _adagrad, "adagrad": _adagrad, "adam": _adam,
}  # fmt: skip
#: With which a DLRM on click logs learns something within a few thousand samples.
LEARNING_RATES = {"sgd": 0.1, "rowwise-adagrad": 0.05, "adagrad": 0.05, "adam": 0.005}
