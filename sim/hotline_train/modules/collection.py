"""``HotlineEmbeddingBagCollection``: in place of an ``EmbeddingBagCollection``, with hot rows on the device and all rows on
the host."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hotline_golden.layouts import NO_ACCESS
from hotline_golden.model import Model, Table
from hotline_native import NativeEngine
from hotline_native.compiler import default_threads
from hotline_rtl.config import AcceleratorConfig, preset
from hotline_sim.run.job import native_tracker, resident_keys

from ..kernels.choice import kernels_for
from ..optimizers import LEARNING_RATES, ROW_OPTIMIZERS
from ..rows import RowFormat
from ..sources.native import NativeTables
from ..step.cold_rows import cold_rows_for
from ..step.device import Phase, Wait, device_for
from ..step.records import RecordFormat
from ..step.store import RowStore
from .batches import PAYLOAD, Batch, Batches
from .features import Accesses
from .pooled import Pooled
from .tables import Ids, Pooling, TableConfig


class _LookUp(torch.autograd.Function):
    """Pooled vectors of a batch; their gradient goes to the collection."""

    @staticmethod
    def forward(ctx, anchor: Tensor, collection: "HotlineEmbeddingBagCollection", batch: Batch) -> Tensor:
        ctx.batch = batch
        return collection._look_up(batch)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        batch = ctx.batch
        batch.gradient = gradient.clone() if batch.gradient is None else batch.gradient + gradient
        return None, None, None


class HotlineEmbeddingBagCollection(nn.Module):
    """Tables of one dim in host memory, hot rows of them on the device; pooled vectors by feature name.

    ``tables``: as TorchRec's configurations, with a ``length`` for features of several ids. ``hot_rows``: of the tracker, 8
    times a power of two; tables of ``resident_rows`` together, the smallest first, are kept on the device as a whole.
    ``batch_size``: the most samples of a batch; ``working_rows``: the most distinct cold rows that one may have (0: as many
    as it can have). The hot set follows the data: it changes after each batch. With ``frozen`` it is learnt from so many
    batches instead, and stays. Rows have an optimizer of their own (``optimizer``, ``learning_rate``): call :meth:`step`
    after ``backward()``. ``cold_rows``: ``direct`` or ``copied``; see docs/training.md.

    On a GPU all is done in the stream that is current when this is made. Raises ValueError for tables of different dims,
    and later for features that are not as told."""

    def __init__(
        self,
        tables: Sequence[TableConfig],
        *,
        batch_size: int,
        device: str = "cpu",
        hot_rows: int = 1 << 16,
        resident_rows: int = 1 << 16,
        working_rows: int = 0,
        optimizer: str = "rowwise-adagrad",
        learning_rate: float | None = None,
        frozen: int = 0,
        cold_rows: str = "direct",
        threads: int = 0,
        seed: int = 1,
    ):
        super().__init__()
        dims = sorted({table.embedding_dim for table in tables})
        if len(dims) != 1:
            raise ValueError(f"all tables must have one embedding_dim, not {dims}")
        if optimizer not in ROW_OPTIMIZERS:
            raise ValueError(f"unknown optimizer {optimizer!r}; there are {', '.join(ROW_OPTIMIZERS)}")
        self.configs, self.accesses = list(tables), Accesses(list(tables))
        self.device = device_for(device)
        self.format = RowFormat(dims[0], ROW_OPTIMIZERS[optimizer].state(dims[0]), torch.float32)
        rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
        self.optimizer = ROW_OPTIMIZERS[optimizer](rate, torch.float32, self.device.device)
        table_rows = np.array([table.num_embeddings for table in tables], np.int64)
        # In software there are no lanes and no banks to feed.
        config = preset("alveo").with_settings(["lanes=1", "banks_per_lane=1", f"tracker_sets={hot_rows // 8}"])
        if frozen:
            config = config.with_settings(["policy=sample_aware"])
        model = self._model(table_rows, resident_rows, config)
        threads = threads or default_threads()
        engine = NativeEngine(model, native_tracker(config), threads)
        self.tables = NativeTables(table_rows, self.format, threads, self._initial(table_rows, seed))
        hot_list = np.concatenate([engine.dump(), resident_keys(model)])
        self.records = RecordFormat(PAYLOAD, tuple(self.accesses.bag_of.tolist()), len(self.accesses.names))
        most = working_rows or min(batch_size * self.records.accesses, int(table_rows.sum()))
        self.store = RowStore(len(hot_list), most, self.format, self.device)
        self.kernels = kernels_for(self.device.device, self.records, self.format, batch_size)
        cold = cold_rows_for(cold_rows, self.tables, self.store, self.device, self.kernels, threads)
        self.way = Batches(
            self.accesses,
            engine,
            self.tables,
            hot_list,
            self.store,
            self.kernels,
            cold,
            self.device,
            self.records,
            batch_size,
            frozen,
        )
        zeros, count = self.device.zeros, batch_size * self.records.accesses
        self.places, self.sorted = zeros(count, dtype=torch.int32), zeros(count, dtype=torch.int32)
        self.order, self.header = zeros(count, dtype=torch.int64), zeros(2, dtype=torch.int32)
        self.looked_up: list[Batch] = []  # since the last step
        self.anchor = torch.zeros(0, requires_grad=True)  # so that autograd comes to a look-up

    def _initial(self, table_rows: np.ndarray, seed: int) -> np.ndarray:
        """[all rows, width]: uniform within one over the root of the table's rows, as TorchRec begins."""
        rows = np.zeros((int(table_rows.sum()), self.format.width), np.float32)
        random, first = np.random.default_rng(seed), 0
        for count in table_rows.tolist():
            part = random.random((count, self.format.dim), np.float32)
            rows[first : first + count, : self.format.dim] = (2 * part - 1) / np.sqrt(count, dtype=np.float32)
            first += count
        return rows

    def _model(self, table_rows: np.ndarray, resident_rows: int, config: AcceleratorConfig) -> Model:
        if len(table_rows) > 1 << config.table_bits or table_rows.max() > 1 << config.row_bits:
            raise ValueError(f"at most {1 << config.table_bits} tables of {1 << config.row_bits} rows")
        resident, left = set(), resident_rows
        for n in np.argsort(table_rows, kind="stable").tolist():
            left -= int(table_rows[n])
            if left >= 0:
                resident.add(n)
        tables, slot = [], config.tracker_entries
        for n, rows in enumerate(table_rows.tolist()):
            tables.append(Table(0, rows, self.format.bytes, n in resident, slot if n in resident else 0))
            slot += rows if n in resident else 0
        return Model(tuple(tables), tuple(self.accesses.table_of.tolist()), PAYLOAD, self.format.bytes)

    def batches(
        self, data: Iterable[tuple[Any, Any, Any]], *, micro_batches: bool = False
    ) -> Iterator[tuple[Any, Batch, Any]]:
        """(dense, :class:`Batch`, label) of an iterable of (dense, features, label), split in the background, two ahead. Dense
        features and labels, tensors or None, are put into the batch's order. ``micro_batches``: a batch comes as two, the
        popular one first; a step is due after the one that is ``last``, of losses that are weighted by ``share``.

        What the iterable raises is raised here, and so is ValueError for features that are not as told."""
        return self.way.each(data, micro_batches)

    def forward(self, features: Any) -> Pooled:
        """Of a :class:`Batch` that :meth:`batches` gave; or of features as they are, a ``KeyedJaggedTensor`` or a mapping:
        these are split at once, and without gradients are only looked up."""
        if isinstance(features, Batch):
            return self._pooled(_LookUp.apply(self.anchor, self, features), features.lengths)
        if not torch.is_grad_enabled():
            rows, lengths = self.accesses.rows(features)
            return self._pooled(self._look_up_only(rows), lengths)
        batch = self.way.now(features)
        stacked = self._pooled(_LookUp.apply(self.anchor, self, batch), batch.lengths).stacked
        as_they_were = torch.from_numpy(np.argsort(batch.order)).to(self.device.device)
        return Pooled(self.accesses.names, stacked.index_select(0, as_they_were))

    def step(self) -> None:
        """The optimizer's step of all rows that were looked up since the last one, by their gradients. Raises RuntimeError when
        there was no ``backward()``."""
        if not self.looked_up or any(batch.gradient is None for batch in self.looked_up):
            raise RuntimeError("step() needs a forward and a backward pass of each micro-batch before it")
        main = self.device.main
        main.run(self.optimizer.advance, Phase.UPDATE)
        looked_up, self.looked_up = self.looked_up, []
        main.run(lambda: self._update(looked_up), Phase.UPDATE)
        self.way.end()

    def _look_up(self, batch: Batch) -> Tensor:
        if not self.way.open or batch.number != self.way.number or batch in self.looked_up:
            raise RuntimeError("a batch goes through the module once, while it is the one that batches() gave last")
        self.looked_up = [b for b in self.looked_up if b.number == batch.number] + [batch]
        new, count = self.device.zeros, len(batch.order)
        pooled = new(count, len(self.accesses.names), self.format.dim, dtype=torch.float32)
        dense, labels = new(count, 0, dtype=torch.float32), new(count, dtype=torch.float32)
        main, first = self.device.main, self.store.first(batch.number)
        for records in batch.records:
            main.after(records.arrived, Wait.RECORDS)
        main.after(batch.arrived, Wait.WORKING_ROWS)
        words = [records.words for records in batch.records]
        main.run(
            lambda: self.kernels.look_up(
                self.store.all, words[0], words[1], first, self.header, dense, labels, pooled
            ),
            Phase.LOOK_UP,
        )
        return pooled

    def _update(self, looked_up: list[Batch]) -> None:
        start, none, accesses = 0, self.store.none, self.records.accesses
        for batch in looked_up:
            words, stop = [records.words for records in batch.records], start + len(batch.order) * accesses
            out = self.places[start:stop].view(-1, accesses)
            self.kernels.places(words[0], words[1], self.store.first(batch.number), none, out)
            start = stop
        ordered = self.sorted[:start], self.order[:start]
        self.kernels.sort(self.places[:start], ordered)
        gradient = torch.cat([batch.gradient for batch in looked_up if batch.gradient is not None])
        self.kernels.update(self.store.all, *ordered, gradient, self.optimizer)

    def _look_up_only(self, rows: np.ndarray) -> Tensor:
        """Pooled vectors of ``rows`` uint32 [batch, accesses], as tables are now."""
        self.flush()
        present = rows != NO_ACCESS
        places = self.tables.first[self.accesses.table_of] + np.where(present, rows, 0)
        values = self.tables.all[places][..., : self.format.dim] * present[..., None]
        out = torch.zeros(len(rows), len(self.accesses.names), self.format.dim)
        return out.index_add_(1, torch.from_numpy(self.accesses.bag_of), torch.from_numpy(values)).to(
            self.device.device
        )

    def _pooled(self, stacked: Tensor, lengths: np.ndarray) -> Pooled:
        means = [bag for bag, (_, n) in enumerate(self.accesses.features) if self.configs[n].pooling == Pooling.MEAN]
        if means:
            scale = np.ones(lengths.shape, np.float32)
            scale[:, means] = 1 / np.maximum(lengths[:, means], 1)
            stacked = stacked * torch.from_numpy(scale).to(stacked.device)[:, :, None]
        return Pooled(self.accesses.names, stacked)

    def flush(self) -> None:
        """Brings all rows back to the tables in host memory, where they are right until the next step."""
        self.looked_up = []
        self.way.flush()

    def close(self) -> None:
        """Ends threads; rows are in the tables."""
        self.flush()
        self.way.feed.close()

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        """Plain tables, under TorchRec's names; the optimizer's state of rows beside them; ids of dictionaries."""
        self.flush()
        dim = self.format.dim
        for n, config in enumerate(self.configs):
            rows, name = torch.from_numpy(self.tables.table(n)), f"{prefix}embedding_bags.{config.name}"
            destination[f"{name}.weight"] = rows[:, :dim].clone()
            if self.format.state:
                destination[f"{name}.optimizer"] = rows[:, dim:].clone()
            if config.ids == Ids.DICTIONARY:
                destination[f"{name}.ids"] = torch.from_numpy(self.accesses.numbers[n].seen().copy())

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        """Weights must be there; what is missing of the rest begins anew. The hot set stays."""
        self.flush()
        dim, known = self.format.dim, set()
        for n, config in enumerate(self.configs):
            rows, name = self.tables.table(n), f"{prefix}embedding_bags.{config.name}"
            known |= {f"{name}.weight", f"{name}.optimizer", f"{name}.ids"}
            weight, state = state_dict.get(f"{name}.weight"), state_dict.get(f"{name}.optimizer")
            if weight is None:
                missing_keys.append(f"{name}.weight")
                continue
            if weight.shape != rows[:, :dim].shape:
                error_msgs.append(f"{name}.weight is {list(weight.shape)}, not {list(rows[:, :dim].shape)}")
                continue
            rows[:, :dim] = weight.detach().cpu().numpy()
            rows[:, dim:] = 0 if state is None else state.cpu().numpy()
            if config.ids == Ids.DICTIONARY and f"{name}.ids" in state_dict:
                self.accesses.numbers[n].see(state_dict[f"{name}.ids"].cpu().numpy())
        unexpected_keys += [key for key in state_dict if key.startswith(prefix) and key not in known]
        self.way.load_hot_rows()
