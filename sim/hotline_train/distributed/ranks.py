"""Data parallel training over ``torch.distributed``: NCCL on GPUs, Gloo on CPUs.

Each rank trains on its share of both micro-batches. Hot table and MLPs are the same on all ranks; gradients of the MLPs
are added up by an all-reduce, those of hot rows exchanged as rows, so that traffic grows with the rows touched. Cold rows
lie in the ranks' host memories, row ``r`` with rank ``r mod ranks``: keys and rows go there and back all to all, and so do
their gradients; the owner adds them up, in the order of ranks, and makes the step.
"""

import os
from dataclasses import replace
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from hotline_golden.layouts import NO_ACCESS, WORKING_ROW
from hotline_sim.job import Job

from ..kernels.torch_kernels import TorchKernels, change_rows
from ..rows import RowFormat
from ..sources.engine import Engine, EngineSource
from ..sources.source import NonPopular
from ..sources.tables import HostTables
from ..step.device import Phase, Wait
from ..step.trainer import Step, Trainer
from ..step.work import Ordered

#: How long a rank waits for the others.
PATIENCE = timedelta(minutes=10)


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(device: str) -> str:
    """Joins the other ranks; returns the device of this one."""
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if device.startswith("cuda") and torch.cuda.is_available():
        torch.cuda.set_device(device)  # streams and NCCL go by the current one
    return device


def leave() -> None:
    """Parts from the other ranks, if there are any, when all is done. A process that ends without may be aborted by threads of
    Gloo that are still there."""
    if dist.is_initialized():
        dist.destroy_process_group()


def first_rank() -> bool:
    """Whether this process speaks for the job: it is alone, or rank 0."""
    return not dist.is_initialized() or dist.get_rank() == 0


