"""The way of working rows between the tables in host memory and the device. Two ways, both exact:

direct    the device reads and writes the tables itself, over the bus, as the accelerator's DMA would
copied    threads of the host copy rows between the tables and pinned memory, from and to which the device copies
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from hotline_native.rows import gather, scatter

from ..kernels.kernels import Kernels
from ..sources.tables import HostTables
from .device import Device, Event, Phase, Wait
from .feed import copy
from .records import RING
from .store import RowStore

WAYS = ("direct", "copied")


class Pinned:
    """``tensor``: ``array`` as a tensor that the device reads and writes where it lies, until ``close``.

    Raises ValueError when the system does not allow so much pinned memory.
    """

    def __init__(self, array: np.ndarray, device: Device):
        self.tensor = torch.from_numpy(array)
        self.registered = False
        if device.device.type == "cuda" and array.nbytes > 0:
            with torch.cuda.device(device.device):
                error = int(torch.cuda.cudart().cudaHostRegister(self.tensor.data_ptr(), array.nbytes, 0))
            if error:
                raise ValueError(
                    f"the tables' {array.nbytes / 1e6:,.0f} MB cannot be pinned (CUDA error {error}): use --cold-rows copied"
                )
            self.registered = True

    def __del__(self):
        self.close()

    def close(self) -> None:
        if self.registered:
            torch.cuda.cudart().cudaHostUnregister(self.tensor.data_ptr())
            self.registered = False


class _OnDevice:
    """``places`` and ``carried`` of the last RING steps, on the device."""

    def __init__(self, store: RowStore, device: Device):
        self.device = device
        self.places = [device.zeros(store.most, dtype=torch.int64) for _ in range(RING)]
        self.carried = [device.zeros(store.most, dtype=torch.int32) for _ in range(RING)]
        self.copied: list[Event | None] = [None] * RING

    def bring(self, step: int, places: Tensor, carried: Tensor) -> None:
        """In the stream of rows. What these tensors held has been used: the rows of that step went back in this stream, after
        the whole step."""
        n, count = step % RING, len(places)

        def work():
            copy(self.places[n][:count], places)
            copy(self.carried[n][:count], carried)

        self.device.rows.run(work, Phase.TRANSFER)
        self.copied[n] = self.device.rows.event()

    def free(self, step: int) -> None:
        if event := self.copied[step % RING]:
            event.wait(Wait.PINNED_KEYS)


class ColdRows(ABC):
    """Rows are fetched and given back in the order of the calls: a fetch sees what was given back before it."""

    def __init__(self, store: RowStore, device: Device):
        self.store, self.device = store, device
        self.indices = _OnDevice(store, device)

    @abstractmethod
    def fetch(self, step: int, places: Tensor, carried: Tensor) -> Callable[[], Event]:
        """Rows ``places`` int64 [k] of the tables set out for the store, but for those that are ``carried`` int32 [k]. Both
        lie in pinned memory, and stay until :meth:`free`. What it returns gives the event with which they are there."""

    def carried(self, step: int) -> Tensor:
        """``carried`` of a step that was fetched, int32 [most], on the device."""
        return self.indices.carried[step % RING]

    @abstractmethod
    def give_back(self, step: int, count: int, done: Event) -> None:
        """The working rows of a step go back to the tables, after ``done``."""

    @abstractmethod
    def free(self, step: int) -> None:
        """Returns when what ``fetch`` was given RING steps before is not used any more."""

    @abstractmethod
    def settle(self) -> None:
        """Returns when all rows are back."""

    @abstractmethod
    def close(self) -> None:
        """Ends threads, and gives memory back."""


class DirectRows(ColdRows):
    """``tables`` are pinned for as long as this lives. All is done by the device, in its stream of rows."""

    def __init__(self, tables: HostTables, store: RowStore, device: Device, kernels: Kernels):
        super().__init__(store, device)
        self.kernels, self.pinned = kernels, Pinned(tables.all, device)

    def fetch(self, step: int, places: Tensor, carried: Tensor) -> Callable[[], Event]:
        self.indices.bring(step, places, carried)
        count, rows, to = len(places), self.device.rows, self.store.working(step, len(places))
        on_device, kept = self.indices.places[step % RING][:count], self.carried(step)[:count]
        rows.run(lambda: self.kernels.gather(self.pinned.tensor, on_device, kept, to), Phase.TRANSFER)
        event = rows.event()
        return lambda: event

    def give_back(self, step: int, count: int, done: Event) -> None:
        rows, source = self.device.rows, self.store.working(step, count)
        places = self.indices.places[step % RING][:count]
        rows.after(done, Wait.UPDATED)
        rows.run(lambda: self.kernels.scatter(self.pinned.tensor, places, source), Phase.TRANSFER)

    def free(self, step: int) -> None:
        self.indices.free(step)

    def settle(self) -> None:
        self.device.synchronise()

    def close(self) -> None:
        self.settle()
        self.pinned.close()


class CopiedRows(ColdRows):
    """``threads`` threads copy rows; one thread leads them, so that a fetch comes after what was given back before. As it waits
    for the rows of a step to be back, and these come after the rows of the next step went, pinned memory is free by then."""

    def __init__(self, tables: HostTables, store: RowStore, device: Device, threads: int):
        super().__init__(store, device)
        self.tables, self.threads = tables, threads
        dtype, width = store.rows.dtype, store.rows.width
        self.coming = [device.pinned(store.most, width, dtype=dtype) for _ in range(RING)]
        self.going = device.pinned(store.most, width, dtype=dtype)
        self.places = [np.zeros(0, np.int64)] * RING
        self.leader = ThreadPoolExecutor(1, "rows")
        self.last: Future[None] | None = None

    def fetch(self, step: int, places: Tensor, carried: Tensor) -> Callable[[], Event]:
        return self.leader.submit(self._fetch, step, places, carried).result

    def _fetch(self, step: int, places: Tensor, carried: Tensor) -> Event:
        n, count = step % RING, len(places)
        self.places[n] = places.numpy().copy()
        gather(self.tables.all, self.places[n], self.coming[n][:count].numpy(), self.threads)
        self.indices.bring(step, places, carried)
        rows = self.device.rows
        rows.run(lambda: copy(self.store.working(step, count), self.coming[n][:count]), Phase.TRANSFER)
        return rows.event()

    def give_back(self, step: int, count: int, done: Event) -> None:
        self.last = self.leader.submit(self._give_back, step, count, done)

    def _give_back(self, step: int, count: int, done: Event) -> None:
        rows = self.device.rows
        rows.after(done, Wait.UPDATED)
        rows.run(lambda: copy(self.going[:count], self.store.working(step, count)), Phase.TRANSFER)
        rows.event().wait(Wait.RETURNED)
        scatter(self.tables.all, self.places[step % RING], self.going[:count].numpy(), self.threads)

    def free(self, step: int) -> None:
        """Nothing is used any more: the rows of that step are back."""

    def settle(self) -> None:
        if self.last:
            self.last.result()

    def close(self) -> None:
        self.leader.shutdown()


def check_way(way: str) -> None:
    """Raises ValueError for a way that there is not."""
    if way not in WAYS:
        raise ValueError(f"unknown way of cold rows {way!r}; there are {', '.join(WAYS)}")


def cold_rows_for(
    way: str, tables: HostTables, store: RowStore, device: Device, kernels: Kernels, threads: int
) -> ColdRows:
    """The ``way`` of that name, one of WAYS. Raises ValueError for another one."""
    check_way(way)
    return (
        DirectRows(tables, store, device, kernels) if way == "direct" else CopiedRows(tables, store, device, threads)
    )
