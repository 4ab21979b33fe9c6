"""Micro-batches of the software engine: compiled, several threads, byte for byte what golden and the accelerator give."""

import numpy as np

from hotline_native import NativeEngine
from hotline_native.rows import gather, scatter

from ..job import Job, native_tracker
from .rows import RowFormat
from .sources import EngineSource, HostTables

#: Mini-batches whose records are kept: the one that is trained on, the one that has been asked for, and one to spare.
KEPT = 3


def native_engine(job: Job, threads: int = 0) -> NativeEngine:
    """The software engine of a job's model and configuration."""
    return NativeEngine(job.model, native_tracker(job.config), threads)


class NativeTables(HostTables):
    """Tables whose rows ``threads`` threads copy."""

    def __init__(self, table_rows: np.ndarray, rows: RowFormat, threads: int):
        super().__init__(table_rows, rows)
        self.threads = threads

    def read(self, keys: np.ndarray) -> np.ndarray:
        out = np.empty((len(keys), self.all.shape[1]), self.all.dtype)
        gather(self.all, self.places(keys), out, self.threads)
        return out

    def write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        scatter(self.all, self.places(keys), np.ascontiguousarray(rows, self.all.dtype), self.threads)


class NativeSource(EngineSource):
    """The software engine makes the micro-batches, with ``threads`` threads (0: as many as there are cores). Records lie in
    arrays that are used again after KEPT mini-batches."""

    def __init__(self, job: Job, rows: RowFormat, threads: int = 0):
        engine = native_engine(job, threads)
        super().__init__(job, rows, engine, NativeTables(job.trace.table_rows, rows, engine.threads))
        shape = (job.batch_size, job.model.record_words)
        self.kept = [(np.empty(shape, np.uint32), np.empty(shape, np.uint32)) for _ in range(KEPT)]

    def _out(self, batch: int) -> tuple[np.ndarray, np.ndarray] | None:
        self.kept.append(self.kept.pop(0))
        return self.kept[-1]
