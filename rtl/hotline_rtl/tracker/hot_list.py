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
from ..interfaces.layouts import EMPTY_SLOT, WORDS_BITS, words_layout
from ..interfaces.tracker import BankOp, PortSignature, hot_line_layout, line_layout, sweep_bits
from ..lib.keys import Permutation
from ..lib.logic import delayed, equal, without_reset
from ..lib.word_queue import WordQueue, group_layout
from .placement import index_hash
from .policies import POLICIES


class HotList(wiring.Component):
    """Members
    -------
    clear, dump, load : In(1)
        Begins; only when not ``busy``. After reset a CLEAR begins by itself.
    address : In
        Of the hot list in host memory, for LOAD.
    swap, halve : In(1), limit, worth : In; changed, left : Out
        With a shadow: takes over what it has learnt, and halves all counters; see
        ``hotline_golden.tracker.tracker.Tracker.swap``. All stay until not ``busy``.
    busy : Out(1)
    bad_list : Out(1), bad_slot : Out
        The last LOAD was refused, and the first slot that was wrong.
    reader_start : Out(stream), reader_error : In(1), i : In(stream of words_layout)
        LOAD's reader.
    o : Out(stream of group_layout(2))
        DUMP's words, or SWAP's.
    port : Out(PortSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        swap: dict = {
            "swap": In(1), "halve": In(1), "limit": In(32), "worth": In(16),
            "changed": Out(config.slot_bits + 1), "left": Out(config.slot_bits + 1),
        }  # fmt: skip
        super().__init__({
            "clear": In(1), "dump": In(1), "load": In(1), "address": In(config.address_bits),
            "busy": Out(1, init=1), "bad_list": Out(1), "bad_slot": Out(config.slot_bits),
            "reader_start": Out(stream.Signature(data.StructLayout({
                "address": config.address_bits, "words": WORDS_BITS,
            }))),
            "reader_error": In(1),
            "i": In(stream.Signature(words_layout(config))),
            "o": Out(stream.Signature(group_layout(2))),
            "port": Out(PortSignature(config)),
            **(swap if config.shadow else {}),
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
        bad_slot = without_reset(m, self.bad_slot)

        # DUMP and SWAP: keys from tags. A literal goes along with the keys, and out as one word.
        out_extra = data.StructLayout({"valid": 1, "literal": 1, "slot": config.slot_bits})
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
            self.o.p.count.eq(Mux(out_entry.literal, 1, 2)),
            self.o.p.data.eq(Mux(out_entry.literal, out_entry.slot, out_pair)),
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
            self.reader_start.valid.eq(asks),
            self.reader_start.p.address.eq(self.address),
            self.reader_start.p.words.eq(2 * config.tracker_entries),
        ]
        with m.If(self.reader_start.ready):
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

        with m.If(wrong & checking & ~self.bad_list):
            m.d.sync += [self.bad_list.eq(1), bad_slot.eq(checked_slot)]

        cursor = Signal(config.set_bits)  # where the next SWAP begins
        with m.FSM(init="CLEAR"):
            with m.State("IDLE"):
                m.d.sync += [number.eq(0), way.eq(0), line.eq(0)]
                if config.shadow:
                    with m.If(self.swap):
                        m.d.sync += [self.busy.eq(1), number.eq(cursor), self.changed.eq(0), self.left.eq(0)]
                        m.next = "SWAP_READ"
                with m.If(self.clear):
                    m.d.sync += self.busy.eq(1)
                    m.next = "CLEAR"
                with m.If(self.dump):
                    m.d.sync += self.busy.eq(1)
                    m.next = "DUMP_READ"
                with m.If(self.load):
                    m.d.sync += [self.busy.eq(1), self.bad_list.eq(0), checking.eq(1)]
                    m.next = "LOAD_START"

            with m.State("CLEAR"):
                m.d.comb += [self.port.valid.eq(1), self.port.op.eq(BankOp.CLEAR), self.port.set.eq(sweep)]
                m.d.sync += [sweep.eq(sweep + 1), cursor.eq(0)]
                with m.If(sweep.all()):
                    m.d.sync += loading.eq(0)
                    m.next = "LOAD_START"
                    with m.If(~loading):
                        m.d.sync += self.busy.eq(0)
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
                            m.next = "DUMP_DRAIN"
            with m.State("DUMP_DRAIN"):
                with m.If(~inverse.busy):
                    m.d.sync += self.busy.eq(0)
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
                with m.If(checking & ~self.bad_list & ~self.reader_error):
                    m.d.sync += loading.eq(1)
                    m.next = "CLEAR"
                with m.Elif(~checking & self.reader_error):
                    # Half a list is worse than none.
                    m.next = "CLEAR"
                with m.Else():
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"

            if config.shadow:
                self._swap(
                    m,
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

    def _swap(self, m: Module, number, way, line, cursor, sweep, in_tag, in_entry, keys, own_index) -> None:
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
            return line[w].valid & (line[w].state >= self.worth) & apart

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
            with m.If(self.port.r_hit | (self.changed >= self.limit)):
                m.d.sync += self.left.eq(self.left + 1)
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
                m.d.sync += [self.changed.eq(self.changed + 1), touched.eq(1)]
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
                m.next = "DUMP_DRAIN"
                with m.If(self.halve):
                    m.next = "SWAP_HALVE"
        with m.State("SWAP_HALVE"):
            m.d.comb += [self.port.valid.eq(1), self.port.op.eq(BankOp.HALVE), self.port.set.eq(sweep)]
            m.d.sync += sweep.eq(sweep + 1)
            with m.If(sweep.all()):
                m.next = "DUMP_DRAIN"
