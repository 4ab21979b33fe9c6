"""Micro-batches that ``hotline run --out`` has kept."""

import numpy as np

from hotline_golden.layouts import DELTA_WORDS
from hotline_sim.run.run_directory import RunDirectory
from hotline_sim.traces.trace import Trace

from ..rows import RowFormat
from .engine import Records, TableSource
from .source import Exchange, SourceError, hot_set_sizes
from .tables import HostTables


class RecordedSource(TableSource):
    """A folder of ``hotline run --out``: the records as the accelerator wrote them. Rows are gathered anew, for training
    has changed them since."""

    def __init__(self, run: RunDirectory, rows: RowFormat, part: Trace | None = None):
        """``part``: the first mini-batches of the run's trace, if not all are wanted."""
        trace = part or run.trace
        super().__init__(trace, run.summary["batch_size"], rows, HostTables(trace.table_rows, rows))
        self.run = run
        self.next = 0  # mini-batch

    @property
    def follows(self) -> bool:
        return self.run.follows

    @property
    def sizes(self) -> dict[str, int | str | None]:
        return hot_set_sizes(self.run.summary["configuration"], self.run.summary["resident_bound_rows"])

    @property
    def working_limit(self) -> int:
        return min(self.run.summary["configuration"]["working_rows"], self.batch_size * self.trace.accesses)

    def open(self, hot_list: np.ndarray | None = None, counted: dict[str, np.ndarray] | None = None) -> np.ndarray:
        found = self.run.hot_list.copy()
        self.next = int(counted["next"]) if counted and "next" in counted else 0
        for batch in range(self.next):
            delta = self.run.micro_batch(batch)[3].reshape(-1, DELTA_WORDS)
            found[delta[:, 0]] = delta[:, 3:5]
        if hot_list is not None and not np.array_equal(hot_list, found):
            raise SourceError(f"{self.run.path}: was recorded with another hot set than the checkpoint's")
        return found

    def counted(self) -> dict[str, np.ndarray]:
        return {"next": np.array(self.next)} if self.follows else {}

    def starts_again(self, batch: int) -> bool:
        return self.follows and batch == 0

    def _records(self, batch: int) -> Records:
        popular, non_popular, keys, delta = self.run.micro_batch(batch)
        self.next = batch + 1
        return popular, non_popular, keys, Exchange.of(delta)
