"""Micro-batches of the software engine: compiled, several threads, byte for byte what golden and the accelerator give."""

import numpy as np

from hotline_native import NativeEngine
from hotline_native.rows import gather, scatter
from hotline_sim.run.job import Job, native_tracker

from ..rows import RowFormat
from .engine import EngineSource
from .tables import HostTables


def native_engine(job: Job, threads: int = 0) -> NativeEngine:
    """The software engine of a job's model and configuration."""
    return NativeEngine(job.model, native_tracker(job.config), threads)


class NativeTables(HostTables):
    """Tables whose rows ``threads`` threads copy."""

    def __init__(self, table_rows: np.ndarray, rows: RowFormat, threads: int, start: np.ndarray | None = None):
        super().__init__(table_rows, rows, start=start)
        self.threads = threads

    def read(self, keys: np.ndarray) -> np.ndarray:
        out = np.empty((len(keys), self.all.shape[1]), self.all.dtype)
        gather(self.all, self.places(keys), out, self.threads)
        return out

    def write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        scatter(self.all, self.places(keys), np.ascontiguousarray(rows, self.all.dtype), self.threads)


class NativeSource(EngineSource):
    """The software engine makes the micro-batches, with ``threads`` threads (0: as many as there are cores). Tables begin as
    ``start`` [all rows, width], if it is given."""

    def __init__(self, job: Job, rows: RowFormat, threads: int = 0, start: np.ndarray | None = None):
        engine = native_engine(job, threads)
        super().__init__(job, rows, engine, NativeTables(job.trace.table_rows, rows, engine.threads, start))
        self.threads = engine.threads
