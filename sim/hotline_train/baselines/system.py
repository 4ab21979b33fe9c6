"""A system that trains the model, as all of them are timed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.run.job import Job, prepare
from hotline_sim.traces.trace import ArrayTrace, in_memory

from ..settings import Settings
from ..sources.tables import HostTables
from ..step.dense import DensePart, log_loss
from ..step.device import Device
from ..step.graphs import Graphs
from ..step.records import RecordFormat, Workspace


class DoesNotFit(Exception):
    """A system needs more device memory than it may have, or software that is not there; the message says what."""


@dataclass(frozen=True)
class Task:
    """What all systems are given: ``job``'s mini-batches, ``settings``, a ``device`` of whose memory rows may take ``cap`` bytes;
    ``threads`` of the host. ``start`` [all rows, width]: the tables as training begins, if somebody has them."""

    job: Job
    settings: Settings
    device: Device
    cap: int
    threads: int
    start: np.ndarray | None = None

    @cached_property
    def trace(self) -> ArrayTrace:
        """Held in memory as a whole."""
        return in_memory(self.job.trace)

    @cached_property
    def first(self) -> np.ndarray:
        """int64 [tables]: where each table begins among all rows."""
        return np.cumsum(self.trace.table_rows) - self.trace.table_rows

    @cached_property
    def keys(self) -> np.ndarray:
        """int64 [samples, accesses]: the place among all rows of each access; -1 for none."""
        places = self.trace.rows.astype(np.int64) + self.first[self.trace.table_of]
        return np.where(self.trace.rows != NO_ACCESS, places, -1)

    @property
    def records(self) -> RecordFormat:
        trace = self.trace
        return RecordFormat(trace.payload_words, tuple(trace.table_of.tolist()), len(trace.table_rows))

    @cached_property
    def mlp_parameters(self) -> int:
        model = self.settings.model(len(self.trace.table_rows), self.trace.payload_words - 1)
        return sum(parameter.numel() for parameter in model.parameters())

    @property
    def slots(self) -> int:
        """Rows of Hotline's hot table: so much device memory is everybody's."""
        return self.job.config.tracker_entries + len(self.job.resident_keys())

    def samples_of(self, batch: int) -> slice:
        first = batch * self.job.batch_size
        return slice(first, min(first + self.job.batch_size, self.trace.samples))

    def in_float64(self) -> "Task":
        """The same for a comparison of results, with as much device memory for as many rows."""
        settings = replace(self.settings, dtype="float64", amp=False, tf32=False)
        config = replace(self.job.config, max_row_bytes=1024)
        job = prepare(
            self.trace,
            config,
            batch_size=self.job.batch_size,
            learn=len(self.job.learn_batches) / self.job.batches,
            fill=False,
            resident=self.job.resident_rows,
            dim=settings.rows.words,
        )
        return Task(job, settings, self.device, 2 * self.cap, self.threads, self.tables.astype(np.float64))

    @cached_property
    def tables(self) -> np.ndarray:
        """[all rows, width]: as training begins. Who trains on them takes a copy."""
        return HostTables(self.trace.table_rows, self.settings.rows).all if self.start is None else self.start

    def rows_of(self, tables: Sequence[Tensor], places: np.ndarray) -> Tensor:
        """[n, dim], in host memory: the rows of ``tables``, each [rows, dim], at ``places`` int64 [n] among all rows."""
        number = np.searchsorted(self.first, places, side="right") - 1
        out = torch.empty(len(places), self.settings.rows.dim, dtype=self.settings.rows.dtype)
        for table in np.unique(number).tolist():
            mine = number == table
            out[torch.from_numpy(mine)] = tables[table].detach().cpu()[places[mine] - self.first[table]]
        return out

    def bags(self, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each table the rows int64 that a mini-batch accesses, sample after sample, and how many each sample does, int64."""
        rows, table_of = self.trace.rows[self.samples_of(batch)], self.trace.table_of
        found = []
        for number in range(len(self.trace.table_rows)):
            mine = rows[:, table_of == number]
            there = mine != NO_ACCESS
            found.append((mine[there].astype(np.int64), there.sum(axis=1)))
        return found


class System(ABC):
    """Trains step after step. ``bus_bytes`` counts what goes over the bus between host and device, or would if the device
    were not the CPU; ``device_bytes``: rows there; ``popular``: the share of popular samples, if it knows it; ``exact``:
    its parameters are those of any other exact system; ``has_float64``: it can be compared. Raises DoesNotFit."""

    name = ""
    exact = True
    has_float64 = True

    def __init__(self, task: Task):
        self.task, self.job, self.settings, self.device = task, task.job, task.settings, task.device
        self.bus_bytes = 0
        self.device_bytes = 0
        self.popular = float("nan")
        self.settings.allow_tf32()

    @abstractmethod
    def steps(self, count: int) -> int:
        """Makes ``count`` steps, from where the last ones ended; returns how many samples they had."""

    @property
    @abstractmethod
    def model(self) -> torch.nn.Module:
        """The MLPs."""

    @property
    def rows_per_mini_batch(self) -> dict[str, float]:
        """``distinct`` rows of a mini-batch, and ``working`` rows; empty if it does not know them."""
        return {}

    @abstractmethod
    def rows(self, places: np.ndarray) -> Tensor:
        """[n, dim]: the values of rows, ``places`` int64 [n] among all, in host memory. Everything has been done before."""

    def close(self) -> None:  # noqa: B027
        """Gives back what is not memory."""


class MiniBatches(System):
    """Whole mini-batches: the model on the device, in CUDA graphs where there is CUDA; ``pooled`` comes from elsewhere."""

    def __init__(self, task: Task):
        super().__init__(task)
        trace = task.trace
        model = task.settings.model(len(trace.table_rows), trace.payload_words - 1).to(self.device.device)
        self.dense_optimizer = task.settings.dense_optimizer(model)
        self.space = Workspace(task.records, task.settings.rows, task.job.batch_size, self.device, padded=False)
        self.graphs = Graphs(self.device)
        self.dense = DensePart(model, log_loss, self.space, self.graphs, task.settings.autocast(self.device.device))
        payload = torch.from_numpy(trace.payload.view(np.float32)).to(self.device.device, task.settings.rows.dtype)
        self.payload = [payload[task.samples_of(batch)] for batch in range(task.job.batches)]
        self.number = 0

    @property
    def model(self) -> torch.nn.Module:
        return self.dense.model

    def steps(self, count: int) -> int:
        samples = 0
        for _ in range(count):
            batch = self.number % len(self.payload)
            self.step(batch)
            samples += len(self.payload[batch])
            self.number += 1
        return samples

    @abstractmethod
    def step(self, batch: int) -> None:
        """One step."""

    def set_inputs(self, batch: int) -> slice:
        """Labels and dense features of a mini-batch go to their places; returns where, in the workspace. On the main stream."""
        space, payload = self.space, self.payload[batch]
        part = slice(0, len(payload))
        space.labels[part].copy_(payload[:, 0])
        space.dense[part].copy_(payload[:, 1:])
        return part

    def dense_step(self) -> None:
        """The optimizer's step of the MLPs."""
        self.graphs.run("dense_step", self.step_of_mlps)

    def step_of_mlps(self) -> None:
        """The same, as it is: to be captured with other work."""
        self.dense_optimizer.step()
        self.dense_optimizer.zero_grad(set_to_none=False)
