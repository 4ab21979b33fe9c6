"""What a step does on the device: look-ups, MLPs, sorting, updates; each on its stream, after what it needs."""

from functools import partial

import torch
from torch import Tensor

from ..kernels.kernels import Kernels
from ..optimizers import RowOptimizer
from .dense import DensePart
from .device import Device, Event, Phase, Wait
from .records import MicroBatch, Workspace
from .store import RowStore


class Ordered:
    """The accesses in ``part`` of ``space``, sorted by row: ``sorted`` is there when ``event`` comes, rows int32 [n] and places
    int64 [n]."""

    def __init__(self, space: Workspace, part: slice):
        self.part = part
        count = (part.stop - part.start) * space.records.accesses
        self.sorted = space.sorted[:count], space.order[:count]
        self.event: Event | None = None


class StepWork:
    """The work of steps on ``device``. For each step: ``begin``; ``look_up`` and ``forward_and_back`` of its micro-batches,
    ``order`` among them; ``update``; ``end``."""

    def __init__(self, device: Device, kernels: Kernels, space: Workspace, store: RowStore, dense: DensePart):
        self.device, self.kernels, self.space, self.store, self.dense = device, kernels, space, store, dense
        self.done: Event | None = None

    def begin(self) -> None:
        """A step begins."""
        self.device.main.run(self.space.losses.zero_, Phase.DENSE)

    def look_up(
        self, step: int, records: MicroBatch, other: bool, part: slice, rows_arrived: Event | None = None
    ) -> None:
        """A micro-batch's dense features, labels and pooled rows come into ``part`` of the workspace. ``other``: it is the
        non-popular one, whose working rows are there when ``rows_arrived`` comes."""
        main, space, store = self.device.main, self.space, self.store
        main.after(records.arrived, Wait.RECORDS)
        main.after(rows_arrived, Wait.WORKING_ROWS)

        def work():
            self.kernels.look_up(store.all, records.words, store.first(step), space.header[int(other)], space.dense[part],
                                 space.labels[part], space.pooled[part])  # fmt: skip

        main.run(work, Phase.LOOK_UP)

    def forward_and_back(self, part: slice, header: int | None = None) -> None:
        """Adds the gradient of the samples in ``part``, and their share of the loss; see ``DensePart.run``."""
        self.device.main.run(lambda: self.dense.run(part, header), Phase.DENSE)

    def order(self, step: int, parts: list[tuple[MicroBatch, slice]]) -> Ordered:
        """Sorts the accesses of micro-batches by row, beside the MLPs' work: their ``parts`` of the workspace are one piece."""
        order, space, store = self.device.order, self.space, self.store
        ordered = Ordered(space, slice(parts[0][1].start, parts[-1][1].stop))
        order.after(self.done, Wait.ACCESSES_USED)
        for records, part in parts:
            if records.count:
                order.after(records.arrived, Wait.RECORDS_TO_SORT)
                work = partial(self.kernels.places, records.words, store.first(step), store.none, space.places[part])
                order.run(work, Phase.UPDATE)
        order.run(lambda: self.kernels.sort(space.places[ordered.part].reshape(-1), ordered.sorted), Phase.UPDATE)
        ordered.event = order.event()
        return ordered

    def mean_loss(self) -> Tensor:
        """The mini-batch's, when its micro-batches are through."""
        losses = self.space.losses
        mean = torch.empty((), dtype=losses.dtype, device=losses.device)
        self.device.main.run(lambda: mean.copy_(losses.sum()), Phase.DENSE)
        return mean

    def update(self, ordered: Ordered, optimizer: RowOptimizer) -> None:
        """A step of the rows."""
        main, space = self.device.main, self.space
        main.after(ordered.event, Wait.SORTED)
        main.run(optimizer.advance, Phase.UPDATE)
        if ordered.part.start < ordered.part.stop:
            gradient = space.gradient[ordered.part]
            main.run(lambda: self.kernels.update(self.store.all, *ordered.sorted, gradient, optimizer), Phase.UPDATE)

    def end(self) -> Event:
        """The step ends; the event comes when it is done."""
        self.done = self.device.main.event()
        return self.done
