"""The command and completion rings: fetches commands, writes completions.

A command that cannot be read ends with a status, like any other. What the host cannot be told by a completion stops both
rings until a soft reset, and sets a bit of register ``ring_error``: a completion that could not be written; a ring that
does not lie within the address space; a count that the host set where it cannot be.

Commands are fetched one at a time; a completion counts as written once memory has acknowledged it.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import ENTRY_BYTES, ENTRY_WORDS, Status, command_layout, completion_layout
from ..interfaces.memory import ReadClientSignature, WriteClientSignature
from ..lib.logic import delayed, exceeds


def fetched_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A command; or, with a ``status``, zeros, and the address of the entry that could not be read."""
    return data.StructLayout({"command": command_layout(), "status": 8, "address": config.address_bits})


class CommandRing(wiring.Component):
    """Members
    -------
    enable, base, log2_entries, tail : In
        From the registers.
    hold, stop : In(1)
        No command may begin for now; the rings stand still.
    completions_outside : In(1)
        The completion ring does not lie within the address space.
    head : Out(32)
        Commands taken.
    waiting : Out(1)
        There were others a cycle ago.
    active : Out(1)
        One is being fetched.
    base_error, completion_base_error, doorbell_error : Out(1)
        Bits of register ``ring_error``; they stay until reset.
    o : Out(stream of fetched_layout)
    read : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "enable": In(1), "base": In(64), "log2_entries": In(4), "tail": In(32), "hold": In(1), "stop": In(1),
            "completions_outside": In(1), "head": Out(32), "waiting": Out(1), "active": Out(1),
            "base_error": Out(1), "completion_base_error": Out(1), "doorbell_error": Out(1),
            "o": Out(stream.Signature(fetched_layout(config))), "read": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        beats = ENTRY_BYTES // self.config.bus_bytes
        words = Signal(32 * ENTRY_WORDS, reset_less=True)
        beat = Signal(range(beats + 1))
        failed, lost = Signal(), Signal()
        request = self.read.request
        # Checked, and then kept whatever the host does to the registers.
        address = entry_address(m, self.base[: self.config.address_bits], self.head, self.log2_entries)
        asked = Signal.like(address, reset_less=True)
        m.d.comb += [
            self.o.p.command.eq(Mux(failed, 0, words)),
            self.o.p.status.eq(Mux(failed, Mux(lost, Status.TIMEOUT, Status.READ_ERROR), Status.OK)),
            self.o.p.address.eq(Mux(failed, request.p.address, 0)),
            request.p.address.eq(asked),
            request.p.words.eq(ENTRY_WORDS),
            self.active.eq(1),
        ]
        # Commands behind the next one. More than the ring has entries, less that one: the doorbell is wrong.
        behind, ahead = Signal(32, reset_less=True), Signal()
        outside = ring_outside(m, self.base, self.log2_entries, self.config.address_bits)
        m.d.sync += [
            self.waiting.eq(self.head != self.tail),
            behind.eq(self.tail - self.head - 1),
            ahead.eq(behind >> self.log2_entries != 0),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.active.eq(0)
                with m.If(self.enable & self.waiting & ~self.hold & ~self.stop):
                    m.next = "PLACE"
            with m.State("PLACE"):
                m.next = "CHECK"
                with m.If(self.hold):
                    m.next = "IDLE"
            with m.State("CHECK"):
                m.d.sync += asked.eq(address)
                m.next = "ASK"
                with m.If(outside | ahead | self.completions_outside):
                    m.d.sync += [
                        self.base_error.eq(outside),
                        self.doorbell_error.eq(ahead),
                        self.completion_base_error.eq(self.completions_outside),
                    ]
                    m.next = "STOPPED"
            with m.State("ASK"):
                m.d.comb += request.valid.eq(1)
                m.d.sync += [beat.eq(0), failed.eq(0), lost.eq(0)]
                with m.If(request.ready):
                    m.next = "FETCH"
            with m.State("FETCH"):
                with m.If(self.read.beat_valid):
                    m.d.sync += [
                        words.eq(Cat(words, self.read.beat_data)[-len(words) :]),
                        beat.eq(beat + 1),
                        failed.eq(failed | self.read.beat_error),
                        lost.eq(lost | self.read.beat_timeout),
                    ]
                    with m.If(beat == beats - 1):
                        m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += self.head.eq(self.head + 1)
                    m.next = "COUNT"
            with m.State("COUNT"):  # until `waiting` knows of it
                m.next = "IDLE"
            with m.State("STOPPED"):
                m.d.comb += self.active.eq(0)
        return m


class CompletionRing(wiring.Component):
    """Members
    -------
    base, log2_entries, head : In
        From the registers.
    tail : Out(32)
        Completions written and acknowledged.
    i : In(stream of completion_layout)
        ``sequence`` is filled in here.
    acknowledged : Out(stream)
        After each completion: it is in memory. Before that the next one is not taken.
    written : Out(1)
        In the cycle in which ``tail`` counts up.
    full : Out(1)
        The host has to free an entry first.
    outside : Out(1)
        The ring does not lie within the address space.
    write_error, base_error, head_error : Out(1)
        Bits of register ``ring_error``; they stay until reset. The completion is not counted, and no other one is taken.
    write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "base": In(64), "log2_entries": In(4), "head": In(32), "tail": Out(32),
            "i": In(stream.Signature(completion_layout())), "acknowledged": Out(stream.Signature(0)),
            "written": Out(1), "full": Out(1), "outside": Out(1),
            "write_error": Out(1), "base_error": Out(1), "head_error": Out(1),
            "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        bits = self.config.bus_bits
        beats = ENTRY_BYTES // self.config.bus_bytes
        entry = Signal(completion_layout(), reset_less=True)
        beat, gives = Signal(range(beats + 1)), Signal()
        idle = delayed(m, self.write.idle)
        used, full, astray = Signal(32), self.full, Signal()
        entries = delayed(m, Const(1, 1) << self.log2_entries)
        m.d.sync += [
            used.eq(self.tail - self.head),
            full.eq(used >> self.log2_entries != 0),
            astray.eq(used > entries),
        ]
        request, out = self.write.request, self.write.data
        address = entry_address(m, self.base[: self.config.address_bits], self.tail, self.log2_entries)
        asked = Signal.like(address, reset_less=True)
        m.d.comb += [
            self.outside.eq(ring_outside(m, self.base, self.log2_entries, self.config.address_bits)),
            request.p.address.eq(asked),
            request.p.words.eq(ENTRY_WORDS),
            out.p.data.eq(entry.as_value()[:bits]),
            out.p.strobe.eq(~0),
            out.valid.eq(gives),
        ]
        with m.If(self.write.error):
            m.d.sync += self.write_error.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(~full)
                m.d.sync += [entry.eq(self.i.p), entry.sequence.eq(self.tail + 1), beat.eq(0)]
                with m.If(self.i.valid & astray):
                    m.d.sync += self.head_error.eq(1)
                    m.next = "STOPPED"
                with m.Elif(self.i.valid & ~full):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += asked.eq(address)
                m.next = "ASK"
                with m.If(self.outside):
                    m.d.sync += self.base_error.eq(1)
                    m.next = "STOPPED"
            with m.State("ASK"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.d.sync += gives.eq(1)
                    m.next = "DATA"
            with m.State("DATA"):
                with m.If(out.ready):
                    m.d.sync += [entry.eq(entry.as_value() >> bits), beat.eq(beat + 1), gives.eq(beat != beats - 1)]
                    with m.If(beat == beats - 1):
                        m.next = "WAIT"
            with m.State("WAIT"):
                # `idle` and `write_error` are a cycle late; `idle` has been low since the first beat.
                with m.If(idle):
                    m.next = "STOPPED"
                    with m.If(~self.write_error):
                        m.d.comb += self.written.eq(1)
                        m.d.sync += self.tail.eq(self.tail + 1)
                        m.next = "COUNT"
            with m.State("COUNT"):  # until `full` knows of it
                m.next = "COUNTED"
            with m.State("COUNTED"):
                m.d.comb += self.acknowledged.valid.eq(1)
                with m.If(self.acknowledged.ready):
                    m.next = "IDLE"
            with m.State("STOPPED"):
                pass
        return m


def entry_address(m: Module, base: Value, count: Value, log2_entries: Value) -> Signal:
    """Address of entry number ``count`` of a ring of at most 2**15 entries: three cycles after ``count``, two after ``base``, as
    ``ring_outside``."""
    place = Signal(15, reset_less=True)
    sum_ = Signal.like(base, reset_less=True)
    address = Signal.like(base, reset_less=True)
    m.d.sync += [
        place.eq(count[:15] & ((Const(1, 1) << log2_entries) - 1)),
        sum_.eq(base + (place << ceil_log2(ENTRY_BYTES))),
        address.eq(sum_),
    ]
    return address


def ring_outside(m: Module, base: Value, log2_entries: Value, address_bits: int) -> Signal:
    """Whether a ring is misaligned or does not end within the address space, two cycles after ``base``."""
    end, astray, outside = Signal(address_bits + 1, reset_less=True), Signal(reset_less=True), Signal()
    m.d.sync += [
        end.eq(base[:address_bits] + (Const(1, 1) << log2_entries << ceil_log2(ENTRY_BYTES))),
        astray.eq(base[: ceil_log2(ENTRY_BYTES)].any() | base[address_bits:].any()),
        outside.eq(astray | exceeds(end, address_bits)),
    ]
    return outside
