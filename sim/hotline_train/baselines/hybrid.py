"""Hybrid training: tables, look-ups and updates on the CPU, MLPs on the device. Two of them; the faster one counts.

hybrid_tables   as facebookresearch/dlrm does it: an ``EmbeddingBag(sparse=True)`` for each table, PyTorch's optimizers
hybrid_fused    one look-up and one sorted update of all tables, compiled, with all cores; the order of the update depends on
                keys alone, and is made ahead; what the update of a mini-batch leaves alone is looked up for the next one while
                the device works
"""

import numpy as np
import torch
from torch import Tensor, nn

from hotline_native.bags import ADAGRAD, ROW_WISE_ADAGRAD, SGD, Grouped, late_bags, pool, update

from ..optimizers import EPSILON
from ..step.device import Event, Phase, Wait
from .system import DoesNotFit, MiniBatches, Task

_KINDS = {"sgd": SGD, "rowwise-adagrad": ROW_WISE_ADAGRAD, "adagrad": ADAGRAD}


class Hybrid(MiniBatches):
    """What both have in common: pooled vectors go to the device, their gradients come back, through pinned memory."""

    def __init__(self, task: Task):
        super().__init__(task)
        self.apart = self.device.device.type != "cpu"
        shape = (task.job.batch_size, len(task.trace.table_rows), task.settings.rows.dim)
        dtype = task.settings.rows.dtype
        self.pooled = [self.device.pinned(*shape, dtype=dtype) for _ in range(2)]
        self.gradient = self.device.pinned(*shape, dtype=dtype)

    def forward_and_back(self, batch: int, pooled: Tensor) -> Event:
        """Gives the device all of a step but the tables; ``gradient`` is there when the event comes."""
        main, count = self.device.main, len(self.payload[batch])

        def bring():
            part = self.set_inputs(batch)
            self.space.pooled[part].copy_(pooled[:count], non_blocking=True)

        def take():
            self.gradient[:count].copy_(self.space.gradient[:count], non_blocking=True)

        main.run(bring, Phase.TRANSFER)
        main.run(lambda: self.dense.run(slice(0, count)), Phase.DENSE)
        main.run(take, Phase.TRANSFER)
        back = main.event()
        main.run(self.dense_step, Phase.DENSE)  # while the host updates the tables
        self.bus_bytes += 2 * pooled[:count].nbytes
        return back


class FusedHybrid(Hybrid):
    name = "hybrid_fused"

    def __init__(self, task: Task, samples: np.ndarray | None = None, table: np.ndarray | None = None):
        """``samples`` int64 [n]: those that are trained on, if not all; ``table``: rows that others change, too."""
        super().__init__(task)
        if task.settings.optimizer not in _KINDS:
            raise DoesNotFit(f"it has {', '.join(_KINDS)}, not {task.settings.optimizer}")
        self.kind, self.table = _KINDS[task.settings.optimizer], task.tables.copy() if table is None else table
        self.of, self.tables = task.trace.table_of, len(task.trace.table_rows)
        size = task.job.batch_size
        parts = (
            [samples[n : n + size] for n in range(0, len(samples), size)]
            if samples is not None
            else [np.arange(task.trace.samples)[task.samples_of(batch)] for batch in range(task.job.batches)]
        )
        if samples is not None:
            payload = torch.from_numpy(task.trace.payload.view(np.float32)).to(task.settings.rows.dtype)
            self.payload = [payload[part].to(self.device.device) for part in parts]
        self.keys = [np.ascontiguousarray(task.keys[part]) for part in parts]
        self.grouped = [Grouped.of(keys) for keys in self.keys]
        before = [*self.grouped[-1:], *self.grouped[:-1]]
        self.late = [late_bags(g.rows, keys, self.of, self.tables) for g, keys in zip(before, self.keys, strict=True)]
        self.begun = False  # what of the next mini-batch can be looked up early, has been

    def step(self, batch: int) -> None:
        task, pooled = self.task, self.pooled[self.number % 2]
        self._look_up(batch, pooled, late=True, all_of_it=not self.begun)
        back = self.forward_and_back(batch, pooled)
        self._look_up((batch + 1) % len(self.keys), self.pooled[(self.number + 1) % 2], late=False)
        self.begun = True
        back.wait(Wait.RETURNED)
        with self.device.timed(Phase.UPDATE):
            update(
                self.table,
                self.grouped[batch],
                self.of,
                self.gradient[: len(self.keys[batch])].numpy(),
                self.kind,
                task.settings.learning_rate,
                EPSILON,
                task.threads,
            )

    def _look_up(self, batch: int, pooled: Tensor, late: bool, all_of_it: bool = False) -> None:
        with self.device.timed(Phase.LOOK_UP):
            keys = self.keys[batch]
            pool(
                self.table,
                keys,
                self.of,
                pooled[: len(keys)].numpy(),
                self.task.threads,
                None if all_of_it else self.late[batch],
                late and not all_of_it,
            )

    def forget_early(self) -> None:
        """Somebody else changes the tables: nothing has been looked up ahead."""
        self.begun = False

    def rows(self, places: np.ndarray) -> Tensor:
        return torch.from_numpy(self.table[places, : self.settings.rows.dim])


class TableHybrid(Hybrid):
    name = "hybrid_tables"

    def __init__(self, task: Task):
        super().__init__(task)
        parts = np.split(task.tables[:, : task.settings.rows.dim], task.first[1:])
        self.bags = [
            nn.EmbeddingBag.from_pretrained(torch.from_numpy(part.copy()), freeze=False, mode="sum", sparse=True)
            for part in parts
        ]
        self.update = self._optimizer()
        self.lists = [
            [
                (torch.from_numpy(rows), torch.from_numpy(np.cumsum(lengths) - lengths))
                for rows, lengths in task.bags(batch)
            ]
            for batch in range(task.job.batches)
        ]

    def _optimizer(self):
        """A step of all tables by their sparse gradients."""
        settings, tables = self.settings, [bag.weight for bag in self.bags]
        if settings.optimizer == "rowwise-adagrad":
            sums = [torch.zeros(len(table), dtype=table.dtype) for table in tables]

            def step() -> None:
                """As DLRM's RWSAdagrad."""
                for table, total in zip(tables, sums, strict=True):
                    gradient = table.grad.coalesce()
                    index, values = gradient.indices()[0], gradient.values()
                    total.index_add_(0, index, values.square().mean(dim=1))
                    scale = -settings.learning_rate / (total[index].sqrt() + EPSILON)
                    table.data.index_add_(0, index, values * scale[:, None])
                    table.grad = None

            return step
        kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.SparseAdam}
        make = kinds.get(settings.optimizer, lambda p, lr: torch.optim.Adagrad(p, lr, eps=EPSILON))
        optimizer = make(tables, lr=settings.learning_rate)

        def step_sparse() -> None:
            optimizer.step()
            optimizer.zero_grad()

        return step_sparse

    def step(self, batch: int) -> None:
        count = len(self.payload[batch])
        with self.device.timed(Phase.LOOK_UP):
            vectors = [bag(rows, offsets) for bag, (rows, offsets) in zip(self.bags, self.lists[batch], strict=True)]
            pooled = torch.stack(vectors, dim=1)
            self.pooled[0][:count].copy_(pooled.detach())
        back = self.forward_and_back(batch, self.pooled[0])
        back.wait(Wait.RETURNED)
        with self.device.timed(Phase.UPDATE):
            pooled.backward(self.gradient[:count])
            with torch.no_grad():
                self.update()

    def rows(self, places: np.ndarray) -> Tensor:
        return self.task.rows_of([bag.weight for bag in self.bags], places)
