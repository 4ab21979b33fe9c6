"""The device that trains, and its streams: work that is given to one stream is done in order, streams run beside each other.

    main      look-ups, MLPs, updates                        coming    records go to the device
    rows      working rows come and go                       order     the accesses of a mini-batch are sorted by row

Whoever uses what another stream makes waits for its event. :class:`Wait` is the list of these waits, and there are no others.
"""

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum

import torch
from torch import Tensor

STREAMS = ("main", "coming", "rows", "order")


class Wait(Enum):
    """Who waits for whom, and for what. Without any one of them a training is wrong, sooner or later."""

    RECORDS = "main for coming: records have come before they are looked up"
    RECORDS_TO_SORT = "order for coming: records have come before their accesses are sorted"
    WORKING_ROWS = "main for rows: working rows have come before they are looked up"
    CARRIED_ROWS = "main for rows: fetched rows have come before carried ones are put beside them"
    SORTED = "main for order: accesses are sorted before rows are updated"
    UPDATED = "rows for main: rows are updated before they go back"
    RECORDS_USED = "coming for main: a mini-batch is done before others' records take its place"
    ACCESSES_USED = "order for main: a mini-batch is done before the next one's accesses take its place"
    PINNED_RECORDS = "host for coming: records have been copied before others are written there"
    PINNED_KEYS = "host for rows: places in the tables have been copied before others are written there"
    RETURNED = "host for rows: rows have been copied before the host puts them into the tables"
    LOSS = "host for main: a step is done before its loss is read"
    ALL = "host for all streams: all is done before the host reads tables, parameters or the hot set"


class Phase(Enum):
    """What the time of a step goes to."""

    LOOK_UP = "look-up"
    TRANSFER = "transfer"
    DENSE = "dense"
    UPDATE = "update"


class PhaseTimes:
    """How long the work of each phase took, on whatever stream: phases overlap, so that their sum may be more than a step takes.
    ``seconds`` is complete when the device is synchronised."""

    def __init__(self):
        self.spans: list[tuple[Phase, Callable[[], float]]] = []

    @property
    def seconds(self) -> dict[str, float]:
        return {p.value: sum(seconds() for phase, seconds in self.spans if phase is p) for p in Phase}

    @contextmanager
    def on_host(self, phase: Phase) -> Iterator[None]:
        """Times what the host does inside."""
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        self.spans.append((phase, lambda: spent))


class Event(ABC):
    """A point in a stream's work."""

    @abstractmethod
    def wait(self, what: Wait) -> None:
        """Returns when the device has come to it: the host waits."""


class Stream(ABC):
    """Work that is done in order."""

    @abstractmethod
    def run(self, work: Callable[[], None], phase: Phase) -> None:
        """Gives the stream ``work``: what it does on the device is done after all that was given before."""

    @abstractmethod
    def event(self) -> Event:
        """Comes when all that was given so far is done."""

    @abstractmethod
    def after(self, event: Event | None, what: Wait) -> None:
        """What is given from now on is done after ``event``; the host does not wait."""


