"""Data parallel training over ``torch.distributed``: NCCL on GPUs, Gloo on CPUs.

Each rank reads, splits and trains on its own samples of each mini-batch. Hot table and MLPs are the same on all ranks. Cold rows
lie in the ranks' host memories; their owner adds up their gradients, in the order of ranks, and makes the step. See
``exchange.py`` for what goes between ranks.
"""

import os
from dataclasses import replace
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ..kernels.choice import kernels_for
from ..sources.source import Exchange
from ..step.device import Phase
from ..step.feed import Feed, Other
from ..step.records import MicroBatch, RecordFormat
from ..step.trainer import Step, Trainer
from .exchange import Agreed, Share, all_to_all
from .feed import RankFeed
from .source import RankSource

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


class DistributedTrainer(Trainer):
    """A trainer on each rank, with a ``RankSource``; parameters are the same on all ranks, and those of one."""

    source: RankSource
    feed: RankFeed

    def __init__(self, *arguments, **more):
        if more.get("together") is False:
            raise ValueError("several ranks work on both micro-batches at once: leave --apart away")
        super().__init__(*arguments, **(more | {"together": True}))
        rows, source, device = self.settings.rows, self.source, self.device
        # Sums of rows come as records of one access each: of hot rows from all ranks, of owned rows from who asked for them.
        every = source.ranks * min(source.working_limit + self.store.slots, source.batch_size * self.records.accesses)
        self.of_rows = kernels_for(device.device, RecordFormat(1, (0,), 1), rows, every)
        self.table_of = torch.tensor(self.records.table_of, device=device.device)
        self.owner_optimizer = self.settings.row_optimizer(device.device, self.number)

    def _feed(self) -> Feed:
        return RankFeed(self.source, self.store, self.device, self.kernels, self.records)

    def _together(self, number: int, popular: MicroBatch, last: int) -> tuple[Other, Tensor]:
        other, work, space, main = self.feed.other(), self.work, self.space, self.device.main
        assert self.feed.given
        share, agreed = self.feed.given
        part = slice(0, share.samples)
        work.begin()
        if share.samples:
            work.look_up(number, (popular, other.records), part)
            work.forward_and_back(part)
        self._ask_ahead(number, last)
        self.feed.agree_ahead()  # while the device works
        loss = torch.zeros_like(space.losses[0])
        main.run(lambda: self._step_of_all(share, agreed, part, loss), Phase.UPDATE)
        return other, loss

    def _step_of_all(self, share: Share, agreed: Agreed, part: slice, loss: Tensor) -> None:
        """The optimizers' step by the gradients of all ranks; ``loss`` becomes the mini-batch's."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([*(g.reshape(-1) for g in gradients), self.space.losses.sum()[None].to(gradients[0].dtype)])
        reducing = dist.all_reduce(flat, async_op=True)
        hot, cold = self._row_sums(share, agreed, part)
        reducing.wait()
        for gradient, found in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(found.view_as(gradient))
        loss.copy_(flat[-1])
        self._dense_step()
        for optimizer in (self.row_optimizer, self.owner_optimizer):
            optimizer.advance()
        self._update(self.store.all, hot[0], hot[1], self.row_optimizer)
        self._update_owned(agreed, cold)

    def _row_sums(self, share: Share, agreed: Agreed, part: slice) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Hot rows' slots int64 [n] and gradients [n, dim] of all ranks, in their order; gradients of the rows that this rank was
        asked for."""
        device, dim, dtype = self.device.device, self.settings.rows.dim, self.settings.rows.dtype
        hot, cold = len(share.slots), len(share.keys)
        sums = torch.zeros(hot + cold + 1, dim, dtype=dtype, device=device)
        of_access = self.space.gradient[part].index_select(1, self.table_of).reshape(-1, dim)
        sums.index_add_(0, torch.from_numpy(share.row_of).to(device), of_access)
        # A row's slot goes in front of its gradient, bit for bit.
        as_bits = torch.int64 if dtype == torch.float64 else torch.int32
        slots = torch.from_numpy(share.slots).to(device).to(as_bits).view(dtype)
        mine = torch.cat([slots[:, None], sums[:hot]], dim=1)
        working = sums[hot : hot + cold].index_select(0, torch.from_numpy(share.numbers).to(device))
        working = torch.cat([working.new_zeros(cold, 1), working], dim=1)
        pieces = [piece for to in working.split(agreed.to_each) for piece in (mine, to)]
        sizes = [hot + count for count in agreed.to_each]
        coming = [slots + asked for slots, asked in zip(agreed.slots, agreed.asked_by, strict=True)]
        came = all_to_all(torch.cat(pieces), sizes, coming).split(coming)
        hots = torch.cat([part[:count] for part, count in zip(came, agreed.slots, strict=True)])
        colds = torch.cat([part[count:, 1:] for part, count in zip(came, agreed.slots, strict=True)])
        return (hots[:, 0].contiguous().view(as_bits).long(), hots[:, 1:].contiguous()), colds.contiguous()

    def _update(self, rows: Tensor, places: Tensor, gradient: Tensor, optimizer) -> None:
        """A step of ``rows`` [n, width], of which the last one stays, by ``gradient`` [k, dim] for ``places`` int64 [k]."""
        if not len(places):
            return
        ordered = torch.empty_like(places, dtype=torch.int32), torch.empty_like(places)
        self.of_rows.sort(places.int(), ordered)
        self.of_rows.update(rows, *ordered, gradient[:, None], optimizer)

    def _update_owned(self, agreed: Agreed, gradient: Tensor) -> None:
        """Rows that others asked for: as they were sent, updated, go back into the table."""
        if not len(agreed.asked):
            return
        device = self.device.device
        distinct, first, place = np.unique(agreed.asked, return_index=True, return_inverse=True)
        rows = self.feed.sent.index_select(0, torch.from_numpy(first).to(device))
        rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        self._update(rows, torch.from_numpy(place.reshape(-1)).to(device), gradient, self.owner_optimizer)
        self.kernels.scatter(self.feed.pinned.tensor, torch.from_numpy(distinct).to(device), rows[:-1].contiguous())

    def _exchange(self, number: int, other: Other) -> None:
        """Rows that enter the hot set go from their owners to all ranks; those that leave are everywhere, and their owners keep
        them."""
        if len(other.exchange.slots):
            self.device.main.run(lambda: self._exchange_rows(other.exchange), Phase.UPDATE)
            self.hot_list[other.exchange.slots] = other.exchange.new

    def _exchange_rows(self, exchange: Exchange) -> None:
        source, rows, table = self.source, self.store.all, self.feed.pinned.tensor

        def own(keys: np.ndarray) -> tuple[Tensor, Tensor]:
            """Which of ``keys`` lie with this rank, bool [n]; and where, int64 [k]."""
            mine = source.owns(keys)
            places = source.tables.places(keys[mine])
            return torch.from_numpy(mine).to(rows.device), torch.from_numpy(places).to(rows.device)

        slots = torch.from_numpy(exchange.slots).to(rows.device)
        mine, places = own(exchange.old[: exchange.leaving])
        if len(places):
            self.kernels.scatter(table, places, rows[slots[: exchange.leaving][mine]])
        mine, places = own(exchange.new)
        coming = rows.new_zeros(len(slots), rows.shape[1])
        if len(places):
            found = rows.new_empty(len(places), rows.shape[1])
            every = torch.full((len(places),), -1, dtype=torch.int32, device=rows.device)
            self.kernels.gather(table, places, every, found)
            coming[mine] = found
        dist.all_reduce(coming)
        rows[slots] = coming

    def _step_of(self, step: Step) -> Step:
        assert self.feed.given
        working_rows, popular, samples = self.feed.given[1].totals
        return replace(step, popular=popular, working_rows=working_rows, samples=samples)
