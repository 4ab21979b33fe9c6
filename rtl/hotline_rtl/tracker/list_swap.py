"""SWAP: the hot set takes over what the shadow has learnt, where that differs, as far as it is allowed.

It takes about 12 cycles a set, for a set that differs a cycle more for each way, and about 30 for each slot that differs; then
what ``forgetting`` takes. The golden twin is ``hotline_golden.tracker.tracker.Tracker.swap``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.tracker import BankOp, PortSignature, hot_line_layout, line_layout
from .list_words import listed_entry_layout
from .placement import set_in_array_0


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
        config = self.config
        ways = config.tracker_ways
        job, result = Signal(swap_job_layout(), reset_less=True), Signal(swapped_layout(config))
        number, way = Signal(config.set_bits), Signal(ceil_log2(ways))
        # Both lines of a set turn round, a way at a time, so that entry 0 is the one in hand; then the hot one goes back.
        line, hot = Signal(line_layout(config), reset_less=True), Signal(hot_line_layout(config), reset_less=True)
        entries, hot_entries = ([Cat(of[w]) for w in range(ways)] for of in (line, hot))
        cursor = Signal(config.set_bits)  # where the next SWAP begins
        kept_back, kept_at = Signal(), Signal(config.set_bits)
        touched = Signal()

        def differs(w):
            apart = (hot[w].tag != line[w].tag) | ~hot[w].valid
            return line[w].valid & (line[w].state >= job.worth) & apart

        def turn(new_hot):
            m.d.sync += [
                line.eq(Cat(*entries[1:], entries[0])),
                hot.eq(Cat(*hot_entries[1:], new_hot)),
                way.eq(way + 1),
            ]
            m.next = "WAYS"
            with m.If(way == ways - 1):
                m.next = "WRITE"

        m.d.comb += [
            self.results.p.eq(result),
            self.o.p.set.eq(number),
            self.o.p.slot.eq(Cat(way, number)),
            self.port.set.eq(number),
            self.port.tag.eq(line[0].tag),
        ]
        for w in range(ways):
            m.d.comb += [self.port.line[w].valid.eq(hot[w].valid), self.port.line[w].tag.eq(hot[w].tag)]
        with m.If(self.cleared):
            m.d.sync += cursor.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.jobs.ready.eq(1)
                m.d.sync += [job.eq(self.jobs.p), number.eq(cursor), result.eq(0)]
                with m.If(self.jobs.valid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += [self.port.valid.eq(1), self.port.op.eq(BankOp.READ)]
                m.d.sync += [touched.eq(0), way.eq(0)]
                m.next = "READ_WAIT"
            with m.State("READ_WAIT"):
                with m.If(self.port.r_valid):
                    m.next = "LINE"
            with m.State("LINE"):
                m.d.sync += [line.eq(self.port.r_line), hot.eq(self.port.r_hot_line)]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "WRITE"
                with m.If(Cat(differs(w) for w in range(ways)).any()):
                    m.next = "WAYS"
            with m.State("WAYS"):
                with m.If(differs(0)):
                    m.next = "FIND"
                with m.Else():
                    turn(hot_entries[0])
            with m.State("FIND"):
                m.d.comb += [
                    self.port.valid.eq(1),
                    self.port.op.eq(BankOp.FIND),
                    self.port.set.eq(set_in_array_0(config, number, line[0].tag)),
                ]
                m.next = "FIND_WAIT"
            with m.State("FIND_WAIT"):
                with m.If(self.port.r_valid):
                    m.next = "FOUND"
            with m.State("FOUND"):
                with m.If(self.port.r_hit | (result.changed >= job.limit)):
                    m.d.sync += result.left.eq(result.left + 1)
                    with m.If(~self.port.r_hit & ~kept_back):
                        m.d.sync += [kept_back.eq(1), kept_at.eq(number)]
                    turn(hot_entries[0])
                with m.Else():
                    m.next = "SLOT"
            with m.State("SLOT"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.literal.eq(1)]
                with m.If(self.o.ready):
                    m.next = "OLD"
            with m.State("OLD"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.tag.eq(hot[0].tag), self.o.p.valid.eq(hot[0].valid)]
                with m.If(self.o.ready):
                    m.next = "NEW"
            with m.State("NEW"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.p.tag.eq(line[0].tag),
                    self.o.p.valid.eq(1),
                    self.o.p.asks.eq(1),
                ]
                with m.If(self.o.ready):
                    m.d.sync += [result.changed.eq(result.changed + 1), touched.eq(1)]
                    turn(Cat(line[0].valid, line[0].tag))
            with m.State("WRITE"):
                m.d.comb += [self.port.valid.eq(touched), self.port.op.eq(BankOp.SWAP)]
                m.d.sync += number.eq(number + 1)
                m.next = "READ"
                with m.If(number + 1 == Mux(cursor == 0, config.tracker_sets, cursor)):
                    m.d.sync += kept_back.eq(0)
                    with m.If(kept_back):
                        m.d.sync += cursor.eq(kept_at)
                    m.next = "EPOCH" if config.forgets else "END"
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
