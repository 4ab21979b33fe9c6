"""One object for what a training asks of the accelerator: a tracker, its hot map, and mini-batches split against it."""

import numpy as np

from hotline_golden.layouts import DELTA_WORDS, NO_ACCESS
from hotline_golden.model import Model
from hotline_golden.split import SplitResult

from .compiler import default_threads
from .split import HotMap, Splitter
from .tracker import NativeTracker


class NativeEngine:
    """CLEAR, LEARN, DUMP, LOAD, SWAP and SPLIT of an accelerator with ``model`` loaded, whose tracker is ``tracker``.

    ``threads`` work on a mini-batch; as many as there are cores by default. Takes 4 bytes for each row of all tables.
    """

    def __init__(self, model: Model, tracker: NativeTracker, threads: int = 0):
        self.model, self.tracker = model, tracker
        self.threads = threads or default_threads()
        self.hot = HotMap(model)
        self.splitter = Splitter(model, self.hot, self.threads)
        self.tables = np.array(model.table_of, np.int64)
        self.tracked = ~model.resident[self.tables]
        self.known = True  # the map has what the tracker has

    def clear(self) -> None:
        """CLEAR."""
        self.tracker.clear()
        self.known = False

    def learn(self, rows: np.ndarray) -> tuple[int, int]:
        """LEARN of ``rows`` uint32 [n, accesses]: accesses, and hot ones."""
        present = rows != NO_ACCESS
        accesses, tracked = int(present.sum()), int(present[:, self.tracked].sum())
        hits = self.tracker.learn(rows, self.tables, self.tracked)
        self.known &= self.tracker.shadow
        return accesses, accesses - tracked + hits

    def dump(self) -> np.ndarray:
        """DUMP: uint32 [slots, 2]."""
        return self.tracker.dump()

    def load(self, hot_list: np.ndarray) -> None:
        """LOAD. Raises HotListError, changing nothing."""
        self.tracker.load(hot_list)
        self.known = False

    def swap(self, limit: int, worth: int = 0, halve: bool = False) -> tuple[np.ndarray, int]:
        """SWAP: the delta list uint32 [n, DELTA_WORDS], and how many slots still differ."""
        delta, left = self.tracker.swap(limit, worth, halve)
        if self.known and len(delta):
            self.hot.change(delta.reshape(-1, DELTA_WORDS))
        return delta, left

    def split(
        self, rows: np.ndarray, payload: np.ndarray, out: tuple[np.ndarray, np.ndarray] | None = None
    ) -> SplitResult:
        """SPLIT of samples, ``rows`` uint32 [n, accesses] and ``payload`` uint32 [n, payload words]; ``out``: see
        :meth:`Splitter.split`. Raises RowOutsideTable."""
        if not self.known:
            self.hot.set(self.tracker.dump())
            self.known = True
        return self.splitter.split(rows, payload, out)
