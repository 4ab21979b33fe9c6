"""Micro-batches that a model of the accelerator makes in its place, in this process: golden or the software engine."""

from abc import abstractmethod
from typing import Protocol

import numpy as np

from hotline_golden.layouts import ALL_SLOTS
from hotline_golden.split import Sampling, SplitResult, follow, learn, split
from hotline_sim.run.job import Job, golden_tracker
from hotline_sim.traces.trace import Samples, Trace

from ..rows import RowFormat
from .source import Exchange, MicroBatchSource, NonPopular, OfJob, SourceError
from .tables import HostTables

#: Popular and non-popular records, working keys, and what the SWAP after the mini-batch changes.
Records = tuple[np.ndarray, np.ndarray, np.ndarray, Exchange]


class TableSource(MicroBatchSource):
    """A source whose tables are arrays here, and which gathers itself; ``_records`` makes a mini-batch's records."""

    def __init__(self, trace: Trace, batch_size: int, rows: RowFormat, tables: HostTables):
        super().__init__(trace, batch_size, rows)
        self.tables = tables
        self.asked: list[Records] = []
        self.given: list[tuple[np.ndarray, NonPopular]] = []  # keys of rows that go back, and what was given

    @abstractmethod
    def _records(self, batch: int) -> Records:
        """A mini-batch; each is asked for once, in order."""

    def begin(self, batch: int, *, ahead: bool = False) -> None:
        self.asked.append(self._records(batch))

    def popular(self) -> np.ndarray:
        return self.asked[0][0]

    def non_popular(self) -> NonPopular:
        _, records, keys, exchange = self.asked.pop(0)
        found = NonPopular(records, self.tables.read(keys), exchange)
        self.given.append((exchange.going_home(keys), found))
        return found

    def scatter(self) -> None:
        keys, given = self.given.pop(0)
        self.tables.write(keys, given.rows)

    def read_rows(self, keys: np.ndarray) -> np.ndarray:
        return self.tables.read(keys)

    def write_rows(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self.tables.write(keys, rows)


class Engine(Protocol):
    """What learns and splits mini-batches: golden or the software engine. ``rows`` uint32 [n, accesses], ``payload`` uint32 [n,
    payload words]; what ``split`` gives has ``popular``, ``non_popular`` and ``working_keys``, as golden's ``SplitResult``.
    ``state`` is all that the tracker has counted, by name; ``restore`` takes it."""

    def learn(self, rows: np.ndarray) -> tuple[int, int]: ...

    def follow(self, rows: np.ndarray) -> None: ...

    def split(self, rows: np.ndarray, payload: np.ndarray, out=None) -> SplitResult: ...

    def swap(self) -> tuple[np.ndarray, int]: ...

    def state(self) -> dict[str, np.ndarray]: ...

    def restore(self, state: dict[str, np.ndarray]) -> None: ...

    def dump(self) -> np.ndarray: ...

    def load(self, hot_list: np.ndarray) -> None: ...


class GoldenEngine:
    """The golden model as an :class:`Engine`: the plain reference, one thread, thousands of samples a second."""

    def __init__(self, job: Job):
        self.model, self.tracker = job.model, golden_tracker(job.config)
        self.dump, self.state, self.restore = self.tracker.dump, self.tracker.contents, self.tracker.restore
        self.working_keys = np.zeros((0, 2), np.uint32)

    def learn(self, rows: np.ndarray) -> tuple[int, int]:
        return learn(self.model, self.tracker, rows)

    def follow(self, rows: np.ndarray) -> None:
        follow(self.model, self.tracker, rows, Sampling())

    def split(self, rows: np.ndarray, payload: np.ndarray, out=None) -> SplitResult:
        found = split(self.model, self.tracker, np.concatenate([payload, rows], axis=1))
        self.working_keys = found.working_keys
        return found

    def swap(self) -> tuple[np.ndarray, int]:
        return self.tracker.swap(ALL_SLOTS, 0, self.working_keys)

    def load(self, hot_list: np.ndarray) -> None:
        self.tracker.load(hot_list.reshape(-1))


class EngineSource(OfJob, TableSource):
    """``engine`` splits mini-batches of ``job``, whose tables lie in ``tables``."""

    def __init__(self, job: Job, rows: RowFormat, engine: Engine, tables: HostTables):
        super().__init__(job.trace, job.batch_size, rows, tables)
        self.job, self.engine = job, engine

    def open(self, hot_list: np.ndarray | None = None, counted: dict[str, np.ndarray] | None = None) -> np.ndarray:
        if (
            counted and "tags" in counted
        ):  # a recorded run, and an accelerator, tell nothing that an engine could take
            self.engine.restore(counted)
        elif hot_list is not None:
            self.engine.load(hot_list[: self.job.config.tracker_entries])
        else:
            for batch in self.job.learn_batches:
                self.engine.learn(self._learnt(batch, self._part(batch)))
        return np.concatenate([self.engine.dump(), self.job.resident_keys()])

    def counted(self) -> dict[str, np.ndarray]:
        return self.engine.state() if self.follows else {}

    def _part(self, batch: int) -> Samples:
        return self.trace.part(batch * self.batch_size, (batch + 1) * self.batch_size)

    def split(self, batch: int, out: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[SplitResult, Exchange]:
        """A mini-batch split, and what the SWAP after it changes; ``out``: arrays uint32 [batch size, record words] for records,
        if not new ones. Raises SourceError for too many working rows."""
        part = self._part(batch)
        found = self.engine.split(part.rows, part.payload, out)
        if len(found.working_keys) > self.job.working_limit:
            raise SourceError(
                f"mini-batch {batch} has {len(found.working_keys)} working rows, more than {self.job.working_limit}: use "
                "smaller mini-batches, or a larger working_rows"
            )
        if not self.follows:
            return found, Exchange.none()
        self.engine.follow(self._learnt(batch, part))
        return found, Exchange.of(self.engine.swap()[0])

    def _learnt(self, batch: int, part: Samples) -> np.ndarray:
        """uint32 [n, accesses]: what the hot set learns from a mini-batch, of which ``part`` is split here."""
        return part.rows

    def _records(self, batch: int) -> Records:
        found, exchange = self.split(batch)
        return found.popular, found.non_popular, found.working_keys, exchange


class GoldenSource(EngineSource):
    """The golden model makes the micro-batches."""

    def __init__(self, job: Job, rows: RowFormat):
        super().__init__(job, rows, GoldenEngine(job), HostTables(job.trace.table_rows, rows))
