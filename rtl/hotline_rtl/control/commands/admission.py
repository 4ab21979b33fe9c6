"""Takes commands from the ring, checks them, and sends each to its slot when it may begin.

    FETCH ─► CHECK ─┬────────────────────────► BEGIN ─► issue slot, or scatter slot
                    └─► LOOK_UP ─► JUDGE ──────►┘
                           ▲          │ a SPLIT that waits does not get its SCATTER
                           └──────────┘

A command that names an earlier SPLIT is looked up when every command before it has left the issue slot: then it is known which
SPLITs can be named. So is whatever comes behind a SPLIT that waits for its SCATTER: it is that, or the SPLIT waits no more.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.jobs import batch_fetch_layout
from ...interfaces.layouts import AFTER_FLAG, COUNT_BITS, FOLLOW_FLAG, Opcode, Status, command_layout
from ...lib.logic import delayed, equal, is_one_of
from ..rings import fetched_layout
from .command_check import CommandCheck
from .scoreboard import Scoreboard

#: From a look-up until all that is compared is known.
LOOK_UP_CYCLES = 4


def admitted_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A command that may begin. ``refusal``: it is refused, and why. ``passes``: a SCATTER that passes the SPLIT that waits."""
    return data.StructLayout({"command": command_layout(), "refusal": fault_layout(), "passes": 1})


