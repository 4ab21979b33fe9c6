"""Carries out commands in ring order, up to three at a time, and says how each ended.

    next: checked, its records asked for ─┬─► front: classifies ─► back: waits for memory, completes
                                          └─► side: scatters, completes

A LEARN or a SPLIT may be in front while another is in back, so the lanes work on one mini-batch while the rows of the
one before are still being gathered; and while a SCATTER is at the side, whose writes the gather waits for. A SPLIT
that names an earlier one waits in back for that one's SCATTER, the next command, which passes it. Every other command
runs alone. Completions are written in ring order but for that; a SPLIT completes twice: when the popular micro-batch
is in device memory, and when everything is.
"""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .control.command_check import CommandCheck
from .layouts import Kind, Opcode, Status, command_layout, completion_layout
from .open_splits import OpenSplits
from .rings import fetched_layout
from .words import delayed, equal, is_one_of, no_reset

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
        For the SCATTER that a SPLIT in back has named.
    expired : In(1)
        Commands no longer make progress. All that have begun end with TIMEOUT; none begins. Stays until reset.
    model_valid : In(1), sample_words, row_bytes : In
        Of the model.
    scatter_timeout : In(32)
        Cycles that a SPLIT waits in back for the next command to come; 0: for ever.
    next : Out(command_layout), fetch : Out(stream), asked : Out(1)
        A LEARN or SPLIT that comes next: asks for its records; they have been asked for.
    decoding : In(1)
        These records are being decoded, so the command may begin.
    front : Out(command_layout), active, run : Out(1)
        The command in front, while ``active``; ``run`` is high in its third cycle.
    front_done : In(1)
        Level, meaningful from the sixth cycle after ``run``: nothing in front is the command's any more.
    hand_over : Out(1)
        The command goes from front to back: counts and ``front_*`` are taken in this cycle.
    front_status : In(Status); front_index, front_access, front_address : In
        What went wrong in front, and where.
    popular, non_popular, working_rows, accesses, hot_accesses, overflow : In
        Counts for the completion, from the front; whether a SPLIT's working set has overflowed.
    back_split, back_names : Out(1)
        A SPLIT that has been carried out is in back; one that waits for, or has had, the SCATTER of an earlier one.
    scattered, missed : Out(1)
        What it waits for has come: all rows of that SCATTER are in memory; or will not come.
    popular_done, back_done : In(1)
        The popular micro-batch is in memory; all of the SPLIT's data is. Levels.
    popular_status, popular_address, back_status, back_index, back_address : In
        What went wrong in either part of its output.
    side : Out(command_layout), side_busy, side_run, side_passes : Out(1)
        The SCATTER at the side, while ``side_busy``; it passes the SPLIT in back.
    side_done, side_probed : In(1)
        Levels, from the second cycle after ``side_run``: all its rows are in memory; all its keys have been compared
        with the working set of the SPLIT that it passes.
    side_status, side_index, side_address : In
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        address = In(config.address_bits)
        super().__init__({
            "i": In(stream.Signature(fetched_layout(config))), "o": Out(stream.Signature(completion_layout())),
            "ready": In(1), "busy": Out(1), "working": Out(1), "waits_for_host": Out(1), "expired": In(1),
            "scatter_timeout": In(32), "model_valid": In(1),
            "sample_words": In(range(config.max_record_words + 1)), "row_bytes": In(range(config.max_row_bytes + 1)),
            "next": Out(command_layout()), "fetch": Out(stream.Signature(0)), "asked": Out(1), "decoding": In(1),
            "front": Out(command_layout()), "active": Out(1), "run": Out(1), "front_done": In(1), "hand_over": Out(1),
            "front_status": In(8), "front_index": In(32), "front_access": In(32), "front_address": address,
            "popular": In(32), "non_popular": In(32), "working_rows": In(32), "accesses": In(32),
            "hot_accesses": In(32), "overflow": In(1),
            "back_split": Out(1), "back_names": Out(1), "scattered": Out(1), "missed": Out(1),
            "popular_done": In(1), "back_done": In(1),
            "popular_status": In(8), "popular_address": address,
            "back_status": In(8), "back_index": In(32), "back_address": address,
            "side": Out(command_layout()), "side_busy": Out(1), "side_run": Out(1), "side_passes": Out(1),
            "side_done": In(1), "side_probed": In(1), "side_status": In(8), "side_index": In(32), "side_address": address,
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        # What the other blocks tell, in registers.
        told = [n for n, member in self.signature.members.items() if member.is_port and member.flow == In]
        now = SimpleNamespace(**{name: delayed(m, getattr(self, name)) for name in told})
        front_busy, back_busy, second = Signal(), Signal(), Signal()  # second: the popular completion has been given
        back = Signal(command_layout())
        no_reset(*vars(now).values(), self.next, self.front, self.side, back, self.o.p)
        back_refused, carried_out = Signal(), Signal()  # of the command in back; and it is a SPLIT

        # Decisions are made on registers that have had time to follow whatever happened last.
        quiet, happens = Signal(range(STEADY_CYCLES + 1)), Signal()
        happened, long = delayed(m, happens), quiet == STEADY_CYCLES
        steady = long & ~happened
        m.d.sync += quiet.eq(Mux(happened, 0, quiet + ~long))

        # Next: a command is taken from the ring, checked, and waits for its turn. Names are looked up when every earlier
        # SPLIT has left the front, and it is known whether the one in back gets what it waits for.
        next_valid, checked, named = Signal(), Signal(), Signal()
        fetched = Signal()  # its records have been asked for
        m.submodules.check = check = CommandCheck(self.config)
        fetch_failed = Signal()
        refusal, refused_index, refused_address = Signal(8), Signal.like(check.index), Signal(64)
        no_reset(refusal, refused_index, refused_address)
        m.d.comb += [
            self.i.ready.eq(~next_valid),
            check.command.eq(self.next),
            check.start.eq(self.i.valid & self.i.ready),
            *(getattr(check, name).eq(getattr(now, name)) for name in ("model_valid", "sample_words", "row_bytes")),
        ]
        with m.If(~next_valid):
            m.d.sync += self.next.eq(self.i.p.command)
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
        next_scatter = delayed(m, one_of(self.next, Opcode.SCATTER) & (refusal == 0))
        next_batch = delayed(m, one_of(self.next, Opcode.LEARN, Opcode.SPLIT))
        names = delayed(m, self.next.flags[0] & one_of(self.next, Opcode.SPLIT, Opcode.SCATTER))

        # What the SPLIT in back waits for: the next command, if it is the right one.
        waits, passing = Signal(), Signal()
        waited = Signal(32)
        m.submodules.named_splits = splits = OpenSplits()
        known, few = delayed(m, splits.known), delayed(m, self.next.samples <= delayed(m, splits.rows))
        same_name = delayed(m, equal(m, self.next.after, back.after))
        is_it = next_scatter & self.next.flags[0] & same_name & few
        m.d.comb += waits.eq(self.back_names & ~passing & ~self.missed)
        expired = delayed(m, delayed(m, now.scatter_timeout != 0) & delayed(m, waited >= now.scatter_timeout))
        abandon = waits & steady & ((next_valid & checked & ~is_it) | (~next_valid & expired))
        m.d.sync += waited.eq(Mux(waits & ~next_valid, waited + 1, 0))
        with m.If(abandon):
            m.d.sync += self.missed.eq(1)

        look_up = next_valid & checked & ~named & ~front_busy & ~waits & steady
        with m.If(look_up):
            m.d.sync += named.eq(1)
            with m.If(well_formed & names):
                with m.If(~known):
                    m.d.sync += refusal.eq(Status.NO_SUCH_SPLIT)
                with m.Elif(next_scatter & ~few):
                    m.d.sync += refusal.eq(Status.BAD_COUNT)
        ready_now = named | (checked & ~self.next.flags[0] & ~waits)

        # To front, or to the side.
        front_refusal, front_refused_index, front_refused_address = Signal(8), Signal.like(refused_index), Signal(64)
        front_alone, back_alone = Signal(), Signal()
        starting = Signal()  # a cycle before `run`, so that the opcode has been decoded by then
        settle = Signal(8)  # until `run` has had its effect
        # Cycles: of all time, and in the one before each command began.
        now_cycles, front_began = Signal(64), Signal(64)
        no_reset(front_refusal, front_refused_index, front_refused_address, now_cycles, front_began)
        side_settle = Signal(3)
        none_alone = ~(front_busy & front_alone) & ~(back_busy & back_alone)
        # The working set of the SPLIT in back is still being looked into.
        probing = self.side_busy & self.side_passes & ~(side_settle[2] & now.side_probed)
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
        m.d.comb += self.asked.eq(next_valid & fetched & ~fetches & ~self.fetch.valid)
        may_run = now.ready & Mux(next_batch, none_alone & now.decoding & ~probing, ~back_busy & ~self.side_busy)
        may_pass = waits & is_it
        begin = (
            steady
            & ~now.expired
            & delayed(m, next_valid & ready_now & ~front_busy & ~next_scatter & (~well_formed | may_run))
        )
        # A name has been looked up (`is_it`: five cycles, through `few`) only just when the processor is `steady`: so this must
        # not be a cycle late, as `begin` may be, which no name decides.
        begin_side = (
            next_valid & next_scatter & Mux(may_pass, checked, ready_now) & ~front_busy & ~self.side_busy & now.ready
            & steady & ~now.expired
            & (~back_busy | may_pass)
        )  # fmt: skip
        m.d.comb += self.active.eq(front_busy)
        m.d.sync += [
            starting.eq(begin & well_formed),
            self.run.eq(starting),
            now_cycles.eq(now_cycles + 1),
            settle.eq(Cat(front_busy, settle)),
        ]
        with m.If(~front_busy):
            m.d.sync += [self.front.eq(self.next), front_began.eq(now_cycles)]
        with m.If(begin):
            m.d.sync += [
                next_valid.eq(0), front_busy.eq(1), settle.eq(0),
                front_alone.eq(~next_batch),
                front_refusal.eq(refusal), front_refused_index.eq(refused_index),
                front_refused_address.eq(refused_address),
            ]  # fmt: skip
        side_began, side_cycles = Signal(64, reset_less=True), Signal(64, reset_less=True)
        m.d.sync += [
            self.side_run.eq(begin_side),
            side_cycles.eq(now_cycles - side_began),
            side_settle.eq(Cat(self.side_busy, side_settle)),
        ]
        side_done = self.side_busy & ((side_settle[2] & now.side_done) | now.expired)
        side_status = Mux(now.expired & (now.side_status == 0), Status.TIMEOUT, now.side_status)
        with m.If(side_done & self.side_passes):
            m.d.sync += self.scattered.eq(1)
        with m.If(~self.side_busy):
            m.d.sync += [self.side.eq(self.next), side_began.eq(now_cycles)]
        with m.If(begin_side):
            m.d.sync += [
                next_valid.eq(0), self.side_busy.eq(1), side_settle.eq(0), self.side_passes.eq(may_pass),
            ]  # fmt: skip
            with m.If(may_pass):
                m.d.sync += passing.eq(1)

        ends = self.o.valid & self.o.ready  # a completion is given: soon something is no longer busy
        m.d.comb += happens.eq(
            (self.i.valid & self.i.ready) | self.hand_over | abandon | look_up | begin | begin_side | ends | checks
        )

        # From front to back.
        back_began, back_cycles = Signal(64), Signal(64)
        status, index, access, address = Signal(8), Signal(32), Signal(32), Signal(64)
        counts = {name: Signal(32, name=f"back_{name}") for name in
                  ("popular", "non_popular", "working_rows", "accesses", "hot_accesses")}  # fmt: skip
        no_reset(back_began, back_cycles, status, index, access, address, *counts.values())
        refused = front_refusal != 0
        front_split = self.front.opcode == Opcode.SPLIT
        front_lost = now.expired & (now.front_status == 0)
        well = delayed(m, ~refused & (now.front_status == 0) & ~now.overflow & front_split)
        m.d.comb += [
            self.busy.eq(next_valid | front_busy | back_busy | self.side_busy),
            self.back_split.eq(back_busy & carried_out),
        ]
        front_ends = refused | (settle[-1] & now.front_done) | now.expired
        m.d.sync += [
            back_cycles.eq(now_cycles - back_began),
            self.hand_over.eq(front_busy & ~back_busy & front_ends & ~self.hand_over),
        ]
        with m.If(self.hand_over):
            m.d.sync += [
                front_busy.eq(0), back_busy.eq(1), back.eq(self.front), back_alone.eq(front_alone),
                back_began.eq(front_began),
                self.back_names.eq(well & self.front.flags[0]), passing.eq(0), self.scattered.eq(0), self.missed.eq(0),
                status.eq(Mux(refused, front_refusal, Mux(front_lost, Status.TIMEOUT, now.front_status))),
                index.eq(Mux(refused, front_refused_index, now.front_index)),
                access.eq(Mux(refused, 0, now.front_access)),
                address.eq(Mux(refused, front_refused_address, now.front_address)),
            ]  # fmt: skip
            m.d.sync += [count.eq(getattr(now, name)) for name, count in counts.items()]
        m.d.comb += [
            splits.add.eq(self.hand_over & well),
            splits.new_tag.eq(self.front.tag),
            splits.new_rows.eq(now.working_rows),
            splits.drop_newest.eq(abandon),  # it is the SPLIT in back
            splits.after.eq(self.next.after),
            splits.by_scatter.eq(one_of(self.next, Opcode.SCATTER)),
            splits.close.eq(begin_side & self.next.flags[0]),
        ]

        # Completions, of the command at the side or in back; counts are given only when all went well. How the command has
        # ended is known two cycles after its end, and whether well another.
        is_split = delayed(m, back.opcode == Opcode.SPLIT)
        popular_part = is_split & ~second
        final, final_index, final_address = Signal(8), Signal(32), Signal(64)
        no_reset(final, final_index, final_address)
        m.d.sync += [final.eq(status), final_index.eq(index), final_address.eq(address)]
        popular_failed, back_failed = delayed(m, now.popular_status != 0), delayed(m, now.back_status != 0)
        with m.If(delayed(m, (status == 0) & is_split)):
            with m.If(popular_failed):
                m.d.sync += [final.eq(now.popular_status), final_address.eq(now.popular_address)]
            with m.Elif(second & back_failed):
                m.d.sync += [
                    final.eq(now.back_status),
                    final_index.eq(now.back_index),
                    final_address.eq(now.back_address),
                ]
            with m.Elif(second & self.missed):
                m.d.sync += final.eq(Status.SCATTER_MISSING)
        with m.If(now.expired & (status == 0)):
            m.d.sync += [final.eq(Status.TIMEOUT), final_index.eq(0), final_address.eq(0)]
        ok = delayed(m, final == Status.OK)

        def count(name: str, shown=1):
            return Mux(ok & shown, counts[name], 0)

        of_back = {
            "tag": back.tag,
            "status": final,
            "kind": Mux(is_split, Mux(second, Kind.NON_POPULAR, Kind.POPULAR), Kind.WHOLE),
            "opcode": back.opcode,
            "popular": count("popular"),
            "non_popular": count("non_popular"),
            "working_rows": count("working_rows", ~popular_part),
            "accesses": count("accesses"),
            "hot_accesses": count("hot_accesses"),
            "cycles": back_cycles,
            "index": final_index,
            "access": access,
            "address": final_address,
        }
        of_side = {
            "tag": self.side.tag, "status": side_status, "kind": Kind.WHOLE, "opcode": Opcode.SCATTER,
            "working_rows": Mux(side_status == 0, self.side.samples, 0),
            "cycles": side_cycles, "index": now.side_index, "address": now.side_address,
        }  # fmt: skip
        serving_side = Signal()
        back_settle, ended = Signal(4), Signal(4)  # until `hand_over` has had its effect; until `ok` is of the end
        ends_now = back_settle[3] & (
            Mux(popular_part, now.popular_done, now.back_done) | ~is_split | back_refused | now.expired
        )
        m.d.sync += [
            back_settle.eq(Mux(self.hand_over, 0, Cat(back_busy, back_settle))),
            ended.eq(Mux(back_busy & ends_now, Cat(Const(1, 1), ended), 0)),
        ]
        done = ended[-1]
        # A SCATTER at the side is older than what is in back, unless it passes that; then only the first completion is.
        back_ready = back_busy & done & (~self.side_busy | (self.side_passes & popular_part))
        side_ready = side_done & (~self.side_passes | second)
        completion = Mux(
            side_ready, pack(m, completion_layout(), of_side, "side"), pack(m, completion_layout(), of_back, "back")
        )
        drains = Signal()
        m.d.comb += self.working.eq(
            next_valid
            | front_busy
            | (back_busy & ~(drains & ~serving_side))
            | (self.side_busy & ~(drains & serving_side))
        )
        m.d.comb += self.waits_for_host.eq(waits & ~next_valid)
        with m.FSM():
            with m.State("WAIT"):
                m.d.sync += [self.o.p.eq(completion), serving_side.eq(side_ready)]
                with m.If(side_ready | back_ready):
                    m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "DRAIN"
                    with m.If(~serving_side):
                        m.d.sync += second.eq(popular_part)
                        with m.If(popular_part):
                            m.d.sync += [back_settle.eq(0), ended.eq(0)]
                            m.next = "WAIT"
            with m.State("DRAIN"):
                # The completion is in memory before the next one's data counts as complete.
                m.d.comb += drains.eq(1)
                with m.If(self.o.ready):
                    with m.If(serving_side):
                        m.d.sync += self.side_busy.eq(0)
                    with m.Else():
                        m.d.sync += [back_busy.eq(0), self.back_names.eq(0)]
                    m.next = "WAIT"
        with m.If(self.hand_over):
            m.d.sync += [back_refused.eq(refused), carried_out.eq(~refused & front_split)]
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
