"""Training on micro-batches, one optimizer step for each mini-batch.

    popular ──► forward, backward ─┐
       meanwhile: working rows ──► non-popular: forward, backward ──► step ──► working rows go back,
                                                                               while the next popular one runs

Both micro-batches use the parameters from before the step, and a micro-batch's loss is divided by the samples of the
whole mini-batch: so their gradients add up to the mini-batch's, and the step is the one that plain training makes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.choice import kernels_for
from ..settings import Settings
from ..sources.native import NativeSource
from ..sources.source import MicroBatchSource
from .cold_rows import check_way, cold_rows_for
from .dense import DensePart, Loss, log_loss
from .device import Device, Event, Phase, Wait
from .feed import Feed, Other, SourceFeed
from .graphs import Graphs
from .native_feed import NativeFeed
from .records import MicroBatch, RecordFormat, Workspace
from .store import RowStore
from .work import Ordered, StepWork

REMEDY = "nothing of this training can be used: try a smaller --lr"


class NotFiniteError(ValueError):
    """A training has left the finite numbers; the message says at which step."""


@dataclass(frozen=True)
class Step:
    """What a step was. ``mean_loss``: the mini-batch's, before the step, on the device; there when ``done`` comes."""

    number: int
    batch: int
    samples: int
    popular: int
    working_rows: int
    mean_loss: Tensor
    done: Event

    @property
    def loss(self) -> float:
        """Waits until the device has made the step."""
        self.done.wait(Wait.LOSS)
        return float(self.mean_loss)


@dataclass(frozen=True)
class Parts:
    """``model(dense [n, dense], pooled [n, tables, dim])`` -> logits [n]; its ``optimizer``; the ``loss`` of each sample.
    ``before_step`` is called when all gradients are there: to clip them, say. ``capturable``: a step of them, ``before_step``
    included, may be captured in a CUDA graph: it then always does the same, with the same learning rate."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss = log_loss
    before_step: Callable[[nn.Module], None] | None = None
    capturable: bool = False

    @staticmethod
    def of(settings: Settings, tables: int, dense: int, device: torch.device) -> "Parts":
        """``settings``' DLRM."""
        model = settings.model(tables, dense).to(device)
        return Parts(model, settings.dense_optimizer(model), capturable=True)


