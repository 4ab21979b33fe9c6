"""Micro-batches that ``hotline run --out`` has kept."""

import numpy as np

from hotline_sim.run.run_directory import RunDirectory
from hotline_sim.traces.trace import Trace

from ..rows import RowFormat
from .engine import TableSource
from .source import SourceError, hot_set_sizes
from .tables import HostTables


class RecordedSource(TableSource):
    """A folder of ``hotline run --out``: the records as the accelerator wrote them. Rows are gathered anew, for training
    has changed them since."""

    def __init__(self, run: RunDirectory, rows: RowFormat, part: Trace | None = None):
        """``part``: the first mini-batches of the run's trace, if not all are wanted."""
        trace = part or run.trace
        super().__init__(trace, run.summary["batch_size"], rows, HostTables(trace.table_rows, rows))
        self.run = run

    @property
    def sizes(self) -> dict[str, int | None]:
        return hot_set_sizes(self.run.summary["configuration"], self.run.summary["resident_bound_rows"])

    @property
    def working_limit(self) -> int:
        return min(self.run.summary["configuration"]["working_rows"], self.batch_size * self.trace.accesses)

    def open(self, hot_list: np.ndarray | None = None) -> np.ndarray:
        if hot_list is not None and not np.array_equal(hot_list, self.run.hot_list):
            raise SourceError(f"{self.run.path}: was recorded with another hot set than the checkpoint's")
        return self.run.hot_list

    def _records(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.run.micro_batch(batch)
