"""CLEAR, DUMP, LOAD and SWAP: the tracker's contents as a whole.

CLEAR takes a cycle for each set of a bank's array, or each word of its sketch, if those are more; DUMP about
(ways + 12) cycles a set; LOAD reads the hot list twice, one slot per cycle: first it is checked, then
the tracker is cleared and written, so a bad list changes nothing. SWAP takes about 12 cycles a set, for a
set that differs a cycle more for each way, and about 10 for each slot that differs; then, where counters
are halved, as long as CLEAR.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.control import fault_layout
from ..interfaces.jobs import list_job_layout, list_result_layout
from ..interfaces.layouts import EMPTY_SLOT, WORDS_BITS, Opcode, Status, words_layout
from ..interfaces.tracker import BankOp, PortSignature, hot_line_layout, line_layout, sweep_bits
from ..lib.keys import Permutation
from ..lib.logic import delayed, equal
from ..lib.word_queue import WordQueue, ended_layout
from .placement import index_hash
from .policies import POLICIES


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
            "port": Out(PortSignature(config)), "ready": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        ways = config.tracker_ways
        way_bits = ceil_log2(ways)
        inserted = POLICIES[config.policy](config.state_bits, ways).inserted

        number = Signal(config.set_bits)  # of a set
        index, array = number[: config.index_bits], number[config.index_bits :]

        def own_hash(tag):
            """What the array in hand XORs set numbers with."""
            hashes = [index_hash(config, a, tag) for a in range(config.tracker_arrays)]
            return Array(hashes)[array] if len(hashes) > 1 else hashes[0]

        sweep = Signal(sweep_bits(config))
        way = Signal(way_bits)
        last_set = number == config.tracker_sets - 1
        line = Signal(line_layout(config), reset_less=True)
        job, bad_list = Signal(list_job_layout(config), reset_less=True), Signal()
        bad_slot = Signal(config.slot_bits, reset_less=True)
        changed, left = (Signal(config.slot_bits + 1, name=name) for name in ("changed", "left"))
        initial = Signal(init=1)  # the CLEAR after reset

        # DUMP and SWAP: keys from tags. A literal goes along with the keys, and out as one word.
        out_extra = data.StructLayout({"valid": 1, "literal": 1, "end": 1, "slot": config.slot_bits})
        m.submodules.inverse = inverse = Permutation(config, extra=out_extra.size, inverse=True)
        out_entry = data.View(out_extra, inverse.o.p.extra)
        in_entry = Signal(out_extra)
        in_tag = Signal(config.tag_bits)
        out_key = inverse.o.p.keys[0]
        out_table, out_row = out_key[config.row_bits :], out_key[: config.row_bits]
        out_pair = Mux(
            out_entry.valid,
            Cat(out_table, Const(0, 32 - config.table_bits), out_row, Const(0, 32 - config.row_bits)),
            EMPTY_SLOT | EMPTY_SLOT << 32,
        )
        m.d.comb += [
            self.o.valid.eq(inverse.o.valid),
            inverse.o.ready.eq(self.o.ready),
            self.o.p.end.eq(out_entry.end),
            self.o.p.group.count.eq(Mux(out_entry.end, 0, Mux(out_entry.literal, 1, 2))),
            self.o.p.group.data.eq(Mux(out_entry.literal, out_entry.slot, out_pair)),
        ]
        entries = [Cat(line[w]) for w in range(ways)]
        shifted = Signal.like(Cat(line))
        m.d.comb += shifted.eq(Cat(*entries[1:]))
        m.d.comb += [
            in_tag.eq(line[0].tag),
            in_entry.valid.eq(line[0].valid),
            inverse.i.p.keys[0].eq(Cat(index ^ own_hash(in_tag), in_tag)),
            inverse.i.p.extra.eq(in_entry),
        ]

        # LOAD: sets and tags from keys.
        m.submodules.queue = queue = WordQueue(config.bus_words, 2, whole_in=True, whole_out=True)
        pair_extra = data.StructLayout({"empty": 1, "outside": 1})
        m.submodules.permutation = permutation = Permutation(config, extra=pair_extra.size)
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
        ]
        checking = Signal()
        loading = Signal()  # the tracker is cleared so that it can be written
        asks = Signal()  # for the list
        m.d.comb += [
            self.lists.valid.eq(asks),
            self.lists.p.address.eq(job.address),
            self.lists.p.words.eq(2 * config.tracker_entries),
        ]
        with m.If(self.lists.ready):
            m.d.sync += asks.eq(0)
        m.d.comb += permutation.o.ready.eq(1)  # pairs come only in LOAD_WAYS
        pair_valid, pair = Signal(), Signal(permutation.o.p.shape(), reset_less=True)
        is_empty, is_outside = pair.extra[0], pair.extra[1]
        tag = pair.keys[0][config.index_bits :]
        # The line fills from the top: after all ways entry 0 is way 0. `line` starts empty. What a pair is compared with is
        # at hand in its cycle; whether it was wrong is known in the next.
        same_tags = [equal(m, line[w].tag, tag) for w in range(ways)]
        was_there = [delayed(m, line[w].valid) for w in range(ways)]
        twice = Cat(same & there for same, there in zip(same_tags, was_there, strict=True)).any()
        misplaced = ~equal(m, pair.keys[0][: config.index_bits] ^ own_hash(tag), index)
        checked, checked_slot = delayed(m, pair_valid & ~is_empty), delayed(m, Cat(way, number), reset_less=True)
        wrong = checked & (delayed(m, is_outside) | misplaced | twice)
        m.d.sync += [pair_valid.eq(permutation.o.valid), pair.eq(permutation.o.p)]
        entry = Signal(line_layout(config).elem_shape)
        m.d.comb += [
            entry.valid.eq(~is_empty),
            entry.tag.eq(Mux(is_empty, 0, tag)),
            entry.state.eq(Mux(is_empty, 0, inserted)),
        ]
        filled = Signal.like(Cat(line))
        m.d.comb += filled.eq(Cat(*entries[1:], entry))

        with m.If(wrong & checking & ~bad_list):
            m.d.sync += [bad_list.eq(1), bad_slot.eq(checked_slot)]

        fault = self.results.p.fault
        m.d.comb += [self.ready.eq(~initial), self.results.p.changed.eq(changed), self.results.p.left.eq(left)]
        with m.If(job.opcode == Opcode.LOAD):
            with m.If(self.read_fault.valid):
                m.d.comb += fault.eq(self.read_fault)
            with m.Elif(bad_list):
                m.d.comb += [fault.valid.eq(1), fault.status.eq(Status.BAD_HOT_LIST), fault.index.eq(bad_slot)]

        cursor = Signal(config.set_bits)  # where the next SWAP begins
        with m.FSM(init="CLEAR"):
            with m.State("IDLE"):
                m.d.sync += [number.eq(0), way.eq(0), line.eq(0)]
                m.d.sync += [job.eq(self.jobs.p), bad_list.eq(0), changed.eq(0), left.eq(0)]
                m.d.comb += self.jobs.ready.eq(1)
                with m.If(self.jobs.valid):
                    with m.Switch(self.jobs.p.opcode):
                        with m.Case(Opcode.DUMP):
                            m.next = "DUMP_READ"
                        with m.Case(Opcode.LOAD):
                            m.d.sync += checking.eq(1)
                            m.next = "LOAD_START"
                        if config.shadow:
                            with m.Case(Opcode.SWAP):
                                m.d.sync += number.eq(cursor)
                                m.next = "SWAP_READ"
                        with m.Default():
                            m.next = "CLEAR"

            with m.State("CLEAR"):
                m.d.comb += [self.port.valid.eq(1), self.port.op.eq(BankOp.CLEAR), self.port.set.eq(sweep)]
                m.d.sync += [sweep.eq(sweep + 1), cursor.eq(0)]
                with m.If(sweep.all()):
                    m.d.sync += loading.eq(0)
                    m.next = "LOAD_START"
                    with m.If(~loading):
                        m.d.sync += initial.eq(0)
                        m.next = "RESULT"
                        with m.If(initial):
                            m.next = "IDLE"

            with m.State("DUMP_READ"):
                m.d.comb += [
                    self.port.valid.eq(1),
                    self.port.op.eq(BankOp.READ),
                    self.port.set.eq(number),
                ]
                m.next = "DUMP_WAIT"
            with m.State("DUMP_WAIT"):
                with m.If(self.port.r_valid):
                    m.next = "DUMP_LINE"
            with m.State("DUMP_LINE"):
                m.d.sync += line.eq(self.port.r_line)
                if config.shadow:
                    for w in range(ways):
                        hot = self.port.r_hot_line[w]
                        m.d.sync += [line[w].valid.eq(hot.valid), line[w].tag.eq(hot.tag)]
                m.next = "DUMP_WAYS"
            with m.State("DUMP_WAYS"):
                m.d.comb += inverse.i.valid.eq(1)
                with m.If(inverse.i.ready):
                    m.d.sync += [way.eq(way + 1), line.eq(shifted)]
                    with m.If(way == ways - 1):
                        m.d.sync += number.eq(number + 1)
                        m.next = "DUMP_READ"
                        with m.If(last_set):
                            m.next = "DUMP_END"
            with m.State("DUMP_END"):
                m.d.comb += [inverse.i.valid.eq(1), in_entry.end.eq(1)]
                with m.If(inverse.i.ready):
                    m.next = "RESULT"

            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"

            with m.State("LOAD_START"):
                m.d.comb += [queue.clear.eq(1), queue.drop.eq(1)]
                m.d.sync += asks.eq(1)
                m.next = "LOAD_WAYS"
            with m.State("LOAD_WAYS"):
                with m.If(pair_valid):
                    m.d.sync += [way.eq(way + 1), line.eq(filled)]
                    with m.If(way == ways - 1):
                        m.d.comb += [
                            self.port.valid.eq(~checking),
                            self.port.op.eq(BankOp.WRITE),
                            self.port.set.eq(number),
                            self.port.line.eq(filled),
                        ]
                        m.d.sync += [number.eq(number + 1), line.eq(0)]
                        with m.If(last_set):
                            m.next = "LOAD_CHECKED"
            with m.State("LOAD_CHECKED"):
                m.next = "LOAD_DONE"
            with m.State("LOAD_DONE"):
                m.d.sync += [number.eq(0), checking.eq(0)]
                with m.If(checking & ~bad_list & ~self.read_fault.valid):
                    m.d.sync += loading.eq(1)
                    m.next = "CLEAR"
                with m.Elif(~checking & self.read_fault.valid):
                    # Half a list is worse than none.
                    m.next = "CLEAR"
                with m.Else():
                    m.next = "RESULT"

            if config.shadow:
                self._swap(
                    m,
                    job,
                    changed,
                    left,
                    number,
                    way,
                    line,
                    cursor,
                    sweep,
                    in_tag,
                    in_entry,
                    inverse.i,
                    index ^ own_hash(in_tag),
                )
        return m

    def _swap(
        self, m: Module, job, changed, left, number, way, line, cursor, sweep, in_tag, in_entry, keys, own_index
    ) -> None:
        """The states of SWAP. Both lines of a set turn round, a way at a time; then the hot one goes back.

        ``in_tag``, ``in_entry`` and ``keys``: what goes to the delta list; ``own_index``: set, in array 0, of the
        key whose tag is ``in_tag``.
        """
        config = self.config
        ways = config.tracker_ways
        hot = Signal(hot_line_layout(config), reset_less=True)
        entries, hot_entries = ([Cat(of[w]) for w in range(ways)] for of in (line, hot))
        kept_back, kept_at = Signal(), Signal(config.set_bits)
        touched = Signal()

        def differs(w):
            apart = (hot[w].tag != line[w].tag) | ~hot[w].valid
            return line[w].valid & (line[w].state >= job.worth) & apart

        def turn(new_hot):
            m.d.sync += [
                line.eq(Cat(*entries[1:], entries[0])), hot.eq(Cat(*hot_entries[1:], new_hot)), way.eq(way + 1),
            ]  # fmt: skip
            m.next = "SWAP_WAYS"
            with m.If(way == ways - 1):
                m.next = "SWAP_WRITE"

        with m.State("SWAP_READ"):
            m.d.comb += [self.port.valid.eq(1), self.port.op.eq(BankOp.READ), self.port.set.eq(number)]
            m.d.sync += [touched.eq(0), way.eq(0)]
            m.next = "SWAP_READ_WAIT"
        with m.State("SWAP_READ_WAIT"):
            with m.If(self.port.r_valid):
                m.next = "SWAP_LINE"
        with m.State("SWAP_LINE"):
            m.d.sync += [line.eq(self.port.r_line), hot.eq(self.port.r_hot_line)]
            m.next = "SWAP_COMPARE"
        with m.State("SWAP_COMPARE"):
            m.next = "SWAP_WRITE"
            with m.If(Cat(differs(w) for w in range(ways)).any()):
                m.next = "SWAP_WAYS"
        with m.State("SWAP_WAYS"):
            with m.If(differs(0)):
                m.next = "SWAP_FIND"
            with m.Else():
                turn(hot_entries[0])
        with m.State("SWAP_FIND"):
            m.d.comb += [
                self.port.valid.eq(1), self.port.op.eq(BankOp.FIND), self.port.set.eq(own_index), self.port.tag.eq(in_tag),
            ]  # fmt: skip
            m.next = "SWAP_FIND_WAIT"
        with m.State("SWAP_FIND_WAIT"):
            with m.If(self.port.r_valid):
                m.next = "SWAP_FOUND"
        with m.State("SWAP_FOUND"):
            with m.If(self.port.r_hit | (changed >= job.limit)):
                m.d.sync += left.eq(left + 1)
                with m.If(~self.port.r_hit & ~kept_back):
                    m.d.sync += [kept_back.eq(1), kept_at.eq(number)]
                turn(hot_entries[0])
            with m.Else():
                m.next = "SWAP_SLOT"
        with m.State("SWAP_SLOT"):
            m.d.comb += [keys.valid.eq(1), in_entry.literal.eq(1), in_entry.slot.eq(Cat(way, number))]
            with m.If(keys.ready):
                m.next = "SWAP_OLD"
        with m.State("SWAP_OLD"):
            m.d.comb += [keys.valid.eq(1), in_tag.eq(hot[0].tag), in_entry.valid.eq(hot[0].valid)]
            with m.If(keys.ready):
                m.next = "SWAP_NEW"
        with m.State("SWAP_NEW"):
            m.d.comb += keys.valid.eq(1)
            with m.If(keys.ready):
                m.d.sync += [changed.eq(changed + 1), touched.eq(1)]
                turn(Cat(line[0].valid, line[0].tag))
        with m.State("SWAP_WRITE"):
            m.d.comb += [self.port.valid.eq(touched), self.port.op.eq(BankOp.SWAP), self.port.set.eq(number)]
            for w in range(ways):
                m.d.comb += [self.port.line[w].valid.eq(hot[w].valid), self.port.line[w].tag.eq(hot[w].tag)]
            m.d.sync += number.eq(number + 1)
            m.next = "SWAP_READ"
            with m.If(number + 1 == Mux(cursor == 0, config.tracker_sets, cursor)):
                m.d.sync += kept_back.eq(0)
                with m.If(kept_back):
                    m.d.sync += cursor.eq(kept_at)
                m.next = "DUMP_END"
                with m.If(job.halve):
                    m.next = "SWAP_HALVE"
        with m.State("SWAP_HALVE"):
            m.d.comb += [self.port.valid.eq(1), self.port.op.eq(BankOp.HALVE), self.port.set.eq(sweep)]
            m.d.sync += sweep.eq(sweep + 1)
            with m.If(sweep.all()):
                m.next = "DUMP_END"
