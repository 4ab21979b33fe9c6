"""Sparse features as people have them, and as records want them: a fixed number of accesses a sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hotline_golden.layouts import NO_ACCESS

from .tables import RowNumbers, TableConfig


def jagged(features: Any, names: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ids int64 [n] and lengths int64 [batch] of each feature of ``names``: of a ``KeyedJaggedTensor`` (or whatever has ``keys``,
    ``values`` and ``lengths``); or of a mapping by name to (values, lengths), or to a tensor [batch] or [batch, k].

    Raises ValueError for a feature that is missing, lengths that do not add up, and weights, which are not supported.
    """
    if hasattr(features, "lengths") and hasattr(features, "values") and hasattr(features, "keys"):
        if getattr(features, "weights_or_none", lambda: None)() is not None:
            raise ValueError("features with weights are not supported")
        keys = list(features.keys())
        lengths, values = _array(features.lengths()), _array(features.values())
        if len(lengths) % len(keys):
            raise ValueError(f"{len(lengths)} lengths are not as many for each of {len(keys)} features")
        by_key = lengths.reshape(len(keys), -1)
        ends = np.cumsum(by_key.sum(axis=1))
        if ends[-1] != len(values):
            raise ValueError(f"lengths add up to {ends[-1]}, but there are {len(values)} values")
        parts = np.split(values, ends[:-1])
        found = dict(zip(keys, zip(parts, by_key, strict=True), strict=True))
    elif isinstance(features, Mapping):
        found = {name: _pair(name, value) for name, value in features.items()}
    else:
        raise ValueError(f"features must be a KeyedJaggedTensor or a mapping by name, not {type(features).__name__}")
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"feature {missing[0]} is missing; there are {', '.join(map(str, found))}")
    return {name: found[name] for name in names}


def _array(values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"ids and lengths must be integers, not {array.dtype}")
    return np.ascontiguousarray(array, np.int64)


def _pair(name: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(value, tuple):
        ids, lengths = (_array(part) for part in value)
        if lengths.sum() != len(ids):
            raise ValueError(f"feature {name}: lengths add up to {lengths.sum()}, but there are {len(ids)} values")
        return ids, lengths
    array = _array(value)
    array = array[:, None] if array.ndim == 1 else array
    return array.reshape(-1), np.full(len(array), array.shape[1], np.int64)


class Accesses:
    """Which accesses of a sample belong to which feature: those of a feature lie together, ``length`` of its table.

    Each feature is a bag of its own: ``table_of`` int64 [accesses] and ``bag_of`` int64 [accesses].
    """

    def __init__(self, tables: list[TableConfig]):
        self.tables = tables
        self.numbers = [RowNumbers(table, n) for n, table in enumerate(tables)]
        self.features = [(name, n) for n, table in enumerate(tables) for name in table.feature_names]
        self.names = [name for name, _ in self.features]
        if len(set(self.names)) < len(self.names):
            raise ValueError("a feature name occurs twice")
        lengths = [tables[n].length for _, n in self.features]
        self.table_of = np.repeat([n for _, n in self.features], lengths)
        self.bag_of = np.repeat(np.arange(len(self.features)), lengths)
        self.starts = np.cumsum(lengths) - lengths

    def rows(self, features: Any) -> tuple[np.ndarray, np.ndarray]:
        """uint32 [batch, accesses], NO_ACCESS where a list is shorter, and int64 [batch, features]: lengths. Raises
        ValueError that names feature and sample."""
        found = jagged(features, self.names)
        batch = len(found[self.names[0]][1])
        rows = np.full((batch, len(self.table_of)), NO_ACCESS, np.uint32)
        every = np.empty((batch, len(self.names)), np.int64)
        for bag, (name, table) in enumerate(self.features):
            ids, lengths = found[name]
            if len(lengths) != batch:
                raise ValueError(f"feature {name} has {len(lengths)} samples, {self.names[0]} has {batch}")
            most = self.tables[table].length
            if (lengths > most).any():
                first = int((lengths > most).argmax())
                raise ValueError(
                    f"feature {name}, sample {first}: {lengths[first]} ids, more than its length of {most}"
                )
            sample = np.repeat(np.arange(batch), lengths)
            place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            rows[sample, self.starts[bag] + place] = self.numbers[table].rows(name, ids)
            every[:, bag] = lengths
        return rows, every
