"""One object for what a training asks of the accelerator: a tracker, its hot map, and mini-batches split against it."""

import numpy as np

from hotline_golden.layouts import ALL_SLOTS, NO_ACCESS
from hotline_golden.model import Model
from hotline_golden.split import RowOutsideTable, Sampling, SplitResult, rows_before

from .compiler import default_threads
from .split import HotMap, Splitter
from .tracker import NativeTracker


class NativeEngine:
    """CLEAR, LEARN, DUMP, LOAD, SWAP and SPLIT of an accelerator with ``model`` loaded, whose tracker is ``tracker``.

    ``sampling``: which samples a SPLIT that follows learns from. ``threads`` work on a mini-batch; as many as there are cores
    by default. Takes 4 bytes for each row of all tables.
    """

    def __init__(self, model: Model, tracker: NativeTracker, threads: int = 0):
        self.model, self.tracker = model, tracker
        self.threads = threads or default_threads()
        self.hot = HotMap(model)
        self.splitter = Splitter(model, self.hot, self.threads)
        self.tables = np.array(model.table_of, np.int64)
        self.tracked = ~model.resident[self.tables]
        self.sampling = Sampling()
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

    def state(self) -> dict[str, np.ndarray]:
        """All that the tracker holds."""
        return self.tracker.contents()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes what :meth:`state` gave, or golden's tracker."""
        self.tracker.restore(state)
        self.known = False

    def load(self, hot_list: np.ndarray) -> None:
        """LOAD. Raises HotListError, changing nothing."""
        self.tracker.load(hot_list)
        self.known = False

    def swap(self, limit: int = ALL_SLOTS, worth: int = 0) -> tuple[np.ndarray, int]:
        """SWAP: the delta list uint32 [n, DELTA_WORDS], and how many slots still differ."""
        delta, left = self.tracker.swap(limit, worth)
        if len(delta):
            delta[:, -1] = self.splitter.numbers(delta[:, 3:5])
            if self.known:
                self.hot.change(delta)
        return delta, left

    def split(
        self,
        rows: np.ndarray,
        payload: np.ndarray,
        out: tuple[np.ndarray, np.ndarray] | None = None,
        follow: bool = False,
    ) -> SplitResult:
        """SPLIT of samples, ``rows`` uint32 [n, accesses] and ``payload`` uint32 [n, payload words]; ``out``: see
        :meth:`Splitter.split`. ``follow``: the shadow learns from them. Raises RowOutsideTable; what comes before that row has
        been learnt."""
        if not self.known:
            self.hot.set(self.tracker.dump())
            self.known = True
        try:
            result = self.splitter.split(rows, payload, out)
        except RowOutsideTable as error:
            if follow:
                self.follow(rows_before(rows, error.sample, error.access))
            raise
        if follow:
            self.follow(rows)
        return result

    def follow(self, rows: np.ndarray) -> None:
        """What a SPLIT that follows learns from ``rows`` uint32 [n, accesses]."""
        self.tracker.follow(rows, self.tables, self.tracked, self.sampling.shift, self.sampling.seed, self.threads)