class Admission(wiring.Component):
    """Members
    -------
    i : In(stream of fetched_layout)
    issue, scatter : Out(streams of admitted_layout)
        Commands that begin, and SCATTERs. Each is taken at once.
    fetches : Out(stream of batch_fetch_layout)
        The records of the next mini-batch, before its command begins.
    has_command : Out(1)
        A command is here.
    stop : In(1)
        No more commands begin.
    model_valid : In(1), sample_words, row_bytes : In
        Of the model.
    scatter_timeout : In(32)
        Cycles that a SPLIT waits for the next command to come; 0: for ever.
    issue_free, commit_free, scatter_free : In(1)
        Nothing is in the slot.
    alone : In(1)
        A command is in the issue or the commit slot that runs alone.
    looked_up : In(1)
        The SCATTER in the scatter slot, if it passes a SPLIT, needs that one's working set no more.
    named : In(1), name : In(32)
        The SPLIT in the commit slot waits for the SCATTER of the SPLIT of that name.
    abandon : Out(1)
        It gets none.
    add, new_tag, new_rows : In
        To the scoreboard: a SPLIT has gone well.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        admitted = stream.Signature(admitted_layout(config))
        super().__init__({
            "i": In(stream.Signature(fetched_layout(config))), "issue": Out(admitted), "scatter": Out(admitted),
            "fetches": Out(stream.Signature(batch_fetch_layout(config))), "has_command": Out(1), "stop": In(1),
            "model_valid": In(1), "sample_words": In(range(config.max_record_words + 1)),
            "row_bytes": In(range(config.max_row_bytes + 1)), "scatter_timeout": In(32),
            "issue_free": In(1), "commit_free": In(1), "scatter_free": In(1), "alone": In(1), "looked_up": In(1),
            "named": In(1), "name": In(32), "abandon": Out(1),
            "add": In(1), "new_tag": In(32), "new_rows": In(COUNT_BITS + 1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        command = Signal(command_layout(), reset_less=True)
        refusal = Signal(fault_layout(), reset_less=True)
        m.submodules.check = check = CommandCheck(self.config)
        m.submodules.scoreboard = scoreboard = Scoreboard()
        m.d.comb += [
            check.command.eq(command),
            *(getattr(check, name).eq(getattr(self, name)) for name in ("model_valid", "sample_words", "row_bytes")),
            scoreboard.after.eq(command.after),
            scoreboard.by_scatter.eq(command.opcode == Opcode.SCATTER),
            scoreboard.add.eq(self.add),
            scoreboard.new_tag.eq(self.new_tag),
            scoreboard.new_rows.eq(self.new_rows),
            scoreboard.drop_newest.eq(self.abandon),  # it is the SPLIT in the commit slot
        ]

        # What the command is. `command` has been so for many cycles when this matters.
        is_scatter = delayed(m, command.opcode == Opcode.SCATTER)
        is_batch = delayed(m, is_one_of(command.opcode, Opcode.LEARN, Opcode.SPLIT))
        names = delayed(m, command.flags[AFTER_FLAG] & is_one_of(command.opcode, Opcode.SPLIT, Opcode.SCATTER))
        same_name = delayed(m, equal(m, command.after, self.name))
        enough_rows = delayed(m, command.samples <= delayed(m, scoreboard.rows))
        looks_up, looking_up = Signal(), Signal(LOOK_UP_CYCLES)
        m.d.sync += looking_up.eq(Cat(looks_up, looking_up))
        well_formed = ~refusal.valid
        is_named_scatter = well_formed & is_scatter & command.flags[AFTER_FLAG] & same_name & enough_rows

        # Records are asked for as soon as nothing can keep the command from beginning.
        fetched, looked = Signal(), Signal()
        m.d.comb += [
            self.fetches.p.records.address.eq(command.source),
            self.fetches.p.records.samples.eq(command.samples),
            self.fetches.p.splits.eq(command.opcode == Opcode.SPLIT),
            self.fetches.p.follows.eq((command.opcode == Opcode.SPLIT) & command.flags[FOLLOW_FLAG]),
        ]
        with m.If(self.fetches.valid & self.fetches.ready):
            m.d.sync += [self.fetches.valid.eq(0), fetched.eq(1)]

        # When it may begin, as far as its slot goes.
        may_run = (
            Mux(is_batch, fetched & ~self.alone & self.looked_up, self.commit_free & self.scatter_free)
            | refusal.valid
        )
        m.d.comb += [
            *(
                getattr(out.p, name).eq(value)
                for out in (self.issue, self.scatter)
                for name, value in (("command", command), ("refusal", refusal))
            ),
            self.scatter.p.passes.eq(self.named),
            scoreboard.close.eq(self.scatter.valid & command.flags[AFTER_FLAG]),
        ]
        waited = Signal(32)
        m.d.sync += waited.eq(0)
        late = delayed(m, (self.scatter_timeout != 0) & (waited >= self.scatter_timeout)) & (waited != 0)
        with m.FSM() as fsm:
            with m.State("FETCH"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    command.eq(self.i.p.command),
                    fetched.eq(0),
                    looked.eq(0),
                    refusal.eq(0),
                    refusal.valid.eq(self.i.p.status != 0),
                    refusal.status.eq(self.i.p.status),
                    refusal.address.eq(self.i.p.address),
                ]
                with m.If(self.i.valid):
                    m.d.comb += check.start.eq(1)
                    m.next = "CHECK"
                with m.Elif(self.named):
                    m.d.sync += waited.eq(waited + 1)
                    m.d.comb += self.abandon.eq(late)
            with m.State("CHECK"):
                with m.If(check.done):
                    with m.If(~refusal.valid):
                        m.d.sync += [
                            refusal.valid.eq(check.status != Status.OK),
                            refusal.status.eq(check.status),
                            refusal.index.eq(check.index),
                            refusal.address.eq(check.address),
                        ]
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                with m.If((well_formed & names & ~looked) | self.named):
                    with m.If(self.issue_free & ~self.stop):
                        m.d.comb += looks_up.eq(1)
                        m.next = "LOOK_UP"
                with m.Elif(is_batch & well_formed & ~fetched & ~self.fetches.valid):
                    m.d.sync += self.fetches.valid.eq(~self.alone)
                with m.Elif(self.issue_free & may_run & ~self.stop):
                    m.d.comb += [
                        self.scatter.valid.eq(is_scatter & well_formed),
                        self.issue.valid.eq(~is_scatter | refusal.valid),
                    ]
                    m.next = "FETCH"
            with m.State("LOOK_UP"):
                with m.If(looking_up[-1]):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                with m.If(~self.named):
                    m.d.sync += looked.eq(1)
                    m.next = "BEGIN"
                    with m.If(well_formed & names):
                        with m.If(~scoreboard.known):
                            m.d.sync += [refusal.eq(0), refusal.valid.eq(1), refusal.status.eq(Status.NO_SUCH_SPLIT)]
                        with m.Elif(is_scatter & ~enough_rows):
                            m.d.sync += [refusal.eq(0), refusal.valid.eq(1), refusal.status.eq(Status.BAD_COUNT)]
                with m.Elif(~is_named_scatter):
                    m.d.comb += self.abandon.eq(1)
                    m.next = "BEGIN"
                with m.Elif(self.scatter_free & ~self.stop):
                    m.d.comb += self.scatter.valid.eq(1)
                    m.next = "FETCH"
        m.d.comb += self.has_command.eq(~fsm.ongoing("FETCH"))
        return m
