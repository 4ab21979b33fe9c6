"""Carries out commands in ring order, up to three at a time, and says how each ended.

    ring ─► next: checked, ─┬─► issue: records decoded, samples classified ─► commit: waits for memory, completes
            records asked   └─► scatter slot: rows written back, completes

A LEARN or a SPLIT may be in the issue slot while another is in the commit slot. So the lanes work on one mini-batch while
the rows of the one before are still being gathered. A SCATTER may be in the scatter slot at the same time; the gather
waits for its writes. A SPLIT that names an earlier SPLIT waits in the commit slot for that one's SCATTER, which is the
next command and passes it. Every other command runs alone.

Completions are written in ring order, but for a SCATTER that passes. A SPLIT completes twice: when the popular
micro-batch is in device memory, and when everything is.
"""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.control import fault_layout, fetch_layout
from ..interfaces.layouts import Kind, Opcode, Status, command_layout, completion_layout
from ..lib.logic import delayed, equal, is_one_of, without_reset
from .command_check import CommandCheck
from .rings import fetched_layout
from .scoreboard import Scoreboard

#: Cycles after anything has happened in which every register that decisions are made on has followed.
STEADY_CYCLES = 5


class CommandProcessor(wiring.Component):
    """Members
    -------
    i : In(stream of fetched_layout)
    o : Out(stream of completion_layout)
    ready : In(1)
        Whatever a command clears has been cleared.
    busy : Out(1)
    working : Out(1)
        As ``busy``, but for a command whose last completion is with the completion ring.
    waits_for_host : Out(1)
        For the SCATTER that a SPLIT in the commit slot has named.
    expired : In(1)
        Commands no longer make progress. All that have begun end with TIMEOUT; none begins. Stays until reset.
    model_valid : In(1), sample_words, row_bytes : In
        Of the model.
    scatter_timeout : In(32)
        Cycles that a SPLIT waits in the commit slot for the next command to come; 0: for ever.
    next : Out(command_layout), fetch : Out(stream of fetch_layout), asked : Out(1)
        A LEARN or SPLIT that comes next: asks for its records; they have been asked for.
    decoding : In(1)
        These records are being decoded, so the command may begin.
    issue : Out(command_layout), active, run : Out(1)
        The command in the issue slot, while ``active``; ``run`` is high in its third cycle.
    issue_done : In(1)
        Level, meaningful from the sixth cycle after ``run``: nothing in the issue slot is the command's any more.
    commits : Out(1)
        The command goes from the issue slot to the commit slot: counts and ``issue_*`` are taken in this cycle.
    issue_fault, popular_fault, commit_fault, scatter_fault : In(fault_layout)
        What went wrong in the issue slot; in the popular part of the output, and in the rest, of the command in the commit slot;
        in the scatter slot. No ``valid``, no ``status``.
    popular, non_popular, working_rows, accesses, hot_accesses, overflow : In
        Counts for the completion, from the issue slot; whether a SPLIT's working set has overflowed.
    commit_split, commit_names : Out(1)
        A SPLIT that has been carried out is in the commit slot; one that waits for, or has had, the SCATTER of an earlier one.
    scattered, missed : Out(1)
        What it waits for has come: all rows of that SCATTER are in memory; or will not come.
    popular_done, commit_done : In(1)
        The popular micro-batch is in memory; all of the SPLIT's data is. Levels.
    scatter_slot : Out(command_layout), scatter_busy, scatter_run, scatter_passes : Out(1)
        The SCATTER in the scatter slot, while ``scatter_busy``; it passes the SPLIT in the commit slot.
    scatter_done, scatter_probed : In(1)
        Levels, from the second cycle after ``scatter_run``: all its rows are in memory; all its keys have been compared
        with the working set of the SPLIT that it passes.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(fetched_layout(config))), "o": Out(stream.Signature(completion_layout())),
            "ready": In(1), "busy": Out(1), "working": Out(1), "waits_for_host": Out(1), "expired": In(1),
            "scatter_timeout": In(32), "model_valid": In(1),
            "sample_words": In(range(config.max_record_words + 1)), "row_bytes": In(range(config.max_row_bytes + 1)),
            "next": Out(command_layout()), "fetch": Out(stream.Signature(fetch_layout(config))), "asked": Out(1),
            "decoding": In(1),
            "issue": Out(command_layout()), "active": Out(1), "run": Out(1), "issue_done": In(1), "commits": Out(1),
            **{f"{part}_fault": In(fault_layout(config)) for part in ("issue", "popular", "commit", "scatter")},
            "popular": In(32), "non_popular": In(32), "working_rows": In(32), "accesses": In(32),
            "hot_accesses": In(32), "overflow": In(1),
            "commit_split": Out(1), "commit_names": Out(1), "scattered": Out(1), "missed": Out(1),
            "popular_done": In(1), "commit_done": In(1),
            "scatter_slot": Out(command_layout()), "scatter_busy": Out(1), "scatter_run": Out(1), "scatter_passes": Out(1),
            "scatter_done": In(1), "scatter_probed": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        # What the other blocks tell, in registers.
        inputs = [n for n, member in self.signature.members.items() if member.is_port and member.flow == In]
        now = SimpleNamespace(**{name: delayed(m, getattr(self, name), reset_less=True) for name in inputs})
        # second: the popular completion has been given
        issue_busy = Signal()
        commit_busy = Signal()
        second = Signal()
        commit = Signal(command_layout(), reset_less=True)
        following = without_reset(m, self.next)
        issue = without_reset(m, self.issue)
        scatter_slot = without_reset(m, self.scatter_slot)
        completion_out = without_reset(m, self.o.p)
        commit_refused, carried_out = Signal(), Signal()  # of the command in the commit slot; and it is a SPLIT

        # Decisions are made on registers that have had time to follow whatever happened last.
        quiet, happens = Signal(range(STEADY_CYCLES + 1)), Signal()
        happened, long = delayed(m, happens), quiet == STEADY_CYCLES
        steady = long & ~happened
        m.d.sync += quiet.eq(Mux(happened, 0, quiet + ~long))

        # Next: a command is taken from the ring, checked, and waits for its turn. Names are looked up when every earlier
        # SPLIT has left the issue slot, and it is known whether the one in the commit slot gets what it waits for.
        next_valid, checked, named = Signal(), Signal(), Signal()
        fetched = Signal()  # its records have been asked for
        m.submodules.check = check = CommandCheck(self.config)
        fetch_failed = Signal()
        refusal = Signal(8, reset_less=True)
        refused_index = Signal.like(check.index, reset_less=True)
        refused_address = Signal(64, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~next_valid),
            check.command.eq(following),
            check.start.eq(self.i.valid & self.i.ready),
            *(getattr(check, name).eq(getattr(now, name)) for name in ("model_valid", "sample_words", "row_bytes")),
        ]
        with m.If(~next_valid):
            m.d.sync += following.eq(self.i.p.command)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                next_valid.eq(1), checked.eq(0), named.eq(0), fetched.eq(0),
                fetch_failed.eq(self.i.p.status != 0), refusal.eq(self.i.p.status), refused_index.eq(0),
                refused_address.eq(self.i.p.address),
            ]  # fmt: skip
        checks = next_valid & ~checked & steady & check.done
        with m.If(checks):
            m.d.sync += checked.eq(1)
            with m.If(~fetch_failed):
                m.d.sync += [
                    refusal.eq(check.status), refused_index.eq(check.index), refused_address.eq(check.address),
                ]  # fmt: skip
        well_formed = delayed(m, refusal == 0)
        next_scatter = delayed(m, one_of(following, Opcode.SCATTER) & (refusal == 0))
        next_batch = delayed(m, one_of(following, Opcode.LEARN, Opcode.SPLIT))
        names = delayed(m, following.flags[0] & one_of(following, Opcode.SPLIT, Opcode.SCATTER))

        # What the SPLIT in the commit slot waits for: the next command, if it is the right one.
        waits, passing = Signal(), Signal()
        waited = Signal(32)
        m.submodules.scoreboard = splits = Scoreboard()
        known, not_more = delayed(m, splits.known), delayed(m, following.samples <= delayed(m, splits.rows))
        same_name = delayed(m, equal(m, following.after, commit.after))
        is_named_scatter = next_scatter & following.flags[0] & same_name & not_more
        m.d.comb += waits.eq(self.commit_names & ~passing & ~self.missed)
        expired = delayed(m, delayed(m, now.scatter_timeout != 0) & delayed(m, waited >= now.scatter_timeout))
        abandon = waits & steady & ((next_valid & checked & ~is_named_scatter) | (~next_valid & expired))
        m.d.sync += waited.eq(Mux(waits & ~next_valid, waited + 1, 0))
        with m.If(abandon):
            m.d.sync += self.missed.eq(1)

        look_up = next_valid & checked & ~named & ~issue_busy & ~waits & steady
        with m.If(look_up):
            m.d.sync += named.eq(1)
            with m.If(well_formed & names):
                with m.If(~known):
                    m.d.sync += refusal.eq(Status.NO_SUCH_SPLIT)
                with m.Elif(next_scatter & ~not_more):
                    m.d.sync += refusal.eq(Status.BAD_COUNT)
        ready_now = named | (checked & ~following.flags[0] & ~waits)

        # To the issue slot, or to the scatter slot.
        issue_refusal = Signal(8, reset_less=True)
        issue_refused_index = Signal.like(refused_index, reset_less=True)
        issue_refused_address = Signal(64, reset_less=True)
        issue_alone, commit_alone = Signal(), Signal()
        starting = Signal()  # a cycle before `run`, so that the opcode has been decoded by then
        settle = Signal(8)  # until `run` has had its effect
        # Cycles: of all time, and in the one before each command began.
        now_cycles, issue_began = Signal(64, reset_less=True), Signal(64, reset_less=True)
        scatter_settle = Signal(3)
        none_alone = ~(issue_busy & issue_alone) & ~(commit_busy & commit_alone)
        # The working set of the SPLIT in the commit slot is still being looked into.
        probing = self.scatter_busy & self.scatter_passes & ~(scatter_settle[2] & now.scatter_probed)
        fetches = Signal()
        m.d.sync += fetches.eq(
            next_valid
            & steady
            & Mux(names, named, checked)
            & ~fetched
            & ~fetches
            & next_batch
            & well_formed
            & none_alone
        )
        with m.If(fetches):
            m.d.sync += [self.fetch.valid.eq(1), fetched.eq(1)]
        with m.Elif(self.fetch.ready):
            m.d.sync += self.fetch.valid.eq(0)
        m.d.comb += [self.fetch.p.address.eq(following.source), self.fetch.p.samples.eq(following.samples)]
        m.d.comb += self.asked.eq(next_valid & fetched & ~fetches & ~self.fetch.valid)
        may_run = now.ready & Mux(next_batch, none_alone & now.decoding & ~probing, ~commit_busy & ~self.scatter_busy)
        may_pass = waits & is_named_scatter
        begin = (
            steady
            & ~now.expired
            & delayed(m, next_valid & ready_now & ~issue_busy & ~next_scatter & (~well_formed | may_run))
        )
        # A name has been looked up (`is_named_scatter` takes five cycles) only just when the processor is `steady`: so this must
        # not be a cycle late, as `begin` may be, which no name decides.
        begin_scatter = (
            next_valid & next_scatter & Mux(may_pass, checked, ready_now) & ~issue_busy & ~self.scatter_busy & now.ready
            & steady & ~now.expired
            & (~commit_busy | may_pass)
        )  # fmt: skip
        m.d.comb += self.active.eq(issue_busy)
        m.d.sync += [
            starting.eq(begin & well_formed),
            self.run.eq(starting),
            now_cycles.eq(now_cycles + 1),
            settle.eq(Cat(issue_busy, settle)),
        ]
        with m.If(~issue_busy):
            m.d.sync += [issue.eq(following), issue_began.eq(now_cycles)]
        with m.If(begin):
            m.d.sync += [
                next_valid.eq(0), issue_busy.eq(1), settle.eq(0),
                issue_alone.eq(~next_batch),
                issue_refusal.eq(refusal), issue_refused_index.eq(refused_index),
                issue_refused_address.eq(refused_address),
            ]  # fmt: skip
        scatter_began, scatter_cycles = Signal(64, reset_less=True), Signal(64, reset_less=True)
        m.d.sync += [
            self.scatter_run.eq(begin_scatter),
            scatter_cycles.eq(now_cycles - scatter_began),
            scatter_settle.eq(Cat(self.scatter_busy, scatter_settle)),
        ]
        scatter_done = self.scatter_busy & ((scatter_settle[2] & now.scatter_done) | now.expired)
        scatter_status = Mux(now.expired & (now.scatter_fault.status == 0), Status.TIMEOUT, now.scatter_fault.status)
        with m.If(scatter_done & self.scatter_passes):
            m.d.sync += self.scattered.eq(1)
        with m.If(~self.scatter_busy):
            m.d.sync += [scatter_slot.eq(following), scatter_began.eq(now_cycles)]
        with m.If(begin_scatter):
            m.d.sync += [
                next_valid.eq(0), self.scatter_busy.eq(1), scatter_settle.eq(0), self.scatter_passes.eq(may_pass),
            ]  # fmt: skip
            with m.If(may_pass):
                m.d.sync += passing.eq(1)

        ends = self.o.valid & self.o.ready  # a completion is given: soon something is no longer busy
        m.d.comb += happens.eq(
            (self.i.valid & self.i.ready) | self.commits | abandon | look_up | begin | begin_scatter | ends | checks
        )

        # From the issue slot to the commit slot.
        commit_began, commit_cycles = Signal(64, reset_less=True), Signal(64, reset_less=True)
        status = Signal(8, reset_less=True)
        index = Signal(32, reset_less=True)
        access = Signal(32, reset_less=True)
        address = Signal(64, reset_less=True)
        counts = {name: Signal(32, name=f"commit_{name}", reset_less=True) for name in
                  ("popular", "non_popular", "working_rows", "accesses", "hot_accesses")}  # fmt: skip
        refused = issue_refusal != 0
        issue_split = issue.opcode == Opcode.SPLIT
        issue_lost = now.expired & (now.issue_fault.status == 0)
        well = delayed(m, ~refused & (now.issue_fault.status == 0) & ~now.overflow & issue_split)
        m.d.comb += [
            self.busy.eq(next_valid | issue_busy | commit_busy | self.scatter_busy),
            self.commit_split.eq(commit_busy & carried_out),
        ]
        issue_ends = refused | (settle[-1] & now.issue_done) | now.expired
        m.d.sync += [
            commit_cycles.eq(now_cycles - commit_began),
            self.commits.eq(issue_busy & ~commit_busy & issue_ends & ~self.commits),
        ]
        with m.If(self.commits):
            m.d.sync += [
                issue_busy.eq(0), commit_busy.eq(1), commit.eq(issue), commit_alone.eq(issue_alone),
                commit_began.eq(issue_began),
                self.commit_names.eq(well & issue.flags[0]), passing.eq(0), self.scattered.eq(0), self.missed.eq(0),
                status.eq(Mux(refused, issue_refusal, Mux(issue_lost, Status.TIMEOUT, now.issue_fault.status))),
                index.eq(Mux(refused, issue_refused_index, now.issue_fault.index)),
                access.eq(Mux(refused, 0, now.issue_fault.access)),
                address.eq(Mux(refused, issue_refused_address, now.issue_fault.address)),
            ]  # fmt: skip
            m.d.sync += [count.eq(getattr(now, name)) for name, count in counts.items()]
        m.d.comb += [
            splits.add.eq(self.commits & well),
            splits.new_tag.eq(issue.tag),
            splits.new_rows.eq(now.working_rows),
            splits.drop_newest.eq(abandon),  # it is the SPLIT in the commit slot
            splits.after.eq(following.after),
            splits.by_scatter.eq(one_of(following, Opcode.SCATTER)),
            splits.close.eq(begin_scatter & following.flags[0]),
        ]

        # Completions, of the scatter or the commit slot; counts are given only when all went well. How the command has
        # ended is known two cycles after its end, and whether well another.
        is_split = delayed(m, commit.opcode == Opcode.SPLIT)
        popular_part = is_split & ~second
        final = Signal(8, reset_less=True)
        final_index = Signal(32, reset_less=True)
        final_address = Signal(64, reset_less=True)
        m.d.sync += [final.eq(status), final_index.eq(index), final_address.eq(address)]
        popular_failed = delayed(m, now.popular_fault.status != 0)
        commit_failed = delayed(m, now.commit_fault.status != 0)
        with m.If(delayed(m, (status == 0) & is_split)):
            with m.If(popular_failed):
                m.d.sync += [final.eq(now.popular_fault.status), final_address.eq(now.popular_fault.address)]
            with m.Elif(second & commit_failed):
                m.d.sync += [
                    final.eq(now.commit_fault.status),
                    final_index.eq(now.commit_fault.index),
                    final_address.eq(now.commit_fault.address),
                ]
            with m.Elif(second & self.missed):
                m.d.sync += final.eq(Status.SCATTER_MISSING)
        with m.If(now.expired & (status == 0)):
            m.d.sync += [final.eq(Status.TIMEOUT), final_index.eq(0), final_address.eq(0)]
        ok = delayed(m, final == Status.OK)

        def count(name: str, shown=1):
            return Mux(ok & shown, counts[name], 0)

        of_commit = {
            "tag": commit.tag,
            "status": final,
            "kind": Mux(is_split, Mux(second, Kind.NON_POPULAR, Kind.POPULAR), Kind.WHOLE),
            "opcode": commit.opcode,
            "popular": count("popular"),
            "non_popular": count("non_popular"),
            "working_rows": count("working_rows", ~popular_part),
            "accesses": count("accesses"),
            "hot_accesses": count("hot_accesses"),
            "cycles": commit_cycles,
            "index": final_index,
            "access": access,
            "address": final_address,
        }
        of_scatter = {
            "tag": scatter_slot.tag, "status": scatter_status, "kind": Kind.WHOLE, "opcode": Opcode.SCATTER,
            "working_rows": Mux(scatter_status == 0, scatter_slot.samples, 0),
            "cycles": scatter_cycles, "index": now.scatter_fault.index, "address": now.scatter_fault.address,
        }  # fmt: skip
        serving_scatter = Signal()
        commit_settle, ended = Signal(4), Signal(4)  # until `commits` has had its effect; until `ok` is of the end
        ends_now = commit_settle[3] & (
            Mux(popular_part, now.popular_done, now.commit_done) | ~is_split | commit_refused | now.expired
        )
        m.d.sync += [
            commit_settle.eq(Mux(self.commits, 0, Cat(commit_busy, commit_settle))),
            ended.eq(Mux(commit_busy & ends_now, Cat(Const(1, 1), ended), 0)),
        ]
        done = ended[-1]
        # A SCATTER is older than what is in the commit slot, unless it passes that; then only the first completion is.
        commit_ready = commit_busy & done & (~self.scatter_busy | (self.scatter_passes & popular_part))
        scatter_ready = scatter_done & (~self.scatter_passes | second)
        completion = Mux(
            scatter_ready,
            pack(m, completion_layout(), of_scatter, "scatter_slot"),
            pack(m, completion_layout(), of_commit, "commit"),
        )
        drains = Signal()
        m.d.comb += self.working.eq(
            next_valid
            | issue_busy
            | (commit_busy & ~(drains & ~serving_scatter))
            | (self.scatter_busy & ~(drains & serving_scatter))
        )
        m.d.comb += self.waits_for_host.eq(waits & ~next_valid)
        with m.FSM():
            with m.State("WAIT"):
                m.d.sync += [completion_out.eq(completion), serving_scatter.eq(scatter_ready)]
                with m.If(scatter_ready | commit_ready):
                    m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "DRAIN"
                    with m.If(~serving_scatter):
                        m.d.sync += second.eq(popular_part)
                        with m.If(popular_part):
                            m.d.sync += [commit_settle.eq(0), ended.eq(0)]
                            m.next = "WAIT"
            with m.State("DRAIN"):
                # The completion is in memory before the next one's data counts as complete.
                m.d.comb += drains.eq(1)
                with m.If(self.o.ready):
                    with m.If(serving_scatter):
                        m.d.sync += self.scatter_busy.eq(0)
                    with m.Else():
                        m.d.sync += [commit_busy.eq(0), self.commit_names.eq(0)]
                    m.next = "WAIT"
        with m.If(self.commits):
            m.d.sync += [commit_refused.eq(refused), carried_out.eq(~refused & issue_split)]
        return m


def one_of(command, *opcodes: Opcode):
    """Whether the command's opcode is among ``opcodes``."""
    return is_one_of(command.opcode, *opcodes)


def pack(m: Module, layout: data.StructLayout, fields: dict, of: str):
    """The value of a structure: ``fields`` in their places, 0 elsewhere; ``of`` begins the names of its signals."""
    parts = []
    for name, field in layout:
        part = Signal(field.width, name=f"{of}_{name}") if name in fields else Const(0, field.width)
        if name in fields:
            m.d.comb += part.eq(fields[name])
        parts.append(part)
    return Cat(parts)
