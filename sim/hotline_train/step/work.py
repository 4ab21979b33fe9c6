"""What a step does on the device: look-ups, MLPs, sorting, updates; each on its stream, after what it needs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..kernels.kernels import Kernels
from ..optimizers import RowOptimizer
from .dense import DensePart
from .device import Device, Event, Phase, Wait
from .graphs import Graphs
from .records import RING, MicroBatch, Workspace
from .store import SETS, RowStore


class Ordered:
    """The accesses in ``part`` of ``space``, sorted by row: ``sorted`` is there when ``event`` comes, rows int32 [n] and places
    int64 [n]."""

    def __init__(self, space: Workspace, part: slice):
        self.part = part
        count = (part.stop - part.start) * space.records.accesses
        self.sorted = space.sorted[:count], space.order[:count]
        self.event: Event | None = None


class StepWork:
    """The work of steps on ``device``: of both micro-batches together, or of one after the other.

    Apart, for each step: ``begin``; ``micro_batch`` of each, ``order`` among them; ``update``; ``end``. Together:
    ``together``, ``end``."""

    def __init__(
        self, device: Device, kernels: Kernels, space: Workspace, store: RowStore, dense: DensePart, graphs: Graphs
    ):
        self.device, self.kernels, self.space, self.store = device, kernels, space, store
        self.dense, self.graphs = dense, graphs
        self.empty = device.zeros(1, space.records.words, dtype=torch.int32)  # no records
        self.done: Event | None = None

    def together(
        self,
        step: int,
        popular: MicroBatch,
        other: MicroBatch,
        rows_arrived: Event | None,
        carried: Tensor | None,
        dense_step: Callable[[], None],
        optimizer: RowOptimizer,
        *,
        whole: bool,
    ) -> None:
        """A step of both micro-batches. ``carried`` int32 [most]: which working rows the step before has (see
        ``Kernels.carry``); ``dense_step``: the step of the MLPs. ``whole``: all of it may become one CUDA graph, that step
        included; ``carried`` and the memory of records must then be where they were RING steps before.

        Accesses are sorted beside the MLPs' work."""
        main, space, store = self.device.main, self.space, self.store
        size, first = popular.count + other.count, store.first(step)
        part, pair = slice(0, size), (popular.words, other.words)
        ordered = Ordered(space, part)
        main.after(popular.arrived, Wait.RECORDS)
        main.after(other.arrived, Wait.RECORDS)
        if carried is not None:
            main.after(rows_arrived, Wait.CARRIED_ROWS)
        main.after(rows_arrived, Wait.WORKING_ROWS)

        def look_up():
            if carried is not None:
                self.kernels.carry(store.all, first, store.first(step - 1), carried, other.words)
            self._look_up(step, *pair, 0, part)

        def sort():
            self.kernels.places(*pair, first, store.none, space.places[part])
            self.kernels.sort(space.places[part].reshape(-1), ordered.sorted)

        def update():
            optimizer.advance()
            self.kernels.update(store.all, *ordered.sorted, space.gradient[part], optimizer)

        def mlps():
            self.dense.work(part)

        def forward_and_back():
            join = self.device.fork(sort)
            look_up()
            mlps()
            join()

        def all_of_it():
            forward_and_back()
            dense_step()
            update()

        # Working rows lie where they did SETS steps before, records where they did RING steps before.
        key = (step % RING, step % SETS, size, carried is not None)
        if self.device.times:
            for piece, phase in ((look_up, Phase.LOOK_UP), (mlps, Phase.DENSE), (sort, Phase.UPDATE)):
                main.run(partial(self.graphs.run, (piece.__name__, *key), piece), phase)
            main.run(dense_step, Phase.DENSE)
            main.run(partial(self.graphs.run, ("update", *key), update), Phase.UPDATE)
        elif whole:
            main.run(partial(self.graphs.run, ("all", *key), all_of_it), Phase.DENSE)
        else:
            main.run(partial(self.graphs.run, ("forward_and_back", *key), forward_and_back), Phase.DENSE)
            main.run(dense_step, Phase.DENSE)
            main.run(partial(self.graphs.run, ("update", *key), update), Phase.UPDATE)

    def begin(self) -> None:
        """A step begins."""
        self.device.main.run(self.space.losses.zero_, Phase.DENSE)

    def micro_batch(
        self, step: int, records: MicroBatch, part: slice, header: int, rows_arrived: Event | None = None
    ) -> None:
        """Adds the gradient of a micro-batch that is worked on in ``part`` of the workspace, and its share of the loss.
        ``header``: 0 for the popular one, 1 for the other one, whose working rows are there when ``rows_arrived`` comes."""
        main = self.device.main
        main.after(records.arrived, Wait.RECORDS)
        main.after(rows_arrived, Wait.WORKING_ROWS)
        main.run(partial(self._look_up, step, records.words, self.empty, header, part), Phase.LOOK_UP)
        self.forward_and_back(part, header)

    def look_up(self, step: int, pair: tuple[MicroBatch, MicroBatch], part: slice) -> None:
        """Records of both micro-batches are looked up in ``part`` of the workspace; their rows are there."""
        main = self.device.main
        for records in pair:
            main.after(records.arrived, Wait.RECORDS)
        main.run(partial(self._look_up, step, pair[0].words, pair[1].words, 0, part), Phase.LOOK_UP)

    def _look_up(self, step: int, first: Tensor, second: Tensor, header: int, part: slice) -> None:
        """The look-up itself, in the current stream."""
        space, store = self.space, self.store
        self.kernels.look_up(
            store.all,
            first,
            second,
            store.first(step),
            space.header[header],
            space.dense[part],
            space.labels[part],
            space.pooled[part],
        )

    def forward_and_back(self, part: slice, header: int = 0) -> None:
        """Adds the gradient of the samples in ``part``, and their share of the loss; ``header`` tells how many are real."""
        self.device.main.run(lambda: self.dense.run(part, header), Phase.DENSE)

    def carry(self, step: int, other: MicroBatch, rows_arrived: Event | None, carried: Tensor) -> None:
        """Working rows that the step before has, too, come from there."""
        main, store = self.device.main, self.store
        main.after(other.arrived, Wait.RECORDS)
        main.after(rows_arrived, Wait.CARRIED_ROWS)
        to, source = store.first(step), store.first(step - 1)
        main.run(lambda: self.kernels.carry(store.all, to, source, carried, other.words), Phase.LOOK_UP)

    def order(self, step: int, parts: list[tuple[MicroBatch, slice]]) -> Ordered:
        """Sorts the accesses of micro-batches by row, beside the MLPs' work: their ``parts`` of the workspace are one piece."""
        order, space, store = self.device.order, self.space, self.store
        ordered = Ordered(space, slice(parts[0][1].start, parts[-1][1].stop))
        order.after(self.done, Wait.ACCESSES_USED)
        for records, part in parts:
            if records.count:
                order.after(records.arrived, Wait.RECORDS_TO_SORT)
                out = space.places[part]
                work = partial(self.kernels.places, records.words, self.empty, store.first(step), store.none, out)
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
