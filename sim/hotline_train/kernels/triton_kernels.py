"""The kernels in Triton, for a GPU. No atomic additions: every sum has one order, so the bits are the same in every run.

The update of rows adds up, for each row, the gradients of its accesses. Accesses are sorted by row (by keys alone, ahead of the
gradients); a row's accesses then lie together, one or thousands of them. They are added up in two kernels: pieces within
CHUNK accesses, then the pieces of a row, of which the optimizer's step is made at once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..optimizers import ROW_OPTIMIZERS, RowOptimizer
from ..rows import RowFormat
from ..step.records import FIRST_WORKING_ROW, NONE, RecordFormat
from .kernels import Kernels

#: Samples that a program of the look-up reads.
SAMPLES = 32
#: Sorted accesses that are added up in one piece, and how many of them, or of pieces, are read together.
CHUNK, TOGETHER = 32, 8
#: Rows, or references, that a program moves.
MOVED = 64
_KINDS = {name: n for n, name in enumerate(ROW_OPTIMIZERS)}
_SGD, _ROW_WISE, _ADAGRAD, _ADAM = (
    tl.constexpr(_KINDS[name]) for name in ("sgd", "rowwise-adagrad", "adagrad", "adam")
)
_NONE, _LOW_BITS = tl.constexpr(NONE), tl.constexpr(~FIRST_WORKING_ROW)


class TritonKernels(Kernels):
    """``device``: where all tensors are but tables in host memory, which are pinned. ``most``: samples of a step."""

    def __init__(self, records: RecordFormat, rows: RowFormat, device: torch.device, most: int):
        super().__init__(records, rows)
        self.by_table = torch.from_numpy(records.by_table).to(device, torch.int32)
        self.starts = torch.from_numpy(records.starts).to(device, torch.int32)
        self.table_of = torch.tensor(records.table_of, dtype=torch.int32, device=device)
        self.pieces = torch.empty(most * records.accesses, rows.dim, dtype=rows.dtype, device=device)

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
        r, dim = self.records, self.rows.dim
        _look_up[triton.cdiv(len(labels), SAMPLES), r.tables + 1](
            store,
            first,
            second,
            self.starts,
            self.by_table,
            header,
            dense,
            labels,
            pooled,
            len(labels),
            first_working,
            WIDTH=self.rows.width,
            WORDS=r.words,
            PAYLOAD=r.payload_words,
            TABLES=r.tables,
            DIM=dim,
            DIMS=triton.next_power_of_2(dim),
            PAYLOADS=triton.next_power_of_2(r.payload_words),
            SAMPLES=SAMPLES,
        )

    def places(self, first: Tensor, second: Tensor, first_working: int, none: int, out: Tensor) -> None:
        r = self.records
        _places[triton.cdiv(out.numel(), MOVED * 4),](
            first,
            second,
            out,
            out.numel(),
            first_working,
            none,
            WORDS=r.words,
            PAYLOAD=r.payload_words,
            ACCESSES=r.accesses,
            BLOCK=MOVED * 4,
        )

    def update(self, store: Tensor, places: Tensor, order: Tensor, gradient: Tensor, optimizer: RowOptimizer) -> None:
        r, count, dim = self.records, len(places), self.rows.dim
        none, dims = len(store) - 1, triton.next_power_of_2(dim)
        _add_up[count,](
            places,
            order,
            gradient,
            self.table_of,
            self.pieces,
            count,
            none,
            TABLES=r.tables,
            ACCESSES=r.accesses,
            DIM=dim,
            DIMS=dims,
            CHUNK=CHUNK,
            TOGETHER=TOGETHER,
            num_warps=1,
        )
        _step[count,](
            store,
            places,
            self.pieces,
            optimizer.constants,
            count,
            none,
            KIND=_KINDS[optimizer.name],
            WIDTH=self.rows.width,
            DIM=dim,
            DIMS=dims,
            CHUNK=CHUNK,
            TOGETHER=TOGETHER,
            num_warps=1,
        )

    def carry(self, store: Tensor, to: int, source: int, carried: Tensor, words: Tensor) -> None:
        width = self.rows.width
        _carry[triton.cdiv(len(carried), MOVED),](
            store, carried, words, to, source, WIDTH=width, WIDTHS=triton.next_power_of_2(width), MOVED=MOVED
        )

    def gather(self, table: Tensor, rows: Tensor, carried: Tensor, out: Tensor) -> None:
        if len(rows):
            width = self.rows.width
            _gather[triton.cdiv(len(rows), MOVED),](
                table, rows, carried, out, len(rows), WIDTH=width, WIDTHS=triton.next_power_of_2(width), MOVED=MOVED
            )

    def scatter(self, table: Tensor, rows: Tensor, source: Tensor) -> None:
        if len(rows):
            width = self.rows.width
            _scatter[triton.cdiv(len(rows), MOVED),](
                table, rows, source, len(rows), WIDTH=width, WIDTHS=triton.next_power_of_2(width), MOVED=MOVED
            )


@triton.jit
def _look_up(
    store,
    first,
    second,
    starts,
    by_table,
    header,
    dense,
    labels,
    pooled,
    size,
    first_working,
    WIDTH: tl.constexpr,
    WORDS: tl.constexpr,
    PAYLOAD: tl.constexpr,
    TABLES: tl.constexpr,
    DIM: tl.constexpr,
    DIMS: tl.constexpr,
    PAYLOADS: tl.constexpr,
    SAMPLES: tl.constexpr,
):
    """One program for some samples and one table; for them and the payload, if ``table`` is TABLES."""
    table = tl.program_id(1)
    sample = tl.program_id(0) * SAMPLES + tl.arange(0, SAMPLES)
    count = tl.load(first)
    both = count + tl.load(second)
    in_first = sample < count
    in_second = (sample >= count) & (sample < both)
    of_first = first + (1 + sample).to(tl.int64) * WORDS
    of_second = second + (1 + sample - count).to(tl.int64) * WORDS
    if table == TABLES:
        if tl.program_id(0) == 0:
            tl.store(header, both)
            tl.store(header + 1, tl.maximum(tl.load(first + 1), tl.load(second + 1)))
        word = tl.arange(0, PAYLOADS)
        inside = (sample < size)[:, None] & (word < PAYLOAD)[None, :]
        found = tl.load(of_first[:, None] + 1 + word[None, :], mask=inside & in_first[:, None], other=0)
        found += tl.load(of_second[:, None] + 1 + word[None, :], mask=inside & in_second[:, None], other=0)
        value = found.to(tl.float32, bitcast=True).to(labels.dtype.element_ty)
        label = labels + sample[:, None] + 0 * word[None, :]
        tl.store(label, value, mask=inside & (word == 0)[None, :])
        feature = dense + sample[:, None] * (PAYLOAD - 1) + word[None, :] - 1
        tl.store(feature, value, mask=inside & (word > 0)[None, :])
    else:
        d = tl.arange(0, DIMS)
        total = tl.zeros([SAMPLES, DIMS], store.dtype.element_ty)
        n = tl.load(starts + table)
        end = tl.load(starts + table + 1)
        while n < end:
            at = 1 + PAYLOAD + tl.load(by_table + n)
            reference = tl.load(of_first + at, mask=in_first, other=_NONE)
            reference = tl.where(in_first, reference, tl.load(of_second + at, mask=in_second, other=_NONE))
            row = tl.where(reference >= 0, reference, (reference & _LOW_BITS) + first_working).to(tl.int64)
            there = (reference != _NONE)[:, None] & (d < DIM)[None, :]
            total += tl.load(store + row[:, None] * WIDTH + d[None, :], mask=there, other=0)
            n += 1
        to = pooled + (sample.to(tl.int64) * TABLES + table)[:, None] * DIM + d[None, :]
        tl.store(to, total, mask=(sample < size)[:, None] & (d < DIM)[None, :])


@triton.jit
def _places(
    first,
    second,
    out,
    size,
    first_working,
    none,
    WORDS: tl.constexpr,
    PAYLOAD: tl.constexpr,
    ACCESSES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = n // ACCESSES
    count = tl.load(first)
    in_first = (n < size) & (sample < count)
    in_second = (n < size) & (sample >= count) & (sample < count + tl.load(second))
    at = 1 + PAYLOAD + n % ACCESSES
    reference = tl.load(first + (1 + sample).to(tl.int64) * WORDS + at, mask=in_first, other=_NONE)
    of_second = tl.load(second + (1 + sample - count).to(tl.int64) * WORDS + at, mask=in_second, other=_NONE)
    reference = tl.where(in_first, reference, of_second)
    row = tl.where(reference >= 0, reference, (reference & _LOW_BITS) + first_working)
    tl.store(out + n, tl.where(reference == _NONE, none, row), mask=n < size)


@triton.jit
def _add_up(
    places,
    order,
    gradient,
    table_of,
    pieces,
    count,
    none,
    TABLES: tl.constexpr,
    ACCESSES: tl.constexpr,
    DIM: tl.constexpr,
    DIMS: tl.constexpr,
    CHUNK: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """One program for each sorted access: where a row begins, or a chunk, it adds up what follows of the row in the chunk."""
    first = tl.program_id(0)
    row = tl.load(places + first)
    before = tl.load(places + first - 1, mask=first > 0, other=-1)
    if (row != none) & ((row != before) | (first % CHUNK == 0)):
        d = tl.arange(0, DIMS)
        total = tl.zeros([DIMS], pieces.dtype.element_ty)
        end = tl.minimum((first // CHUNK + 1) * CHUNK, count)
        at = first
        going = True
        while going:
            n = at + tl.arange(0, TOGETHER)
            mine = n < end
            mine = mine & (tl.load(places + n, mask=mine, other=none) == row)
            flat = tl.load(order + n, mask=mine, other=0)
            sample = flat // ACCESSES
            bag = sample * TABLES + tl.load(table_of + (flat - sample * ACCESSES), mask=mine, other=0)
            found = tl.load(
                gradient + bag[:, None] * DIM + d[None, :], mask=mine[:, None] & (d < DIM)[None, :], other=0
            )
            total += tl.sum(found, axis=0)
            at += TOGETHER
            going = False
            if at < end:
                going = tl.load(places + at) == row
        tl.store(pieces + first.to(tl.int64) * DIM + d, total, mask=d < DIM)


@triton.jit
def _step(
    store,
    places,
    pieces,
    constants,
    count,
    none,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    DIM: tl.constexpr,
    DIMS: tl.constexpr,
    CHUNK: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """One program for each sorted access: where a row begins, it adds up the row's pieces and makes the row's step."""
    first = tl.program_id(0)
    row = tl.load(places + first)
    before = tl.load(places + first - 1, mask=first > 0, other=-1)
    if (row != none) & (row != before):
        d = tl.arange(0, DIMS)
        inside = d < DIM
        gradient = tl.load(pieces + first.to(tl.int64) * DIM + d, mask=inside, other=0)
        at = (first // CHUNK + 1) * CHUNK
        going = False
        if at < count:
            going = tl.load(places + at) == row
        while going:
            n = at + tl.arange(0, TOGETHER) * CHUNK
            mine = n < count
            mine = mine & (tl.load(places + n, mask=mine, other=none) == row)
            found = tl.load(
                pieces + n.to(tl.int64)[:, None] * DIM + d[None, :], mask=mine[:, None] & inside[None, :], other=0
            )
            gradient += tl.sum(found, axis=0)
            at += TOGETHER * CHUNK
            going = False
            if at < count:
                going = tl.load(places + at) == row
        value = store + row.to(tl.int64) * WIDTH + d
        state = value + DIM
        rate = tl.load(constants)
        w = tl.load(value, mask=inside, other=0)
        if KIND == _SGD:
            w -= rate * gradient
        elif KIND == _ROW_WISE:
            at_sum = store + row.to(tl.int64) * WIDTH + DIM
            total = tl.load(at_sum) + tl.sum(gradient * gradient, axis=0) / DIM
            tl.store(at_sum, total)
            w -= gradient * (rate / (tl.sqrt(total) + tl.load(constants + 1)))
        elif KIND == _ADAGRAD:
            squares = tl.load(state, mask=inside, other=0) + gradient * gradient
            tl.store(state, squares, mask=inside)
            w -= gradient * (rate / (tl.sqrt(squares) + tl.load(constants + 1)))
        else:
            mean = tl.load(state, mask=inside, other=0)
            mean += tl.load(constants + 2) * (gradient - mean)
            square = tl.load(state + DIM, mask=inside, other=0)
            square += tl.load(constants + 3) * (gradient * gradient - square)
            tl.store(state, mean, mask=inside)
            tl.store(state + DIM, square, mask=inside)
            w -= rate * tl.load(constants + 4) * mean / (tl.sqrt(square) + tl.load(constants + 1))
        tl.store(value, w, mask=inside)


@triton.jit
def _carry(store, carried, words, to, source, WIDTH: tl.constexpr, WIDTHS: tl.constexpr, MOVED: tl.constexpr):
    k = tl.program_id(0) * MOVED + tl.arange(0, MOVED)
    count = tl.load(words + 2)
    if tl.program_id(0) * MOVED < count:
        place = tl.load(carried + k, mask=k < count, other=-1)
        w = tl.arange(0, WIDTHS)
        mask = (place >= 0)[:, None] & (w < WIDTH)[None, :]
        found = tl.load(store + (place + source).to(tl.int64)[:, None] * WIDTH + w[None, :], mask=mask, other=0)
        tl.store(store + (k + to).to(tl.int64)[:, None] * WIDTH + w[None, :], found, mask=mask)


@triton.jit
def _gather(table, rows, carried, out, count, WIDTH: tl.constexpr, WIDTHS: tl.constexpr, MOVED: tl.constexpr):
    k = tl.program_id(0) * MOVED + tl.arange(0, MOVED)
    inside = k < count
    inside = inside & (tl.load(carried + k, mask=inside, other=0) < 0)
    row = tl.load(rows + k, mask=inside, other=0)
    w = tl.arange(0, WIDTHS)
    mask = inside[:, None] & (w < WIDTH)[None, :]
    found = tl.load(table + row[:, None] * WIDTH + w[None, :], mask=mask, other=0)
    tl.store(out + k.to(tl.int64)[:, None] * WIDTH + w[None, :], found, mask=mask)


@triton.jit
def _scatter(table, rows, source, count, WIDTH: tl.constexpr, WIDTHS: tl.constexpr, MOVED: tl.constexpr):
    k = tl.program_id(0) * MOVED + tl.arange(0, MOVED)
    row = tl.load(rows + k, mask=k < count, other=0)
    w = tl.arange(0, WIDTHS)
    mask = (k < count)[:, None] & (w < WIDTH)[None, :]
    found = tl.load(source + k.to(tl.int64)[:, None] * WIDTH + w[None, :], mask=mask, other=0)
    tl.store(table + row[:, None] * WIDTH + w[None, :], found, mask=mask)
