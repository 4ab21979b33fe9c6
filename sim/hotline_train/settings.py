"""What a training is made of: the model, its optimizer, the type of its numbers."""

from dataclasses import dataclass

import torch
from torch import nn

from .models.dlrm import Dlrm, DlrmShape
from .optimizers import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, RowOptimizer
from .rows import TYPES, RowFormat


@dataclass(frozen=True)
class Settings:
    """``amp``: the MLPs compute in bfloat16 where autocast says so, parameters stay as they are; ``tf32``: matrix products of
    float32 may round their inputs to TF32. Raises ValueError for an optimizer or type that there is not."""

    shape: DlrmShape = DlrmShape()
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    dtype: str = "float32"
    seed: int = 1
    amp: bool = False
    tf32: bool = False

    def __post_init__(self):
        if self.optimizer not in ROW_OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}; there are {', '.join(ROW_OPTIMIZERS)}")
        if self.dtype not in TYPES:
            raise ValueError(f"unknown type {self.dtype!r}; there are {', '.join(TYPES)}")
        if self.dtype != "float32" and (self.amp or self.tf32):
            raise ValueError(f"bfloat16 and TF32 are for float32, not {self.dtype}")

    @property
    def rows(self) -> RowFormat:
        return RowFormat(self.shape.dim, ROW_OPTIMIZERS[self.optimizer].state(self.shape.dim), TYPES[self.dtype])

    def model(self, tables: int, dense: int) -> Dlrm:
        """The DLRM with its initial weights, which depend on ``seed`` only."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return Dlrm(tables, dense, self.shape).to(TYPES[self.dtype])

    def dense_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return DENSE_OPTIMIZERS[self.optimizer](model.parameters(), lr=self.learning_rate)

    def row_optimizer(self, device: torch.device | None = None, step: int = 0) -> RowOptimizer:
        return ROW_OPTIMIZERS[self.optimizer](self.learning_rate, TYPES[self.dtype], device, step)

    def autocast(self, device: torch.device) -> torch.autocast:
        """In which the model runs forward."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.amp, cache_enabled=False)

    def allow_tf32(self) -> None:
        """Sets what all matrix products of this process may do."""
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
