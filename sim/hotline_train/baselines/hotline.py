"""Hotline, as it is timed: without an accelerator its records are made beforehand, and lie in device memory as it would write
them; working rows come and go inside the time that is measured. And everything on the GPU: the same with all tables resident.
"""

from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hotline_native.carried import carried_rows
from hotline_sim.run.job import Job, prepare

from ..sources.native import NativeSource
from ..sources.source import Exchange
from ..step.cold_rows import DirectRows, WorkingRows
from ..step.feed import Feed
from ..step.native_feed import NativeFeed, Split
from ..step.records import write_header
from ..step.trainer import Trainer
from .system import DoesNotFit, System, Task


@dataclass(frozen=True)
class Held:
    """A mini-batch: records of both micro-batches on the device, int32 [1 + n, record words]; its working rows, and the same if
    none is ``carried``."""

    popular: Tensor
    other: Tensor
    rows: WorkingRows
    alone: WorkingRows


class HeldFeed(NativeFeed):
    """All mini-batches of the source are split beforehand, in order; records lie on the device, as an accelerator would write
    them: they are copied there to where a step expects them."""

    def hold(self, source: NativeSource) -> None:
        """Splits them. ``popular_counts``: popular samples of each."""
        if source.follows:
            raise ValueError("mini-batches that are held must all be split by one hot set: set shadow=0")
        found = [source.split(batch)[0] for batch in range(source.batches)]
        self.popular_counts = [len(split.popular) for split in found]
        all_places = [self.tables.places(split.working_keys) for split in found]
        self.held: list[Held] = []
        for split, before, mine in zip(found, [*all_places[-1:], *all_places[:-1]], all_places, strict=True):
            samples = len(split.popular) + len(split.non_popular)
            popular = self._on_device(split.popular, samples, 0)
            other = self._on_device(split.non_popular, samples, len(mine))
            places = self.device.pinned(len(mine), dtype=torch.int64)
            places.numpy()[:] = mine
            carried, none = (self.device.pinned(len(mine), dtype=torch.int32) for _ in range(2))
            carried_rows(before, mine, carried.numpy())
            none.fill_(-1)
            exchanged = self.device.pinned(2, 0, dtype=torch.int64)
            rows, alone = (WorkingRows(places, which, places, exchanged) for which in (carried, none))
            self.held.append(Held(popular, other, rows, alone))

    def _on_device(self, records: np.ndarray, samples: int, working: int) -> Tensor:
        words = np.zeros((1 + len(records), records.shape[1]), np.int32)
        words[1:] = records.view(np.int32)
        write_header(words, len(records), samples, working)
        return torch.from_numpy(words).to(self.device.device)

    def begin(self, step: int, batch: int, *, ahead: bool) -> None:
        held, slots = self.held[batch], self.ring.of(step)
        popular, other = (
            partial(slot.bring, len(words) - 1, words)
            for slot, words in zip(slots, (held.popular, held.other), strict=True)
        )
        future: Future[Split] = Future()
        future.set_result(Split(popular, other, held.rows if ahead else held.alone, Exchange.none()))
        self.begun.append((step, future))


class HeldTrainer(Trainer):
    """A trainer of held mini-batches."""

    def _feed(self) -> Feed:
        assert isinstance(self.source, NativeSource)
        cold = DirectRows(self.source.tables, self.store, self.device, self.kernels)
        feed = HeldFeed(self.source, self.store, self.device, cold, self.records.words)
        feed.hold(self.source)
        return feed


class Hotline(System):
    name = "hotline"

    def __init__(self, task: Task):
        super().__init__(task)
        job = self._job(task)
        source = NativeSource(job, task.settings.rows, task.threads, task.tables.copy())
        self.trainer = HeldTrainer(task.settings, source, task.device, prefetch=True)
        assert isinstance(self.trainer.feed, HeldFeed)
        self.feed = self.trainer.feed
        counts = [
            (self.feed.popular_counts[b], job.samples_of(b), b in job.learn_batches) for b in range(job.batches)
        ]
        later = [(popular, samples) for popular, samples, learnt in counts if not learnt] or [c[:2] for c in counts]
        self.popular = sum(popular for popular, _ in later) / sum(samples for _, samples in later)

    @property
    def rows_per_mini_batch(self) -> dict[str, float]:
        """Distinct ones of the first mini-batches, working ones of all."""
        task = self.task
        first = [len(np.unique(task.keys[task.samples_of(batch)])) for batch in range(min(8, task.job.batches))]
        return {
            "distinct": float(np.mean(first)),
            "working": float(np.mean([len(h.rows.places) for h in self.feed.held])),
        }

    def _job(self, task: Task) -> Job:
        """What is trained on; ``device_bytes`` are known then."""
        self.device_bytes = task.slots * task.settings.rows.bytes
        if self.device_bytes > task.cap:
            raise DoesNotFit(f"its hot table takes {self.device_bytes / 1e6:,.0f} MB: choose a smaller one")
        return task.job

    @property
    def model(self) -> torch.nn.Module:
        return self.trainer.model

    def steps(self, count: int) -> int:
        samples = 0

        def after(step):
            nonlocal samples
            samples += step.samples

        self.trainer.run(count, after)
        self.bus_bytes = self.feed.bus_bytes
        return samples

    def rows(self, places: np.ndarray) -> Tensor:
        self.trainer.flush()
        assert isinstance(self.trainer.source, NativeSource)
        return torch.from_numpy(self.trainer.source.tables.all[places, : self.settings.rows.dim])

    def close(self) -> None:
        self.trainer.close()


class GpuOnly(Hotline):
    """All tables are resident."""

    name = "gpu_only"

    def _job(self, task: Task) -> Job:
        rows = task.trace.table_rows
        self.device_bytes = int(rows.sum()) * task.settings.rows.bytes
        if self.device_bytes > task.cap:
            raise DoesNotFit(f"the tables take {self.device_bytes / 1e6:,.0f} MB of device memory")
        return prepare(
            task.trace,
            task.job.config,
            batch_size=task.job.batch_size,
            learn=1e-9,
            resident=int(rows.max()),
            dim=task.settings.rows.words,
            fill=False,
        )
