"""Moves arrays between host memory and the device that trains, beside its work."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor


class Arriving(ABC):
    """A tensor that is on its way."""

    @abstractmethod
    def wait(self) -> Tensor:
        """The tensor on the device; work that is given to it from now on sees all of it."""


class Leaving(ABC):
    """An array that is being written."""

    @abstractmethod
    def wait(self) -> None:
        """Returns when all of it is in host memory."""


class Transfers(ABC):
    """``device``: where tensors go to."""

    device: torch.device

    @abstractmethod
    def bring(self, array: np.ndarray) -> Arriving:
        """Copies ``array`` to the device. It must not change until the tensor has been waited for."""

    @abstractmethod
    def take(self, tensor: Tensor, array: np.ndarray) -> Leaving:
        """Copies ``tensor`` into ``array``."""

    @abstractmethod
    def synchronise(self) -> None:
        """Returns when the device has done all that it was given."""


class Arrived(Arriving, Leaving):
    """Nothing is on its way: it is there."""

    def __init__(self, tensor: Tensor | None = None):
        self.tensor = tensor

    def wait(self):
        return self.tensor


class DirectTransfers(Transfers):
    """The device is the CPU: tensors are views of host memory, and nothing is copied on the way in."""

    device = torch.device("cpu")

    def bring(self, array: np.ndarray) -> Arriving:
        return Arrived(torch.from_numpy(array))

    def take(self, tensor: Tensor, array: np.ndarray) -> Leaving:
        torch.from_numpy(array).copy_(tensor)
        return Arrived()

    def synchronise(self) -> None:
        pass


class _Coming(Arriving):
    """``event`` comes when ``tensor`` is whole."""

    def __init__(self, event: torch.cuda.Event, tensor: Tensor):
        self.event, self.tensor = event, tensor

    def wait(self) -> Tensor:
        stream = torch.cuda.current_stream(self.tensor.device)
        stream.wait_event(self.event)
        self.tensor.record_stream(stream)  # its memory is not given away before this stream has done with it
        return self.tensor


class _Going(Leaving):
    """``event`` comes when ``pinned`` is whole; then it is copied into ``array``."""

    def __init__(self, event: torch.cuda.Event, pinned: Tensor, array: np.ndarray):
        self.event, self.pinned, self.array = event, pinned, array

    def wait(self) -> None:
        self.event.synchronize()
        torch.from_numpy(self.array).copy_(self.pinned)


class CudaTransfers(Transfers):
    """Through pinned memory, on a stream of their own: the device computes meanwhile. Every stream and event is of ``device``,
    whatever the current device is."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def bring(self, array: np.ndarray) -> Arriving:
        pinned = torch.empty(array.shape, dtype=torch.from_numpy(array[:0]).dtype, pin_memory=True)
        pinned.copy_(torch.from_numpy(array))
        with torch.cuda.stream(self.stream):
            tensor = pinned.to(self.device, non_blocking=True)
        return _Coming(self.stream.record_event(), tensor)

    def take(self, tensor: Tensor, array: np.ndarray) -> Leaving:
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            pinned.copy_(tensor, non_blocking=True)
        tensor.record_stream(self.stream)
        return _Going(self.stream.record_event(), pinned, array)

    def synchronise(self) -> None:
        torch.cuda.synchronize(self.device)


def transfers_for(device: str) -> Transfers:
    """For ``cpu`` or ``cuda`` (or ``cuda:N``). Raises ValueError when that is not there."""
    if device == "cpu":
        return DirectTransfers()
    if not device.startswith("cuda"):
        raise ValueError(f"unknown device {device!r}: cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise ValueError(f"--device {device}: PyTorch finds no CUDA device here; use --device cpu")
    found = torch.device(device)
    count = torch.cuda.device_count()
    if found.index is not None and found.index >= count:
        raise ValueError(f"--device {device}: there {'is' if count == 1 else 'are'} {count} here, numbered from 0")
    return CudaTransfers(torch.device("cuda", torch.cuda.current_device() if found.index is None else found.index))


def device_name(device: str) -> str:
    """For people."""
    return f"CPU, {torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name(device)


def device_memory(device: str) -> int:
    """Bytes that the device has free; of a CPU, no limit."""
    return 1 << 62 if device == "cpu" else torch.cuda.mem_get_info(device)[0]
