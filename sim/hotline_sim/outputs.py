"""The folder that ``hotline run --out`` writes (docs/outputs.md), and reading it back."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files.json_file import write_json
from .files.new_folder import NewFolder
from .job import Job, initial_rows
from .report import summary
from .session import Results, SplitOutput
from .traces import Trace
from .traces.mapped.file_array import npz_arrays
from .traces.mapped.npz import NpzTrace, save_npz
from .traces.trace import TraceError

INITIAL_RULE = "value c of row r of table t is (h >> 40) / 2**24 - 0.5, where h = splitmix64(t << 48 | r << 12 | c)"


class OutputWriter:
    """Writes one run into a new folder; the folder appears under its name only when complete.

    Use as a context manager around the run. Raises ValueError when another run is writing the same folder.
    """

    def __init__(self, directory: Path):
        self.folder = NewFolder(directory, "--out")
        self.partial = self.folder.partial

    def __enter__(self) -> "OutputWriter":
        self.folder.__enter__()
        (self.partial / "micro_batches").mkdir()
        return self

    def __exit__(self, *exc) -> None:
        self.folder.__exit__(*exc)

    def before(self, job: Job, verilog: str) -> None:
        """What is known before the first command."""
        (self.partial / "hotline.v").write_text(verilog)
        save_npz(job.trace, self.partial / "trace.npz")
        self._tables("tables_before.npz", job, before=True)

    def micro_batch(self, output: SplitOutput) -> None:
        """One mini-batch as it came out."""
        np.savez_compressed(
            self.partial / "micro_batches" / f"{output.batch:06}.npz",
            popular=output.popular, non_popular=output.non_popular,
            working_keys=output.working_keys, working_rows=output.working_rows, delta=output.delta,
        )  # fmt: skip

    def after(self, job: Job, results: Results) -> None:
        """What is known after the last command; then the folder gets its name."""
        np.save(self.partial / "hot_list.npy", hot_list(job))
        self._tables("tables_after.npz", job, before=False)
        write_json(self.partial / "summary.json", summary(job, results))
        self.folder.complete()

    def _tables(self, name: str, job: Job, *, before: bool) -> None:
        arrays: dict[str, np.ndarray] = {}
        if job.whole_tables:
            for number in range(len(job.model.tables)):
                arrays[str(number)] = job.table(job.host, number)
        else:
            for number, rows in enumerate(job.touched_rows()):
                arrays[f"{number}_touched"] = rows
                if not before:
                    arrays[str(number)] = job.table(job.host, number)[rows]
            if before:
                arrays["rule"] = np.array(INITIAL_RULE)
        np.savez(self.partial / name, **arrays)  # type: ignore[arg-type]


def hot_list(job: Job) -> np.ndarray:
    """uint32 [hot table rows, 2]: the dumped slots, then the rows of the resident tables."""
    buffer = job.host.buffers["hot list"]
    return np.concatenate([job.host.words(buffer.address, buffer.size // 4).reshape(-1, 2), job.resident_keys()])


@dataclass(frozen=True)
class RunDirectory:
    """A folder that ``hotline run --out`` wrote."""

    path: Path
    summary: dict
    trace: Trace
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
        if numbers["swaps"]:
            raise TraceError(
                f"{path}: this run swapped its hot set; this version trains on runs without --relearn only"
            )
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

    def micro_batch(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Popular and non-popular records, uint32 [n, record words], and working keys, uint32 [k, 2], of a mini-batch.

        Raises TraceError for a file that is missing, damaged, or of another run.
        """
        file = self.path / "micro_batches" / f"{batch:06}.npz"
        names, words = ("popular", "non_popular", "working_keys"), 1 + self.trace.payload_words + self.trace.accesses
        arrays = npz_arrays(file, names, "use a folder that `hotline run --out` wrote")
        for name, width in zip(names, (words, words, 2), strict=True):
            array = arrays[name]
            if len(array.shape) != 2 or array.shape[1] != width or array.dtype != np.uint32:
                raise TraceError(
                    f"{file}: `{name}` is {array.dtype} {list(array.shape)}; uint32 [n, {width}] is right"
                )
        samples = len(arrays["popular"]) + len(arrays["non_popular"])
        expected = min(self.summary["batch_size"], self.trace.samples - batch * self.summary["batch_size"])
        if samples != expected:
            raise TraceError(f"{file}: {samples} samples; this mini-batch has {expected}")
        return arrays["popular"][:], arrays["non_popular"][:], arrays["working_keys"][:]


#: What training needs to know of a run, and what it is.
SUMMARY: dict[str, type | tuple[type, ...]] = {
    "golden_match": bool, "difference": str, "swaps": list, "batch_size": int, "dim": int, "configuration": dict,
    "resident_bound_rows": (int, type(None)),
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
