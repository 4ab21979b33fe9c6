"""Micro-batches that a model of the accelerator makes in its place, in this process: golden or the software engine."""

from abc import abstractmethod
from typing import Protocol

import numpy as np

from hotline_golden.layouts import ALL_SLOTS
from hotline_golden.split import SplitResult, learn, split
from hotline_sim.run.job import Job, golden_tracker
from hotline_sim.traces.trace import Samples, Trace

from ..rows import RowFormat
from .source import Delta, MicroBatchSource, NonPopular, OfJob, SourceError
from .tables import HostTables


class TableSource(MicroBatchSource):
    """A source whose tables are arrays here, and which gathers itself; ``_records`` makes a mini-batch's records."""

    def __init__(self, trace: Trace, batch_size: int, rows: RowFormat, tables: HostTables):
        super().__init__(trace, batch_size, rows)
        self.tables = tables
        self.asked: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.given: list[NonPopular] = []

    @abstractmethod
    def _records(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Popular and non-popular records, and working keys."""

    def begin(self, batch: int, *, ahead: bool = False) -> None:
        self.asked.append(self._records(batch))

    def popular(self) -> np.ndarray:
        return self.asked[0][0]

    def non_popular(self) -> NonPopular:
        _, records, keys = self.asked.pop(0)
        self.given.append(NonPopular(records, keys, self.tables.read(keys)))
        return self.given[-1]

    def scatter(self) -> None:
        given = self.given.pop(0)
        self.tables.write(given.keys, given.rows)

    def read_rows(self, keys: np.ndarray) -> np.ndarray:
        return self.tables.read(keys)

    def write_rows(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self.tables.write(keys, rows)


class Engine(Protocol):
    """What learns and splits mini-batches: golden or the software engine. ``rows`` uint32 [n, accesses], ``payload`` uint32 [n,
    payload words]; what ``split`` gives has ``popular``, ``non_popular`` and ``working_keys``, as golden's ``SplitResult``."""

    def learn(self, rows: np.ndarray) -> tuple[int, int]: ...

    def split(self, rows: np.ndarray, payload: np.ndarray, out=None): ...

    def swap(self, limit: int, worth: int) -> tuple[np.ndarray, int]: ...

    def dump(self) -> np.ndarray: ...

    def load(self, hot_list: np.ndarray) -> None: ...


class GoldenEngine:
    """The golden model as an :class:`Engine`: the plain reference, one thread, thousands of samples a second."""

    def __init__(self, job: Job):
        self.model, self.tracker = job.model, golden_tracker(job.config)
        self.swap, self.dump = self.tracker.swap, self.tracker.dump

    def learn(self, rows: np.ndarray) -> tuple[int, int]:
        return learn(self.model, self.tracker, rows)

    def split(self, rows: np.ndarray, payload: np.ndarray, out=None):
        return split(self.model, self.tracker, np.concatenate([payload, rows], axis=1))

    def load(self, hot_list: np.ndarray) -> None:
        self.tracker.load(hot_list.reshape(-1))


class EngineSource(OfJob, TableSource):
    """``engine`` splits mini-batches of ``job``, whose tables lie in ``tables``."""

    def __init__(self, job: Job, rows: RowFormat, engine: Engine, tables: HostTables):
        super().__init__(job.trace, job.batch_size, rows, tables)
        self.job, self.engine = job, engine
        self.relearns = bool(job.config.shadow)

    def open(self, hot_list: np.ndarray | None = None) -> np.ndarray:
        if hot_list is not None:
            self.engine.load(hot_list[: self.job.config.tracker_entries])
        else:
            for batch in self.job.learn_batches:
                self.learn(batch)
            if self.relearns:
                self.swap(ALL_SLOTS, 0)
        return np.concatenate([self.engine.dump(), self.job.resident_keys()])

    def _part(self, batch: int) -> Samples:
        return self.trace.part(batch * self.batch_size, (batch + 1) * self.batch_size)

    def split(self, batch: int, out: tuple[np.ndarray, np.ndarray] | None = None) -> SplitResult:
        """A mini-batch split; ``out``: arrays uint32 [batch size, record words] for records, if not new ones. Raises SourceError
        for too many working rows."""
        part = self._part(batch)
        found = self.engine.split(part.rows, part.payload, out)
        if len(found.working_keys) > self.job.working_limit:
            raise SourceError(
                f"mini-batch {batch} has {len(found.working_keys)} working rows, more than {self.job.working_limit}: use "
                "smaller mini-batches, or a larger working_rows"
            )
        return found

    def _records(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = self.split(batch)
        return found.popular, found.non_popular, found.working_keys

    def learn(self, batch: int) -> None:
        self.engine.learn(self._part(batch).rows)

    def swap(self, limit: int, worth: int) -> Delta:
        if not self.relearns:
            return super().swap(limit, worth)
        return Delta.of(self.engine.swap(limit, worth)[0])


class GoldenSource(EngineSource):
    """The golden model makes the micro-batches."""

    def __init__(self, job: Job, rows: RowFormat):
        super().__init__(job, rows, GoldenEngine(job), HostTables(job.trace.table_rows, rows))
