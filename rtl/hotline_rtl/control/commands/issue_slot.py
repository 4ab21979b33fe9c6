"""The command in the issue slot: sends its jobs to the units, and waits until it may leave.

A LEARN leaves when its samples have been learnt; a SPLIT when all of its samples are on their way to memory and the gather has
been asked for its rows; a GATHER when that has been asked; CLEAR, DUMP, LOAD and SWAP when they are done.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.jobs import (
    Ask,
    batch_job_layout,
    batch_result_layout,
    gather_ask_layout,
    list_job_layout,
    list_result_layout,
)
from ...interfaces.layouts import AFTER_FLAG, Opcode, Status
from ...lib.logic import delayed, is_one_of
from .admission import admitted_layout

#: Numbers that a completion reports when all went well.
COUNTS = ("popular", "non_popular", "working_rows", "accesses", "hot_accesses")


def issued_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A command that leaves the issue slot. ``refused``: it never began. ``fault``: what went wrong so far. ``overflow``: a
    SPLIT's working set had no room for a key, of which sample; the rest of the SPLIT is carried out. ``began``: when it entered
    the slot, in cycles."""
    return data.StructLayout({
        "tag": 32, "opcode": 8, "names": 1, "after": 32, "began": 64, "refused": 1, "fault": fault_layout(),
        "overflow": 1, "overflow_sample": 32, **{name: 32 for name in COUNTS},
    })  # fmt: skip


