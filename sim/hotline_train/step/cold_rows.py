"""The way of working rows between the tables in host memory and the device. Two ways, both exact:

direct    the device reads and writes the tables itself, over the bus, as the accelerator's DMA would
copied    threads of the host copy rows between the tables and pinned memory, from and to which the device copies
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

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


@dataclass(frozen=True)
class WorkingRows:
    """Of a mini-batch. ``places`` int64 [k]: where they lie in the tables; they come from there, or are ``carried`` int32 [k]
    from these working rows of the step before (-1: they come). ``exchanged`` int64 [2, n]: slots and working rows that change
    places when the step is made. ``home`` int64 [k]: where in the tables what lies there then goes back to."""

    places: Tensor
    carried: Tensor
    home: Tensor
    exchanged: Tensor

    @staticmethod
    def memory(store: RowStore, pinned: Callable[..., Tensor]) -> "WorkingRows":
        """For the most that a mini-batch can have; ``pinned(*shape, dtype=)`` makes a tensor."""
        most = store.most
        places, carried = pinned(most, dtype=torch.int64), pinned(most, dtype=torch.int32)
        home, exchanged = pinned(most, dtype=torch.int64), pinned(2, min(store.slots, most), dtype=torch.int64)
        return WorkingRows(places, carried, home, exchanged)

    def first(self, count: int, changes: int) -> "WorkingRows":
        """The part for ``count`` working rows, of which ``changes`` change places."""
        return WorkingRows(self.places[:count], self.carried[:count], self.home[:count], self.exchanged[:, :changes])


class _OnDevice:
    """Working rows of the last RING steps, on the device."""

    def __init__(self, store: RowStore, device: Device):
        self.device = device
        self.rows = [WorkingRows.memory(store, device.zeros) for _ in range(RING)]
        self.copied: list[Event | None] = [None] * RING

    def bring(self, step: int, rows: WorkingRows) -> WorkingRows:
        """In the stream of rows. What these tensors held has been used: the rows of that step went back in this stream, after
        the whole step."""
        n = step % RING
        here = self.rows[n].first(len(rows.places), rows.exchanged.shape[1])

        def work():
            copy(here.places, rows.places)
            copy(here.carried, rows.carried)
            copy(here.home, rows.home)
            copy(here.exchanged, rows.exchanged)

        self.device.rows.run(work, Phase.TRANSFER)
        self.copied[n] = self.device.rows.event()
        return here

    def free(self, step: int) -> None:
        if event := self.copied[step % RING]:
            event.wait(Wait.PINNED_KEYS)


class ColdRows(ABC):
    """Rows are fetched and given back in the order of the calls: a fetch sees what was given back before it."""

    def __init__(self, store: RowStore, device: Device):
        self.store, self.device = store, device
        self.indices = _OnDevice(store, device)

    @abstractmethod
    def fetch(self, step: int, rows: WorkingRows) -> Callable[[], Event]:
        """The rows of a step set out for the store. ``rows`` lie in pinned memory, and stay until :meth:`free`. What it returns
        gives the event with which they are there, and :meth:`on_device`."""

    def on_device(self, step: int) -> WorkingRows:
        """Of a step that was fetched, on the device, as much as a mini-batch can have."""
        return self.indices.rows[step % RING]

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

    def fetch(self, step: int, rows: WorkingRows) -> Callable[[], Event]:
        here, stream, to = (
            self.indices.bring(step, rows),
            self.device.rows,
            self.store.working(step, len(rows.places)),
        )
        stream.run(lambda: self.kernels.gather(self.pinned.tensor, here.places, here.carried, to), Phase.TRANSFER)
        event = stream.event()
        return lambda: event

    def give_back(self, step: int, count: int, done: Event) -> None:
        rows, source = self.device.rows, self.store.working(step, count)
        home = self.on_device(step).home[:count]
        rows.after(done, Wait.UPDATED)
        rows.run(lambda: self.kernels.scatter(self.pinned.tensor, home, source), Phase.TRANSFER)

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
        self.home = [np.zeros(0, np.int64)] * RING
        self.leader = ThreadPoolExecutor(1, "rows")
        self.last: Future[None] | None = None

    def fetch(self, step: int, rows: WorkingRows) -> Callable[[], Event]:
        return self.leader.submit(self._fetch, step, rows).result

    def _fetch(self, step: int, rows: WorkingRows) -> Event:
        n, count = step % RING, len(rows.places)
        self.home[n] = rows.home.numpy().copy()
        gather(self.tables.all, rows.places.numpy().copy(), self.coming[n][:count].numpy(), self.threads)
        self.indices.bring(step, rows)
        stream = self.device.rows
        stream.run(lambda: copy(self.store.working(step, count), self.coming[n][:count]), Phase.TRANSFER)
        return stream.event()

    def give_back(self, step: int, count: int, done: Event) -> None:
        self.last = self.leader.submit(self._give_back, step, count, done)

    def _give_back(self, step: int, count: int, done: Event) -> None:
        rows = self.device.rows
        rows.after(done, Wait.UPDATED)
        rows.run(lambda: copy(self.going[:count], self.store.working(step, count)), Phase.TRANSFER)
        rows.event().wait(Wait.RETURNED)
        scatter(self.tables.all, self.home[step % RING], self.going[:count].numpy(), self.threads)

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
