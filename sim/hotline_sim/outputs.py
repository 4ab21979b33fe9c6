"""The folder that ``hotline run --out`` writes (docs/outputs.md), and reading it back."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .job import Job, initial_rows
from .report import summary
from .run.json_file import write_json
from .session import Results, SplitOutput
from .traces import Trace
from .traces.trace import TraceError, load_npz

INITIAL_RULE = "value c of row r of table t is (h >> 40) / 2**24 - 0.5, where h = splitmix64(t << 48 | r << 12 | c)"


class OutputWriter:
    """Writes one run into a new folder; the folder appears under its name only when complete.

    Use as a context manager around the run.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.partial = directory.with_name(directory.name + ".partial")

    def __enter__(self) -> "OutputWriter":
        shutil.rmtree(self.partial, ignore_errors=True)
        (self.partial / "micro_batches").mkdir(parents=True)
        return self

    def __exit__(self, kind, *exc) -> None:
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)

    def before(self, job: Job, verilog: str) -> None:
        """What is known before the first command."""
        (self.partial / "hotline.v").write_text(verilog)
        job.trace.save(self.partial / "trace.npz")
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
        if self.directory.exists():
            self.directory.rmdir()
        self.partial.rename(self.directory)

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
        numbers = json.loads((path / "summary.json").read_text())
        if not numbers["golden_match"]:
            raise TraceError(f"{path}: in this run RTL and golden differed: {numbers['difference']}")
        if numbers["swaps"]:
            raise TraceError(
                f"{path}: this run swapped its hot set; this version trains on runs without --relearn only"
            )
        return RunDirectory(path, numbers, load_npz(path / "trace.npz"), np.load(path / "hot_list.npy"))

    def tables(self) -> list[np.ndarray]:
        """float32 [rows, dim] of every table before the run."""
        with np.load(self.path / "tables_before.npz") as archive:
            if "rule" not in archive.files:
                return [archive[str(n)] for n in range(len(self.trace.table_rows))]
        dim = self.summary["dim"]
        return [initial_rows(n, np.arange(rows), dim) for n, rows in enumerate(self.trace.table_rows.tolist())]

    def micro_batch(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Popular and non-popular records, uint32 [n, record words], and working keys, uint32 [k, 2], of a mini-batch."""
        with np.load(self.path / "micro_batches" / f"{batch:06}.npz") as archive:
            return archive["popular"], archive["non_popular"], archive["working_keys"]
