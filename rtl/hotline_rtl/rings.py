"""The command and completion rings: fetches commands, writes completions.

A command that cannot be read ends with a status, like any other; a completion that cannot be written is lost, which
``error`` tells. Both rings go on.

Commands are fetched one at a time; a completion counts as written once memory has acknowledged it.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .layouts import ENTRY_BYTES, ENTRY_WORDS, Status, command_layout, completion_layout
from .read_master import ReadClientSignature
from .words import delayed
from .write_master import WriteClientSignature


def fetched_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A command; or, with a ``status``, zeros, and the address of the entry that could not be read."""
    return data.StructLayout({"command": command_layout(), "status": 8, "address": config.address_bits})


class CommandRing(wiring.Component):
    """Members
    -------
    enable, base, log2_entries, tail : In
        From the registers.
    head : Out(32)
        Commands taken.
    waiting : Out(1)
        There were others a cycle ago.
    o : Out(stream of fetched_layout)
    read : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "enable": In(1), "base": In(config.address_bits), "log2_entries": In(4), "tail": In(32),
            "head": Out(32), "waiting": Out(1), "o": Out(stream.Signature(fetched_layout(config))),
            "read": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        beats = ENTRY_BYTES // self.config.bus_bytes
        words = Signal(32 * ENTRY_WORDS, reset_less=True)
        beat = Signal(range(beats + 1))
        failed, lost = Signal(), Signal()
        request = self.read.request
        m.d.comb += [
            self.o.p.command.eq(Mux(failed, 0, words)),
            self.o.p.status.eq(Mux(failed, Mux(lost, Status.TIMEOUT, Status.READ_ERROR), Status.OK)),
            self.o.p.address.eq(Mux(failed, request.p.address, 0)),
            request.p.address.eq(entry_address(m, self.base, self.head, self.log2_entries)),
            request.p.words.eq(ENTRY_WORDS),
        ]
        m.d.sync += self.waiting.eq(self.head != self.tail)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.enable & self.waiting):
                    m.next = "PLACE"
            with m.State("PLACE"):
                m.next = "ASK"
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
    written : Out(1)
        In the cycle in which ``tail`` counts up.
    error : Out(1)
        A completion could not be written; it counts all the same. Stays until reset.
    write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "base": In(config.address_bits), "log2_entries": In(4), "head": In(32), "tail": Out(32),
            "i": In(stream.Signature(completion_layout())), "written": Out(1), "error": Out(1),
            "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        bits = self.config.bus_bits
        beats = ENTRY_BYTES // self.config.bus_bytes
        entry = Signal(completion_layout(), reset_less=True)
        beat, gives = Signal(range(beats + 1)), Signal()
        idle = delayed(m, self.write.idle)
        used, full = Signal(32), Signal()
        m.d.sync += [used.eq(self.tail - self.head), full.eq(used >> self.log2_entries != 0)]
        request, out = self.write.request, self.write.data
        m.d.comb += [
            request.p.address.eq(entry_address(m, self.base, self.tail, self.log2_entries)),
            request.p.words.eq(ENTRY_WORDS),
            out.p.data.eq(entry.as_value()[:bits]),
            out.p.strobe.eq(~0),
            out.valid.eq(gives),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(~full)
                m.d.sync += [entry.eq(self.i.p), entry.sequence.eq(self.tail + 1), beat.eq(0)]
                with m.If(self.i.valid & ~full):
                    m.next = "ASK"
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
            with m.State("WAIT"):  # `idle` is a cycle late, and has been low since the first beat
                with m.If(idle):
                    m.d.comb += self.written.eq(1)
                    m.d.sync += self.tail.eq(self.tail + 1)
                    m.next = "COUNT"
            with m.State("COUNT"):  # until `full` knows of it
                m.next = "COUNTED"
            with m.State("COUNTED"):
                m.next = "IDLE"
        with m.If(self.write.error):
            m.d.sync += self.error.eq(1)
        return m


def entry_address(m: Module, base: Value, count: Value, log2_entries: Value) -> Signal:
    """Address of entry number ``count`` of a ring of at most 2**15 entries, two cycles after ``count``."""
    place, address = Signal(15, reset_less=True), Signal.like(base, reset_less=True)
    m.d.sync += [
        place.eq(count[:15] & ((Const(1, 1) << log2_entries) - 1)),
        address.eq(base + (place << ceil_log2(ENTRY_BYTES))),
    ]
    return address
