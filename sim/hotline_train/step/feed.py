"""How micro-batches and their working rows reach the device, and updated rows get back: the contract, and the simplest way."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..sources.source import Exchange, MicroBatchSource, NonPopular
from .device import Device, Event, Phase, Wait
from .records import RING, MicroBatch, write_header
from .store import RowStore


@dataclass(frozen=True)
class Other:
    """The non-popular micro-batch of a step; its ``working`` rows are in the store from ``arrived`` on, but for those that
    are to be ``carried`` from the step before: int32 [most], on the device (see ``Kernels.carry``); None for none.

    ``exchange``: what changes in the hot set when the step is made; its slots and numbers lie on the device, too, from
    ``arrived`` on: ``exchanged`` int64 [2, n]; None for none."""

    records: MicroBatch
    working: int
    arrived: Event | None
    carried: Tensor | None
    exchange: Exchange
    exchanged: Tensor | None


class Feed(ABC):
    """For each step, in this order: ``begin``, ``popular``, ``other``, ``updated``. Up to ``depth`` further steps may have
    begun by then, ``ahead`` of its rows' way back; the result is as if they had not. ``bus_bytes``: what went between host
    and device."""

    depth = 1

    def __init__(self, store: RowStore, device: Device):
        self.store, self.device = store, device
        self.bus_bytes = 0

    @abstractmethod
    def begin(self, step: int, batch: int, *, ahead: bool) -> None:
        """Asks for a mini-batch. Raises what the source raises, here or later."""

    @abstractmethod
    def popular(self) -> MicroBatch:
        """The popular micro-batch of the step."""

    @abstractmethod
    def other(self) -> Other:
        """The other one, and its working rows. The rows of the step before may be updated on the device only."""

    @abstractmethod
    def updated(self, done: Event) -> None:
        """The step's working rows are updated when ``done`` comes, and nothing else of the step is used any more."""

    @abstractmethod
    def settle(self) -> None:
        """Returns when the rows of all steps are back in the tables."""

    def close(self) -> None:  # noqa: B027
        """Ends the feed's threads."""


class RecordSlot:
    """Memory for a micro-batch: ``pinned`` int32 [1 + most, record words] on the host, ``words`` on the device.

    The host writes ``pinned`` after ``copied``; the device writes ``words`` after ``used``.
    """

    def __init__(self, device: Device, most: int, record_words: int):
        self.device = device
        self.pinned = device.pinned(1 + most, record_words, dtype=torch.int32)
        self.words = device.zeros(1 + most, record_words, dtype=torch.int32)
        self.copied: Event | None = None
        self.used: Event | None = None

    def free(self) -> np.ndarray:
        """``pinned`` as an array, when the device has done with it."""
        if self.copied:
            self.copied.wait(Wait.PINNED_RECORDS)
        return self.pinned.numpy()

    def bring(self, count: int, source: Tensor | None = None) -> MicroBatch:
        """The device copies ``count`` records and their header, from ``pinned`` unless from somewhere else."""
        coming, part = self.device.coming, slice(0, 1 + count)
        source = self.pinned if source is None else source
        coming.after(self.used, Wait.RECORDS_USED)
        coming.run(lambda: copy(self.words[part], source[part]), Phase.TRANSFER)
        self.copied = coming.event()
        return MicroBatch(self.words, count, self.copied)


class RecordRing:
    """Memory for the two micro-batches of RING steps, of at most ``most`` records each."""

    def __init__(self, device: Device, most: int, record_words: int):
        self.slots = [[RecordSlot(device, most, record_words) for _ in range(2)] for _ in range(RING)]

    def of(self, step: int) -> list[RecordSlot]:
        """For the popular and the other micro-batch of a step."""
        return self.slots[step % RING]

    def used(self, step: int, done: Event) -> None:
        """The step's records are used no more when ``done`` comes."""
        for slot in self.of(step):
            slot.used = done


