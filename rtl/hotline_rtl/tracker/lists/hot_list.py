"""CLEAR, DUMP, LOAD and SWAP: the tracker's contents as a whole.

CLEAR takes a cycle for each set of a bank's array, or each word of its sketch, if those are more; DUMP about
(ways + 12) cycles a set; LOAD reads the hot list twice (``list_load``); SWAP is ``list_swap``.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.jobs import list_job_layout, list_result_layout
from ...interfaces.keys import find_members
from ...interfaces.layouts import WORDS_BITS, Opcode, words_layout
from ...interfaces.tracker import BankOp, PortSignature, line_layout, sweep_bits
from ...lib.word_queue import ended_layout
from ..forgetting import Forgetting
from .list_load import ListLoad
from .list_swap import ListSwap
from .list_words import ListWords


class HotList(wiring.Component):
    """Members
    -------
    jobs : In(stream of list_job_layout)
        After reset a CLEAR begins by itself.
    results : Out(stream of list_result_layout)
        A job has been done; all words for ``o`` have been given. The next job waits until this has been taken.
    lists : Out(stream of {address, words}), i : In(stream of words_layout), read_fault : In(fault_layout)
        LOAD's reader: asks for the list; its words; one of those that have come could not be read.
    o : Out(stream of ended_layout(2))
        DUMP's words, or SWAP's.
    port : Out(PortSignature)
    finds : Out(stream of key_layout), found : In(stream of found_key_layout)
        With a shadow: see ``list_words``.
    ready : Out(1)
        The tracker has been cleared after reset.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(list_job_layout(config))), "results": Out(stream.Signature(list_result_layout(config))),
            "lists": Out(stream.Signature(data.StructLayout({"address": config.address_bits, "words": WORDS_BITS}))),
            "i": In(stream.Signature(words_layout(config))), "read_fault": In(fault_layout()),
            "o": Out(stream.Signature(ended_layout(2))),
            "port": Out(PortSignature(config)), "ready": Out(1), **(find_members(config) if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.words = words = ListWords(config)
        m.submodules.load = load = ListLoad(config)
        wiring.connect(m, words.o, wiring.flipped(self.o))
        wiring.connect(m, load.lists, wiring.flipped(self.lists))
        wiring.connect(m, wiring.flipped(self.i), load.i)
        m.d.comb += [load.read_fault.eq(self.read_fault), load.jobs.p.eq(self.jobs.p.address)]
        ports = [load.port]

        # CLEAR: after reset, for a command, and within a LOAD.
        clears, clearing, sweep = Signal(), Signal(), Signal(sweep_bits(config))
        cleared = clearing & sweep.all()
        m.d.comb += load.clears.ready.eq(cleared)
        with m.If(clears | load.clears.valid):
            m.d.sync += clearing.eq(1)
        with m.If(clearing):
            m.d.sync += sweep.eq(sweep + 1)
        with m.If(cleared):
            m.d.sync += clearing.eq(0)

        # DUMP: set after set is read, and its entries go out one by one.
        number, way = Signal(config.set_bits), Signal(ceil_log2(config.tracker_ways))
        dumps, ends = Signal(), Signal()
        line = Signal(line_layout(config), reset_less=True)
        m.d.comb += [
            words.i.valid.eq(dumps | ends),
            words.i.p.set.eq(number),
            words.i.p.tag.eq(line[0].tag),
            words.i.p.valid.eq(line[0].valid),
            words.i.p.end.eq(ends),
        ]

        if config.shadow:
            m.submodules.swap = swap = ListSwap(config)
            ports.append(swap.port)
            m.d.comb += [
                swap.jobs.p.limit.eq(self.jobs.p.limit),
                swap.jobs.p.worth.eq(self.jobs.p.worth),
                swap.cleared.eq(clearing),
                self.results.p.changed.eq(swap.results.p.changed),
                self.results.p.left.eq(swap.results.p.left),
                swap.o.ready.eq(words.i.ready),
            ]
            with m.If(swap.o.valid):
                m.d.comb += [words.i.valid.eq(1), words.i.p.eq(swap.o.p)]
            wiring.connect(m, words.finds, wiring.flipped(self.finds))
            wiring.connect(m, wiring.flipped(self.found), words.found)
        if config.forgets:
            m.submodules.forgetting = forgetting = Forgetting(config)
            ports.append(forgetting.port)
            wiring.connect(m, swap.epochs, forgetting.jobs)
            wiring.connect(m, forgetting.results, swap.epochs_over)
            m.d.comb += [forgetting.cleared.eq(clearing), self.port.least.eq(forgetting.port.least)]

        # One of them uses the tracker at a time.
        reads = Signal()
        m.d.comb += [
            self.port.valid.eq(clearing | reads | Cat(port.valid for port in ports).any()),
            self.port.op.eq(BankOp.CLEAR),
            self.port.set.eq(sweep),
        ]
        with m.If(reads):
            m.d.comb += [self.port.op.eq(BankOp.READ), self.port.set.eq(number)]
        for port in ports:
            m.d.comb += [
                getattr(port, name).eq(getattr(self.port, name))
                for name, member in self.port.signature.members.items()
                if member.flow == In
            ]
            with m.If(port.valid):
                m.d.comb += [self.port.op.eq(port.op), self.port.set.eq(port.set), self.port.line.eq(port.line)]

        with m.FSM(init="CLEAR_FIRST") as fsm:
            with m.State("CLEAR_FIRST"):
                m.d.comb += clears.eq(~clearing)
                with m.If(cleared):
                    m.next = "IDLE"
            with m.State("IDLE"):
                m.d.sync += number.eq(0)
                with m.Switch(self.jobs.p.opcode):
                    with m.Case(Opcode.DUMP):
                        m.d.comb += self.jobs.ready.eq(1)
                        with m.If(self.jobs.valid):
                            m.next = "DUMP_READ"
                    with m.Case(Opcode.LOAD):
                        m.d.comb += [load.jobs.valid.eq(self.jobs.valid), self.jobs.ready.eq(load.jobs.ready)]
                        with m.If(self.jobs.valid & self.jobs.ready):
                            m.next = "LOAD"
                    if config.shadow:
                        with m.Case(Opcode.SWAP):
                            m.d.comb += [swap.jobs.valid.eq(self.jobs.valid), self.jobs.ready.eq(swap.jobs.ready)]
                            with m.If(self.jobs.valid & self.jobs.ready):
                                m.next = "SWAP"
                    with m.Default():
                        m.d.comb += [self.jobs.ready.eq(1), clears.eq(self.jobs.valid)]
                        with m.If(self.jobs.valid):
                            m.next = "CLEAR"
            with m.State("CLEAR"):
                with m.If(cleared):
                    m.next = "RESULT"
            with m.State("DUMP_READ"):
                m.d.comb += reads.eq(1)
                m.next = "DUMP_WAIT"
            with m.State("DUMP_WAIT"):
                with m.If(self.port.r_valid):
                    m.next = "DUMP_LINE"
            with m.State("DUMP_LINE"):
                m.d.sync += line.eq(self.port.r_line)
                if config.shadow:
                    for w in range(config.tracker_ways):
                        hot = self.port.r_hot_line[w]
                        m.d.sync += [line[w].valid.eq(hot.valid), line[w].tag.eq(hot.tag)]
                m.next = "DUMP_WAYS"
            with m.State("DUMP_WAYS"):
                m.d.comb += dumps.eq(1)
                with m.If(words.i.ready):
                    m.d.sync += [way.eq(way + 1), line.eq(Cat(line[w] for w in range(1, config.tracker_ways)))]
                    with m.If(way == config.tracker_ways - 1):
                        m.d.sync += number.eq(number + 1)
                        m.next = "DUMP_READ"
                        with m.If(number == config.tracker_sets - 1):
                            m.next = "DUMP_END"
            with m.State("DUMP_END"):
                m.d.comb += ends.eq(1)
                with m.If(words.i.ready):
                    m.next = "RESULT"
            with m.State("LOAD"):
                m.d.comb += [
                    self.results.valid.eq(load.results.valid),
                    self.results.p.fault.eq(load.results.p),
                    load.results.ready.eq(self.results.ready),
                ]
                with m.If(self.results.valid & self.results.ready):
                    m.next = "IDLE"
            if config.shadow:
                with m.State("SWAP"):
                    m.d.comb += [self.results.valid.eq(swap.results.valid), swap.results.ready.eq(self.results.ready)]
                    with m.If(self.results.valid & self.results.ready):
                        m.next = "IDLE"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"
        m.d.comb += self.ready.eq(~fsm.ongoing("CLEAR_FIRST"))
        return m
