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
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..job import Relearn
from .dlrm import Dlrm, DlrmShape
from .embedding import HotlineEmbedding, Records
from .rows import ROW_OPTIMIZERS, TYPES, RowFormat
from .sources import MicroBatchSource, used_slots
from .transfers import Leaving, Transfers

#: For the MLPs, by the name that the command line takes.
DENSE_OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adagrad": lambda parameters, lr: torch.optim.Adagrad(parameters, lr, eps=1e-10),
}
#: With which a DLRM on click logs learns something within a few thousand samples.
LEARNING_RATES = {"sgd": 0.1, "adagrad": 0.05}


@dataclass(frozen=True)
class Settings:
    """What a training is made of. Raises ValueError for an optimizer or type that there is not."""

    shape: DlrmShape = DlrmShape()
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    dtype: str = "float32"
    seed: int = 1

    def __post_init__(self):
        if self.optimizer not in ROW_OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}; there are {', '.join(ROW_OPTIMIZERS)}")
        if self.dtype not in TYPES:
            raise ValueError(f"unknown type {self.dtype!r}; there are {', '.join(TYPES)}")

    @property
    def rows(self) -> RowFormat:
        return RowFormat(self.shape.dim, ROW_OPTIMIZERS[self.optimizer].state, TYPES[self.dtype])

    def model(self, tables: int, dense: int) -> Dlrm:
        """The DLRM with its initial weights, which depend on ``seed`` only."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return Dlrm(tables, dense, self.shape).to(TYPES[self.dtype])

    def dense_optimizer(self, model: Dlrm) -> torch.optim.Optimizer:
        return DENSE_OPTIMIZERS[self.optimizer](model.parameters(), lr=self.learning_rate)


REMEDY = "nothing of this training can be used: try a smaller --lr"


class NotFiniteError(ValueError):
    """A training has left the finite numbers; the message says at which step."""


@dataclass(frozen=True)
class Step:
    """What a step was. ``mean_loss``: the mini-batch's, before the step, still on the device."""

    number: int
    batch: int
    samples: int
    popular: int
    working_rows: int
    mean_loss: Tensor

    @property
    def loss(self) -> float:
        """Waits until the device has made the step."""
        return float(self.mean_loss)


