"""Where micro-batches come from: one interface, whether the accelerator, a recorded run or the golden model makes them."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

import numpy as np

from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_ACCESS, NO_WORKING_ROW
from hotline_sim.run.job import Job
from hotline_sim.traces.trace import Trace

from ..rows import RowFormat


@dataclass(frozen=True)
class Exchange:
    """What the SWAP after a mini-batch changes, when that has been trained on: the hot row of each of ``slots`` int64 [n] and
    working row ``numbers`` int64 [n] of the mini-batch change places. ``old``, ``new`` uint32 [n, 2]: the slots' keys before and
    after. The first ``leaving`` slots held a row before; into the others one is copied."""

    slots: np.ndarray
    numbers: np.ndarray
    old: np.ndarray
    new: np.ndarray
    leaving: int

    @staticmethod
    def of(words: np.ndarray) -> "Exchange":
        """From a delta list, uint32 [n, DELTA_WORDS]."""
        words = words.reshape(-1, DELTA_WORDS)
        empty = words[:, 1] == EMPTY_SLOT
        words = words[np.argsort(empty, kind="stable")].copy()
        slots, numbers = words[:, 0].astype(np.int64), words[:, 5].astype(np.int64)
        return Exchange(slots, numbers, words[:, 1:3], words[:, 3:5], int((~empty).sum()))

    @staticmethod
    def none() -> "Exchange":
        """Nothing changes."""
        return Exchange.of(np.zeros((0, DELTA_WORDS), np.uint32))

    def going_home(self, keys: np.ndarray) -> np.ndarray:
        """uint32 [k, 2]: what the working rows ``keys`` uint32 [k, 2] are after the exchange: those rows go back to host memory.

        Raises ValueError when a row enters the hot set that is none of them."""
        if (self.numbers == NO_WORKING_ROW).any():
            raise ValueError("a row enters the hot set that is not among the mini-batch's working rows")
        keys = keys.copy()
        keys[self.numbers[: self.leaving]] = self.old[: self.leaving]
        return keys


@dataclass(frozen=True)
class NonPopular:
    """``records`` uint32 [n, record words], and ``rows`` [k, width], the working rows: views of memory. What is written into
    ``rows``, after the ``exchange``, is what ``scatter`` puts back."""

    records: np.ndarray
    rows: np.ndarray
    exchange: Exchange


def hot_set_sizes(configuration: dict, resident_rows: int | None) -> dict[str, int | str | None]:
    """The sizes, of a configuration and of a run, that the hot set's slots depend on, and what follows the data."""
    names = ["tracker_sets", "tracker_ways", "tracker_arrays", "table_bits", "row_bits", "permutation_seed", "shadow"]
    if configuration["shadow"]:
        names += ["policy", "policy_bits", "sketch_cells", "sketch_bits"]
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
    def follows(self) -> bool:
        """The hot set follows the data: it changes after each mini-batch."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int | str | None]:
        """What the hot set's slots depend on: a hot list of other sizes cannot be taken."""

    @property
    @abstractmethod
    def working_limit(self) -> int:
        """Working rows that a mini-batch may have."""

    @abstractmethod
    def open(self, hot_list: np.ndarray | None = None, counted: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """Makes the hot set: an empty one, if it follows the data, or one that is learnt; or takes ``hot_list``, and what had
        been ``counted``. Returns it, uint32 [slots, 2]: (table, row) of each slot of the hot table, NO_ACCESS where it is empty;
        the tracker's first, then the resident tables'."""

    def counted(self) -> dict[str, np.ndarray]:
        """What ``open`` takes, so that the hot set goes on as if nothing had been between; empty if the hot list is all."""
        return {}

    def starts_again(self, batch: int) -> bool:
        """Whether the hot set of a mini-batch is the one that ``open`` gives, whatever came before it."""
        return False

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


class OfJob(MicroBatchSource):
    """Mini-batches of a ``job``, whose configuration says how large they may be."""

    job: Job

    @property
    def follows(self) -> bool:
        return self.job.follows

    @property
    def sizes(self) -> dict[str, int | str | None]:
        return hot_set_sizes(asdict(self.job.config), self.job.resident_rows)

    @property
    def working_limit(self) -> int:
        return self.job.working_limit
