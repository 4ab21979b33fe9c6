"""How systems are timed: equal first, then fast.

1. In float64 it trains CHECKED mini-batches. Its MLPs and the rows used must then be those of the first exact system.
2. Windows of some seconds, of which the median counts.
3. Some steps whose phases are timed (they overlap), and some that are profiled: how long no kernel ran.
"""

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..evaluation import parameters, part_of_movement
from ..step.device import PhaseTimes
from .system import DoesNotFit, System, Task

#: Steps after which systems are compared; steps before the clock starts; steps whose phases are timed, and that are profiled.
CHECKED, WARM_UP, TIMED = 20, 15, 20
#: How far an exact system may be from the first one, as a part of what training has moved.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Measured:
    """One system: ``samples_per_second`` is the median of ``windows``; ``idle`` the share of the time in which no kernel ran on
    the device (NaN on a CPU), ``popular`` that of popular samples in mini-batches that were not learnt from (NaN if it splits
    none); ``phases``: seconds of a step; ``difference``: in float64, from the first exact system, as a part of what
    training has moved (NaN if it is another training, or has no float64). ``note``: why it was not measured."""

    name: str
    samples_per_second: float = 0.0
    windows: list[float] = field(default_factory=list)
    bus_bytes_per_sample: float = 0.0
    device_bytes: int = 0
    idle: float = float("nan")
    popular: float = float("nan")
    phases: dict[str, float] = field(default_factory=dict)
    rows_per_mini_batch: dict[str, float] = field(default_factory=dict)
    difference: float = float("nan")
    note: str = ""


class Different(Exception):
    """A system does not train what the others train."""


class Comparison:
    """The parameters after CHECKED steps in float64: those of the first exact system are what others must have. In float32
    rounding alone moves those of a large model by percents in so many steps of Adagrad: its first steps do not depend on
    how large a gradient is. ``task`` is one in float64."""

    def __init__(self, task: Task):
        self.task = task
        keys = task.keys[: CHECKED * task.job.batch_size]
        self.places = np.unique(keys[keys >= 0])
        model = task.settings.model(len(task.trace.table_rows), task.trace.payload_words - 1)
        self.start = [*parameters(model), torch.from_numpy(task.tables[self.places, : task.settings.rows.dim])]
        self.first: list[Tensor] = []
        self.known: dict[str, float] = {}

    def check(self, make: type[System]) -> float:
        """How far it is from the first one; NaN for one that trains something else, or has no float64. Raises Different
        when that is too much, and whatever the system raises."""
        if not make.exact or not make.has_float64:
            return float("nan")
        if make.name not in self.known:
            self.known[make.name] = self._difference(make)
        if not self.known[make.name] <= TOLERANCE:
            raise Different(
                f"after {CHECKED} steps its parameters are {self.known[make.name]:.1e} of what training moved away"
            )
        return self.known[make.name]

    def forget(self) -> None:
        """All systems have been compared: only the verdicts are kept."""
        self.task = replace(self.task, start=None)
        self.first = self.first[:1]

    def _difference(self, make: type[System]) -> float:
        system = make(self.task)
        try:
            system.steps(CHECKED)
            system.device.synchronise()
            found = [*parameters(system.model), system.rows(self.places).clone()]
        finally:
            system.close()
        self.first = self.first or found
        return part_of_movement(found, self.first, self.start)


def measure(
    make: type[System], task: Task, comparison: Comparison, *, seconds: float = 3.0, repetitions: int = 3
) -> Measured:
    """Times one system over ``repetitions`` windows of at least ``seconds``, if it trains what others do. Whatever a system
    raises is its own note: the others are still to be measured."""
    system = None
    try:
        difference = comparison.check(make)
        system = make(task)
        return _measure(make.name, system, difference, seconds, repetitions)
    except (DoesNotFit, Different) as e:
        return Measured(make.name, note=str(e))
    except Exception as e:
        return Measured(make.name, note=f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:200]}")
    finally:
        if system:
            system.close()


def _measure(name: str, system: System, difference: float, seconds: float, repetitions: int) -> Measured:
    device, batch_size = system.device, system.job.batch_size
    system.steps(WARM_UP)
    device.synchronise()
    bytes_before, total, speeds = system.bus_bytes, 0, []
    for _ in range(repetitions):
        samples, spent, count = 0, 0.0, WARM_UP
        began = time.perf_counter()
        while spent < seconds:
            samples += system.steps(count)
            device.synchronise()
            spent = time.perf_counter() - began
            # The rest of the window in one go, so that the device is waited for once or twice.
            count = max(1, int(1.1 * (seconds - spent) / spent * samples / batch_size))
        speeds.append(samples / spent)
        total += samples
    bus_bytes = (system.bus_bytes - bytes_before) / total
    for _ in range(2):  # the first time captures what is timed
        device.times = times = PhaseTimes()
        system.steps(TIMED)
        device.synchronise()
    phases = {phase: spent / TIMED for phase, spent in times.seconds.items()}
    device.times = None
    idle = device_idle(system, TIMED) if device.device.type == "cuda" else float("nan")
    return Measured(
        name,
        float(np.median(speeds)),
        speeds,
        bus_bytes,
        system.device_bytes,
        idle,
        system.popular,
        phases,
        system.rows_per_mini_batch,
        difference,
    )


def device_idle(system: System, steps: int) -> float:
    """The share of the time of ``steps`` steps in which no kernel ran on the device, as its own profile has it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        began = time.perf_counter()
        system.steps(steps)
        system.device.synchronise()
        seconds = time.perf_counter() - began
    on_device = [e for e in found.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [
        (e.time_range.start, e.time_range.end)
        for e in on_device
        if not e.name.lower().startswith(("memcpy", "memset"))
    ]
    return max(0.0, 1 - covered(kernels) / 1e6 / seconds) if kernels else float("nan")


def covered(spans: list[tuple[float, float]]) -> float:
    """How much of a line ``spans`` (begin, end) cover together."""
    total, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