class Trainer:
    """Trains ``settings``' model on what ``source`` gives.

    ``prefetch``: the next mini-batch is asked for before the working rows of this one are back. ``relearn``: the hot set
    follows the data; around a SWAP nothing is prefetched. ``hot_list`` and ``step``: to go on from a checkpoint.
    Raises ValueError, or the source's error, for what the source cannot do.
    """

    def __init__(self, settings: Settings, source: MicroBatchSource, transfers: Transfers, *, prefetch: bool = False,
                 relearn: Relearn | None = None, hot_list: np.ndarray | None = None, step: int = 0):  # fmt: skip
        if relearn and not source.relearns:
            raise ValueError(
                "relearning needs a source with a shadow of the hot set: native, golden or live, with --set shadow=1"
            )
        if source.rows != settings.rows:
            raise ValueError(f"the source has rows of {source.rows}, training needs {settings.rows}")
        self.settings, self.source, self.transfers = settings, source, transfers
        self.prefetch, self.relearn = prefetch, relearn
        trace = source.trace
        self.payload_words = trace.payload_words
        self.model = settings.model(len(trace.table_rows), trace.payload_words - 1).to(transfers.device)
        self.dense_optimizer = settings.dense_optimizer(self.model)
        self.row_optimizer = ROW_OPTIMIZERS[settings.optimizer](settings.learning_rate)
        self.hot_list = source.open(hot_list).copy()
        self.embedding = HotlineEmbedding(
            trace.table_of.tolist(), len(trace.table_rows), len(self.hot_list), settings.rows
        ).to(transfers.device)
        self.number = step
        self.begun = False  # the next mini-batch has been asked for
        self.unscattered = False  # the last mini-batch
        self.leaving: Leaving | None = None  # its working rows, if it has any, on their way back
        self.load_hot_rows()

    def check_finite(self) -> None:
        """Raises NotFiniteError when a parameter or a hot row is not finite. Waits for the device."""
        held = {f"parameter {name}": value for name, value in self.model.named_parameters()}
        held |= {"a hot row": self.embedding.hot.data, "the optimizer's state of a hot row": self.embedding.hot_state}
        for what, value in held.items():
            if not value.isfinite().all():
                raise NotFiniteError(f"after step {self.number - 1}: {what} is not finite; {REMEDY}")

    def load_hot_rows(self) -> None:
        """Brings the hot table from the tables in host memory."""
        slots = used_slots(self.hot_list)
        self.embedding.load(self._tensor(slots), self._tensor(self.source.read_rows(self.hot_list[slots])))

    def flush(self) -> None:
        """Brings everything back to the tables in host memory: working rows on their way, and hot rows."""
        self._return_rows()
        slots = used_slots(self.hot_list)
        rows = self.embedding.read(self._tensor(slots)).cpu().numpy()
        self.source.write_rows(self.hot_list[slots], rows)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.transfers.device)

    def batch_of(self, number: int) -> int:
        """The mini-batch of a step."""
        return number % self.source.batches

    def run(self, steps: int, after: Callable[[Step], None] = lambda step: None) -> None:
        """Makes ``steps`` steps, each told to ``after``. Everything has been asked for and given when it returns, but
        for :meth:`flush`."""
        last = self.number + steps - 1
        for number in range(self.number, last + 1):
            after(self._step(number, ask_on=number < last))
        self._return_rows()

    def _step(self, number: int, ask_on: bool) -> Step:
        source, batch = self.source, self.batch_of(number)
        samples = source.samples_of(batch)
        if not self.begun:
            self._return_rows()
            self._change_hot_set(number)
            source.begin(batch)
        self.begun = False
        losses = []
        popular = source.popular()
        if len(popular):
            records = self.transfers.bring(popular.view(np.int32))
            losses.append(self._micro_batch(Records(records.wait(), self.payload_words), None, samples))
            self.after_micro_batch(None, None)
        # The device is busy; the rows of the mini-batch before go back, and this one's come.
        self._return_rows()
        other = source.non_popular()
        if self.prefetch and ask_on and not self._changes_hot_set(number + 1):
            source.begin(self.batch_of(number + 1), ahead=True)
            self.begun = True
        working = values = None
        if len(other.records):
            records = self.transfers.bring(other.records.view(np.int32))
            rows = self.transfers.bring(other.rows)
            working = rows.wait()
            values = working[:, : self.settings.rows.dim].detach().requires_grad_()
            losses.append(self._micro_batch(Records(records.wait(), self.payload_words), values, samples))
            self.after_micro_batch(working, values)
        self._apply(working, values)
        self.unscattered = True
        self.leaving = self.transfers.take(working, other.rows) if working is not None else None
        self.number = number + 1
        if not self.begun:
            self._return_rows()
        loss = torch.stack(losses).sum() if losses else torch.zeros((), dtype=self.settings.rows.dtype)
        return Step(number, batch, samples, *self._totals(len(popular), len(other.keys), loss))

    def _totals(self, popular: int, working_rows: int, loss: Tensor) -> tuple[int, int, Tensor]:
        """The same of the whole mini-batch, where only a part of it is trained on here."""
        return popular, working_rows, loss

    def _micro_batch(self, records: Records, working: Tensor | None, samples: int) -> Tensor:
        """Adds a micro-batch's gradient; returns its part of the loss."""
        payload = records.payload.to(self.embedding.hot.dtype)
        logits = self.model(payload[:, 1:], self.embedding(records, working))
        loss = binary_cross_entropy_with_logits(logits, payload[:, 0], reduction="sum") / samples
        loss.backward()
        return loss.detach()

    def after_micro_batch(self, working: Tensor | None, values: Tensor | None) -> None:
        """Called when the gradient of a micro-batch has been added; here nothing happens."""

    def _apply(self, working: Tensor | None, values: Tensor | None) -> None:
        """The optimizer's step: MLPs, hot rows, and ``working`` rows [k, width] in place."""
        self.dense_optimizer.step()
        self.dense_optimizer.zero_grad()
        self.embedding.step(self.row_optimizer)
        if working is not None and values is not None and values.grad is not None:
            dim = self.settings.rows.dim
            every = torch.arange(len(working), device=working.device)
            with torch.no_grad():
                self.row_optimizer.step(working[:, :dim], working[:, dim:], every, values.grad)
            values.grad = None

    def _return_rows(self) -> None:
        """Working rows that are on their way back arrive, and are scattered."""
        if self.unscattered:
            if self.leaving:
                self.leaving.wait()
            self.unscattered, self.leaving = False, None
            self.source.scatter()

    def _changes_hot_set(self, number: int) -> bool:
        """Whether something happens to the tracker before step ``number``."""
        relearn = self.relearn
        return relearn is not None and (number % relearn.every == 0 or number % relearn.swap_every == 0)

    def _change_hot_set(self, number: int) -> None:
        """LEARN and SWAP before a step; rows move with their slots."""
        relearn = self.relearn
        if not relearn:
            return
        if number and number % relearn.swap_every == 0:
            delta = self.source.swap(relearn.limit, relearn.worth, relearn.halves(number // relearn.swap_every))
            had, has = delta.had, delta.has
            leaving = self.embedding.read(self._tensor(delta.slots[had])).cpu().numpy()
            self.source.write_rows(delta.old[had], leaving)
            coming = self.source.read_rows(delta.new[has])
            self.embedding.load(self._tensor(delta.slots[has]), self._tensor(coming))
            self.hot_list[delta.slots] = delta.new
        if number % relearn.every == 0:
            self.source.learn(self.batch_of(number))
