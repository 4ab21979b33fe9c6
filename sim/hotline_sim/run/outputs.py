"""The folder that ``hotline run --out`` writes (docs/outputs.md), and reading it back."""

from pathlib import Path

import numpy as np

from ..files.json_file import write_json
from ..files.new_folder import NewFolder
from ..traces.mapped.npz import save_npz
from .job import Job
from .report import summary
from .session import Results, SplitOutput

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
            popular=output.popular,
            non_popular=output.non_popular,
            working_keys=output.working_keys,
            working_rows=output.working_rows,
            delta=output.delta,
        )

    def after(self, job: Job, results: Results, hot_list: np.ndarray) -> None:
        """What is known after the last command; then the folder gets its name. ``hot_list`` uint32 [hot table rows, 2]: the
        slots as they were before the first mini-batch, then the rows of the resident tables."""
        np.save(self.partial / "hot_list.npy", hot_list)
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
