"""Where micro-batches come from: one interface, whether the accelerator, a recorded run or the golden model makes them."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_ACCESS
from hotline_golden.split import learn, split

from ..job import Job, golden_tracker, initial_parts
from ..run_directory import RunDirectory
from ..traces.trace import Samples, Trace
from .rows import RowFormat


@dataclass(frozen=True)
class NonPopular:
    """``records`` uint32 [n, record words], ``keys`` uint32 [k, 2] of the working rows, ``rows`` [k, width]: views of
    memory. What is written into ``rows`` is what ``scatter`` puts back."""

    records: np.ndarray
    keys: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Delta:
    """What a SWAP changed: ``slots`` int64 [n]; ``old``, ``new`` uint32 [n, 2], keys before and after; ``had``, ``has`` bool
    [n], whether there was one, and is."""

    slots: np.ndarray
    old: np.ndarray
    new: np.ndarray

    @staticmethod
    def of(words: np.ndarray) -> "Delta":
        """From a delta list, uint32 [n, DELTA_WORDS]."""
        words = words.reshape(-1, DELTA_WORDS)
        return Delta(words[:, 0].astype(np.int64), words[:, 1:3].copy(), words[:, 3:5].copy())

    @property
    def had(self) -> np.ndarray:
        return self.old[:, 0] != EMPTY_SLOT

    @property
    def has(self) -> np.ndarray:
        return self.new[:, 0] != EMPTY_SLOT


def hot_set_sizes(configuration: dict, resident_rows: int | None) -> dict[str, int | None]:
    """The sizes, of a configuration and of a run, that the hot set's slots depend on."""
    names = ("tracker_sets", "tracker_ways", "tracker_arrays", "table_bits", "row_bits", "permutation_seed")
    return {name: configuration[name] for name in names} | {"resident": resident_rows}


class SourceError(ValueError):
    """A source cannot do what is asked of it; the message says which can."""


def check_payload(trace: Trace) -> None:
    """Raises SourceError, with sample and word, for a payload that cannot be trained on: float32, the label 0 or 1 first, then
    dense features, all finite."""
    needs = "training needs a label, 0 or 1, and then dense features, if any, as float32"
    if trace.payload_words < 1:
        raise SourceError(f"{trace.name}: samples have no payload; {needs}")
    if trace.payload_type == "uint32":
        raise SourceError(f"{trace.name}: its payload is uint32; {needs}")
    first = 0
    for part in trace.parts():
        payload = part.payload.view(np.float32)
        bad = ~np.isfinite(payload)
        bad[:, 0] = (payload[:, 0] != 0) & (payload[:, 0] != 1)
        if bad.any():
            sample, word = divmod(int(bad.argmax()), payload.shape[1])
            what = "label" if word == 0 else "dense feature"
            none = (
                "; a log that is read with label=none has none" if word == 0 and np.isnan(payload[sample, 0]) else ""
            )
            raise SourceError(
                f"{trace.name}: sample {first + sample}, payload word {word}: {what} {payload[sample, word]}; {needs}{none}"
            )
        first += len(payload)


