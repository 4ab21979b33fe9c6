"""What an access is worth to a tracker that looks for popular samples: each block of samples is looked up, then learnt.

    rows -> cut at samples -> crossbar -> results -> misses of each sample -> shifts
              |        ^                                                        |
              +-- store of the block's keys <- when the block is known ---------+

The rules are the golden twin's, ``hotline_golden.tracker.sample_scorer``. A LEARN takes two passes through the lanes, a
cycle more for each sample, and one latency of crossbar and banks for each block. Latency of a row: 2 cycles.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..interfaces.tracker import sweep_bits
from ..lib.fifo import StreamFifo
from ..lib.logic import count_ones, delayed, rotate
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice
from .crossbar import requests_layout, results_layout
from .packer import about_layout, row_layout
from .sample_splitter import SampleSplitter, piece_layout

BLOCK_ACCESSES = 1024
BEST_PART = 8
LEVEL_SHIFT = 3
AGING_SHIFT = 5


class KeyStore(wiring.Component):
    """The keys of a block, packed: key ``k`` lies in row ``k // lanes``, lane ``k mod lanes``.

    Members
    -------
    clear : In(1)
        Forgets all keys; ``row`` is the user's to reset.
    write : In(1), keys, offset, count : In
        Appends ``count`` words, those from lane ``offset`` on. They are in their rows two cycles later.
    read : In(1), words : Out
        Row ``row``, one cycle later.
    row : In
    level : Out
        Words appended.
    full : Out(1)
        BLOCK_ACCESSES or more have been.
    """

    def __init__(self, config: AcceleratorConfig):
        self.lanes = lanes = config.lanes
        self.bits = config.key_bits + 1
        room = BLOCK_ACCESSES + config.max_record_words
        self.rows = 1 << ceil_log2(-(-room // lanes) + 1)
        word = data.ArrayLayout(self.bits, lanes)
        super().__init__({
            "clear": In(1), "write": In(1), "keys": In(word), "offset": In(range(max(2, lanes))),
            "count": In(range(lanes + 1)), "read": In(1), "row": In(range(self.rows)), "words": Out(word),
            "level": Out(range(room + lanes + 1)), "full": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        lanes = self.lanes
        lane_bits = ceil_log2(lanes)
        # Lane `offset` goes to RAM `at`, and so on round the RAMs; those below `at` are in the next row.
        write = Signal()
        keys = Signal.like(self.keys, reset_less=True)
        count = Signal.like(self.count, reset_less=True)
        turn = Signal(max(1, lane_bits), reset_less=True)
        at = Signal(max(1, lane_bits), reset_less=True)
        row = Signal(range(self.rows), reset_less=True)
        m.d.sync += [
            write.eq(self.write),
            keys.eq(self.keys),
            count.eq(self.count),
            at.eq(self.level[:lane_bits] if lane_bits else 0),
            row.eq(self.level[lane_bits:]),
            turn.eq(self.offset - self.level[:lane_bits] if lane_bits else 0),
        ]
        turned = rotate([keys[lane] for lane in range(lanes)], turn)
        for r in range(lanes):
            m.submodules[f"ram_{r}"] = ram = Ram(self.bits, self.rows)
            distance = Signal(max(1, lane_bits), name=f"distance_{r}")
            m.d.comb += [
                distance.eq(r - at if lane_bits else 0),
                ram.w_en.eq(write & (distance < count)),
                ram.w_addr.eq(row + (at > r)),
                ram.w_data.eq(turned[r]),
                ram.r_en.eq(self.read),
                ram.r_addr.eq(self.row),
                self.words[r].eq(ram.r_data),
            ]
        grown = self.level + self.count
        with m.If(self.clear):
            m.d.sync += [self.level.eq(0), self.full.eq(0)]
        with m.Elif(self.write):
            m.d.sync += [self.level.eq(grown), self.full.eq(grown[ceil_log2(BLOCK_ACCESSES) :].any())]
        return m


class SampleScorer(wiring.Component):
    """Members
    -------
    learning : In(1)
        Samples are learnt; otherwise looked up. Changes only while nothing is inside.
    forget : In(1)
        The tracker is being emptied: pressure and threshold become 0.
    ended : In(1)
        No row will come after the one that is offered, if any.
    i : In(stream of row_layout)
        Permuted keys.
    o : Out(stream of requests_layout), results : In(stream of results_layout)
        The crossbar.
    r : Out(stream of results_layout)
        Results of the first look at each key.
    halve : Out(1), number : Out
        Counters of sets and sketch words ``number`` in all banks are to be halved, now.
    busy : Out(1)
        Something was still to be learnt a cycle ago.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "learning": In(1), "forget": In(1), "ended": In(1),
            "i": In(stream.Signature(row_layout(config))),
            "o": Out(stream.Signature(requests_layout(config))),
            "results": In(stream.Signature(results_layout(config))),
            "r": Out(stream.Signature(results_layout(config))),
            "halve": Out(1), "number": Out(sweep_bits(config)),
            "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, lanes = self.config, self.config.lanes
        m.submodules.store = store = KeyStore(config)
        m.submodules.shifts = shifts = StreamFifo(SHIFT_BITS, BLOCK_ACCESSES, reserved=True)
        out = self.o
        sends = out.valid & out.ready
        returns = self.results.valid & self.results.ready
        inside = Signal(range(2 * config.lane_rows + 6))  # pieces on their way through the crossbar
        m.d.sync += inside.eq(inside + sends - returns)
        none_inside = delayed(m, inside == 0)  # asked for only when none is sent

        # Pieces of new rows, and of those in the store: keys of one sample each. New ones wait while the store's go.
        m.submodules.news = news = SampleSplitter(config)
        m.submodules.repeats = repeats = SampleSplitter(config)
        wiring.connect(m, wiring.flipped(self.i), news.i)
        training, learning = Signal(), Signal()
        piece = data.View(piece_layout(config), Mux(training, repeats.o.p.as_value(), news.o.p.as_value()))
        m.d.sync += learning.eq(self.learning)
        m.d.comb += [
            news.cut.eq(learning),
            repeats.cut.eq(1),
            repeats.shift.eq(shifts.o.p),
            shifts.o.ready.eq(repeats.begins),
            out.p.keys.eq(piece.keys),
            out.p.present.eq(piece.present),
            out.p.train.eq(training),
            out.p.shift.eq(piece.shift),
            out.p.first.eq(piece.first),
            *([out.p.follow.eq(piece.follow)] if config.shadow else []),
            store.count.eq(count_ones(news.o.p.present)),
        ]
        for n in reversed(range(lanes)):
            m.d.comb += store.keys[n].eq(Cat(news.o.p.keys[n], news.o.p.firsts[n]))
            with m.If(news.o.p.present[n]):
                m.d.comb += store.offset.eq(n)

        # Rows of the store, once `rows_left` says how many there are to be read.
        lane_bits = ceil_log2(lanes)
        rows_left, read, read_last = Signal(range(store.rows + 1)), Signal(), Signal()
        # in the register behind the RAMs
        held = Signal()
        held_last = Signal(reset_less=True)
        held_words = Signal.like(store.words, reset_less=True)
        m.submodules.rows = rows = RegisterSlice(row_layout(config))
        about = data.View(about_layout(config), rows.i.p.extra)
        wiring.connect(m, rows.o, repeats.i)
        over = store.level[:lane_bits] if lane_bits else Const(0, 1)  # keys of the last row; 0: all
        for n in range(lanes):
            m.d.comb += [
                rows.i.p.keys[n].eq(held_words[n][:-1]),
                about.present[n].eq(~held_last | (over > n) | (over == 0)),
                about.firsts[n].eq(held_words[n][-1]),
            ]
        passes = ~held | rows.i.ready
        m.d.comb += [rows.i.valid.eq(held), store.read.eq((rows_left != 0) & (~read | passes))]
        m.d.sync += [read.eq(store.read | (read & ~passes)), held.eq(read | (held & ~rows.i.ready))]
        with m.If(passes):
            m.d.sync += [held_words.eq(store.words), held_last.eq(read_last)]
        with m.If(store.read):
            m.d.sync += [store.row.eq(store.row + 1), rows_left.eq(rows_left - 1), read_last.eq(rows_left == 1)]

        last_sample, block_ends, aged = Signal(), Signal(), Signal()
        number, is_last_number = Signal(sweep_bits(config)), Signal()
        m.d.sync += [self.halve.eq(0), self.number.eq(number)]
        nothing_comes, repeated = Signal(), Signal()  # once so it stays so, until the next state
        with m.FSM() as fsm:
            with m.State("LOOK"):
                waits = learning & news.o.valid & news.o.p.first & store.full
                m.d.comb += [
                    out.valid.eq(news.o.valid & ~waits),
                    news.o.ready.eq(out.ready & ~waits),
                    store.write.eq(sends & learning),
                ]
                with m.If(waits | nothing_comes):
                    m.next = "COUNT"
            with m.State("COUNT"):
                with m.If(none_inside):
                    m.d.comb += last_sample.eq(1)
                    m.next = "SETTLE"
            # The last sample is judged, counted, and weighed.
            with m.State("SETTLE"):
                m.next = "JUDGED"
            with m.State("JUDGED"):
                m.next = "COUNTED"
            with m.State("COUNTED"):
                m.next = "WEIGHED"
            with m.State("WEIGHED"):
                m.next = "TURN"
            with m.State("TURN"):
                m.d.comb += block_ends.eq(1)
                m.d.sync += [store.row.eq(0), rows_left.eq((store.level + lanes - 1) >> lane_bits)]
                m.next = "TRAIN"
            with m.State("TRAIN"):
                # A shift is at hand for every sample of the block: the last one came while the rows were on their way.
                m.d.comb += [training.eq(1), out.valid.eq(repeats.o.valid), repeats.o.ready.eq(out.ready)]
                with m.If(repeated):
                    m.d.comb += store.clear.eq(1)
                    m.next = "LOOK"
                    with m.If(aged):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(none_inside):
                    m.next = "HALVE"
            with m.State("HALVE"):
                m.d.sync += [self.halve.eq(1), number.eq(number + 1)]
                with m.If(is_last_number):
                    m.next = "HALVED"
            with m.State("HALVED"):
                m.next = "LOOK"
        m.d.sync += [
            is_last_number.eq(fsm.ongoing("HALVE") & (number == (1 << len(number)) - 2)),
            nothing_comes.eq(
                fsm.ongoing("LOOK") & learning & ~news.busy & ~self.i.valid & self.ended & (store.level != 0)
            ),
            repeated.eq(fsm.ongoing("TRAIN") & (rows_left == 0) & ~read & ~held & ~rows.o.valid & ~repeats.busy),
            self.busy.eq(
                self.learning & (~fsm.ongoing("LOOK") | (store.level != 0) | (inside != 0) | self.i.valid | news.busy)
            ),
        ]
        self._count(m, last_sample, block_ends, aged, shifts)
        return m

    def _count(self, m: Module, last_sample: Value, block_ends: Value, aged: Signal, shifts: StreamFifo) -> None:
        """Misses of each sample, from the results; threshold and pressure, from block to block."""
        config, lanes = self.config, self.config.lanes
        results = self.results
        m.d.comb += [
            self.r.valid.eq(results.valid & ~results.p.train),
            results.ready.eq(self.r.ready | results.p.train),
            self.r.p.eq(results.p),
        ]
        arrives = self.learning & self.r.valid & self.r.ready
        missed = Signal(range(lanes + 1))
        m.d.comb += missed.eq(
            count_ones(
                ~results.p.lanes[n].hit & (results.p.offset <= n) & (n < results.p.offset + results.p.count)
                for n in range(lanes)
            )
        )

        # A sample is complete when the next one begins, or the block ends; a cycle later it is judged, and then counted.
        open_, misses = Signal(), Signal(range(config.max_record_words))
        complete, sample_misses = Signal(), Signal.like(misses, reset_less=True)
        judged, judged_misses = delayed(m, complete), delayed(m, sample_misses, reset_less=True)
        m.d.sync += [complete.eq(open_ & (last_sample | (arrives & results.p.first))), sample_misses.eq(misses)]
        with m.If(arrives):
            m.d.sync += [open_.eq(1), misses.eq(Mux(results.p.first, 0, misses) + missed)]
        with m.If(last_sample):
            m.d.sync += open_.eq(0)

        threshold = Signal.like(misses)
        pressure = Signal(max(config.slot_bits + AGING_SHIFT + 1, 13))
        level_1 = delayed(m, (pressure >> (config.slot_bits + LEVEL_SHIFT)) != 0)
        level_2 = delayed(m, (pressure >> (config.slot_bits + LEVEL_SHIFT + 1)) != 0)
        over, far_over, under = (
            delayed(m, verdict)
            for verdict in (sample_misses > threshold, sample_misses > threshold + 1, sample_misses < threshold)
        )
        m.d.comb += shifts.i.valid.eq(judged)
        with m.If(over):
            m.d.comb += shifts.i.p.eq(level_1 + (level_2 & far_over))

        samples = Signal(range(BLOCK_ACCESSES + 1))
        within, below = Signal.like(samples), Signal.like(samples)
        block_misses = Signal(range(BLOCK_ACCESSES + config.max_record_words + 1))
        with m.If(judged):
            m.d.sync += [
                samples.eq(samples + 1),
                within.eq(within + ~over),
                below.eq(below + under),
                block_misses.eq(block_misses + judged_misses),
            ]
        total = delayed(m, pressure + block_misses)
        ages = delayed(m, (total >> (config.slot_bits + AGING_SHIFT)) != 0)
        rises, falls = delayed(m, BEST_PART * within < samples), delayed(m, BEST_PART * below >= samples)
        with m.If(block_ends):
            m.d.sync += [
                samples.eq(0),
                within.eq(0),
                below.eq(0),
                block_misses.eq(0),
                aged.eq(ages),
                pressure.eq(Mux(ages, total >> 1, total)),
            ]
            with m.If(rises):
                m.d.sync += threshold.eq(threshold + 1)
            with m.Elif(falls):
                m.d.sync += threshold.eq(threshold - 1)
        with m.If(self.forget):
            m.d.sync += [threshold.eq(0), pressure.eq(0)]
