"""Batches on their way into a module: split in the background, two ahead, their working rows one ahead; and the hot set."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hotline_golden.split import SplitResult
from hotline_native import NativeEngine

from ..kernels.kernels import Kernels
from ..sources.native import NativeTables
from ..sources.source import Exchange
from ..step.cold_rows import ColdRows
from ..step.device import Device, Event, Phase, Wait
from ..step.feed import Other
from ..step.native_feed import NativeFeed
from ..step.records import MicroBatch, RecordFormat
from ..step.store import RowStore
from .features import Accesses

#: Payload words of records: dense features and labels do not go through them.
PAYLOAD = 1


@dataclass(eq=False)
class Batch:
    """A mini-batch that has been split, or one of its two micro-batches: what a module takes in place of features.

    ``records``: those of two micro-batches, or of one and none; ``arrived``: its working rows are there. ``order`` int64 [n]: its
    samples, by their numbers in the mini-batch; ``lengths`` int64 [n, features]. ``last``: a step is due after it; ``share``: its
    part of the mini-batch's samples.
    """

    number: int
    records: tuple[MicroBatch, MicroBatch]
    arrived: Event | None
    order: np.ndarray
    lengths: np.ndarray
    last: bool = True
    share: float = 1.0
    gradient: Tensor | None = None


@dataclass
class _Came:
    """A batch as it came, and its ``order`` when it has been split."""

    dense: Any
    label: Any
    lengths: np.ndarray
    order: np.ndarray


class _Incoming:
    """Batches that are to be split: ids become rows, and are split, in the feed's thread."""

    def __init__(self, owner: "Batches", batch_size: int):
        self.owner, self.tables, self.batch_size = owner, owner.tables, batch_size
        self.items: dict[int, tuple] = {}
        self.came: dict[int, _Came] = {}

    def split(self, batch: int, out: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[SplitResult, Exchange]:
        owner = self.owner
        dense, features, label = self.items.pop(batch)
        rows, lengths = owner.accesses.rows(features)
        if len(rows) > self.batch_size:
            raise ValueError(f"batch {batch} has {len(rows)} samples, more than batch_size={self.batch_size}")
        if batch < owner.learn:
            owner.engine.learn(rows)
        found = owner.engine.split(rows, np.zeros((len(rows), PAYLOAD), np.uint32), out)
        if len(found.working_keys) > owner.store.most:
            raise ValueError(
                f"batch {batch} has {len(found.working_keys)} working rows, more than {owner.store.most}"
            )
        order = np.concatenate([found.popular[:, 0], found.non_popular[:, 0]]).astype(np.int64)
        self.came[batch] = _Came(dense, label, lengths, order)
        if not owner.follows:
            return found, Exchange.none()
        owner.engine.follow(rows)
        return found, Exchange.of(owner.engine.swap()[0])


class Batches:
    """``learn``: the batches from which the hot set is learnt, before it is taken over and stays; 0: it follows the data.
    ``number`` is the batch that is being worked on, if one ``open`` is."""

    def __init__(
        self,
        accesses: Accesses,
        engine: NativeEngine,
        tables: NativeTables,
        hot_list: np.ndarray,
        store: RowStore,
        kernels: Kernels,
        cold: ColdRows,
        device: Device,
        records: RecordFormat,
        batch_size: int,
        learn: int,
    ):
        self.accesses, self.engine, self.tables, self.hot_list = accesses, engine, tables, hot_list
        self.store, self.kernels, self.device = store, kernels, device
        self.learn, self.follows = learn, not learn
        self.incoming = _Incoming(self, batch_size)
        self.feed = NativeFeed(self.incoming, store, device, cold, records.words)
        self.none = MicroBatch(device.zeros(1, records.words, dtype=torch.int32), 0)
        self.number = self.begun = 0
        self.open = False
        self.other: Other | None = None  # of the open batch
        self.load_hot_rows()

    def each(self, data: Iterable, micro_batches: bool) -> Iterator[tuple]:
        """(dense, Batch, label) of ``data``."""
        waiting, ended = iter(data), False
        while True:
            self.end()
            while not ended and self.begun <= self.number + self.feed.depth:
                if self.begun > self.number and self._takes_over(self.begun):
                    break
                try:
                    self._begin(next(waiting))
                except StopIteration:
                    ended = True
            if self.begun == self.number:
                return
            yield from self._given(micro_batches)

    def now(self, features: Any) -> Batch:
        """``features`` split at once. Raises RuntimeError while ``each`` has others under way."""
        self.end()
        if self.begun != self.number:
            raise RuntimeError("batches() has others under way: give the module what it gives")
        self._begin((None, features, None))
        ((_, batch, _),) = self._given(micro_batches=False)
        return batch

    def end(self) -> None:
        """The open batch is done with; its rows go back."""
        if self.open:
            self._exchange()
            self.feed.updated(self.device.main.event())
            self.open = False
            self.number += 1

    def _begin(self, item: tuple) -> None:
        number = self.begun
        ahead = number > self.number
        if not ahead and self._takes_over(number):
            self._take_over()
        self.incoming.items[number] = item
        self.feed.begin(number, number, ahead=ahead)
        self.begun += 1

    def _given(self, micro_batches: bool) -> Iterator[tuple]:
        popular, other = self.feed.popular(), self.feed.other()
        self.other = other
        number, main, store = self.number, self.device.main, self.store
        self.open = True
        if (carried := other.carried) is not None:
            main.after(other.records.arrived, Wait.RECORDS)
            main.after(other.arrived, Wait.CARRIED_ROWS)
            to, source = store.first(number), store.first(number - 1)
            main.run(lambda: self.kernels.carry(store.all, to, source, carried, other.records.words), Phase.LOOK_UP)
        came = self.incoming.came.pop(number)
        count, size = popular.count, len(came.order)
        pair = (popular, other.records)
        parts = [Batch(number, pair, other.arrived, came.order, came.lengths[came.order])]
        if micro_batches and 0 < count < size:
            first, rest = came.order[:count], came.order[count:]
            parts = [
                Batch(number, (popular, self.none), None, first, came.lengths[first], False, count / size),
                Batch(
                    number,
                    (other.records, self.none),
                    other.arrived,
                    rest,
                    came.lengths[rest],
                    True,
                    1 - count / size,
                ),
            ]
        for batch in parts:
            order = torch.from_numpy(batch.order)
            yield _picked(came.dense, order), batch, _picked(came.label, order)

    def _exchange(self) -> None:
        """Rows that enter and leave the hot set after the open batch change places."""
        assert self.other is not None
        exchange, exchanged = self.other.exchange, self.other.exchanged
        if len(exchange.slots):
            assert exchanged is not None
            number, (slots, numbers) = self.number, exchanged
            self.device.main.run(lambda: self.store.exchange(number, slots, numbers, exchange.leaving), Phase.UPDATE)
            self.hot_list[exchange.slots] = exchange.new

    def _takes_over(self, number: int) -> bool:
        """Whether all that has been learnt is taken over before batch ``number``."""
        return bool(self.learn) and number == self.learn

    def _take_over(self) -> None:
        self.flush()
        delta = self.engine.swap()[0]
        self.hot_list[delta[:, 0]] = delta[:, 3:5]
        self.load_hot_rows()

    def load_hot_rows(self) -> None:
        """Hot rows come from the tables."""
        self.store.bring_hot(self.hot_list, self.tables.read)
        self.device.synchronise()

    def flush(self) -> None:
        """Brings all rows back to the tables. The open batch, if there is one, is looked up no more."""
        self.end()
        self.device.synchronise()
        self.feed.settle()
        self.store.return_hot(self.hot_list, self.tables.write)


def _picked(tensor: Any, order: Tensor) -> Any:
    return None if tensor is None else tensor.index_select(0, order.to(tensor.device))
