"""Like FAE (Adnan et al., VLDB 2021): the rows that are accessed most are copied to the device, as many as Hotline has slots.
Mini-batches hold hot samples only, which train there, or others, which train as the hybrid does. Between the two, hot rows are
copied over. Mini-batches are other ones than those of the log: what it trains is not the same.
"""

import numpy as np
import torch
from torch import Tensor

from ..kernels.choice import kernels_for
from ..step.dense import DensePart, log_loss
from ..step.device import Phase
from ..step.feed import RecordRing
from ..step.graphs import Graphs
from ..step.records import MicroBatch, Workspace, write_header
from ..step.store import RowStore
from ..step.work import StepWork
from .hybrid import FusedHybrid
from .system import System, Task


class _HotPart:
    """Hot samples: all they need is on the device."""

    def __init__(self, task: Task, cold: FusedHybrid, samples: np.ndarray, slots: np.ndarray):
        device, rows, records, size = task.device, task.settings.rows, task.records, task.job.batch_size
        space = Workspace(records, rows, size, device, padded=False)
        self.store = RowStore(len(slots), 0, rows, device)
        graphs = Graphs(device)
        dense = DensePart(cold.model, log_loss, space, graphs, task.settings.autocast(device.device))
        self.work = StepWork(
            device, kernels_for(device.device, records, rows, size), space, self.store, dense, graphs
        )
        self.none = MicroBatch(self.work.empty, 0)
        self.optimizer = task.settings.row_optimizer(device.device)
        slot = np.full(int(task.trace.table_rows.sum()) + 1, -1, np.int32)  # the last one for no access
        slot[slots] = np.arange(len(slots), dtype=np.int32)
        self.batches = []
        for n in range(0, len(samples), size):
            part = samples[n : n + size]
            words = np.zeros((1 + len(part), records.words), np.int32)
            words[1:, 1 : 1 + records.payload_words] = task.trace.payload[part].view(np.int32)
            words[1:, 1 + records.payload_words :] = slot[task.keys[part]]
            write_header(words, len(part), len(part), 0)
            self.batches.append(MicroBatch(torch.from_numpy(words).to(device.device), len(part)))
        self.ring = RecordRing(device, size, records.words)
        self.number = 0

    def step(self, cold: FusedHybrid) -> int:
        records = self.batches[self.number % len(self.batches)]
        held = self.ring.of(self.number)[0].bring(records.count, records.words)
        self.work.together(self.number, held, self.none, None, None, cold.step_of_mlps, self.optimizer, whole=True)
        self.ring.used(self.number, self.work.end())
        self.number += 1
        return records.count


class Fae(System):
    name = "fae"
    exact = False

    def __init__(self, task: Task):
        super().__init__(task)
        table = task.tables.copy()
        counts = np.bincount(task.keys[task.keys >= 0], minlength=len(table))
        hottest = (
            np.argpartition(counts, -min(task.slots, len(table)))[-task.slots :] if task.slots < len(table) else None
        )
        self.hot_rows = np.arange(len(table)) if hottest is None else np.sort(hottest)
        hot = np.zeros(len(table) + 1, np.bool_)
        hot[self.hot_rows] = hot[-1] = True
        is_hot = hot[task.keys].all(axis=1)
        self.cold = FusedHybrid(task, np.flatnonzero(~is_hot), table)
        self.hot = _HotPart(task, self.cold, np.flatnonzero(is_hot), self.hot_rows)
        self.device_bytes = len(self.hot_rows) * task.settings.rows.bytes
        self.hot_part = float(is_hot.mean())

    @property
    def model(self) -> torch.nn.Module:
        return self.cold.model

    def steps(self, count: int) -> int:
        hot = round(count * self.hot_part) if self.hot.batches else 0
        before, samples = self.cold.bus_bytes, 0
        if self.cold.keys:
            self.cold.forget_early()
            samples += self.cold.steps(count - hot)
        rows, store = torch.from_numpy(self.cold.table[self.hot_rows]), self.hot.store.all
        self.device.main.run(lambda: store[: len(rows)].copy_(rows), Phase.TRANSFER)
        samples += sum(self.hot.step(self.cold) for _ in range(hot))
        self.device.synchronise()
        with self.device.timed(Phase.TRANSFER):
            self.cold.table[self.hot_rows] = store[: len(rows)].cpu().numpy()
        self.bus_bytes += self.cold.bus_bytes - before + 2 * rows.nbytes
        return samples

    def rows(self, places: np.ndarray) -> Tensor:
        return self.cold.rows(places)
