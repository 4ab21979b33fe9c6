"""Checkpoints of a training: everything that a step changes, and enough to see that it goes on with the same data.

The hot set is in it as the list that DUMP gives and LOAD takes. What a tracker has counted is not, so a resumed training
that relearns may choose other hot rows than an uninterrupted one: its mathematics is the same, up to rounding.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from hotline_sim.files.whole_file import whole_file
from hotline_sim.traces.trace import Trace, used_rows

from .settings import Settings
from .sources.source import MicroBatchSource
from .step.trainer import REMEDY, NotFiniteError, Trainer

FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why."""


def touched_keys(trace: Trace) -> np.ndarray:
    """uint32 [n, 2]: every (table, row) that a trace accesses, in order: the only rows that training changes."""
    found = [rows.astype(np.uint32) for rows in used_rows(trace)]
    return np.concatenate([np.stack([np.full_like(rows, table), rows], axis=1) for table, rows in enumerate(found)])


def _data(source: MicroBatchSource) -> dict:
    digest = hashlib.sha256()
    for part in source.trace.parts():
        digest.update(part.rows.tobytes())
    for part in source.trace.parts():
        digest.update(part.payload.tobytes())
    return {"batch_size": source.batch_size, "samples": source.trace.samples, "digest": digest.hexdigest()}


def save(trainer: Trainer, path: Path, write: bool = True) -> None:
    """Writes ``path``, whole or not at all. Between steps only; on all ranks, of which one does ``write``.

    Raises NotFiniteError, and writes nothing, when a row of the tables is not finite.
    """
    trainer.flush()
    source = trainer.source
    keys = touched_keys(source.trace)
    rows = source.read_rows(keys)
    if not (finite := np.isfinite(rows).all(axis=1)).all():
        table, row = keys[int(finite.argmin())].tolist()
        raise NotFiniteError(f"after step {trainer.number - 1}: row {row} of table {table} is not finite; {REMEDY}")
    state = {
        "format": FORMAT, "settings": asdict(trainer.settings), "data": _data(source), "step": trainer.number,
        "model": trainer.model.state_dict(), "dense_optimizer": trainer.dense_optimizer.state_dict(),
        "hot_list": torch.from_numpy(trainer.hot_list.view(np.int32)), "rows": torch.from_numpy(rows), "sizes": source.sizes,
    }  # fmt: skip
    if not write:
        return
    with whole_file(path) as file:
        torch.save(state, file)


def load(path: Path, settings: Settings, source: MicroBatchSource, make) -> Trainer:
    """A trainer that goes on where :func:`save` was called. ``make(hot_list=..., step=...)`` makes it, on ``source``.

    Raises CheckpointError for a file that is none, or one of another model, optimizer or trace.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as e:
        raise CheckpointError(f"{path}: not a checkpoint: {e}") from e
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version")
    for what, found, expected in (
        ("settings", state["settings"], asdict(settings)),
        ("data", state["data"], _data(source)),
    ):
        different = [name for name in expected if found.get(name) != expected[name]]
        if different:
            name = different[0]
            raise CheckpointError(
                f"{path}: was trained with {name} {found.get(name)}, not {expected[name]} (its {what})"
            )
    _check_sizes(path, state, source)
    source.write_rows(touched_keys(source.trace), state["rows"].numpy())
    trainer = make(hot_list=state["hot_list"].numpy().view(np.uint32), step=state["step"])
    trainer.model.load_state_dict(state["model"])
    trainer.dense_optimizer.load_state_dict(state["dense_optimizer"])
    return trainer


def _check_sizes(path: Path, state: dict, source: MicroBatchSource) -> None:
    """Raises CheckpointError, naming every size that differs, when the hot set is one of another tracker's."""
    kept, ours = state.get("sizes", {}), source.sizes
    different = [
        f"{name} {kept[name]}, not {ours[name]}" for name in ours if name in kept and kept[name] != ours[name]
    ]
    if different:
        raise CheckpointError(f"{path}: was trained with another hot set: {'; '.join(different)}")