def exchange_memory(store: RowStore, device: Device) -> tuple[Tensor, Tensor]:
    """Pinned, and on the device: int64 [2, most slots that one mini-batch can change]."""
    most = min(store.slots, store.most)
    return device.pinned(2, most, dtype=torch.int64), device.zeros(2, most, dtype=torch.int64)


def pin_exchange(exchange: Exchange, pinned: Tensor) -> Tensor:
    """Slots and numbers of ``exchange`` in ``pinned``: int64 [2, n] of it."""
    found = pinned[:, : len(exchange.slots)]
    found.numpy()[:] = exchange.slots, exchange.numbers
    return found


def copy(to: Tensor, source: Tensor) -> None:
    """Without waiting, where one of them is pinned."""
    to.copy_(source, non_blocking=True)


class SourceFeed(Feed):
    """Whatever the source: its arrays are copied, in the order of the source's calls. The host waits for the rows of a step
    while the popular micro-batch of the next one is worked on."""

    def __init__(self, source: MicroBatchSource, store: RowStore, device: Device, record_words: int):
        super().__init__(store, device)
        self.source = source
        self.ring = RecordRing(device, source.batch_size, record_words)
        width = store.rows.width
        self.coming = device.pinned(store.most, width, dtype=store.rows.dtype)
        self.going = device.pinned(store.most, width, dtype=store.rows.dtype)
        self.pinned, self.on_device = exchange_memory(store, device)
        self.asked: list[tuple[int, int]] = []
        self.given: NonPopular | None = None
        self.returning: tuple[NonPopular, Event | None] | None = None

    def begin(self, step: int, batch: int, *, ahead: bool) -> None:
        if not ahead:
            self.settle()
        self.source.begin(batch, ahead=ahead)
        self.asked.append((step, self.source.samples_of(batch)))

    def popular(self) -> MicroBatch:
        return self._bring(self.source.popular(), 0, other=False)

    def _bring(self, records: np.ndarray, working: int, *, other: bool) -> MicroBatch:
        step, samples = self.asked[0]
        slot = self.ring.of(step)[other]
        pinned = slot.free()
        pinned[1 : 1 + len(records)] = records.view(np.int32)
        write_header(pinned, len(records), samples, working)
        return slot.bring(len(records))

    def other(self) -> Other:
        step, _ = self.asked[0]
        self.settle()
        found = self.given = self.source.non_popular()
        count = len(found.rows)
        if count > self.store.most:
            raise ValueError(f"step {step} has {count} working rows; the store has room for {self.store.most}")
        arrived, exchanged = None, None
        if count:
            # The rows of the step before are back, so these have been copied, too.
            pinned, rows = self.coming[:count], self.device.rows
            pinned.numpy()[:] = found.rows
            changes, exchanged = (
                pin_exchange(found.exchange, self.pinned),
                self.on_device[:, : len(found.exchange.slots)],
            )

            def bring():
                copy(self.store.working(step, count), pinned)
                copy(exchanged, changes)

            rows.run(bring, Phase.TRANSFER)
            arrived = rows.event()
            self.bus_bytes += 2 * found.rows.nbytes
        records = self._bring(found.records, count, other=True)
        return Other(records, count, arrived, None, found.exchange, exchanged)

    def updated(self, done: Event) -> None:
        step, _ = self.asked.pop(0)
        self.ring.used(step, done)
        given, self.given = self.given, None
        assert given is not None
        event, count = None, len(given.rows)
        if count:
            rows = self.device.rows
            rows.after(done, Wait.UPDATED)
            rows.run(lambda: copy(self.going[:count], self.store.working(step, count)), Phase.TRANSFER)
            event = rows.event()
        self.returning = given, event

    def settle(self) -> None:
        if not self.returning:
            return
        (given, event), self.returning = self.returning, None
        if event:
            event.wait(Wait.RETURNED)
            given.rows[:] = self.going[: len(given.rows)].numpy()
        self.source.scatter()
