"""LOAD: reads a hot list twice. First it is checked; then the tracker is cleared, and written. So a bad list changes nothing.

One slot per cycle each time.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.layouts import EMPTY_SLOT, WORDS_BITS, Status, words_layout
from ...interfaces.tracker import BankOp, PortSignature, line_layout
from ...lib.keys import Permutation
from ...lib.logic import delayed, equal
from ...lib.word_queue import WordQueue
from ..placement import set_in_array_0
from ..policies import POLICIES


class ListLoad(wiring.Component):
    """Members
    -------
    jobs : In(stream of addresses)
        Of the hot list in host memory.
    results : Out(stream of fault_layout)
        What was wrong with the list, first. If memory fails on the second reading, the tracker has been cleared.
    lists : Out(stream of {address, words}), i : In(stream of words_layout), read_fault : In(fault_layout)
        Asks for the list; its words; one of those that have come could not be read.
    clears : Out(stream)
        Asks for the tracker to be cleared; taken when it is.
    port : Out(PortSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(config.address_bits)), "results": Out(stream.Signature(fault_layout())),
            "lists": Out(stream.Signature(data.StructLayout({"address": config.address_bits, "words": WORDS_BITS}))),
            "i": In(stream.Signature(words_layout(config))), "read_fault": In(fault_layout()),
            "clears": Out(stream.Signature(0)), "port": Out(PortSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        ways = config.tracker_ways
        inserted = POLICIES[config.policy](config.state_bits, ways).inserted
        number, way = Signal(config.set_bits), Signal(ceil_log2(ways))  # of the next pair
        line = Signal(line_layout(config), reset_less=True)
        address, bad, bad_slot = Signal(config.address_bits, reset_less=True), Signal(), Signal(config.slot_bits)
        checking = Signal()  # the first reading

        # Sets and tags from keys.
        m.submodules.queue = queue = WordQueue(config.bus_words, 2, whole_in=True, whole_out=True)
        m.submodules.permutation = permutation = Permutation(config, extra=2)
        table, row = queue.o.p.data[:32], queue.o.p.data[32:]
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        empty = (table == EMPTY_SLOT) & (row == EMPTY_SLOT)
        outside = (table >> config.table_bits).any() | (row >> config.row_bits).any()
        m.d.comb += [
            queue.take.valid.eq(1),
            queue.take.p.count.eq(2),
            permutation.i.valid.eq(queue.o.valid),
            queue.o.ready.eq(permutation.i.ready),
            permutation.i.p.keys[0].eq(Cat(row[: config.row_bits], table[: config.table_bits])),
            permutation.i.p.extra.eq(Cat(empty, outside)),
            permutation.o.ready.eq(1),  # pairs come only in PAIRS
        ]
        pair_valid, pair = Signal(), Signal(permutation.o.p.shape(), reset_less=True)
        is_empty, is_outside = pair.extra[0], pair.extra[1]
        tag = pair.keys[0][config.index_bits :]
        m.d.sync += [pair_valid.eq(permutation.o.valid), pair.eq(permutation.o.p)]

        # The line fills from the top: after all ways entry 0 is way 0. `line` starts empty. What a pair is compared with is
        # at hand in its cycle; whether it was wrong is known in the next.
        same_tags = [equal(m, line[w].tag, tag) for w in range(ways)]
        was_there = [delayed(m, line[w].valid) for w in range(ways)]
        twice = Cat(same & there for same, there in zip(same_tags, was_there, strict=True)).any()
        misplaced = ~equal(m, pair.keys[0][: config.index_bits], set_in_array_0(config, number, tag))
        checked, checked_slot = delayed(m, pair_valid & ~is_empty), delayed(m, Cat(way, number), reset_less=True)
        wrong = checked & (delayed(m, is_outside) | misplaced | twice)
        with m.If(wrong & checking & ~bad):
            m.d.sync += [bad.eq(1), bad_slot.eq(checked_slot)]
        entry = Signal(line_layout(config).elem_shape)
        filled = Signal.like(Cat(line))
        m.d.comb += [
            entry.valid.eq(~is_empty),
            entry.tag.eq(Mux(is_empty, 0, tag)),
            entry.state.eq(Mux(is_empty, 0, inserted)),
            filled.eq(Cat(*(line[w] for w in range(1, ways)), entry)),
        ]

        m.d.comb += [self.lists.p.address.eq(address), self.lists.p.words.eq(2 * config.tracker_entries)]
        with m.If(self.read_fault.valid):
            m.d.comb += self.results.p.eq(self.read_fault)
        with m.Elif(bad):
            m.d.comb += [
                self.results.p.valid.eq(1),
                self.results.p.status.eq(Status.BAD_HOT_LIST),
                self.results.p.index.eq(bad_slot),
            ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.jobs.ready.eq(1)
                m.d.sync += [address.eq(self.jobs.p), bad.eq(0), checking.eq(1)]
                with m.If(self.jobs.valid):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [self.lists.valid.eq(1), queue.clear.eq(1), queue.drop.eq(1)]
                m.d.sync += [number.eq(0), way.eq(0), line.eq(0)]
                with m.If(self.lists.ready):
                    m.next = "PAIRS"
            with m.State("PAIRS"):
                with m.If(pair_valid):
                    m.d.sync += [way.eq(way + 1), line.eq(filled)]
                    with m.If(way == ways - 1):
                        m.d.comb += self.port.valid.eq(~checking)
                        m.d.sync += [number.eq(number + 1), line.eq(0)]
                        with m.If(number == config.tracker_sets - 1):
                            m.next = "JUDGE"
            with m.State("JUDGE"):  # whether the last pair is wrong
                m.next = "READ"
            with m.State("READ"):
                m.d.sync += checking.eq(0)
                m.next = "RESULT"
                with m.If(checking & ~bad & ~self.read_fault.valid):
                    m.next = "CLEAR_AND_WRITE"
                with m.Elif(~checking & self.read_fault.valid):
                    m.next = "CLEAR"  # half a list is worse than none
            with m.State("CLEAR_AND_WRITE"):
                m.d.comb += self.clears.valid.eq(1)
                with m.If(self.clears.ready):
                    m.next = "ASK"
            with m.State("CLEAR"):
                m.d.comb += self.clears.valid.eq(1)
                with m.If(self.clears.ready):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"
        m.d.comb += [self.port.op.eq(BankOp.WRITE), self.port.set.eq(number), self.port.line.eq(filled)]
        return m
