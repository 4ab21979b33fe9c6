"""The same model trained the plain way, on whole mini-batches, tables as dense parameters: what Hotline must equal."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.traces.trace import Trace

from .models.dlrm import Dlrm
from .optimizers import DENSE_OPTIMIZERS, EPSILON
from .rows import TYPES
from .settings import Settings
from .sources.tables import HostTables


def features(payload: np.ndarray, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Labels [n] and dense features [n, dense] of samples' payload."""
    found = torch.from_numpy(np.array(payload).view(np.float32)).to(dtype)
    return found[:, 0], found[:, 1:]


def pool(tables: list[Tensor], table_of: list[int], rows: np.ndarray) -> Tensor:
    """[n, tables, dim]: of ``rows`` uint32 [n, accesses], summed by table."""
    pooled = [torch.zeros(len(rows), table.shape[1], dtype=table.dtype) for table in tables]
    for access, number in enumerate(table_of):
        row = torch.from_numpy(rows[:, access].astype(np.int64))
        present = row != NO_ACCESS
        found = nn.functional.embedding(torch.where(present, row, 0), tables[number])
        pooled[number] = pooled[number] + found * present[:, None].to(found.dtype)
    return torch.stack(pooled, dim=1)


@dataclass
class Plain:
    """What a plain training ends with: the loss of each mini-batch, the MLPs, all tables [rows, dim]."""

    losses: list[float]
    model: Dlrm
    tables: list[Tensor]

    def probabilities(self, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
        """Labels and what the model predicts, float [n], for a trace with the same tables."""
        labels, found = [], []
        for part in trace.parts():
            label, dense = features(part.payload, self.tables[0].dtype)
            with torch.no_grad():
                logits = self.model(dense, pool(self.tables, trace.table_of.tolist(), part.rows))
            labels.append(label)
            found.append(torch.sigmoid(logits))
        return torch.cat(labels).numpy(), torch.cat(found).numpy()


def train_plain(
    trace: Trace,
    settings: Settings,
    batch_size: int,
    steps: int,
    order: Callable[[np.ndarray], np.ndarray] = lambda samples: samples,
) -> Plain:
    """``steps`` mini-batches in order, again from the first when all are used; ``order`` may permute the samples of each."""
    model = settings.model(len(trace.table_rows), trace.payload_words - 1)
    start = HostTables(trace.table_rows, settings.rows)
    tables = [
        nn.Parameter(torch.from_numpy(start.table(n)[:, : settings.shape.dim].copy()))
        for n in range(len(trace.table_rows))
    ]
    dense, step_rows = settings.dense_optimizer(model), _row_step(settings, tables, trace.table_of)
    settings.allow_tf32()
    table_of = trace.table_of.tolist()
    batches = -(-trace.samples // batch_size)
    losses = []
    for step in range(steps):
        first = step % batches * batch_size
        part = trace.part(first, first + batch_size)
        places = order(np.arange(len(part.rows)))
        labels, inputs = features(part.payload[places], TYPES[settings.dtype])
        with settings.autocast(labels.device):
            logits = model(inputs, pool(list(tables), table_of, part.rows[places]))
        loss = binary_cross_entropy_with_logits(logits.to(labels.dtype), labels, reduction="sum") / len(places)
        dense.zero_grad()
        loss.backward()
        dense.step()
        step_rows(part.rows)
        losses.append(loss.item())
    return Plain(losses, model, [table.detach() for table in tables])


def _row_step(settings: Settings, tables: list[nn.Parameter], table_of: np.ndarray) -> Callable[[np.ndarray], None]:
    """A step of all tables by PyTorch's own optimizers, of which row-wise Adagrad is none; it is told the rows used, uint32 [n,
    accesses], and forgets the gradients."""
    rate = settings.learning_rate
    if settings.optimizer == "rowwise-adagrad":
        sums = [torch.zeros(len(table), 1, dtype=table.dtype) for table in tables]

        def step(rows: np.ndarray) -> None:
            with torch.no_grad():
                for table, total in zip(tables, sums, strict=True):
                    if table.grad is not None:
                        total += table.grad.square().mean(dim=1, keepdim=True)
                        table -= rate * table.grad / (total.sqrt() + EPSILON)
                        table.grad = None

        return step
    if settings.optimizer == "adam":
        lazy = torch.optim.SparseAdam(tables, lr=rate)

        def step_lazily(rows: np.ndarray) -> None:
            for number, table in enumerate(tables):
                if table.grad is not None:
                    mine = rows[:, table_of == number]
                    used = torch.from_numpy(np.unique(mine[mine != NO_ACCESS]).astype(np.int64))
                    table.grad = torch.sparse_coo_tensor(
                        used[None], table.grad[used], table.shape, check_invariants=False
                    )
            lazy.step()
            lazy.zero_grad()

        return step_lazily
    optimizer = DENSE_OPTIMIZERS[settings.optimizer](tables, lr=rate)

    def step_all(rows: np.ndarray) -> None:
        optimizer.step()
        optimizer.zero_grad()

    return step_all
