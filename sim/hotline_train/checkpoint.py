"""Checkpoints of a training: a folder that ``torch.distributed.checkpoint`` writes, each rank its own rows.

It holds everything that a step changes, and enough to see that it goes on with the same data: MLPs, optimizer and hot list
once, and of the tables the rows that training has changed, each in its rank's file. Any number of ranks may take it up.

The hot set is in it as the list that DUMP gives and LOAD takes, and beside it what the tracker has counted: a resumed training
is, bit for bit, what an uninterrupted one is. What an accelerator has counted cannot be read (``live``): it begins to count
anew at each checkpoint, whether the training is interrupted or not.
"""

import hashlib
import io
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor

from hotline_sim.run.job import initial_rows
from hotline_sim.traces.trace import Trace, used_rows

from .settings import Settings
from .sources.source import MicroBatchSource
from .step.trainer import REMEDY, NotFiniteError, Trainer

FORMAT = 4


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why."""


def touched_keys(trace: Trace) -> np.ndarray:
    """uint32 [n, 2]: every (table, row) that a trace accesses, in order: the only rows that training changes."""
    found = [rows.astype(np.uint32) for rows in used_rows(trace)]
    return np.concatenate([np.stack([np.full_like(rows, table), rows], axis=1) for table, rows in enumerate(found)])


def changed_rows(source: MicroBatchSource) -> tuple[np.ndarray, np.ndarray]:
    """Keys uint32 [n, 2] and rows [n, width] of this rank that are not as training began. Host memory must be up to date."""
    keys = touched_keys(source.trace)
    keys = keys[source.owns(keys)]
    rows, changed = source.read_own(keys), np.zeros(len(keys), np.bool_)
    for table in np.unique(keys[:, 0]).tolist():
        mine = keys[:, 0] == table
        start = source.rows.initial(initial_rows(table, keys[mine, 1], source.rows.dim))
        changed[mine] = (rows[mine] != start).any(axis=1)
    return keys[changed], rows[changed]


def _data(source: MicroBatchSource) -> dict:
    digest = hashlib.sha256()
    for part in source.trace.parts():
        digest.update(part.rows.tobytes())
    for part in source.trace.parts():
        digest.update(part.payload.tobytes())
    return {"batch_size": source.batch_size, "samples": source.trace.samples, "digest": digest.hexdigest()}


def exists(path: Path) -> bool:
    """Whether a checkpoint, or something else, is there."""
    _recover(path)
    return path.exists()


def save(trainer: Trainer, path: Path) -> None:
    """Writes folder ``path``, whole or not at all: what is there before stays until then. Between steps only; on all ranks.

    Raises NotFiniteError on all ranks, and writes nothing, when a row of the tables is not finite.
    """
    trainer.flush()
    source = trainer.source
    keys, rows = changed_rows(source)
    _check_finite(trainer, keys, rows)
    kept = io.BytesIO()
    torch.save({
        "format": FORMAT, "settings": asdict(trainer.settings), "data": _data(source), "step": trainer.number,
        "model": trainer.model.state_dict(), "dense_optimizer": trainer.dense_optimizer.state_dict(),
        "hot_list": torch.from_numpy(trainer.hot_list.view(np.int32)), "sizes": source.sizes,
        "counted": {name: torch.from_numpy(array) for name, array in source.counted().items()},
    }, kept)  # fmt: skip
    rank = dist.get_rank() if dist.is_initialized() else 0
    state = {
        "whole": torch.frombuffer(bytearray(kept.getvalue()), dtype=torch.uint8),
        f"keys.{rank}": torch.from_numpy(keys.astype(np.int64)), f"rows.{rank}": torch.from_numpy(rows),
    }  # fmt: skip
    new = path.with_name(f"{path.name}.new")
    if rank == 0:
        shutil.rmtree(new, ignore_errors=True)
    _barrier()
    with _one_process():
        dcp.save(state, checkpoint_id=str(new), no_dist=not dist.is_initialized())
    _barrier()
    if rank == 0:
        _replace(path, new)
    _barrier()


def _check_finite(trainer: Trainer, keys: np.ndarray, rows: np.ndarray) -> None:
    finite = np.isfinite(rows).all(axis=1)
    bad = torch.tensor(int(not finite.all()), device=trainer.device.device)
    if dist.is_initialized():
        dist.all_reduce(bad, op=dist.ReduceOp.MAX)
    if not finite.all():
        table, row = keys[int(finite.argmin())].tolist()
        raise NotFiniteError(f"after step {trainer.number - 1}: row {row} of table {table} is not finite; {REMEDY}")
    if bad:
        raise NotFiniteError(f"after step {trainer.number - 1}: a row of another rank is not finite; {REMEDY}")


@contextmanager
def _one_process() -> Iterator[None]:
    """It is meant that there is one: PyTorch need not warn of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized")
        yield


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def _replace(path: Path, new: Path) -> None:
    """``new`` takes the place of ``path``. Whoever is killed within leaves one of them, or ``path`` as PATH.old."""
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _recover(path: Path) -> None:
    """A checkpoint whose replacement was cut short comes back."""
    old = path.with_name(f"{path.name}.old")
    if not path.exists() and old.exists():
        old.rename(path)


