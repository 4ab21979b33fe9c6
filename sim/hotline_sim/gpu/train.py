"""Trains a DLRM from a folder of ``hotline run --out``, one optimizer step per mini-batch.

The hot table is a parameter on the device, by slot; the working rows of a mini-batch are a leaf
tensor. Both micro-batches use the parameters from before the step, and their gradients are summed;
then one SGD step changes MLPs, hot rows and working rows, and the working rows go back to their
tables. The reference trains the same model on whole mini-batches with the tables as they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hotline_golden.layouts import NO_ACCESS, WORKING_ROW

from ..outputs import RunDirectory
from .dlrm import Dlrm

#: Largest relative difference at which two trainings count as equal, by element type.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}


@dataclass
class Trained:
    """What a training ends with: the loss of each mini-batch, MLP parameters, all tables."""

    losses: list[float]
    parameters: list[Tensor]
    tables: list[Tensor]


def _dtype(double: bool) -> torch.dtype:
    return torch.float64 if double else torch.float32


def _model(run: RunDirectory, dtype: torch.dtype, seed: int) -> Dlrm:
    torch.manual_seed(seed)
    table_of = run.trace.table_of.tolist()
    return Dlrm(table_of, run.trace.payload_words - 1, run.summary["dim"]).to(dtype)


def _features(payload: np.ndarray, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Label and dense features of payload words uint32 [n, payload_words]."""
    values = torch.from_numpy(np.ascontiguousarray(payload).view(np.float32)).to(dtype)
    return values[:, 0], values[:, 1:]


def _loss(model: Dlrm, dense: Tensor, rows: Tensor, labels: Tensor, samples: int) -> Tensor:
    """A micro-batch's part of the mean loss of a mini-batch of ``samples``."""
    return binary_cross_entropy_with_logits(model(dense, rows), labels, reduction="sum") / samples


def _check_payload(run: RunDirectory) -> None:
    if run.trace.payload_words < 2:
        raise ValueError(
            f"{run.path}: {run.trace.payload_words} payload words a sample; training needs a label and at "
            "least one dense feature, as float32"
        )


def train_on_micro_batches(run: RunDirectory, *, learning_rate: float, double: bool, seed: int,
                           console: Console) -> Trained:  # fmt: skip
    """Trains on what the accelerator wrote. Raises ValueError for a run without labels and features."""
    _check_payload(run)
    dtype = _dtype(double)
    model = _model(run, dtype, seed)
    tables = [torch.from_numpy(t.copy()).to(dtype) for t in run.tables()]
    hot_list = torch.from_numpy(run.hot_list.astype(np.int64))
    used = hot_list[:, 0] != NO_ACCESS
    hot = torch.zeros(len(hot_list), run.summary["dim"], dtype=dtype)
    for number, table in enumerate(tables):
        mine = used & (hot_list[:, 0] == number)
        hot[mine] = table[hot_list[mine, 1]]
    hot.requires_grad_()
    optimizer = torch.optim.SGD([*model.parameters(), hot], lr=learning_rate)
    losses = []
    batches = list(run.micro_batches())
    for _, popular, non_popular, keys in track(batches, "micro-batches", console=console, transient=True):
        keys = torch.from_numpy(keys.astype(np.int64))
        # Gathered now, not when the run was recorded: training has changed the rows since.
        gathered = torch.zeros(len(keys), hot.shape[1], dtype=dtype)
        for number in torch.unique(keys[:, 0]).tolist():
            mine = keys[:, 0] == number
            gathered[mine] = tables[number][keys[mine, 1]]
        working = gathered.requires_grad_()
        samples = len(popular) + len(non_popular)
        optimizer.zero_grad()
        total = 0.0
        for records in (popular, non_popular):
            if len(records):
                loss = _micro_batch_loss(run, model, hot, working, records, samples, dtype)
                loss.backward()
                total += loss.item()
        losses.append(total)
        optimizer.step()
        if len(keys) and working.grad is not None:
            with torch.no_grad():
                updated = working - learning_rate * working.grad
                for number in torch.unique(keys[:, 0]).tolist():
                    mine = keys[:, 0] == number
                    tables[number][keys[mine, 1]] = updated[mine]
    for number, table in enumerate(tables):
        mine = used & (hot_list[:, 0] == number)
        table[hot_list[mine, 1]] = hot.detach()[mine]
    return Trained(losses, [p.detach() for p in model.parameters()], tables)


