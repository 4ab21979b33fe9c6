"""The gather engine: a front end of the row mover. Keys become transfers from the tables to the working rows.

One key per cycle; 9 cycles from a key to its transfer.
"""

import enum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.keys import listed_key_layout
from ...interfaces.layouts import COUNT_BITS
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from ...interfaces.model import ModelSignature
from ...lib.credit_fifo import CreditFifo
from ...lib.fork import fork
from ...lib.logic import delayed, without_reset
from ...lib.register_slice import RegisterSlice
from ...lib.word_queue import group_layout
from ..midend.row_mover import RowMover, move_layout
from .row_address import FACTOR_BITS, RowAddress


class GatherError(enum.IntEnum):
    """What could not be done with a row."""

    READ = 1
    WRITE = 2


def gather_error_layout(config: AcceleratorConfig) -> data.StructLayout:
    """``kind``: a GatherError, or 0. ``timeout``: no answer came. ``address``: of the row that could not be read, whose
    number is ``index``, or of the burst that could not be written."""
    return data.StructLayout({"kind": 2, "timeout": 1, "address": config.address_bits, "index": COUNT_BITS})


class Gather(wiring.Component):
    """Members
    -------
    start : In(1), base : In
        Begins a working set, whose row ``k`` goes to ``base + k * row_bytes``; only when ``keys_done``, and all rows of
        the set before this one are in memory. So rows of two sets may be on their way.
    model : In(ModelSignature)
    keys : In(stream of listed_key_layout)
        Keys of the rows to gather, and the numbers of the rows.
    count : In
        How many keys there are for this working set so far; they may still be on their way here. Keys beyond them
        belong to the next working set, and wait.
    hold : In(1)
        Keys belong to a working set that has not begun: they wait.
    pause, hold_writes : In(1)
        No row is asked for; none begins to be written.
    listing : In(1)
        Keys go to ``key_words``, too.
    keys_done : Out(1)
        All ``count`` keys of two cycles ago have been taken.
    key_words : Out(stream of group_layout(2))
        The keys as (table, row) words, for the list of working keys.
    idle, earlier_idle : Out(1)
        The rows of all ``count`` keys are in device memory, or the list has ended at a bad key; those of the set before.
    bad_key, bad_index : Out
        A key named no row, and its number; no key after it is gathered.
    error, earlier : Out(gather_error_layout)
        What went wrong first in this working set; in the one before. Known with ``idle``.
    active, complete : In(1)
        A working set is being gathered; all of its keys are counted.
    asks, waits, stall_keys, stall_records, stall_slots, stall_port : Out(1)
        For the performance counters: what happened in the cycle before, while ``active``. A row is asked for, or none is because
        all have been, or no key is at hand, or it must ``pause``, or no out_fifo slot is free, or the read port does not
        take it.
    read : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "base": In(config.address_bits), "model": In(ModelSignature(config)),
            "keys": In(stream.Signature(listed_key_layout(config))), "count": In(COUNT_BITS + 1),
            "hold": In(1), "pause": In(1), "hold_writes": In(1), "listing": In(1), "keys_done": Out(1),
            "key_words": Out(stream.Signature(group_layout(2))),
            "idle": Out(1), "earlier_idle": Out(1), "bad_key": Out(1), "bad_index": Out(COUNT_BITS),
            "error": Out(gather_error_layout(config)), "earlier": Out(gather_error_layout(config)),
            "active": In(1), "complete": In(1), "asks": Out(1), "waits": Out(1), "stall_keys": Out(1),
            "stall_records": Out(1), "stall_slots": Out(1), "stall_port": Out(1),
            "read": Out(ReadClientSignature(config, config.entry_bits)), "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.mover = mover = RowMover(config)
        m.submodules.address = address = RowAddress(config, COUNT_BITS + 1)
        wiring.connect(m, wiring.flipped(self.model), address.model)
        wiring.connect(m, mover.read, wiring.flipped(self.read))
        wiring.connect(m, mover.write, wiring.flipped(self.write))

        # Two sets take turns.
        current = Signal()
        bases = [Signal(config.address_bits, name=f"base_{s}", reset_less=True) for s in range(2)]

        # Each key goes two ways: into the list of working keys, and to its address.
        keys_in = Signal(COUNT_BITS + 1)
        taken_key = data.StructLayout({"listed": self.keys.p.shape(), "set": 1, "listing": 1})
        m.submodules.slice = mine = RegisterSlice(taken_key)
        listed = stream.Signature(0).create()
        takes = self.keys.valid & self.keys.ready
        all_in = Signal(init=1)  # no more keys; a cycle late, but never too early
        more = ~all_in & ~self.hold  # not when `start` comes: then all are in, or held, or none is there yet
        one_more = Signal(COUNT_BITS + 1, init=1)  # than keys_in
        m.d.sync += all_in.eq(self.start | Mux(takes, one_more == self.count, keys_in == self.count))
        m.d.comb += [
            mine.i.valid.eq(self.keys.valid & more),
            mine.i.p.listed.eq(self.keys.p),
            mine.i.p.set.eq(current),
            mine.i.p.listing.eq(self.listing),
            self.keys.ready.eq(mine.i.ready & more),
            self.key_words.valid.eq(listed.valid & mine.o.p.listing),
            listed.ready.eq(self.key_words.ready | ~mine.o.p.listing),
        ]
        fork(m, mine.o, [listed, address.i])
        key = mine.o.p.listed.key
        m.d.comb += [
            self.key_words.p.data.eq(
                Cat(key.table, Const(0, 32 - config.table_bits), key.row, Const(0, 32 - config.row_bits))
            ),
            self.key_words.p.count.eq(2),
            address.i.p.key.eq(key),
            address.i.p.outside.eq(mine.o.p.listed.outside),
            address.i.p.extra.eq(Cat(mine.o.p.listed.number, mine.o.p.set)),
        ]
        with m.If(takes):
            m.d.sync += [keys_in.eq(one_more), one_more.eq(one_more + 1)]

        # The address of a row in its table, and its place among the working rows: first how far from their base, then where.
        offset_valid, move_valid = Signal(), Signal()
        offset, move = Signal(move_layout(config), reset_less=True), Signal(move_layout(config), reset_less=True)
        m.submodules.moves = moves = CreditFifo(move_layout(config), 2)
        row_bytes, pause = delayed(m, self.model.row_bytes), delayed(m, self.pause)
        offset_low = Signal(FACTOR_BITS + len(row_bytes), reset_less=True)
        offset_high = Signal(COUNT_BITS - FACTOR_BITS + len(row_bytes), reset_less=True)
        bad_index = without_reset(m, self.bad_index)
        good = address.o.valid & moves.credit & ~address.o.p.bad & ~self.bad_key
        m.d.comb += [
            address.o.ready.eq(moves.credit),
            moves.spend.eq(good),
            moves.i.valid.eq(move_valid),
            moves.i.p.eq(move),
            mover.i.valid.eq(moves.o.valid & ~pause),
            mover.i.p.eq(moves.o.p),
            moves.o.ready.eq(mover.i.ready & ~pause),
            mover.hold_writes.eq(delayed(m, self.hold_writes)),
            mover.row_bytes.eq(row_bytes),
        ]
        number, of_set = address.o.p.extra[:COUNT_BITS], address.o.p.extra[COUNT_BITS]
        dropped = address.o.valid & address.o.ready & (address.o.p.bad | self.bad_key)
        m.d.sync += [
            offset_valid.eq(good),
            offset.source.eq(address.o.p.address),
            offset_low.eq(number[:FACTOR_BITS] * row_bytes),
            offset_high.eq(number[FACTOR_BITS:] * row_bytes),
            offset.tag.eq(number),
            offset.set.eq(of_set),
            move_valid.eq(offset_valid),
            move.eq(offset),
            move.destination.eq(Mux(offset.set, bases[1], bases[0]) + offset_low + (offset_high << FACTOR_BITS)),
        ]
        with m.If(address.o.valid & address.o.ready & address.o.p.bad & ~self.bad_key):
            m.d.sync += [self.bad_key.eq(1), bad_index.eq(number)]

        # Rows of each set that are on their way, and what went wrong with them.
        none_under_way, errors = [], []
        for s in range(2):
            count = Signal(COUNT_BITS + 1, name=f"under_way_{s}")
            taken = delayed(m, takes & (current == s))
            drops = delayed(m, dropped & (of_set == s))
            m.d.sync += count.eq(count + taken - (mover.done & (mover.done_set == s)) - drops)
            error = Signal(gather_error_layout(config), name=f"error_{s}")
            begins = self.start & (current != s)
            with m.If(mover.read_failed & (mover.failed.set == s) & (error.kind == 0)):
                m.d.sync += [
                    error.kind.eq(GatherError.READ), error.timeout.eq(mover.read_timeout),
                    error.address.eq(mover.failed.source), error.index.eq(mover.failed.tag),
                ]  # fmt: skip
            with m.Elif(mover.write_failed & (mover.done_set == s) & (error.kind == 0)):
                m.d.sync += [
                    error.kind.eq(GatherError.WRITE), error.timeout.eq(mover.write_timeout),
                    error.address.eq(mover.write_address), error.index.eq(0),
                ]  # fmt: skip
            with m.If(begins):
                m.d.sync += [error.kind.eq(0), bases[s].eq(self.base)]
            # A key that has just been taken is still in the slice, or was in the cycle before, for which `idle` waits.
            none_under_way.append(delayed(m, count == 0))
            errors.append(error)
        m.d.comb += [
            self.keys_done.eq(all_in & ~delayed(m, self.start) & ~mine.o.valid),
            self.earlier_idle.eq(Mux(current, none_under_way[0], none_under_way[1])),
        ]  # fmt: skip
        no_more = delayed(m, self.complete & self.keys_done)
        m.d.sync += [
            self.asks.eq(self.active & mover.i.valid & mover.i.ready),
            self.waits.eq(self.active & ~moves.o.valid & no_more),
            self.stall_keys.eq(self.active & ~moves.o.valid & ~no_more),
            self.stall_records.eq(self.active & moves.o.valid & pause),
            self.stall_slots.eq(self.active & mover.stall_slots),
            self.stall_port.eq(self.active & mover.i.valid & ~mover.i.ready & ~mover.stall_slots),
        ]
        error_now = without_reset(m, self.error)
        error_earlier = without_reset(m, self.earlier)
        m.d.sync += [
            self.idle.eq(
                ((self.keys_done & delayed(m, self.keys_done)) | self.bad_key)
                & Mux(current, none_under_way[1], none_under_way[0])
            ),
            error_now.eq(Mux(current, errors[1], errors[0])),
            error_earlier.eq(Mux(current, errors[0], errors[1])),
        ]
        with m.If(self.start):
            m.d.sync += [current.eq(~current), keys_in.eq(0), one_more.eq(1), self.bad_key.eq(0)]
        return m
