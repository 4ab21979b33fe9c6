"""How good a trained model is on samples that it has not seen: AUC and log loss. And how far two trainings are apart."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.traces.trace import Trace

from .reference import features
from .sources.source import MicroBatchSource
from .sources.tables import distinct_keys
from .step.trainer import Trainer

#: Samples that are evaluated together.
CHUNK = 4096


@dataclass(frozen=True)
class Quality:
    """On ``samples`` held-out samples. ``auc`` is NaN when all have one label."""

    samples: int
    auc: float
    log_loss: float


def table_rows(source: MicroBatchSource, table_of: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[n, accesses, dim]: the values of ``rows`` uint32 [n, accesses], from the tables in host memory; 0 for no access."""
    present = rows != NO_ACCESS
    tables = np.broadcast_to(table_of, rows.shape)
    keys, place = distinct_keys(tables.reshape(-1), np.where(present, rows, 0).reshape(-1))
    values = source.read_rows(keys)[:, : source.rows.dim]
    return values[place.reshape(rows.shape)] * present[..., None]


def evaluate(trainer: Trainer, held_out: Trace) -> Quality:
    """Evaluates on ``held_out``, a trace with the same tables. Flushes the trainer first."""
    trainer.flush()
    source, device = trainer.source, trainer.device.device
    dtype = trainer.settings.rows.dtype
    table_of = torch.from_numpy(held_out.table_of).to(device)
    probabilities, labels = [], []
    with torch.no_grad():
        for part in held_out.parts(CHUNK):
            label, dense = features(part.payload, dtype)
            values = torch.from_numpy(table_rows(source, held_out.table_of, part.rows)).to(device)
            pooled = values.new_zeros(len(values), len(held_out.table_rows), values.shape[2])
            pooled.index_add_(1, table_of, values)
            probabilities.append(torch.sigmoid(trainer.model(dense.to(device), pooled)).cpu())
            labels.append(label)
    return quality(torch.cat(labels).numpy(), torch.cat(probabilities).numpy())


def quality(labels: np.ndarray, probabilities: np.ndarray) -> Quality:
    """Of float [n] labels, 0 or 1, and what was predicted."""
    from sklearn.metrics import log_loss, roc_auc_score

    one_label = labels.min() == labels.max()
    auc = float("nan") if one_label else float(roc_auc_score(labels, probabilities))
    return Quality(len(labels), auc, float(log_loss(labels, probabilities.astype(np.float64), labels=[0, 1])))


def all_tables(trainer: Trainer) -> list[Tensor]:
    """[rows, dim] of every table, after a flush."""
    trainer.flush()
    found = []
    for number, count in enumerate(trainer.source.trace.table_rows.tolist()):
        keys = np.stack([np.full(count, number), np.arange(count)], axis=1)
        found.append(torch.from_numpy(trainer.source.read_rows(keys)[:, : trainer.source.rows.dim].copy()))
    return found


def part_of_movement(ours: Iterable[Tensor], theirs: Iterable[Tensor], start: Iterable[Tensor]) -> float:
    """How far two trainings ended from each other, as a part of how far the second has moved from ``start``: of the tensor for
    which it is largest. Distances are Euclidean. Infinite for a value that is not finite, and where only the first has moved."""
    worst = 0.0
    for x, y, s in zip(ours, theirs, start, strict=True):
        apart, moved = float((x - y).double().norm()), float((y - s).double().norm())
        if not math.isfinite(apart) or not math.isfinite(moved):
            return math.inf
        if apart:
            worst = max(worst, apart / moved if moved else math.inf)
    return worst


def parameters(model: nn.Module) -> list[Tensor]:
    """The MLPs' parameters, on the CPU."""
    return [p.detach().cpu() for p in model.parameters()]
