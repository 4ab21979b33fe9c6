"""Reading the folder that ``hotline run --out`` wrote (docs/outputs.md)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hotline_golden.layouts import DELTA_WORDS

from ..traces.mapped.file_array import npz_arrays
from ..traces.mapped.npz import NpzTrace
from ..traces.trace import Trace, TraceError
from .job import initial_rows


@dataclass(frozen=True)
class RunDirectory:
    """A folder that ``hotline run --out`` wrote."""

    path: Path
    summary: dict
    trace: Trace
    #: uint32 [slots, 2]: before the first mini-batch.
    hot_list: np.ndarray

    @staticmethod
    def open(path: Path) -> "RunDirectory":
        """Raises TraceError when something is missing, or RTL and golden differed in that run."""
        for name in ("summary.json", "trace.npz", "hot_list.npy", "micro_batches", "tables_before.npz"):
            if not (path / name).exists():
                raise TraceError(f"{path}: no {name}; use a folder that `hotline run --out` wrote")
        numbers = _summary(path / "summary.json")
        if not numbers["golden_match"]:
            raise TraceError(f"{path}: in this run RTL and golden differed: {numbers['difference']}")
        if numbers["look_ahead"]:
            raise TraceError(f"{path}: in this run rows came into the hot set ahead; use one without --look-ahead")
        trace = NpzTrace(path / "trace.npz")
        hot = _array(path / "hot_list.npy")
        if hot.ndim != 2 or hot.shape[1] != 2 or hot.dtype != np.uint32:
            raise TraceError(f"{path / 'hot_list.npy'}: {hot.dtype} {list(hot.shape)}; uint32 [slots, 2] is right")
        return RunDirectory(path, numbers, trace, hot)

    def tables(self) -> list[np.ndarray]:
        """float32 [rows, dim] of every table before the run."""
        with np.load(self.path / "tables_before.npz") as archive:
            if "rule" not in archive.files:
                return [archive[str(n)] for n in range(len(self.trace.table_rows))]
        dim = self.summary["dim"]
        return [initial_rows(n, np.arange(rows), dim) for n, rows in enumerate(self.trace.table_rows.tolist())]

    @property
    def follows(self) -> bool:
        """The hot set changed after each mini-batch."""
        return bool(self.summary["swaps"])

    def micro_batch(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Popular and non-popular records, uint32 [n, record words], working keys, uint32 [k, 2], and what the SWAP after it
        changed, uint32 [n, DELTA_WORDS], of a mini-batch.

        Raises TraceError for a file that is missing, damaged, or of another run.
        """
        file = self.path / "micro_batches" / f"{batch:06}.npz"
        names = ("popular", "non_popular", "working_keys", "delta")
        words = 1 + self.trace.payload_words + self.trace.accesses
        arrays = npz_arrays(file, names, "use a folder that `hotline run --out` wrote")
        for name, width in zip(names, (words, words, 2, DELTA_WORDS), strict=True):
            array = arrays[name]
            if len(array.shape) != 2 or array.shape[1] != width or array.dtype != np.uint32:
                raise TraceError(
                    f"{file}: `{name}` is {array.dtype} {list(array.shape)}; uint32 [n, {width}] is right"
                )
        samples = len(arrays["popular"]) + len(arrays["non_popular"])
        expected = min(self.summary["batch_size"], self.trace.samples - batch * self.summary["batch_size"])
        if samples != expected:
            raise TraceError(f"{file}: {samples} samples; this mini-batch has {expected}")
        popular, non_popular, keys, delta = (arrays[name][:] for name in names)
        slots, numbers = delta[:, 0], delta[:, -1]
        if (slots >= len(self.hot_list)).any() or (numbers >= len(keys)).any():
            raise TraceError(f"{file}: `delta` names a slot or a working row that there is not")
        return popular, non_popular, keys, delta


#: What training needs to know of a run, and what it is.
SUMMARY: dict[str, type | tuple[type, ...]] = {
    "golden_match": bool, "difference": str, "swaps": list, "batch_size": int, "dim": int, "configuration": dict,
    "resident_bound_rows": (int, type(None)), "look_ahead": int,
}  # fmt: skip


def _summary(path: Path) -> dict:
    """A run's summary. Raises TraceError, naming what is missing or of another type."""
    try:
        numbers = json.loads(path.read_text())
    except (ValueError, OSError) as e:
        raise TraceError(f"{path}: not a JSON file: {e}") from e
    for name, kind in SUMMARY.items():
        if not isinstance(numbers, dict) or not isinstance(numbers.get(name, ...), kind):
            raise TraceError(f"{path}: no usable `{name}` in it; use a folder that `hotline run --out` wrote")
    return numbers


def _array(path: Path) -> np.ndarray:
    """An array of a file. Raises TraceError for a damaged one."""
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as e:
        raise TraceError(f"{path}: not a NumPy array: {e or 'the file is empty'}") from e
    if not isinstance(array, np.ndarray):
        raise TraceError(f"{path}: an archive, not a NumPy array")
    return array