class IssueSlot(wiring.Component):
    """Members
    -------
    i : In(stream of admitted_layout), o : Out(stream of issued_layout)
    now : In(64)
        Cycles, of all time.
    batches, lists, gathers : Out(streams of batch_job_layout, list_job_layout, gather_ask_layout)
        Jobs.
    batch_results, list_results : In(streams of batch_result_layout, list_result_layout)
    may_gather : In(1)
        No SCATTER is under way, and all that was asked of the gather before has been.
    expired : In(1)
        Commands no longer make progress: what is here leaves with TIMEOUT.
    swap_limit : In(32), swap_worth : In(16)
        Of a SWAP, from the registers.
    free, alone : Out(1)
        Nothing is here; a command that runs alone is.
    gathers_own : Out(1)
        The gather has been asked for the rows of the SPLIT that is here.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(admitted_layout(config))), "o": Out(stream.Signature(issued_layout(config))),
            "now": In(64), "batches": Out(stream.Signature(batch_job_layout(config))),
            "lists": Out(stream.Signature(list_job_layout(config))),
            "gathers": Out(stream.Signature(gather_ask_layout(config))),
            "batch_results": In(stream.Signature(batch_result_layout(config))),
            "list_results": In(stream.Signature(list_result_layout(config))),
            "may_gather": In(1), "expired": In(1), "swap_limit": In(32), "swap_worth": In(16),
            "free": Out(1), "alone": Out(1), "gathers_own": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        here = Signal(admitted_layout(config), reset_less=True)
        command, began = here.command, Signal(64, reset_less=True)
        out = Signal(issued_layout(config), reset_less=True)
        splits = delayed(m, command.opcode == Opcode.SPLIT)
        gathers = delayed(m, is_one_of(command.opcode, Opcode.SPLIT, Opcode.GATHER))
        is_batch = delayed(m, is_one_of(command.opcode, Opcode.LEARN, Opcode.SPLIT))
        is_list = delayed(m, is_one_of(command.opcode, Opcode.CLEAR, Opcode.DUMP, Opcode.LOAD, Opcode.SWAP))
        asked = Signal()  # the gather has been

        # Jobs.
        room = command.working_limit
        m.d.comb += [
            self.batches.p.splits.eq(splits),
            self.batches.p.limit.eq(delayed(m, Mux(room < config.working_rows, room, config.working_rows))),
            self.batches.p.popular.eq(command.popular),
            self.batches.p.non_popular.eq(command.non_popular),
            self.lists.p.opcode.eq(command.opcode),
            self.lists.p.address.eq(command.source),
            self.gathers.p.ask.eq(Mux(splits, Ask.SPLIT, Ask.GATHER)),
            self.gathers.p.more.eq(splits & command.flags[AFTER_FLAG]),
            self.gathers.p.rows.eq(command.working_rows),
            self.gathers.p.keys.eq(command.working_keys),
            self.gathers.p.count.eq(command.samples),
            self.gathers_own.eq(splits & asked),
        ]

        if config.shadow:
            m.d.comb += [
                self.lists.p.limit.eq(delayed(m, Mux(room < self.swap_limit, room, self.swap_limit))),
                self.lists.p.worth.eq(self.swap_worth),
            ]

        batch, listed = self.batch_results.p, self.list_results.p
        m.d.comb += self.o.p.eq(out)
        with m.FSM() as fsm:
            with m.State("FREE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    here.eq(self.i.p),
                    began.eq(self.now),
                    asked.eq(0),
                    out.eq(0),
                    self.alone.eq(self.i.valid & ~is_one_of(self.i.p.command.opcode, Opcode.LEARN, Opcode.SPLIT)),
                ]
                with m.If(self.i.valid):
                    m.next = "DECODE"
            with m.State("DECODE"):  # what the command is becomes known
                m.d.sync += [
                    out.tag.eq(command.tag),
                    out.opcode.eq(command.opcode),
                    out.after.eq(command.after),
                    out.began.eq(began),
                    out.names.eq(command.flags[AFTER_FLAG] & (command.opcode == Opcode.SPLIT)),
                    out.refused.eq(here.refusal.valid),
                    out.fault.eq(here.refusal),
                ]
                m.next = "JOBS"
                with m.If(here.refusal.valid):
                    m.next = "LEAVE"
            with m.State("JOBS"):
                m.d.comb += [self.batches.valid.eq(is_batch), self.lists.valid.eq(is_list)]
                with m.If((self.batches.ready & is_batch) | (self.lists.ready & is_list) | ~(is_batch | is_list)):
                    m.next = "RESULTS"
                with m.If(self.expired):
                    m.next = "LEAVE"
            with m.State("RESULTS"):
                m.d.comb += [
                    self.batch_results.ready.eq(asked | ~gathers),
                    self.list_results.ready.eq(1),
                ]
                with m.If(is_batch):
                    m.d.sync += [
                        out.fault.eq(batch.fault),
                        out.overflow.eq(batch.overflow),
                        out.overflow_sample.eq(batch.overflow_sample),
                        *(out[name].eq(batch[name]) for name in COUNTS),
                    ]
                    with m.If(self.batch_results.valid & self.batch_results.ready):
                        m.next = "LEAVE"
                with m.Elif(is_list):
                    m.d.sync += [
                        out.fault.eq(listed.fault),
                        out.working_rows.eq(listed.changed),
                        out.accesses.eq(listed.left),
                    ]
                    with m.If(self.list_results.valid):
                        m.next = "LEAVE"
                with m.Else():
                    m.d.sync += out.working_rows.eq(command.samples)
                    with m.If(asked):
                        m.next = "LEAVE"
                with m.If(self.expired):
                    m.next = "LEAVE"
            with m.State("LEAVE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += self.alone.eq(0)
                    m.next = "FREE"
        # The gather is asked beside the other jobs: it may have to wait for a SCATTER.
        begun = fsm.ongoing("JOBS") | fsm.ongoing("RESULTS")
        with m.If(self.gathers.valid & self.gathers.ready):
            m.d.sync += [self.gathers.valid.eq(0), asked.eq(1)]
        with m.Elif(begun & gathers & ~asked & self.may_gather):
            m.d.sync += self.gathers.valid.eq(1)
        m.d.comb += self.free.eq(fsm.ongoing("FREE"))
        with m.If(self.expired & begun):
            m.d.sync += [out.fault.eq(0), out.fault.valid.eq(1), out.fault.status.eq(Status.TIMEOUT)]
        return m
