"""Carries out one command at a time, in ring order, and says how each ended.

A SPLIT completes twice: when the popular micro-batch is in device memory, and when everything is.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import BUFFER_ALIGNMENT, AcceleratorConfig
from .layouts import COUNT_BITS, Kind, Opcode, Status, command_layout, completion_layout


class CommandProcessor(wiring.Component):
    """Members
    -------
    i : In(stream of command_layout)
    o : Out(stream of completion_layout)
    busy : Out(1)
    model_valid : In(1)
    command : Out(command_layout)
        The one under way.
    run : Out(1)
        High for one cycle when it begins; ``opcode`` says what to do.
    popular_done, done : In(1)
        The popular micro-batch is in memory; all of the command's data is. Levels, meaningful from the
        second cycle after ``run``.
    popular_status, status : In(Status); index, access, address : In
        What went wrong in the part that is done, and where.
    popular, non_popular, working_rows, accesses, hot_accesses : In
        Counts for the completion.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(command_layout())), "o": Out(stream.Signature(completion_layout())),
            "busy": Out(1), "model_valid": In(1), "command": Out(command_layout()), "run": Out(1),
            "popular_done": In(1), "done": In(1),
            "popular_status": In(8), "status": In(8),
            "index": In(32), "access": In(32), "address": In(config.address_bits),
            "popular_address": In(config.address_bits),
            "popular": In(32), "non_popular": In(32), "working_rows": In(32), "accesses": In(32),
            "hot_accesses": In(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        command = self.command
        cycles = Signal(64)
        refusal = Signal(8)
        refused_address = Signal(64)
        is_split = command.opcode == Opcode.SPLIT
        m.d.sync += cycles.eq(cycles + 1)

        # Which parts of a command each opcode uses.
        def one_of(*opcodes: Opcode):
            return Cat(command.opcode == opcode for opcode in opcodes).any()

        needs_model = one_of(Opcode.LEARN, Opcode.SPLIT, Opcode.SCATTER)
        buffers = [
            (one_of(Opcode.LEARN, Opcode.DUMP, Opcode.LOAD, Opcode.SPLIT), command.source),
            (is_split, command.popular),
            (is_split, command.non_popular),
            (one_of(Opcode.SPLIT, Opcode.SCATTER), command.working_keys),
            (one_of(Opcode.SPLIT, Opcode.SCATTER), command.working_rows),
        ]
        alignment_bits = ceil_log2(BUFFER_ALIGNMENT)
        check = Signal(8)
        check_address = Signal(64)
        with m.If(~one_of(*Opcode)):
            m.d.comb += check.eq(Status.UNKNOWN_OPCODE)
        with m.Elif(is_split & command.flags[0]):
            m.d.comb += check.eq(Status.UNSUPPORTED)
        for used, address in buffers:
            with m.Elif(used & address[:alignment_bits].any()):
                m.d.comb += [check.eq(Status.MISALIGNED_ADDRESS), check_address.eq(address)]
        with m.Elif(needs_model & ~self.model_valid):
            m.d.comb += check.eq(Status.NO_MODEL)
        with m.Elif(needs_model & ((command.samples == 0) | (command.samples > 1 << COUNT_BITS))):
            m.d.comb += check.eq(Status.BAD_COUNT)

        # The completion. Counts are given only when all went well.
        second = Signal()  # the popular completion has been given
        kind = Mux(is_split, Mux(second, Kind.NON_POPULAR, Kind.POPULAR), Kind.WHOLE)
        status = Signal(8)
        ok = status == Status.OK
        popular_part = is_split & ~second
        m.d.comb += status.eq(Mux(refusal != 0, refusal, Mux(popular_part, self.popular_status, self.status)))

        def count(value):
            return Mux(ok, value, 0)[:32]

        def place(value, refused=0):
            return Mux(ok, 0, Mux(refusal != 0, refused, value))

        entry = {
            "tag": command.tag,
            "status": status,
            "kind": kind,
            "opcode": command.opcode,
            "popular": count(self.popular),
            "non_popular": count(self.non_popular),
            "working_rows": count(Mux(popular_part, 0, self.working_rows)),
            "accesses": count(self.accesses),
            "hot_accesses": count(self.hot_accesses),
            "cycles": cycles,
            "index": place(self.index),
            "access": place(self.access),
            "address": place(Mux(popular_part, self.popular_address, self.address), refused_address),
        }
        completion = pack(m, completion_layout(), entry)

        m.d.comb += self.busy.eq(1)
        settle = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), self.i.ready.eq(1)]
                m.d.sync += [cycles.eq(0), second.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += command.eq(self.i.p)
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [refusal.eq(check), refused_address.eq(check_address), settle.eq(0)]
                m.d.comb += self.run.eq(check == 0)
                m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += settle.eq(1)
                ready = Mux(is_split & ~second, self.popular_done, self.done)
                with m.If((refusal != 0) | (settle & ready)):
                    m.d.sync += self.o.p.eq(completion)
                    m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    with m.If(is_split & ~second):
                        m.d.sync += second.eq(1)
                        m.next = "RUN"
                    with m.Else():
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                # The completion is in memory before the next command begins.
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m


def pack(m: Module, layout: data.StructLayout, fields: dict):
    """The value of a structure: ``fields`` in their places, 0 elsewhere."""
    parts = []
    for name, field in layout:
        part = Signal(field.width, name=f"entry_{name}") if name in fields else Const(0, field.width)
        if name in fields:
            m.d.comb += part.eq(fields[name])
        parts.append(part)
    return Cat(parts)
