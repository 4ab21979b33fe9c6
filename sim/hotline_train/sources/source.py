"""Where micro-batches come from: one interface, whether the accelerator, a recorded run or the golden model makes them."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

import numpy as np

from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_ACCESS
from hotline_sim.run.job import Job
from hotline_sim.traces.trace import Trace

from ..rows import RowFormat


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


def used_slots(hot_list: np.ndarray) -> np.ndarray:
    """int64: the slots of ``hot_list`` uint32 [slots, 2] that hold a row."""
    return np.flatnonzero(hot_list[:, 0] != NO_ACCESS)


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

    @property
    @abstractmethod
    def working_limit(self) -> int:
        """Working rows that a mini-batch may have."""

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

    def owns(self, keys: np.ndarray) -> np.ndarray:
        """bool [n]: which of ``keys`` uint32 [n, 2] lie with this rank."""
        return np.ones(len(keys), np.bool_)

    def read_own(self, keys: np.ndarray) -> np.ndarray:
        """[n, width]: a copy of rows that lie with this rank."""
        return self.read_rows(keys)

    def learn(self, batch: int) -> None:
        """Shows a mini-batch to the tracker's shadow."""
        raise SourceError(f"{type(self).__name__} cannot relearn: use native, golden or live, with shadow=1")

    def swap(self, limit: int, worth: int) -> Delta:
        """Takes over what has been learnt; rows are the caller's to move."""
        raise SourceError(f"{type(self).__name__} cannot relearn: use native, golden or live, with shadow=1")


class OfJob(MicroBatchSource):
    """Mini-batches of a ``job``, whose configuration says how large they may be."""

    job: Job

    @property
    def sizes(self) -> dict[str, int | None]:
        return hot_set_sizes(asdict(self.job.config), self.job.resident_rows)

    @property
    def working_limit(self) -> int:
        return self.job.working_limit