class Device(ABC):
    """``device``: as PyTorch names it. ``main``, ``coming``, ``rows``, ``order``: its streams."""

    device: torch.device
    main: Stream
    coming: Stream
    rows: Stream
    order: Stream
    #: Where work is timed, while somebody wants to know.
    times: PhaseTimes | None = None

    def timed(self, phase: Phase) -> AbstractContextManager:
        """Times what the host does inside, if somebody wants to know."""
        return self.times.on_host(phase) if self.times else nullcontext()

    def fork(self, work: Callable[[], None]) -> Callable[[], None]:
        """Does ``work`` beside what is given to the current stream from now on, if the device can; what it returns, when called,
        makes that stream wait for it. May be captured in a CUDA graph."""
        work()
        return lambda: None

    def zeros(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """A tensor on the device."""
        return torch.zeros(shape, dtype=dtype, device=self.device)

    @abstractmethod
    def pinned(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """A tensor in host memory from and to which the device copies while the host goes on."""

    @abstractmethod
    def synchronise(self) -> None:
        """Returns when the device has done all that it was given."""


class _Now(Event, Stream):
    """Work is done at once."""

    def __init__(self, device: "Cpu"):
        self.device = device

    def run(self, work: Callable[[], None], phase: Phase) -> None:
        with self.device.timed(phase):
            work()

    def event(self) -> Event:
        return self

    def wait(self, what: Wait) -> None:
        pass

    def after(self, event: Event | None, what: Wait) -> None:
        pass


class Cpu(Device):
    """The CPU, one thing after another."""

    def __init__(self):
        self.device = torch.device("cpu")
        self.main = self.coming = self.rows = self.order = _Now(self)

    def pinned(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    def synchronise(self) -> None:
        pass


class _CudaEvent(Event):
    def __init__(self, event: torch.cuda.Event):
        self.event = event

    def wait(self, what: Wait) -> None:
        self.event.synchronize()


class _CudaStream(Stream):
    def __init__(self, device: "Cuda", stream: torch.cuda.Stream):
        self.device, self.stream = device, stream

    def run(self, work: Callable[[], None], phase: Phase) -> None:
        times = self.device.times
        with torch.cuda.stream(self.stream):  # sets the current device, too
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2)) if times else (None, None)
            if began:
                began.record()
            work()
            if times and began and ended:
                ended.record()
                times.spans.append((phase, lambda: began.elapsed_time(ended) / 1e3))

    def event(self) -> Event:
        return _CudaEvent(self.stream.record_event())

    def after(self, event: Event | None, what: Wait) -> None:
        if event is not None:
            assert isinstance(event, _CudaEvent)
            self.stream.wait_event(event.event)


class Cuda(Device):
    """A GPU. Every stream and event is of ``device``, whatever the current device is."""

    def __init__(self, device: torch.device):
        self.device = device
        self.main = _CudaStream(self, torch.cuda.current_stream(device))
        self.coming, self.rows, self.order = (_CudaStream(self, torch.cuda.Stream(device)) for _ in range(3))
        self.side = torch.cuda.Stream(device)

    def fork(self, work: Callable[[], None]) -> Callable[[], None]:
        current = torch.cuda.current_stream(self.device)
        self.side.wait_stream(current)
        with torch.cuda.stream(self.side):
            work()
        return lambda: current.wait_stream(self.side)

    def pinned(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, pin_memory=True)

    def synchronise(self) -> None:
        torch.cuda.synchronize(self.device)


def device_for(name: str) -> Device:
    """For ``cpu`` or ``cuda`` (or ``cuda:N``). Raises ValueError when that is not there."""
    if name == "cpu":
        return Cpu()
    if not name.startswith("cuda"):
        raise ValueError(f"unknown device {name!r}: cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise ValueError(f"--device {name}: PyTorch finds no CUDA device here; use --device cpu")
    found = torch.device(name)
    count = torch.cuda.device_count()
    if found.index is not None and found.index >= count:
        raise ValueError(f"--device {name}: there {'is' if count == 1 else 'are'} {count} here, numbered from 0")
    return Cuda(torch.device("cuda", torch.cuda.current_device() if found.index is None else found.index))


def device_name(name: str) -> str:
    """For people."""
    return f"CPU, {torch.get_num_threads()} threads" if name == "cpu" else torch.cuda.get_device_name(name)


def driver_version(name: str) -> str:
    """Of the GPU's driver, as nvidia-smi tells; empty if it does not, and for a CPU."""
    if name == "cpu":
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.split("\n")[0].strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def device_memory(name: str) -> int:
    """Bytes that the device has free; of a CPU, no limit."""
    return 1 << 62 if name == "cpu" else torch.cuda.mem_get_info(name)[0]