def _micro_batch_loss(run: RunDirectory, model: Dlrm, hot: Tensor, working: Tensor, records: np.ndarray,
                      samples: int, dtype: torch.dtype) -> Tensor:  # fmt: skip
    payload_words = run.trace.payload_words
    labels, dense = _features(records[:, 1 : 1 + payload_words], dtype)
    references = torch.from_numpy(records[:, 1 + payload_words :].astype(np.int64))
    # One table of all rows that this mini-batch can name: hot rows, working rows, and a row of zeros.
    every = torch.cat([hot, working, hot.new_zeros(1, hot.shape[1])])
    index = torch.where(references >= WORKING_ROW, references - WORKING_ROW + len(hot), references)
    index = torch.where(references == NO_ACCESS, len(every) - 1, index)
    return _loss(model, dense, every[index], labels, samples)


def train_whole(run: RunDirectory, *, learning_rate: float, double: bool, seed: int, console: Console) -> Trained:
    """The reference: the same model on whole mini-batches, without fragmenting, hot rows or working sets."""
    _check_payload(run)
    dtype = _dtype(double)
    model = _model(run, dtype, seed)
    trace = run.trace
    tables = [torch.from_numpy(t.copy()).to(dtype).requires_grad_() for t in run.tables()]
    optimizer = torch.optim.SGD([*model.parameters(), *tables], lr=learning_rate)
    losses = []
    size = run.summary["batch_size"]
    for start in track(range(0, trace.samples, size), "whole mini-batches", console=console, transient=True):
        part = slice(start, start + size)
        labels, dense = _features(trace.payload[part], dtype)
        rows = torch.from_numpy(trace.rows[part].astype(np.int64))
        vectors = []
        for access, number in enumerate(trace.table_of.tolist()):
            row = rows[:, access]
            present = row != NO_ACCESS
            vector = tables[number][torch.where(present, row, 0)]
            vectors.append(vector * present[:, None].to(dtype))
        loss = _loss(model, dense, torch.stack(vectors, dim=1), labels, len(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained(losses, [p.detach() for p in model.parameters()], [t.detach() for t in tables])


def largest_difference(a: Trained, b: Trained) -> float:
    """The largest difference of losses, parameters and tables, relative to the larger of value and 1."""
    worst = 0.0
    pairs = [(torch.tensor(a.losses), torch.tensor(b.losses))]
    pairs += list(zip(a.parameters + a.tables, b.parameters + b.tables, strict=True))
    for x, y in pairs:
        if x.numel():
            worst = max(worst, ((x - y).abs() / y.abs().clamp(min=1.0)).max().item())
    return worst


def train_directory(directory: Path, *, learning_rate: float, double: bool, seed: int, check: bool,
                    console: Console) -> tuple[bool, dict, Table]:  # fmt: skip
    """``hotline train``: returns (do both trainings agree, numbers, table)."""
    run = RunDirectory.open(directory)
    settings: dict[str, Any] = {"learning_rate": learning_rate, "double": double, "seed": seed, "console": console}
    trained = train_on_micro_batches(run, **settings)
    numbers: dict = {
        "samples": run.trace.samples,
        "mini_batches": len(trained.losses),
        "popular_share": run.summary["popular_share"],
        "first_loss": trained.losses[0],
        "last_loss": trained.losses[-1],
        "dtype": "float64" if double else "float32",
    }
    agree = True
    if check:
        difference = largest_difference(trained, train_whole(run, **settings))
        agree = difference <= TOLERANCE[_dtype(double)]
        numbers |= {"difference": difference, "tolerance": TOLERANCE[_dtype(double)], "agree": agree}
    table = Table(title=f"training from {directory}", show_header=False)
    table.add_row("samples", f"{run.trace.samples:,} in {len(trained.losses):,} mini-batches")
    table.add_row("popular share", f"{run.summary['popular_share']:.1%}")
    table.add_row("loss", f"{trained.losses[0]:.4f} in the first mini-batch, {trained.losses[-1]:.4f} in the last")
    if check:
        table.add_row("against whole mini-batches", f"largest difference {numbers['difference']:.2e} "
                      f"(at most {numbers['tolerance']:.0e} is equal, {numbers['dtype']})")  # fmt: skip
    return agree, numbers, table