class Trainer:
    """Trains on what ``source`` gives: ``settings``' model, or that of ``parts``, which lies on ``device``.

    ``prefetch``: mini-batches are asked for before the working rows of the ones before are back. ``cold_rows``: the way of
    working rows, one of WAYS; only the software engine's may go ``direct``. ``together``: both micro-batches are worked on at
    once, which is half the kernels; by default where working rows come a step ahead, so that the popular one need not begin
    before the other one. If not, the device works on the popular one while they come, and ``padded`` makes few sizes of
    micro-batches, as CUDA graphs need.
    ``hot_list``, ``counted`` and ``step``: to go on from a checkpoint. To be closed.
    Raises ValueError, or the source's error, for what the source cannot do.
    """

    def __init__(
        self,
        settings: Settings,
        source: MicroBatchSource,
        device: Device,
        *,
        prefetch: bool = False,
        cold_rows: str = "direct",
        together: bool | None = None,
        padded: bool | None = None,
        parts: Parts | None = None,
        hot_list: np.ndarray | None = None,
        counted: dict[str, np.ndarray] | None = None,
        step: int = 0,
    ):
        if source.rows != settings.rows:
            raise ValueError(f"the source has rows of {source.rows}, training needs {settings.rows}")
        check_way(cold_rows)
        self.settings, self.source, self.device = settings, source, device
        self.prefetch, self.cold_rows = prefetch, cold_rows
        settings.allow_tf32()
        trace, rows = source.trace, settings.rows
        ahead = prefetch and isinstance(source, NativeSource)
        self.together = ahead if together is None else together
        self.parts = parts or Parts.of(settings, len(trace.table_rows), trace.payload_words - 1, device.device)
        self.records = RecordFormat(trace.payload_words, tuple(trace.table_of.tolist()), len(trace.table_rows))
        self.space = Workspace(
            self.records, rows, source.batch_size, device, device.device.type == "cuda" if padded is None else padded
        )
        graphs = Graphs(device)
        self.dense = DensePart(
            self.parts.model, self.parts.loss, self.space, graphs, settings.autocast(device.device)
        )
        self.row_optimizer = settings.row_optimizer(device.device, step)
        self.kernels = kernels_for(device.device, self.records, rows, 2 * source.batch_size)
        self.hot_list = source.open(hot_list, counted).copy()
        self.store = RowStore(len(self.hot_list), source.working_limit, rows, device)
        self.work = StepWork(device, self.kernels, self.space, self.store, self.dense, graphs)
        self.feed = self._feed()
        self.number = step
        self.begun = step  # the first step that has not been asked for
        self.store.bring_hot(self.hot_list, source.read_rows)
        device.synchronise()  # memory is as it was made, whatever stream uses it

    @property
    def model(self) -> nn.Module:
        return self.parts.model

    @property
    def dense_optimizer(self) -> torch.optim.Optimizer:
        return self.parts.optimizer

    def _feed(self) -> Feed:
        source, words = self.source, self.records.words
        if not isinstance(source, NativeSource):
            return SourceFeed(source, self.store, self.device, words)
        cold = cold_rows_for(self.cold_rows, source.tables, self.store, self.device, self.kernels, source.threads)
        return NativeFeed(source, self.store, self.device, cold, words)

    def close(self) -> None:
        """Ends threads; rows are back in the tables."""
        self.feed.settle()
        self.feed.close()

    def check_finite(self) -> None:
        """Raises NotFiniteError when a parameter or a hot row is not finite. Waits for the device."""
        self.device.synchronise()
        what = [f"parameter {name}" for name, value in self.model.named_parameters() if not value.isfinite().all()]
        if not self.store.finite():
            what.append("a hot row")
        if what:
            raise NotFiniteError(f"after step {self.number - 1}: {what[0]} is not finite; {REMEDY}")

    def flush(self) -> None:
        """Brings everything back to the tables in host memory: working rows on their way, and hot rows."""
        self.feed.settle()
        self.device.synchronise()
        self.store.return_hot(self.hot_list, self.source.write_rows)

    def batch_of(self, number: int) -> int:
        """The mini-batch of a step."""
        return number % self.source.batches

    def run(self, steps: int, after: Callable[[Step], None] = lambda step: None) -> None:
        """Makes ``steps`` steps, each told to ``after``. Everything has been asked for and given when it returns, but
        for :meth:`flush`."""
        last = self.number + steps - 1
        for number in range(self.number, last + 1):
            after(self._step(number, last))
        self.feed.settle()

    def _step(self, number: int, last: int) -> Step:
        if self.begun == number:
            if number and self.source.starts_again(self.batch_of(number)):
                self._start_again()
            self._ask(number, ahead=False)
        popular = self.feed.popular()
        other, mean_loss = (self._together if self.together else self._apart)(number, popular, last)
        self._exchange(number, other)
        done = self.work.end()
        self.feed.updated(done)
        self.number = number + 1
        batch, samples = self.batch_of(number), popular.count + other.records.count
        return self._step_of(Step(number, batch, samples, popular.count, other.working, mean_loss, done))

    def _together(self, number: int, popular: MicroBatch, last: int) -> tuple[Other, Tensor]:
        """Both micro-batches at once, and the step. Returns the other one, and the mean loss."""
        other = self.feed.other()
        self.work.together(
            number,
            popular,
            other.records,
            other.arrived,
            other.carried,
            self._dense_step,
            self.row_optimizer,
            whole=self.parts.capturable,
        )
        mean_loss = self.work.mean_loss()
        self._ask_ahead(number, last)
        return other, mean_loss

    def _apart(self, number: int, popular: MicroBatch, last: int) -> tuple[Other, Tensor]:
        """The same, one micro-batch after the other."""
        work, space = self.work, self.space
        work.begin()
        self._micro_batch(number, popular, space.parts(popular.count, 0)[0], 0)
        other = self.feed.other()
        if other.carried is not None:
            work.carry(number, other.records, other.arrived, other.carried)
        self._ask_ahead(number, last)
        parts = space.parts(popular.count, other.records.count)
        ordered = work.order(number, list(zip((popular, other.records), parts, strict=True)))
        self._micro_batch(number, other.records, parts[1], 1, other.arrived)
        mean_loss = work.mean_loss()
        self._apply(ordered)
        return other, mean_loss

    def _step_of(self, step: Step) -> Step:
        """The same of the whole mini-batch, where only a part of it is trained on here."""
        return step

    def _ask(self, number: int, *, ahead: bool) -> None:
        self.feed.begin(number, self.batch_of(number), ahead=ahead)
        self.begun = number + 1

    def _ask_ahead(self, number: int, last: int) -> None:
        while (
            self.prefetch
            and self.begun <= min(last, number + self.feed.depth)
            and not self.source.starts_again(self.batch_of(self.begun))
        ):
            self._ask(self.begun, ahead=True)

    def _micro_batch(
        self, number: int, records: MicroBatch, part: slice, header: int, arrived: Event | None = None
    ) -> None:
        """Adds the gradient of a micro-batch; ``header`` 1: the non-popular one."""
        if records.count:
            self.work.micro_batch(number, records, part, header, arrived)

    def _apply(self, ordered: Ordered) -> None:
        """The optimizers' step: MLPs, hot rows and working rows."""
        self.device.main.run(self._dense_step, Phase.DENSE)
        self.work.update(ordered, self.row_optimizer)

    def _dense_step(self) -> None:
        if self.parts.before_step:
            self.parts.before_step(self.model)
        self.dense_optimizer.step()
        self.dense_optimizer.zero_grad(set_to_none=False)

    def _exchange(self, number: int, other: Other) -> None:
        """The hot set takes over what it has learnt from this mini-batch: rows change places, updated as they are."""
        exchange, exchanged = other.exchange, other.exchanged
        if not len(exchange.slots):
            return
        assert exchanged is not None
        slots, numbers = exchanged
        self.device.main.run(lambda: self.store.exchange(number, slots, numbers, exchange.leaving), Phase.UPDATE)
        self.hot_list[exchange.slots] = exchange.new

    def _start_again(self) -> None:
        """The hot set becomes what the source begins with."""
        self.flush()
        self.hot_list[:] = self.source.open()
        self.store.bring_hot(self.hot_list, self.source.read_rows)
        self.device.synchronise()
