"""The software engine's micro-batches: split in a thread of its own while the device works, two steps ahead.

Working rows come a step ahead, too. A row that the step before has as well is not fetched: it is copied on the device from that
step's working rows, after they were updated (it is *carried*). So no step waits for the way of a row to host memory and back:

    rows:   ... return(b - 1)   fetch(b + 1)   return(b)   fetch(b + 2) ...
    main:             carry(b)  step b         carry(b + 1)  step b + 1

``fetch(b + 1)`` sees what ``return(b - 1)`` wrote, and carries what only ``return(b)`` will write.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hotline_golden.split import SplitResult
from hotline_native.carried import carried_rows

from ..sources.tables import HostTables
from .cold_rows import ColdRows
from .device import Device, Event
from .feed import Feed, Other, RecordRing
from .records import RING, MicroBatch, write_header
from .store import RowStore


@dataclass(frozen=True)
class Split:
    """A mini-batch: its two micro-batches on their way, and where its working rows lie in the tables, ``places`` int64 [k]; those
    that are ``carried`` int32 [k] from the step before, and -1 for others. Both lie in pinned memory."""

    popular: Callable[[], MicroBatch]
    other: Callable[[], MicroBatch]
    places: Tensor
    carried: Tensor


class Splitting(Protocol):
    """What splits mini-batches of at most ``batch_size`` samples of tables in host memory; see ``EngineSource.split``."""

    batch_size: int

    @property
    def tables(self) -> HostTables: ...

    def split(self, batch: int, out: tuple[np.ndarray, np.ndarray] | None = None) -> SplitResult: ...


class NativeFeed(Feed):
    """``cold``: the way of working rows."""

    depth = 2

    def __init__(self, source: Splitting, store: RowStore, device: Device, cold: ColdRows, record_words: int):
        super().__init__(store, device)
        self.tables, self.cold = source.tables, cold
        self.native = source
        self.ring = RecordRing(device, source.batch_size, record_words)
        self.places = [device.pinned(store.most, dtype=torch.int64) for _ in range(RING)]
        self.carried = [device.pinned(store.most, dtype=torch.int32) for _ in range(RING)]
        self.before = np.zeros(0, np.int64)
        self.splitter = ThreadPoolExecutor(1, "split")
        #: Steps that have begun, the oldest first; and those of them whose rows have set out.
        self.begun: deque[tuple[int, Future[Split]]] = deque()
        self.fetched: dict[int, Callable[[], Event | None]] = {}

    def begin(self, step: int, batch: int, *, ahead: bool) -> None:
        self.begun.append((step, self.splitter.submit(self._split, step, batch, ahead)))

    def _split(self, step: int, batch: int, ahead: bool) -> Split:
        """In the splitter's thread, in order."""
        popular, other = self.ring.of(step)
        first, second = popular.free(), other.free()
        self.cold.free(step)
        found = self.native.split(batch, (first[1:].view(np.uint32), second[1:].view(np.uint32)))
        counts = len(found.popular), len(found.non_popular)
        count = len(found.working_keys)
        write_header(first, counts[0], sum(counts), 0)
        write_header(second, counts[1], sum(counts), count)
        places, carried = self.places[step % RING][:count], self.carried[step % RING][:count]
        places.numpy()[:] = self.tables.places(found.working_keys)
        if ahead:
            carried_rows(self.before, places.numpy(), carried.numpy())
        else:
            carried.fill_(-1)
        self.before = places.numpy().copy()
        return Split(lambda: popular.bring(counts[0]), lambda: other.bring(counts[1]), places, carried)

    def popular(self) -> MicroBatch:
        return self.begun[0][1].result().popular()

    def other(self) -> Other:
        step, future = self.begun[0]
        split = future.result()
        self._fetch(step, split)
        arrived = self.fetched.pop(step)()
        return Other(split.other(), len(split.places), arrived, self.cold.carried(step))

    def _fetch(self, step: int, split: Split) -> None:
        """Working rows of a step set out, unless they have."""
        if step not in self.fetched:
            self.fetched[step] = (
                self.cold.fetch(step, split.places, split.carried) if len(split.places) else lambda: None
            )
            self.bus_bytes += int((split.carried < 0).sum()) * self.store.rows.bytes

    def updated(self, done: Event) -> None:
        step, future = self.begun.popleft()
        self.ring.used(step, done)
        if self.begun:  # before the way back, which waits for this step
            self._fetch(self.begun[0][0], self.begun[0][1].result())
        count = len(future.result().places)
        if count:
            self.cold.give_back(step, count, done)
            self.bus_bytes += count * self.store.rows.bytes

    def settle(self) -> None:
        self.cold.settle()

    def close(self) -> None:
        self.splitter.shutdown()
        self.cold.close()