class MicroBatchSource(ABC):
    """Mini-batches of a trace, split. Numbers of mini-batches count through the trace; it may be gone through again.

    The order of calls for a step: ``begin``, ``popular``, ``non_popular``, then ``scatter`` when the working rows have
    been updated. ``begin`` of the following one may come before that ``scatter`` if it says so by ``ahead``: then its
    popular part can be had at once, and its ``non_popular`` after the ``scatter``; the result is as if it had come after.
    """

    #: Sees a hot set change: ``learn`` and ``swap`` work.
    relearns = False

    def __init__(self, trace: Trace, batch_size: int, rows: RowFormat):
        check_payload(trace)
        self.trace, self.batch_size, self.rows = trace, batch_size, rows

    @property
    def batches(self) -> int:
        return -(-self.trace.samples // self.batch_size)

    def samples_of(self, batch: int) -> int:
        """Samples of a mini-batch; only the last may be shorter."""
        return min(self.batch_size, self.trace.samples - batch * self.batch_size)

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int | None]:
        """What the hot set's slots depend on: a hot list of other sizes cannot be taken."""

    @abstractmethod
    def open(self, hot_list: np.ndarray | None = None) -> np.ndarray:
        """Makes the hot set: learns it, or takes ``hot_list``. Returns it, uint32 [slots, 2]: (table, row) of each slot of
        the hot table, NO_ACCESS where it is empty; the tracker's first, then the resident tables'."""

    @abstractmethod
    def begin(self, batch: int, *, ahead: bool = False) -> None:
        """Asks for a mini-batch; ``ahead``: the ``scatter`` of the one asked for before is still to come."""

    @abstractmethod
    def popular(self) -> np.ndarray:
        """Its popular records, uint32 [n, record words]. A view; it stays until the next but one ``begin``."""

    @abstractmethod
    def non_popular(self) -> NonPopular:
        """Its other records, and their working rows. Views, as above."""

    @abstractmethod
    def scatter(self) -> None:
        """Puts the working rows of the oldest mini-batch that has not been scattered back into their tables."""

    @abstractmethod
    def read_rows(self, keys: np.ndarray) -> np.ndarray:
        """[n, width]: a copy of the rows ``keys`` uint32 [n, 2] of the tables in host memory."""

    @abstractmethod
    def write_rows(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Writes ``rows`` [n, width] there; keys are distinct."""

    def learn(self, batch: int) -> None:
        """Shows a mini-batch to the tracker's shadow."""
        raise SourceError(f"{type(self).__name__} cannot relearn: use native, golden or live, with shadow=1")

    def swap(self, limit: int, worth: int, halve: bool) -> Delta:
        """Takes over what has been learnt; rows are the caller's to move."""
        raise SourceError(f"{type(self).__name__} cannot relearn: use native, golden or live, with shadow=1")


class HostTables:
    """Tables in host memory as arrays [rows, width], or one rank's part of them: row ``r`` is with rank ``r mod ranks``.

    ``all``: all its rows, table after table. Keys are (table, row), [n, 2].
    """

    def __init__(self, table_rows: np.ndarray, rows: RowFormat, rank: int = 0, ranks: int = 1):
        self.ranks = ranks
        counts = (table_rows - rank + ranks - 1) // ranks
        ends = np.cumsum(counts)
        self.first = ends - counts
        self.all = np.zeros((int(ends[-1]), rows.width), rows.numpy)
        for table, count in enumerate(table_rows.tolist()):
            for part, values in initial_parts(table, np.arange(rank, count, ranks), rows.dim):
                self.all[self.first[table] + part // ranks, : rows.dim] = values

    def table(self, number: int) -> np.ndarray:
        """[rows, width] view of a table."""
        return np.split(self.all, self.first[1:])[number]

    def places(self, keys: np.ndarray) -> np.ndarray:
        """int64 [n]: where ``keys``, all of this rank's, lie in ``all``."""
        return self.first[keys[:, 0]] + keys[:, 1].astype(np.int64) // self.ranks

    def read(self, keys: np.ndarray) -> np.ndarray:
        return self.all[self.places(keys)]

    def write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self.all[self.places(keys)] = rows


class _TableSource(MicroBatchSource):
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

    def swap(self, limit: int, worth: int, halve: bool) -> tuple[np.ndarray, int]: ...

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


class EngineSource(_TableSource):
    """A model of the accelerator in its place, in this process: exact, and fast enough for large experiments."""

    def __init__(self, job: Job, rows: RowFormat, engine: Engine, tables: HostTables):
        super().__init__(job.trace, job.batch_size, rows, tables)
        self.job, self.engine = job, engine
        self.relearns = bool(job.config.shadow)

    @property
    def sizes(self) -> dict[str, int | None]:
        return hot_set_sizes(asdict(self.job.config), self.job.resident_rows)

    def open(self, hot_list: np.ndarray | None = None) -> np.ndarray:
        if hot_list is not None:
            self.engine.load(hot_list[: self.job.config.tracker_entries])
        else:
            for batch in self.job.learn_batches:
                self.learn(batch)
            if self.relearns:
                self.swap(0xFFFF_FFFF, 0, False)
        return np.concatenate([self.engine.dump(), self.job.resident_keys()])

    def _part(self, batch: int) -> Samples:
        return self.trace.part(batch * self.batch_size, (batch + 1) * self.batch_size)

    def _out(self, batch: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Where records go: arrays that nobody is using; None for new ones."""
        return None

    def _records(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = self._part(batch)
        found = self.engine.split(part.rows, part.payload, self._out(batch))
        if len(found.working_keys) > self.job.working_limit:
            raise SourceError(
                f"mini-batch {batch} has {len(found.working_keys)} working rows, more than {self.job.working_limit}: use "
                "smaller mini-batches, or a larger working_rows"
            )
        return found.popular, found.non_popular, found.working_keys

    def learn(self, batch: int) -> None:
        self.engine.learn(self._part(batch).rows)

    def swap(self, limit: int, worth: int, halve: bool) -> Delta:
        if not self.relearns:
            return super().swap(limit, worth, halve)
        return Delta.of(self.engine.swap(limit, worth, halve)[0])


class GoldenSource(EngineSource):
    """The golden model makes the micro-batches."""

    def __init__(self, job: Job, rows: RowFormat):
        super().__init__(job, rows, GoldenEngine(job), HostTables(job.trace.table_rows, rows))


class RecordedSource(_TableSource):
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

    def open(self, hot_list: np.ndarray | None = None) -> np.ndarray:
        if hot_list is not None and not np.array_equal(hot_list, self.run.hot_list):
            raise SourceError(f"{self.run.path}: was recorded with another hot set than the checkpoint's")
        return self.run.hot_list

    def _records(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.run.micro_batch(batch)


def distinct_keys(tables: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (table, row) keys of ``tables`` and ``rows`` [n], uint32 [k, 2] in order; and which is which, int64 [n]."""
    packed, place = np.unique(tables.astype(np.uint64) << np.uint64(32) | rows, return_inverse=True)
    keys = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFF_FFFF)], axis=1)
    return keys.astype(np.uint32), place.reshape(-1)


def used_slots(hot_list: np.ndarray) -> np.ndarray:
    """int64: the slots of ``hot_list`` uint32 [slots, 2] that hold a row."""
    return np.flatnonzero(hot_list[:, 0] != NO_ACCESS)
