"""The kernels in plain PyTorch, for a CPU. On a GPU they would wait for it: sizes depend on data."""

import torch
from torch import Tensor

from ..optimizers import RowOptimizer
from ..rows import RowFormat
from ..step.records import FIRST_WORKING_ROW, NONE, RecordFormat
from .kernels import Kernels


class TorchKernels(Kernels):
    def __init__(self, records: RecordFormat, rows: RowFormat, device: torch.device | None = None):
        super().__init__(records, rows)
        self.table_of = torch.tensor(records.table_of, device=device)
        self.one_each = list(records.table_of) == list(range(records.tables))

    def look_up(
        self,
        store: Tensor,
        first: Tensor,
        second: Tensor,
        first_working: int,
        header: Tensor,
        dense: Tensor,
        labels: Tensor,
        pooled: Tensor,
    ) -> None:
        records = _records(first, second)
        count = len(records)
        header[0], header[1] = count, max(int(first[0, 1]), int(second[0, 1]))
        payload = records[:, 1 : 1 + self.records.payload_words].view(torch.float32)
        labels[:count], dense[:count] = payload[:, 0], payload[:, 1:]
        labels[count:], dense[count:], pooled[count:] = 0, 0, 0
        places = torch.empty(count, self.records.accesses, dtype=torch.int32)
        self._places(records, first_working, len(store) - 1, places)
        found = store.index_select(0, places.reshape(-1))[:, : self.rows.dim]
        if self.one_each:
            pooled[:count] = found.view(count, *pooled.shape[1:])
            return
        bags = torch.arange(count)[:, None] * self.records.tables + self.table_of
        pooled[:count] = 0
        pooled[:count].view(-1, self.rows.dim).index_add_(0, bags.reshape(-1), found)

    def places(self, first: Tensor, second: Tensor, first_working: int, none: int, out: Tensor) -> None:
        records = _records(first, second)
        self._places(records, first_working, none, out[: len(records)])
        out[len(records) :] = none

    def _places(self, records: Tensor, first_working: int, none: int, out: Tensor) -> None:
        references = records[:, 1 + self.records.payload_words :]
        working = references - FIRST_WORKING_ROW + first_working
        torch.where(references >= 0, references, working, out=out)
        out[references == NONE] = none

    def update(self, store: Tensor, places: Tensor, order: Tensor, gradient: Tensor, optimizer: RowOptimizer) -> None:
        change_rows(store, *self.add_up(len(store) - 1, places, order, gradient), optimizer)

    def add_up(self, none: int, places: Tensor, order: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct rows among ``places``, but ``none``, int32 [k], and the sums of their accesses' gradients [k, dim]."""
        used = int(torch.searchsorted(places, none))
        rows, place = torch.unique_consecutive(places[:used], return_inverse=True)
        order = order[:used]
        sample = torch.div(order, self.records.accesses, rounding_mode="floor")
        bag = sample * self.records.tables + self.table_of[order - sample * self.records.accesses]
        total = gradient.new_zeros(len(rows), self.rows.dim)
        return rows, total.index_add_(0, place, gradient.reshape(-1, self.rows.dim).index_select(0, bag))

    def carry(self, store: Tensor, to: int, source: int, carried: Tensor, words: Tensor) -> None:
        carried = carried[: int(words[0, 2])]
        (there,) = torch.nonzero(carried >= 0, as_tuple=True)
        store[to + there] = store[source + carried[there].long()]

    def gather(self, table: Tensor, rows: Tensor, carried: Tensor, out: Tensor) -> None:
        (absent,) = torch.nonzero(carried < 0, as_tuple=True)
        out[absent] = table[rows[absent]]

    def scatter(self, table: Tensor, rows: Tensor, source: Tensor) -> None:
        table[rows] = source


def _records(first: Tensor, second: Tensor) -> Tensor:
    """int32 [n, record words]: those of both."""
    parts = [words[1 : 1 + int(words[0, 0])] for words in (first, second)]
    return parts[0] if not len(parts[1]) else parts[1] if not len(parts[0]) else torch.cat(parts)


def change_rows(store: Tensor, rows: Tensor, gradient: Tensor, optimizer: RowOptimizer) -> None:
    """A step of ``rows`` [k], all different, of ``store`` [n, width] by ``gradient`` [k, dim]."""
    dim = gradient.shape[1]
    found = store.index_select(0, rows)
    values, state = optimizer.change(found[:, :dim], found[:, dim:], gradient)
    store.index_copy_(0, rows.long(), torch.cat([values, state], dim=1))