def read(path: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    """What is the same on all ranks; keys uint32 [n, 2] and rows [n, width] of all ranks. Raises CheckpointError."""
    _recover(path)
    try:
        sizes = dcp.FileSystemReader(str(path)).read_metadata().state_dict_metadata
        state: dict[str, Tensor] = {
            name: torch.empty(found.size, dtype=found.properties.dtype)
            for name, found in sizes.items()
            if isinstance(found, dcp.metadata.TensorStorageMetadata)
        }
        with _one_process():
            dcp.load(state, checkpoint_id=str(path), no_dist=True)
        whole = torch.load(io.BytesIO(state["whole"].numpy().tobytes()), weights_only=True, map_location="cpu")
    except Exception as e:
        raise CheckpointError(f"{path}: not a checkpoint: {e}") from e
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version")
    ranks = sorted(int(name.split(".")[1]) for name in state if name.startswith("keys."))
    keys = torch.cat([state[f"keys.{rank}"] for rank in ranks]).numpy().astype(np.uint32)
    return whole, keys, torch.cat([state[f"rows.{rank}"] for rank in ranks]).numpy()


def load(path: Path, settings: Settings, source: MicroBatchSource, make: Callable[..., Trainer]) -> Trainer:
    """A trainer that goes on where :func:`save` was called. ``make(hot_list=..., counted=..., step=...)`` makes it, on
    ``source``, whose tables are as training begins.

    Raises CheckpointError for a folder that is none, or one of another model, optimizer or trace.
    """
    state, keys, rows = read(path)
    for what, found, expected in (
        ("settings", state["settings"], asdict(settings)),
        ("data", state["data"], _data(source)),
    ):
        different = [name for name in expected if _plain(found.get(name)) != _plain(expected[name])]
        if different:
            name = different[0]
            raise CheckpointError(
                f"{path}: was trained with {name} {found.get(name)}, not {expected[name]} (its {what})"
            )
    _check_sizes(path, state, source)
    source.write_rows(keys, rows)
    counted = {name: tensor.numpy() for name, tensor in state["counted"].items()}
    trainer = make(hot_list=state["hot_list"].numpy().view(np.uint32), counted=counted, step=state["step"])
    trainer.model.load_state_dict(state["model"])
    trainer.dense_optimizer.load_state_dict(state["dense_optimizer"])
    return trainer


def _plain(value):
    """With lists for tuples: as they come back."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _check_sizes(path: Path, state: dict, source: MicroBatchSource) -> None:
    """Raises CheckpointError, naming every size that differs, when the hot set is one of another tracker's."""
    kept, ours = state.get("sizes", {}), source.sizes
    different = [
        f"{name} {kept[name]}, not {ours[name]}" for name in ours if name in kept and kept[name] != ours[name]
    ]
    if different:
        raise CheckpointError(f"{path}: was trained with another hot set: {'; '.join(different)}")
