"""How fast bytes go between host and device: what a GPU's figures are to be read beside."""

import time
from collections.abc import Callable

import numpy as np
import torch

from ..kernels.choice import kernels_for
from ..rows import RowFormat
from ..step.cold_rows import Pinned
from ..step.device import Device
from ..step.records import RecordFormat

#: Bytes of a large copy; rows that are read and written one by one, of a table of so many.
COPIED, MOVED, ROWS = 256 << 20, 1 << 18, 1 << 22
REPEATS = 5


def bus_rates(device: Device, dim: int = 16) -> dict[str, float]:
    """Bytes a second of large copies from pinned memory and back, and of rows of ``dim`` float32 that the device itself
    reads from random places of a pinned table, and writes there. The best of some repetitions."""
    pinned = device.pinned(COPIED, dtype=torch.uint8)
    there = device.zeros(COPIED, dtype=torch.uint8)
    rows = RowFormat(dim, 0, torch.float32)
    kernels = kernels_for(device.device, RecordFormat(1, (0,), 1), rows, 1)
    table = Pinned(np.zeros((ROWS, dim), np.float32), device)
    places = torch.randperm(ROWS)[:MOVED].to(device.device)
    none = torch.full((MOVED,), -1, dtype=torch.int32, device=device.device)
    out = device.zeros(MOVED, dim, dtype=torch.float32)
    found = {
        "to_device": COPIED / _best(device, lambda: there.copy_(pinned, non_blocking=True)),
        "from_device": COPIED / _best(device, lambda: pinned.copy_(there, non_blocking=True)),
        "rows_read": out.nbytes / _best(device, lambda: kernels.gather(table.tensor, places, none, out)),
        "rows_written": out.nbytes / _best(device, lambda: kernels.scatter(table.tensor, places, out)),
    }
    table.close()
    return found


def _best(device: Device, work: Callable[[], object]) -> float:
    """Seconds."""
    best = float("inf")
    for _ in range(REPEATS):
        device.synchronise()
        began = time.perf_counter()
        work()
        device.synchronise()
        best = min(best, time.perf_counter() - began)
    return best
