"""Carries out commands in ring order, up to two at a time, and says how each ended.

    next: checked, its records asked for -> front: classifies -> back: waits for memory, completes

A LEARN or a SPLIT may be in front while another is in back, so the lanes work on one mini-batch while
the rows of the one before are still being gathered. Every other command runs alone. Completions are
written in ring order; a SPLIT completes twice: when the popular micro-batch is in device memory, and
when everything is.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import BUFFER_ALIGNMENT, AcceleratorConfig
from .layouts import COUNT_BITS, Kind, Opcode, Status, command_layout, completion_layout
from .words import is_one_of


class CommandProcessor(wiring.Component):
    """Members
    -------
    i : In(stream of command_layout)
    o : Out(stream of completion_layout)
    ready : In(1)
        Whatever a command clears has been cleared.
    busy : Out(1)
    model_valid : In(1)
    next : Out(command_layout), fetch : Out(stream)
        A LEARN or SPLIT that comes next: asks for its records.
    front : Out(command_layout), active, run : Out(1)
        The command in front, while ``active``; ``run`` is high in its first cycle.
    front_done : In(1)
        Level, meaningful from the second cycle after ``run``: nothing in front is the command's any more.
    hand_over : Out(1)
        The command goes from front to back: counts and ``front_*`` are taken in this cycle.
    front_status : In(Status); front_index, front_access, front_address : In
        What went wrong in front, and where.
    popular, non_popular, working_rows, accesses, hot_accesses : In
        Counts for the completion, from the front.
    back_split : Out(1)
        A SPLIT is in back.
    popular_done, back_done : In(1)
        The popular micro-batch is in memory; all of the SPLIT's data is. Levels.
    popular_status, popular_address, back_status, back_index, back_address : In
        What went wrong in either part of its output.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        address = In(config.address_bits)
        super().__init__({
            "i": In(stream.Signature(command_layout())), "o": Out(stream.Signature(completion_layout())),
            "ready": In(1), "busy": Out(1), "model_valid": In(1),
            "next": Out(command_layout()), "fetch": Out(stream.Signature(0)),
            "front": Out(command_layout()), "active": Out(1), "run": Out(1), "front_done": In(1), "hand_over": Out(1),
            "front_status": In(8), "front_index": In(32), "front_access": In(32), "front_address": address,
            "popular": In(32), "non_popular": In(32), "working_rows": In(32), "accesses": In(32),
            "hot_accesses": In(32),
            "back_split": Out(1), "popular_done": In(1), "back_done": In(1),
            "popular_status": In(8), "popular_address": address,
            "back_status": In(8), "back_index": In(32), "back_address": address,
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()

        # Next: a command is taken from the ring, checked, and waits for its turn.
        next_valid, checked = Signal(), Signal()
        fetched = Signal()  # its records have been asked for
        check, check_address = self._check(m, self.next)
        refusal, refused_address = Signal(8), Signal(64)
        m.d.comb += self.i.ready.eq(~next_valid)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.next.eq(self.i.p), next_valid.eq(1), checked.eq(0), fetched.eq(0)]
        with m.If(next_valid & ~checked):
            m.d.sync += [checked.eq(1), refusal.eq(check), refused_address.eq(check_address)]

        # Front.
        front_busy, front_refusal, front_refused_address = Signal(), Signal(8), Signal(64)
        front_alone = Signal()
        settle = Signal(2)  # until `run` has had its effect
        front_cycles = Signal(64)
        back_busy, back_alone = Signal(), Signal()
        next_batch = one_of(self.next, Opcode.LEARN, Opcode.SPLIT)
        none_alone = ~(front_busy & front_alone) & ~(back_busy & back_alone)
        m.d.comb += self.fetch.valid.eq(checked & next_valid & ~fetched & next_batch & (refusal == 0) & none_alone)
        with m.If(self.fetch.valid & self.fetch.ready):
            m.d.sync += fetched.eq(1)
        may_run = Mux(next_batch, none_alone & fetched & self.ready, ~back_busy & self.ready)
        begin = next_valid & checked & ~front_busy & ((refusal != 0) | may_run)
        m.d.comb += self.active.eq(front_busy)
        m.d.sync += [
            self.run.eq(begin & (refusal == 0)),
            front_cycles.eq(front_cycles + 1),
            settle.eq(Cat(front_busy, settle)),
        ]
        with m.If(begin):
            m.d.sync += [
                next_valid.eq(0), front_busy.eq(1), settle.eq(0), front_cycles.eq(0),
                self.front.eq(self.next), front_alone.eq(~next_batch),
                front_refusal.eq(refusal), front_refused_address.eq(refused_address),
            ]  # fmt: skip

        # From front to back.
        back = Signal(command_layout())
        back_cycles = Signal(64)
        status, index, access, address = Signal(8), Signal(32), Signal(32), Signal(64)
        counts = {name: Signal(32, name=f"back_{name}") for name in
                  ("popular", "non_popular", "working_rows", "accesses", "hot_accesses")}  # fmt: skip
        m.d.comb += [
            self.hand_over.eq(front_busy & ~back_busy & ((front_refusal != 0) | (settle[1] & self.front_done))),
            self.busy.eq(next_valid | front_busy | back_busy),
            self.back_split.eq(back_busy & (back.opcode == Opcode.SPLIT)),
        ]
        m.d.sync += back_cycles.eq(back_cycles + 1)
        with m.If(self.hand_over):
            refused = front_refusal != 0
            m.d.sync += [
                front_busy.eq(0), back_busy.eq(1), back.eq(self.front), back_alone.eq(front_alone),
                back_cycles.eq(front_cycles + 1),
                status.eq(Mux(refused, front_refusal, self.front_status)),
                index.eq(Mux(refused, 0, self.front_index)),
                access.eq(Mux(refused, 0, self.front_access)),
                address.eq(Mux(refused, front_refused_address, self.front_address)),
            ]  # fmt: skip
            m.d.sync += [count.eq(getattr(self, name)) for name, count in counts.items()]

        # Back. The completion; counts are given only when all went well.
        is_split = back.opcode == Opcode.SPLIT
        second = Signal()  # the popular completion has been given
        popular_part = is_split & ~second
        final, final_index, final_address = Signal(8), Signal(32), Signal(64)
        m.d.comb += [final.eq(status), final_index.eq(index), final_address.eq(address)]
        with m.If((status == 0) & is_split):
            with m.If(self.popular_status != 0):
                m.d.comb += [final.eq(self.popular_status), final_address.eq(self.popular_address)]
            with m.Elif(second):
                m.d.comb += [
                    final.eq(self.back_status),
                    final_index.eq(self.back_index),
                    final_address.eq(self.back_address),
                ]
        ok = final == Status.OK

        def count(name: str, shown=1):
            return Mux(ok & shown, counts[name], 0)

        entry = {
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
        completion = pack(m, completion_layout(), entry)
        back_refused = Signal()
        with m.FSM():
            with m.State("WAIT"):
                m.d.sync += self.o.p.eq(completion)
                done = Mux(popular_part, self.popular_done, self.back_done) | ~is_split | back_refused
                with m.If(back_busy & done):
                    m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += second.eq(popular_part)
                    m.next = "DRAIN"
                    with m.If(popular_part):
                        m.next = "WAIT"
            with m.State("DRAIN"):
                # The completion is in memory before the next one's data counts as complete.
                with m.If(self.o.ready):
                    m.d.sync += back_busy.eq(0)
                    m.next = "WAIT"
        with m.If(self.hand_over):
            m.d.sync += back_refused.eq(front_refusal != 0)
        return m

    def _check(self, m: Module, command) -> tuple[Signal, Signal]:
        """What can be seen to be wrong with a command before it begins: status and address."""
        is_split = command.opcode == Opcode.SPLIT
        needs_model = one_of(command, Opcode.LEARN, Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER)
        buffers = [
            (one_of(command, Opcode.LEARN, Opcode.DUMP, Opcode.LOAD, Opcode.SPLIT, Opcode.SWAP), command.source),
            (is_split, command.popular),
            (is_split, command.non_popular),
            (one_of(command, Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER), command.working_keys),
            (one_of(command, Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER), command.working_rows),
        ]
        alignment_bits = ceil_log2(BUFFER_ALIGNMENT)
        check = Signal(8)
        check_address = Signal(64)
        with m.If(~one_of(command, *Opcode)):
            m.d.comb += check.eq(Status.UNKNOWN_OPCODE)
        with m.Elif((is_split & command.flags[0]) | (one_of(command, Opcode.SWAP) & (not self.config.shadow))):
            m.d.comb += check.eq(Status.UNSUPPORTED)
        for used, address in buffers:
            with m.Elif(used & address[:alignment_bits].any()):
                m.d.comb += [check.eq(Status.MISALIGNED_ADDRESS), check_address.eq(address)]
        with m.Elif(needs_model & ~self.model_valid):
            m.d.comb += check.eq(Status.NO_MODEL)
        with m.Elif(needs_model & ((command.samples == 0) | (command.samples > 1 << COUNT_BITS))):
            m.d.comb += check.eq(Status.BAD_COUNT)
        return check, check_address


def one_of(command, *opcodes: Opcode):
    """Whether the command's opcode is among ``opcodes``."""
    return is_one_of(command.opcode, *opcodes)


def pack(m: Module, layout: data.StructLayout, fields: dict):
    """The value of a structure: ``fields`` in their places, 0 elsewhere."""
    parts = []
    for name, field in layout:
        part = Signal(field.width, name=f"entry_{name}") if name in fields else Const(0, field.width)
        if name in fields:
            m.d.comb += part.eq(fields[name])
        parts.append(part)
    return Cat(parts)