def exchange(sent: np.ndarray, counts: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Sends ``sent`` [n, ...], ``counts`` int64 [ranks] of it to each rank in order; returns what came, and how much of each."""
    outgoing = torch.from_numpy(counts).to(device)
    incoming = torch.empty_like(outgoing)
    dist.all_to_all_single(incoming, outgoing)
    came = incoming.cpu().numpy()
    tensor = torch.from_numpy(np.ascontiguousarray(sent)).to(device)
    received = tensor.new_empty(int(came.sum()), *sent.shape[1:])
    dist.all_to_all_single(received, tensor, came.tolist(), counts.tolist())
    return received.cpu().numpy(), came


class ShardedSource(EngineSource):
    """An engine on each rank, which splits the whole mini-batch and gives this rank's samples of it.

    ``read_rows`` is called on all ranks together, with the same keys.
    """

    def __init__(self, job: Job, rows: RowFormat, engine: Engine, device: torch.device):
        self.rank, self.ranks, self.device = dist.get_rank(), dist.get_world_size(), device
        super().__init__(job, rows, engine, HostTables(job.trace.table_rows, rows, self.rank, self.ranks))
        #: Of the working rows in hand: their keys, by owner; and how many each has.
        self.wanted, self.wanted_counts = np.zeros((0, 2), np.int64), np.zeros(self.ranks, np.int64)
        #: Of this rank's rows: which are wanted, by whom.
        self.asked_places, self.asked_counts = np.zeros(0, np.int64), np.zeros(self.ranks, np.int64)

    def _share(self, records: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(records[records[:, 0] % self.ranks == self.rank])

    def popular(self) -> np.ndarray:
        return self._share(self.asked[0][0])

    def non_popular(self) -> NonPopular:
        _, records, keys = self.asked.pop(0)
        records = self._share(records)
        references = records[:, 1 + self.trace.payload_words :]
        is_working = (references >= WORKING_ROW) & (references != NO_ACCESS)
        used, number = np.unique(references[is_working] - np.uint32(WORKING_ROW), return_inverse=True)
        order = np.argsort(keys[used, 1] % self.ranks, kind="stable")
        new_number = np.empty(len(used), np.uint32)
        new_number[order] = np.arange(len(used), dtype=np.uint32)
        references[is_working] = new_number[number.reshape(-1)] | np.uint32(WORKING_ROW)
        self.wanted = keys[used][order].astype(np.int64)
        self.wanted_counts = np.bincount(self.wanted[:, 1] % self.ranks, minlength=self.ranks).astype(np.int64)
        asked, self.asked_counts = exchange(self.wanted, self.wanted_counts, self.device)
        self.asked_places = self.tables.places(asked)
        rows, _ = exchange(self.tables.all[self.asked_places], self.asked_counts, self.device)
        return NonPopular(records, self.wanted.astype(np.uint32), rows)

    def scatter(self) -> None:
        """Nothing is left to do: owners have updated their rows."""

    def read_rows(self, keys: np.ndarray) -> np.ndarray:
        mine = keys[:, 1] % self.ranks == self.rank
        rows = np.zeros((len(keys), self.rows.width), self.rows.numpy)
        rows[mine] = self.tables.read(keys[mine])
        total = torch.from_numpy(rows).to(self.device)
        dist.all_reduce(total)
        return total.cpu().numpy()

    def write_rows(self, keys: np.ndarray, rows: np.ndarray) -> None:
        mine = keys[:, 1] % self.ranks == self.rank
        self.tables.write(keys[mine], rows[mine])


class DistributedTrainer(Trainer):
    """A trainer on each rank, with a ``ShardedSource``; parameters are the same on all ranks, and those of one."""

    source: ShardedSource

    def __init__(self, *arguments, **more):
        if more.get("together"):
            raise ValueError("several ranks work on one micro-batch after the other: leave --together away")
        super().__init__(*arguments, **(more | {"together": False}))
        self.plain = TorchKernels(self.records, self.settings.rows, self.device.device)
        self.owned = torch.from_numpy(self.source.tables.all)
        self.owner_optimizer = self.settings.row_optimizer(step=self.number)

    def _apply(self, ordered: Ordered) -> None:
        number = self.number

        def work():
            self._add_up_dense()
            self._dense_step()
            for optimizer in (self.row_optimizer, self.owner_optimizer):
                optimizer.advance()
            rows, total = self.plain.add_up(self.store.none, *ordered.sorted, self.space.gradient[ordered.part])
            hot = int(torch.searchsorted(rows, self.store.slots))
            change_rows(self.store.all, *self._of_all(rows[:hot], total[:hot]), self.row_optimizer)
            self._update_cold(rows[hot:].long() - self.store.first(number), total[hot:])

        self.device.main.after(ordered.event, Wait.SORTED)
        self.device.main.run(work, Phase.UPDATE)

    def _step_of(self, step: Step) -> Step:
        counts = torch.tensor([step.popular, step.working_rows, step.samples], device=self.source.device)
        dist.all_reduce(counts)
        dist.all_reduce(step.mean_loss)
        popular, working_rows, samples = counts.tolist()
        return replace(step, popular=popular, working_rows=working_rows, samples=samples)

    def _add_up_dense(self) -> None:
        """Gradients of the MLPs, over all ranks."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _of_all(self, slots: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """All ranks' ``slots`` int32 [n] and ``gradient`` [n, dim] of hot rows, added up in the order of ranks."""
        ranks, dim = self.source.ranks, self.settings.rows.dim
        counts = [torch.zeros(1, dtype=torch.int64, device=slots.device) for _ in range(ranks)]
        dist.all_gather(counts, torch.tensor([len(slots)], device=slots.device))
        most = int(max(counts))
        all_slots = [slots.new_zeros(most) for _ in range(ranks)]
        all_gradients = [gradient.new_zeros(most, dim) for _ in range(ranks)]
        dist.all_gather(all_slots, torch.cat([slots, slots.new_zeros(most - len(slots))]))
        dist.all_gather(all_gradients, torch.cat([gradient, gradient.new_zeros(most - len(slots), dim)]))
        lengths = [int(count) for count in counts]
        rows = torch.cat([part[:n] for part, n in zip(all_slots, lengths, strict=True)])
        found = torch.cat([part[:n] for part, n in zip(all_gradients, lengths, strict=True)])
        distinct, place = torch.unique(rows, return_inverse=True)
        return distinct, found.new_zeros(len(distinct), dim).index_add_(0, place, found)

    def _update_cold(self, used: Tensor, total: Tensor) -> None:
        """Gradients of working rows go to their owners, which make the step."""
        source, dim = self.source, self.settings.rows.dim
        gradient = np.zeros((len(source.wanted), dim), self.settings.rows.numpy)
        gradient[used.cpu().numpy()] = total.cpu().numpy()
        came, _ = exchange(gradient, source.wanted_counts, source.device)
        distinct, place = np.unique(source.asked_places, return_inverse=True)
        added = torch.zeros(len(distinct), dim, dtype=self.settings.rows.dtype)
        added.index_add_(0, torch.from_numpy(place.reshape(-1)), torch.from_numpy(came))
        change_rows(self.owned, torch.from_numpy(distinct), added, self.owner_optimizer)
