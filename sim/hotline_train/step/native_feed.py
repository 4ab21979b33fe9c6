"""The software engine's micro-batches: split in a thread of its own while the device works, two steps ahead.

Working rows come a step ahead, too. A row that the step before has as well is not fetched: it is copied on the device from that
step's working rows, after they were updated (it is *carried*). So no step waits for the way of a row to host memory and back:

    rows:   ... return(b - 1)   fetch(b + 1)   return(b)   fetch(b + 2) ...
    main:             carry(b)  step b         carry(b + 1)  step b + 1

``fetch(b + 1)`` sees what ``return(b - 1)`` wrote, and carries what only ``return(b)`` will write. Rows that leave the hot set
after step ``b`` are among those: they lie where rows that enter it were.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hotline_golden.split import SplitResult
from hotline_native.carried import carried_rows

from ..sources.source import Exchange
from ..sources.tables import HostTables
from .cold_rows import ColdRows, WorkingRows
from .device import Device, Event
from .feed import Feed, Other, RecordRing, pin_exchange
from .records import RING, MicroBatch, write_header
from .store import RowStore


@dataclass(frozen=True)
class Split:
    """A mini-batch: its two micro-batches on their way, and its working rows, in pinned memory."""

    popular: Callable[[], MicroBatch]
    other: Callable[[], MicroBatch]
    rows: WorkingRows
    exchange: Exchange


class Splitting(Protocol):
    """What splits mini-batches of at most ``batch_size`` samples of tables in host memory; see ``EngineSource.split``."""

    batch_size: int

    @property
    def tables(self) -> HostTables: ...

    def split(self, batch: int, out: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[SplitResult, Exchange]: ...


class NativeFeed(Feed):
    """``cold``: the way of working rows."""

    depth = 2

    def __init__(self, source: Splitting, store: RowStore, device: Device, cold: ColdRows, record_words: int):
        super().__init__(store, device)
        self.tables, self.cold = source.tables, cold
        self.native = source
        self.ring = RecordRing(device, source.batch_size, record_words)
        self.pinned = [WorkingRows.memory(store, device.pinned) for _ in range(RING)]
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
        found, exchange = self.native.split(batch, (first[1:].view(np.uint32), second[1:].view(np.uint32)))
        counts = len(found.popular), len(found.non_popular)
        count = len(found.working_keys)
        write_header(first, counts[0], sum(counts), 0)
        write_header(second, counts[1], sum(counts), count)
        rows = self.pinned[step % RING].first(count, len(exchange.slots))
        rows.places.numpy()[:] = self.tables.places(found.working_keys)
        rows.home.numpy()[:] = self.tables.places(exchange.going_home(found.working_keys))
        pin_exchange(exchange, rows.exchanged)
        if ahead:
            carried_rows(self.before, rows.places.numpy(), rows.carried.numpy())
        else:
            rows.carried.fill_(-1)
        self.before = rows.home.numpy().copy()
        return Split(lambda: popular.bring(counts[0]), lambda: other.bring(counts[1]), rows, exchange)

    def popular(self) -> MicroBatch:
        return self.begun[0][1].result().popular()

    def other(self) -> Other:
        step, future = self.begun[0]
        split = future.result()
        self._fetch(step, split)
        arrived = self.fetched.pop(step)()
        count, changes = len(split.rows.places), len(split.exchange.slots)
        here = self.cold.on_device(step)
        return Other(split.other(), count, arrived, here.carried, split.exchange, here.exchanged[:, :changes])

    def _fetch(self, step: int, split: Split) -> None:
        """Working rows of a step set out, unless they have."""
        if step not in self.fetched:
            self.fetched[step] = self.cold.fetch(step, split.rows) if len(split.rows.places) else lambda: None
            self.bus_bytes += int((split.rows.carried < 0).sum()) * self.store.rows.bytes

    def updated(self, done: Event) -> None:
        step, future = self.begun.popleft()
        self.ring.used(step, done)
        if self.begun:  # before the way back, which waits for this step
            self._fetch(self.begun[0][0], self.begun[0][1].result())
        count = len(future.result().rows.places)
        if count:
            self.cold.give_back(step, count, done)
            self.bus_bytes += count * self.store.rows.bytes

    def settle(self) -> None:
        self.cold.settle()

    def close(self) -> None:
        self.splitter.shutdown()
        self.cold.close()
