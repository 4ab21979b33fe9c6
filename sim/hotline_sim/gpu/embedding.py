"""The embeddings of a micro-batch: hot rows from device memory, by slot; working rows from the mini-batch's own."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hotline_golden.layouts import NO_ACCESS

from .rows import RowFormat, RowOptimizer

_NONE = int(np.uint32(NO_ACCESS).view(np.int32))
#: The reference, as int32, of working row 0.
_FIRST_WORKING_ROW = -(2**31)


@dataclass(frozen=True)
class Records:
    """Micro-batch records as they lie in memory, int32 [n, record words], and how to read them. All views.

    ``payload_words`` follow the sample's number, and ``accesses`` references follow those.
    """

    words: Tensor
    payload_words: int

    @staticmethod
    def of(words: np.ndarray, payload_words: int) -> "Records":
        """A view of ``words`` uint32 [n, record words]."""
        return Records(torch.from_numpy(words.view(np.int32)), payload_words)

    def __len__(self) -> int:
        return len(self.words)

    def to(self, words: Tensor) -> "Records":
        return Records(words, self.payload_words)

    @property
    def sample_ids(self) -> Tensor:
        """int32 [n]: positions in the mini-batch."""
        return self.words[:, 0]

    @property
    def payload(self) -> Tensor:
        """float32 [n, payload words]: the label, then dense features."""
        return self.words[:, 1 : 1 + self.payload_words].view(torch.float32)

    @property
    def references(self) -> Tensor:
        """int32 [n, accesses]: a slot; negative, a working row in the low 31 bits; -1, no access."""
        return self.words[:, 1 + self.payload_words :]


class _Pool(torch.autograd.Function):
    """Sums rows of two tables into places. The gradient of the first is sparse, of the second dense."""

    @staticmethod
    def forward(ctx, hot, working, hot_rows, hot_places, working_rows, working_places, places):
        pooled = hot.new_zeros(places, hot.shape[1])
        pooled.index_add_(0, hot_places, hot.index_select(0, hot_rows))
        if len(working_rows):
            pooled.index_add_(0, working_places, working.index_select(0, working_rows))
        ctx.save_for_backward(hot_rows, hot_places, working_rows, working_places)
        ctx.shapes = hot.shape, working.shape
        return pooled

    @staticmethod
    def backward(ctx, gradient):
        hot_rows, hot_places, working_rows, working_places = ctx.saved_tensors
        hot_shape, working_shape = ctx.shapes
        of_hot = torch.sparse_coo_tensor(
            hot_rows[None, :], gradient.index_select(0, hot_places), hot_shape, check_invariants=False
        )
        of_working = None
        if ctx.needs_input_grad[1]:
            of_working = gradient.new_zeros(working_shape)
            of_working.index_add_(0, working_rows, gradient.index_select(0, working_places))
        return of_hot, of_working, None, None, None, None, None


class HotlineEmbedding(nn.Module):
    """The hot table, and look-ups in it and in working rows; accesses of one table are pooled by sum.

    ``table_of``: the table of each access, of ``tables``; ``slots``: rows of the hot table. ``hot`` [slots, dim] is a
    parameter whose gradient is sparse; ``hot_state`` [slots, state] is the optimizer's. A micro-batch costs what it looks
    up, not what the hot table holds.
    """

    def __init__(self, table_of: list[int], tables: int, slots: int, rows: RowFormat):
        super().__init__()
        self.rows = rows
        self.tables = tables
        self.hot = nn.Parameter(torch.zeros(slots, rows.dim, dtype=rows.dtype))
        self.register_buffer("hot_state", torch.zeros(slots, rows.state, dtype=rows.dtype))
        self.register_buffer("table_of", torch.tensor(table_of), persistent=False)

    def forward(self, records: Records, working: Tensor | None = None) -> Tensor:
        """[n, tables, dim]: for each table the sum of the rows that a sample accesses there.

        ``working`` [k, dim]: values of the mini-batch's working rows; None if no record refers to one. Raises ValueError
        for a reference to a row that is not there.
        """
        references = records.references
        count = len(references)
        places = torch.arange(count, device=references.device)[:, None] * self.tables + self.table_of
        is_hot = references >= 0
        is_working = (references < 0) & (references != _NONE)
        working_rows = references[is_working].long() - _FIRST_WORKING_ROW
        if working is None:
            working = self.hot.new_zeros(0, self.rows.dim)
            if len(working_rows):
                raise ValueError(f"{len(working_rows)} references to working rows, but no working rows")
        hot_rows = references[is_hot].long()
        pooled = _Pool.apply(
            self.hot, working, hot_rows, places[is_hot], working_rows, places[is_working], count * self.tables
        )
        return pooled.view(count, self.tables, self.rows.dim)

    def step(self, optimizer: RowOptimizer) -> None:
        """One step of the hot rows by the gradient gathered since the last; forgets it."""
        if self.hot.grad is None:
            return
        gradient = self.hot.grad.coalesce()
        with torch.no_grad():
            optimizer.step(self.hot.data, self.hot_state, gradient.indices()[0], gradient.values())
        self.hot.grad = None

    def load(self, slots: Tensor, rows: Tensor) -> None:
        """Puts ``rows`` [n, width] into ``slots`` int64 [n]."""
        with torch.no_grad():
            self.hot.data[slots] = rows[:, : self.rows.dim]
            self.hot_state[slots] = rows[:, self.rows.dim :]

    def read(self, slots: Tensor) -> Tensor:
        """[n, width]: what lies in ``slots``, state included."""
        return torch.cat([self.hot.data[slots], self.hot_state[slots]], dim=1)
