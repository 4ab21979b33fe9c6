"""SWAP: the hot set takes over what the shadow has learnt, where that differs, as far as it is allowed.

    marked sets ─► READ ─► lines ─► what differs, entry by entry ─► the delta list
                                          └─► SWAP: the hot line; MARK: something differs still

A set takes a cycle, 3 more for each slot that changes, and 1 for each other key that differs; ``list_words`` takes 4 for each
slot that changes. Besides, a cycle for each word of marks (``mark_scanner``), and what ``forgetting`` takes.
The golden twin is ``hotline_golden.tracker.tracker.Tracker.swap``.
"""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.tracker import BankOp, PortSignature, hot_line_layout, line_layout
from ...lib.credit_fifo import CreditFifo
from ...lib.fifo import StreamFifo
from ...lib.logic import first_set, one_hot_mux
from .list_words import listed_entry_layout
from .mark_scanner import MarkScanner

#: Cycles until a line comes that was asked for.
LINE_CYCLES = 9


def swap_job_layout() -> data.StructLayout:
    """At most ``limit`` slots change, to keys whose counters are at least ``worth``."""
    return data.StructLayout({"limit": 32, "worth": 16})


def swapped_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Slots that have changed, and keys that were left where they were."""
    return data.StructLayout({"changed": config.slot_bits + 1, "left": config.slot_bits + 1})


class ListSwap(wiring.Component):
    """Members
    -------
    jobs : In(stream of swap_job_layout), results : Out(stream of swapped_layout)
    o : Out(stream of listed_entry_layout)
        The delta list: for each slot that changes its number, its old entry, and its new one with the working row.
    epochs : Out(stream), epochs_over : In(stream)
        All sets have been visited: the epoch may end; it has, if it was time. Where entries are forgotten.
    cleared : In(1)
        The tracker is being cleared: the next SWAP begins at its first set.
    port : Out(PortSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(swap_job_layout())), "results": Out(stream.Signature(swapped_layout(config))),
            "o": Out(stream.Signature(listed_entry_layout(config))), "cleared": In(1), "port": Out(PortSignature(config)),
            **({"epochs": Out(stream.Signature(0)), "epochs_over": In(stream.Signature(0))} if config.forgets else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, port = self.config, self.port
        ways = config.tracker_ways
        m.submodules.scanner = scanner = MarkScanner(config)
        both = data.StructLayout({"line": line_layout(config), "hot": hot_line_layout(config)})
        m.submodules.lines = lines = CreditFifo(both, LINE_CYCLES)
        m.submodules.numbers = numbers = StreamFifo(config.set_bits, lines.depth, reserved=True)

        job, result = Signal(swap_job_layout(), reset_less=True), Signal(swapped_layout(config))
        number = Signal(config.set_bits)
        line, hot = Signal(line_layout(config), reset_less=True), Signal(hot_line_layout(config), reset_less=True)
        cursor = Signal(config.set_bits)  # where the next SWAP begins
        kept_back, kept_at = Signal(), Signal(config.set_bits)
        touched, remains = Signal(), Signal()  # the hot line has changed; something differs still
        full = Signal()  # no more slots may change

        # Marked sets are read as long as there is room, and the line in hand does not need the tracker.
        taken, all_visited = Signal(), Signal()
        unanswered = Signal(range(lines.depth + 1))
        wants, visited = Signal(), scanner.o
        reads = visited.valid & ~visited.p.end & lines.credit & ~wants
        came = port.r_valid & (unanswered != 0)
        m.d.comb += [
            visited.ready.eq(reads | visited.p.end),
            numbers.i.valid.eq(reads),
            numbers.i.p.eq(visited.p.set),
            lines.spend.eq(reads),
            lines.i.valid.eq(came),
            lines.i.p.line.eq(port.r_line),
            lines.i.p.hot.eq(port.r_hot_line),
            lines.o.ready.eq(taken),
            numbers.o.ready.eq(taken),
            scanner.r_marks.eq(port.r_marks),
            scanner.marks.eq(port.marks),
            scanner.asks.ready.eq(~wants & ~reads),
        ]
        m.d.sync += unanswered.eq(unanswered + reads - came)
        with m.If(visited.valid & visited.p.end):
            m.d.sync += all_visited.eq(1)
        m.d.comb += [
            port.valid.eq(wants | reads | (scanner.asks.valid & scanner.asks.ready)),
            port.set.eq(scanner.asks.p),
        ]
        m.d.comb += port.op.eq(BankOp.MARKS)
        with m.If(reads):
            m.d.comb += [port.op.eq(BankOp.READ), port.set.eq(visited.p.set)]

        # Which entries of the line that comes next differ, and are to be taken over; of those, the first is in hand.
        differs = [
            new.valid & ((old.tag != new.tag) | ~old.valid)
            for new, old in zip(lines.o.p.line, lines.o.p.hot, strict=True)
        ]
        worthy = [entry.state >= job.worth for entry in lines.o.p.line]
        to_do = Signal(ways)
        first = first_set(to_do)
        way = one_hot_mux(first, [Const(w, ceil_log2(ways)) for w in range(ways)])
        entry = data.StructLayout({"held": 1, "old": hot[0].shape(), "tag": config.tag_bits})
        in_hand, chosen = Signal(entry, reset_less=True), Signal(entry)
        m.d.comb += chosen.eq(one_hot_mux(first, [Cat(line[w].held, hot[w], line[w].tag) for w in range(ways)]))

        def asks(op: BankOp) -> None:
            """The line in hand asks the tracker."""
            m.d.comb += [wants.eq(1), port.op.eq(op), port.set.eq(number)]

        def next_line() -> None:
            """The next line comes into hand, if there is one."""
            m.d.sync += [line.eq(lines.o.p.line), hot.eq(lines.o.p.hot), number.eq(numbers.o.p), touched.eq(0)]
            m.d.sync += [to_do.eq(Cat(differs) & Cat(worthy)), remains.eq((Cat(differs) & ~Cat(worthy)).any())]
            m.next = "LINE"
            with m.If(lines.o.valid):
                m.d.comb += taken.eq(1)
                m.next = "ENTRY"

        def stays() -> None:
            """The entry in hand is left where it is."""
            m.d.sync += [result.left.eq(result.left + 1), remains.eq(1), to_do.eq(to_do & ~first)]

        m.d.comb += [
            self.results.p.eq(result),
            scanner.i.p.eq(cursor),
            self.o.p.set.eq(number),
            self.o.p.slot.eq(Cat(way, number)),
        ]
        for w in range(ways):
            m.d.comb += [port.line[w].valid.eq(hot[w].valid), port.line[w].tag.eq(hot[w].tag)]
        with m.If(self.cleared):
            m.d.sync += cursor.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.jobs.ready.eq(scanner.i.ready)
                m.d.comb += scanner.i.valid.eq(self.jobs.valid)
                m.d.sync += [job.eq(self.jobs.p), result.eq(0), all_visited.eq(0), kept_back.eq(0)]
                m.d.sync += full.eq(self.jobs.p.limit == 0)
                with m.If(self.jobs.valid & self.jobs.ready):
                    m.next = "LINE"
            with m.State("LINE"):
                next_line()
                with m.If(~lines.o.valid & all_visited & ~lines.busy):
                    with m.If(kept_back):
                        m.d.sync += cursor.eq(kept_at)
                    m.next = "EPOCH" if config.forgets else "END"
            with m.State("ENTRY"):
                m.d.sync += in_hand.eq(chosen)
                with m.If(to_do == 0):
                    with m.If(touched):
                        asks(BankOp.SWAP)
                    with m.If(remains):
                        m.next = "MARK"
                    with m.Else():
                        next_line()
                with m.Elif(chosen.held):
                    stays()
                with m.Elif(full):
                    stays()
                    m.d.sync += kept_back.eq(1)
                    with m.If(~kept_back):
                        m.d.sync += kept_at.eq(number)
                with m.Else():
                    m.d.comb += [self.o.valid.eq(1), self.o.p.literal.eq(1)]
                    with m.If(self.o.ready):
                        m.next = "OLD"
            with m.State("OLD"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.p.tag.eq(in_hand.old.tag),
                    self.o.p.valid.eq(in_hand.old.valid),
                ]
                with m.If(self.o.ready):
                    m.next = "NEW"
            with m.State("NEW"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.p.tag.eq(in_hand.tag),
                    self.o.p.valid.eq(1),
                    self.o.p.asks.eq(1),
                ]
                with m.If(self.o.ready):
                    m.d.sync += [result.changed.eq(result.changed + 1), touched.eq(1), to_do.eq(to_do & ~first)]
                    m.d.sync += [job.limit.eq(job.limit - 1), full.eq(job.limit == 1)]
                    for w in range(ways):
                        with m.If(first[w]):
                            m.d.sync += [hot[w].valid.eq(1), hot[w].tag.eq(in_hand.tag)]
                    m.next = "ENTRY"
            with m.State("MARK"):
                asks(BankOp.MARK)
                m.next = "LINE"
            if config.forgets:
                with m.State("EPOCH"):
                    m.d.comb += self.epochs.valid.eq(1)
                    with m.If(self.epochs.ready):
                        m.next = "EPOCH_OVER"
                with m.State("EPOCH_OVER"):
                    m.d.comb += self.epochs_over.ready.eq(1)
                    with m.If(self.epochs_over.valid):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.end.eq(1)]
                with m.If(self.o.ready):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"
        return m
