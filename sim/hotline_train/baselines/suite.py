"""The models of the paper at several batch sizes, with tables that fit and with tables that do not: what a GPU's minutes go to.

The cases come in the order of what they tell. The first ones have long windows; the others short ones, as many as there is time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hotline_rtl.config import AcceleratorConfig
from hotline_sim.run.job import prepare, resident_bound
from hotline_sim.traces import open_trace
from hotline_sim.traces.trace import ArrayTrace, in_memory

from ..models.dlrm import dlrm_shape
from ..settings import Settings
from ..sources.tables import HostTables
from ..step.device import Device
from .measure import Comparison, Measured, measure
from .system import Task
from .systems import SYSTEMS

BATCH_SIZES = (4096, 16384, 1024)
#: Of the first cases, and of the others.
LONG, SHORT = 3.0, 0.5


@dataclass(frozen=True)
class Case:
    """A shape of ``dlrm``, a batch size, and whether device memory is ``capped`` so that a tenth of the tables fits."""

    model: str
    batch_size: int
    capped: bool
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.model} batch {self.batch_size} {'a tenth fits' if self.capped else 'tables fit'}"


def cases(models: tuple[str, ...] = ("rm2", "rm3", "rm1", "rm4")) -> list[Case]:
    """All of them, the most telling first."""
    first = [Case(model, BATCH_SIZES[0], True, LONG) for model in models[:2]]
    rest = [Case(model, size, capped, SHORT) for size in BATCH_SIZES for capped in (True, False) for model in models]
    have = {(case.model, case.batch_size, case.capped) for case in first}
    return first + [case for case in rest if (case.model, case.batch_size, case.capped) not in have]


def prepared(
    trace: ArrayTrace,
    settings: Settings,
    config: AcceleratorConfig,
    batch_size: int,
    cap: int,
    device: Device,
    threads: int,
    *,
    learn: float = 0.05,
    resident: int | None = -1,
) -> Task:
    """``resident``: a bound in rows, or -1 for tables that take half of what device memory the tracker's rows leave. The last
    mini-batch is left out if it is a short one: all steps are alike."""
    whole = trace.samples // batch_size * batch_size
    if 0 < whole < trace.samples:
        trace = in_memory(trace.head(whole))
    row_bytes = settings.rows.bytes
    if resident == -1:
        left = max(0, cap - config.tracker_entries * row_bytes)
        resident = resident_bound(trace.table_rows, row_bytes, left // 2)
    job = prepare(
        trace, config, batch_size=batch_size, learn=learn, fill=False, resident=resident, dim=settings.rows.words
    )
    return Task(job, settings, device, cap, threads)


def fitting(config: AcceleratorConfig, entries: int) -> AcceleratorConfig:
    """``config`` with a tracker of at most ``entries``, or of the least that its banks allow."""
    while config.tracker_entries > entries:
        try:
            config = replace(config, tracker_sets=config.tracker_sets // 2)
        except ValueError:
            break
    return config


@dataclass(frozen=True)
class Ran:
    """A case and what was measured of it. ``note``: why nothing was."""

    case: Case
    task: Task | None
    measured: list[Measured]
    note: str = ""


class Suite:
    """Measures cases on generated logs of ``samples``, with tables of ``scale``; ``memory``: bytes of the device."""

    def __init__(
        self,
        base: Settings,
        config: AcceleratorConfig,
        device: Device,
        memory: int,
        threads: int,
        samples: int,
        scale: float,
    ):
        self.base, self.config, self.device, self.memory, self.threads = base, config, device, memory, threads
        self.samples, self.scale = samples, scale
        self.traces: dict[str, ArrayTrace] = {}
        self.tables: tuple[str, np.ndarray] | None = None  # of one model at a time
        self.comparisons: dict[tuple[str, bool], Comparison] = {}

    def task(self, case: Case) -> Task:
        """Raises ValueError for what the configuration cannot serve."""
        shape = dlrm_shape(case.model)
        settings = replace(self.base, shape=shape)
        if case.model not in self.traces:
            self.traces[case.model] = in_memory(
                open_trace(f"{shape.trace},samples={self.samples},scale={self.scale}")
            )
        trace = self.traces[case.model]
        total = int(trace.table_rows.sum()) * settings.rows.bytes
        cap = total // 10 if case.capped else self.memory
        config = fitting(self.config, cap // 2 // settings.rows.bytes)
        task = prepared(trace, settings, config, case.batch_size, cap, self.device, self.threads)
        if not self.tables or self.tables[0] != case.model:
            self.tables = case.model, HostTables(trace.table_rows, settings.rows).all
        return replace(task, start=self.tables[1])

    def run(
        self, wanted: list[Case], minutes: float, progress: Callable[[str], None], after: Callable[[list[Ran]], None]
    ) -> list[Ran]:
        """Measures ``wanted`` cases until ``minutes`` are over, and tells ``after`` each system what there is. A system is
        compared with the others once for each model and cap: at the first batch size."""
        end = time.monotonic() + 60 * minutes
        done: list[Ran] = []
        for case in wanted:
            if time.monotonic() > end:
                break
            progress(f"{case.name}: making the mini-batches")
            try:
                task = self.task(case)
            except ValueError as e:
                done.append(Ran(case, None, [], str(e)))
                continue
            comparison = self.comparisons.get((case.model, case.capped))
            if not comparison:
                self.comparisons[case.model, case.capped] = comparison = Comparison(task.in_float64())
            ran = Ran(case, task, [])
            done.append(ran)
            for system in SYSTEMS:
                if time.monotonic() > end:
                    break
                progress(f"{case.name}: {system.name}")
                ran.measured.append(measure(system, task, comparison, seconds=case.seconds))
                after(done)
            comparison.forget()
        return done
