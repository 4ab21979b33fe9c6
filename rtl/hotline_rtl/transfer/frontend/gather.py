"""The gather engine: a front end of the row mover. Keys become transfers from the tables to the working rows.

One key per cycle; 9 cycles from a key to its transfer.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout, read_failed, write_failed
from ...interfaces.jobs import gather_job_layout
from ...interfaces.keys import listed_key_layout
from ...interfaces.layouts import COUNT_BITS, Status
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from ...interfaces.model import ModelSignature
from ...lib.credit_fifo import CreditFifo
from ...lib.logic import delayed, without_reset
from ...lib.register_slice import RegisterSlice
from ...lib.streams import fork
from ...lib.word_queue import ended_layout
from ..midend.row_mover import RowMover, move_layout
from .row_address import FACTOR_BITS, RowAddress


class Gather(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    jobs : In(stream of gather_job_layout)
        Taken when all keys of the set before have been: so rows of two sets may be on their way.
    keys : In(stream of listed_key_layout)
        Keys of the rows to gather, and the numbers of the rows; behind those of each job an ``end``.
    key_words : Out(stream of ended_layout(2))
        The keys as (table, row) words, for the list of working keys.
    results : Out(stream of fault_layout)
        All rows of a job are in device memory, or the list has ended at a key that names no row; no key after it is gathered.
        What went wrong first, but such a key above all. In the order of jobs.
    pause, hold_writes : In(1)
        No row is asked for; none begins to be written.
    active, asks, waits, stall_keys, stall_records, stall_slots, stall_port : Out(1)
        For the performance counters: what happened in the cycle before, while a job was ``active``. A row is asked for, or none
        is because all have been, or no key is at hand, or it must ``pause``, or no reorder-buffer entry is free, or the read
        port does not take it.
    read : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "model": In(ModelSignature(config)), "jobs": In(stream.Signature(gather_job_layout(config))),
            "keys": In(stream.Signature(listed_key_layout(config))), "key_words": Out(stream.Signature(ended_layout(2))),
            "results": Out(stream.Signature(fault_layout())), "pause": In(1), "hold_writes": In(1),
            "active": Out(1), "asks": Out(1), "waits": Out(1), "stall_keys": Out(1),
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

        # Two sets take turns. A set is pending until its result is on its way; the older one comes first.
        current, oldest = Signal(), Signal(init=1)
        pending, closed = Signal(2), Signal(2)  # closed: all of its keys have been taken
        opened, lists = Signal(), Signal(reset_less=True)  # the current set takes keys
        bases = [Signal(config.address_bits, name=f"base_{s}", reset_less=True) for s in range(2)]
        begins, takes, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            self.jobs.ready.eq(~opened & ~Mux(current, pending[0], pending[1])),
            begins.eq(self.jobs.valid & self.jobs.ready),
            takes.eq(self.keys.valid & self.keys.ready & ~self.keys.p.end),
            ends.eq(self.keys.valid & self.keys.ready & self.keys.p.end),
        ]
        with m.If(begins):
            m.d.sync += [opened.eq(1), current.eq(~current), lists.eq(self.jobs.p.lists)]
        with m.If(ends):
            m.d.sync += opened.eq(0)

        # Each key goes two ways: into the list of working keys, and to its address. The end goes into the list alone.
        taken_key = data.StructLayout({"listed": self.keys.p.shape(), "set": 1, "lists": 1})
        m.submodules.slice = mine = RegisterSlice(taken_key)
        is_end = mine.o.p.listed.end
        fork(m, mine.o, [self.key_words, address.i], [mine.o.p.lists, ~is_end])
        m.d.comb += [
            mine.i.valid.eq(self.keys.valid & opened),
            mine.i.p.listed.eq(self.keys.p),
            mine.i.p.set.eq(current),
            mine.i.p.lists.eq(lists),
            self.keys.ready.eq(mine.i.ready & opened),
        ]
        key = mine.o.p.listed.key
        m.d.comb += [
            self.key_words.p.group.data.eq(
                Cat(key.table, Const(0, 32 - config.table_bits), key.row, Const(0, 32 - config.row_bits))
            ),
            self.key_words.p.group.count.eq(Mux(is_end, 0, 2)),
            self.key_words.p.end.eq(is_end),
            address.i.p.key.eq(key),
            address.i.p.outside.eq(mine.o.p.listed.outside),
            address.i.p.extra.eq(Cat(mine.o.p.listed.number, mine.o.p.set)),
        ]

        # The address of a row in its table, and its place among the working rows: first how far from their base, then where.
        offset_valid, move_valid = Signal(), Signal()
        offset, move = Signal(move_layout(config), reset_less=True), Signal(move_layout(config), reset_less=True)
        m.submodules.moves = moves = CreditFifo(move_layout(config), 2)
        row_bytes, pause = delayed(m, self.model.row_bytes), delayed(m, self.pause)
        offset_low = Signal(FACTOR_BITS + len(row_bytes), reset_less=True)
        offset_high = Signal(COUNT_BITS - FACTOR_BITS + len(row_bytes), reset_less=True)
        number, of_set = address.o.p.extra[:COUNT_BITS], address.o.p.extra[COUNT_BITS]
        bad_key, bad_index = Signal(), Signal(COUNT_BITS, reset_less=True)  # of a list, whose set is the only one
        good = address.o.valid & moves.credit & ~address.o.p.bad & ~bad_key
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
        dropped = address.o.valid & address.o.ready & (address.o.p.bad | bad_key)
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
        with m.If(address.o.valid & address.o.ready & address.o.p.bad & ~bad_key):
            m.d.sync += [bad_key.eq(1), bad_index.eq(number)]

        # Rows of each set that are on their way, and what went wrong with them. A row is counted before the end of its set comes.
        none_under_way, faults = [], []
        for s in range(2):
            count = Signal(COUNT_BITS + 1, name=f"under_way_{s}")
            taken = delayed(m, takes & (current == s))
            drops = delayed(m, dropped & (of_set == s))
            m.d.sync += count.eq(count + taken - (mover.done & (mover.done_set == s)) - drops)
            fault = Signal(fault_layout(), name=f"fault_{s}", reset_less=True)
            with m.If(mover.read_failed & (mover.failed.set == s) & ~fault.valid):
                m.d.sync += [
                    fault.valid.eq(1),
                    fault.status.eq(read_failed(mover.read_timeout)),
                    fault.address.eq(mover.failed.source),
                    fault.index.eq(mover.failed.tag),
                ]
            with m.Elif(mover.write_failed & (mover.done_set == s) & ~fault.valid):
                m.d.sync += [
                    fault.valid.eq(1),
                    fault.status.eq(write_failed(mover.write_timeout)),
                    fault.address.eq(mover.write_address),
                    fault.index.eq(0),
                ]
            with m.If(begins & (current != s)):
                m.d.sync += [fault.valid.eq(0), bases[s].eq(self.jobs.p.base), pending[s].eq(1), closed[s].eq(0)]
            with m.If(ends & (current == s)):
                m.d.sync += closed[s].eq(1)
            none_under_way.append(closed[s] & (count == 0))
            faults.append(fault)

        # Of the older set: all is there; then its result is. So the next one's is two cycles later at least.
        over, result = Signal(), without_reset(m, self.results.p)
        m.d.sync += over.eq(Mux(oldest, none_under_way[1], none_under_way[0]) & ~over & ~self.results.valid)
        with m.If(over):
            m.d.sync += [
                self.results.valid.eq(1),
                result.eq(Mux(oldest, faults[1], faults[0])),
                oldest.eq(~oldest),
                bad_key.eq(0),
            ]
            with m.If(bad_key):
                m.d.sync += [
                    result.valid.eq(1),
                    result.status.eq(Status.ROW_OUTSIDE_TABLE),
                    result.index.eq(bad_index),
                    result.address.eq(0),
                ]
            for s in range(2):
                with m.If(oldest == s):
                    m.d.sync += [pending[s].eq(0), closed[s].eq(0)]
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += self.results.valid.eq(0)

        active = pending.any()
        no_more = ~opened & ~mine.o.valid
        m.d.sync += [
            self.active.eq(active),
            self.asks.eq(active & mover.i.valid & mover.i.ready),
            self.waits.eq(active & ~moves.o.valid & no_more),
            self.stall_keys.eq(active & ~moves.o.valid & ~no_more),
            self.stall_records.eq(active & moves.o.valid & pause),
            self.stall_slots.eq(active & mover.stall_slots),
            self.stall_port.eq(active & mover.i.valid & ~mover.i.ready & ~mover.stall_slots),
        ]
        return m
