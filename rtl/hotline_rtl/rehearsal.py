"""What an access is worth to a tracker that looks for popular samples: each block of samples is looked up, then learnt.

    rows -> cut at samples -> crossbar -> results -> misses of each sample -> shifts
              |        ^                                                        |
              +-- store of the block's keys <- when the block is known ---------+

The rules are the golden twin's, ``hotline_golden.rehearsal``. A LEARN takes two passes through the lanes, a
cycle more for each sample, and one latency of crossbar and banks for each block. Latency of a row: 2 cycles.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .crossbar import requests_layout, results_layout
from .fifo import StreamFifo
from .layouts import SHIFT_BITS
from .packer import row_layout
from .ram import Ram
from .register_slice import RegisterSlice
from .tracker import sweep_bits
from .words import count_ones, first_set, rotate

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
            "level": Out(range(room + lanes + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        lanes = self.lanes
        lane_bits = ceil_log2(lanes)
        # Lane `offset` goes to RAM `at`, and so on round the RAMs; those below `at` are in the next row.
        write, keys, count = Signal(), Signal.like(self.keys), Signal.like(self.count)
        turn, at, row = Signal(max(1, lane_bits)), Signal(max(1, lane_bits)), Signal(range(self.rows))
        m.d.sync += [
            write.eq(self.write), keys.eq(self.keys), count.eq(self.count), at.eq(self.level[:lane_bits] if lane_bits else 0),
            row.eq(self.level[lane_bits:]), turn.eq(self.offset - self.level[:lane_bits] if lane_bits else 0),
        ]  # fmt: skip
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
        with m.If(self.clear):
            m.d.sync += self.level.eq(0)
        with m.Elif(self.write):
            m.d.sync += self.level.eq(self.level + self.count)
        return m


class Rehearsal(wiring.Component):
    """Members
    -------
    learning : In(1)
        Samples are learnt; otherwise looked up. Changes only while nothing is inside.
    forget : In(1)
        The tracker is being emptied: pressure and threshold become 0.
    halve_pressure : In(1)
        Counters are being halved; nothing is inside.
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
        Something is still to be learnt.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "learning": In(1), "forget": In(1), "halve_pressure": In(1), "ended": In(1),
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
        m.submodules.shifts = shifts = StreamFifo(SHIFT_BITS, BLOCK_ACCESSES)
        m.submodules.slice = out = RegisterSlice(requests_layout(config))
        wiring.connect(m, out.o, wiring.flipped(self.o))
        sends = out.i.valid & out.i.ready
        returns = self.results.valid & self.results.ready
        inside = Signal(range(2 * config.lane_rows + 6))  # pieces on their way through the crossbar
        m.d.sync += inside.eq(inside + sends - returns)

        # The row in hand, a new one or one of the store, and its next piece: keys of one sample.
        training, learning = Signal(), Signal()
        row = data.ArrayLayout(config.key_bits + 1, lanes)
        hand, hand_valid = Signal(row), Signal()  # keys, and whether they begin a sample
        firsts, left = Signal(lanes), Signal(lanes)  # the lanes that do; those that are still to leave
        begins, piece, row_ends = Signal(), Signal(lanes), Signal()
        offset = Signal(range(max(2, lanes)))
        others = Signal(lanes)
        m.d.sync += learning.eq(self.learning)
        m.d.comb += [
            firsts.eq(Cat(hand[n][-1] for n in range(lanes))),
            begins.eq((first_set(left) & firsts).any()),
            others.eq(first_set(left & firsts & ~first_set(left))),  # where the next sample begins
            piece.eq(Mux(learning, left & (others - 1), left)),
            row_ends.eq((left & ~piece) == 0),
        ]
        for n in reversed(range(lanes)):
            with m.If(left[n]):
                m.d.comb += offset.eq(n)

        shift = Signal(SHIFT_BITS)  # of the sample that has begun
        m.d.comb += [
            out.i.p.present.eq(piece),
            out.i.p.train.eq(training),
            out.i.p.shift.eq(Mux(begins, shifts.o.p, shift)),
            out.i.p.first.eq(begins),
            store.keys.eq(hand),
            store.offset.eq(offset),
            store.count.eq(count_ones(piece)),
        ]
        for n in range(lanes):
            m.d.comb += out.i.p.keys[n].eq(hand[n][:-1])
        with m.If(sends):
            m.d.sync += left.eq(left & ~piece)
            with m.If(row_ends):
                m.d.sync += hand_valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [hand_valid.eq(1), left.eq(self.i.p.extra[:lanes])]
            for n in range(lanes):
                m.d.sync += hand[n].eq(Cat(self.i.p.keys[n], self.i.p.extra[lanes + n]))

        aside, aside_left, aside_valid = (
            Signal(row),
            Signal(lanes),
            Signal(),
        )  # the same, while the store's are in hand

        # Rows of the store that have not been in hand yet, and which lanes of the last of them hold keys.
        lane_bits = ceil_log2(lanes)
        rows_left, last_row, last_lanes = Signal(range(store.rows + 1)), Signal(), Signal(lanes)
        take_row = Signal()  # the next one into the hand; the one after it is read
        over = store.level[:lane_bits] if lane_bits else Const(0, 1)
        m.d.comb += last_lanes.eq(Cat((over > n) | (over == 0) for n in range(lanes)))
        with m.If(take_row):
            m.d.comb += store.read.eq(1)
            m.d.sync += [
                hand_valid.eq(1), hand.eq(store.words), left.eq(Mux(last_row, last_lanes, (1 << lanes) - 1)),
                store.row.eq(store.row + 1), rows_left.eq(rows_left - 1), last_row.eq(rows_left == 2),
            ]  # fmt: skip

        last_sample, block_ends, aged = Signal(), Signal(), Signal()
        full = store.level[ceil_log2(BLOCK_ACCESSES) :].any()
        with m.FSM() as fsm:
            with m.State("LOOK"):
                waits = learning & hand_valid & begins & full
                m.d.comb += [
                    out.i.valid.eq(hand_valid & ~waits),
                    self.i.ready.eq(~hand_valid | (out.i.ready & row_ends & ~waits)),
                    store.write.eq(sends & learning),
                ]
                nothing_comes = ~hand_valid & ~self.i.valid & self.ended & (store.level != 0)
                with m.If(waits | (learning & nothing_comes)):
                    m.next = "COUNT"
            with m.State("COUNT"):
                with m.If(inside == 0):
                    m.d.comb += last_sample.eq(1)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += store.row.eq(0)
                m.next = "TURN"
            with m.State("TURN"):
                # A row that waits for the next block steps aside.
                rows = (store.level + lanes - 1) >> lane_bits
                m.d.comb += [block_ends.eq(1), store.read.eq(1)]
                m.d.sync += [
                    store.row.eq(1), rows_left.eq(rows), last_row.eq(rows == 1), aside.eq(hand), aside_left.eq(left),
                    aside_valid.eq(hand_valid), hand_valid.eq(0),
                ]  # fmt: skip
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += take_row.eq(1)
                m.next = "TRAIN"
            with m.State("TRAIN"):
                m.d.comb += [
                    training.eq(1),
                    out.i.valid.eq(shifts.o.valid | ~begins),
                    shifts.o.ready.eq(out.i.ready & begins),
                ]
                with m.If(sends):
                    with m.If(begins):
                        m.d.sync += shift.eq(shifts.o.p)
                    with m.If(row_ends):
                        with m.If(rows_left != 0):
                            m.d.comb += take_row.eq(1)
                        with m.Else():
                            m.d.comb += store.clear.eq(1)
                            m.d.sync += [hand.eq(aside), left.eq(aside_left), hand_valid.eq(aside_valid)]
                            m.next = "LOOK"
                            with m.If(aged):
                                m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(inside == 0):
                    m.next = "HALVE"
            with m.State("HALVE"):
                m.d.comb += self.halve.eq(1)
                m.d.sync += self.number.eq(self.number + 1)
                with m.If(self.number.all()):
                    m.next = "LOOK"
        m.d.comb += self.busy.eq(
            self.learning & (~fsm.ongoing("LOOK") | (store.level != 0) | (inside != 0) | self.i.valid | hand_valid)
        )
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
        m.d.comb += missed.eq(count_ones(
            ~results.p.lanes[n].hit & (results.p.offset <= n) & (n < results.p.offset + results.p.count)
            for n in range(lanes)
        ))  # fmt: skip

        # A sample is complete when the next one begins, or the block ends; a cycle later it is judged.
        open_, misses = Signal(), Signal(range(config.max_record_words))
        judged, sample_misses = Signal(), Signal.like(misses)
        m.d.sync += [judged.eq(open_ & (last_sample | (arrives & results.p.first))), sample_misses.eq(misses)]
        with m.If(arrives):
            m.d.sync += [open_.eq(1), misses.eq(Mux(results.p.first, 0, misses) + missed)]
        with m.If(last_sample):
            m.d.sync += open_.eq(0)

        threshold = Signal.like(misses)
        pressure = Signal(max(config.slot_bits + AGING_SHIFT + 1, 13))
        level_1 = (pressure >> (config.slot_bits + LEVEL_SHIFT)) != 0
        level_2 = (pressure >> (config.slot_bits + LEVEL_SHIFT + 1)) != 0
        m.d.comb += shifts.i.valid.eq(judged)
        with m.If(sample_misses > threshold):
            m.d.comb += shifts.i.p.eq(level_1 + (level_2 & (sample_misses > threshold + 1)))

        samples = Signal(range(BLOCK_ACCESSES + 1))
        within, below = Signal.like(samples), Signal.like(samples)
        block_misses = Signal(range(BLOCK_ACCESSES + config.max_record_words + 1))
        with m.If(judged):
            m.d.sync += [
                samples.eq(samples + 1),
                within.eq(within + (sample_misses <= threshold)),
                below.eq(below + (sample_misses < threshold)),
                block_misses.eq(block_misses + sample_misses),
            ]
        total = pressure + block_misses
        ages = (total >> (config.slot_bits + AGING_SHIFT)) != 0
        with m.If(block_ends):
            m.d.sync += [
                samples.eq(0), within.eq(0), below.eq(0), block_misses.eq(0),
                aged.eq(ages), pressure.eq(Mux(ages, total >> 1, total)),
            ]  # fmt: skip
            with m.If(BEST_PART * within < samples):
                m.d.sync += threshold.eq(threshold + 1)
            with m.Elif(BEST_PART * below >= samples):
                m.d.sync += threshold.eq(threshold - 1)
        with m.If(self.halve_pressure):
            m.d.sync += pressure.eq(pressure >> 1)
        with m.If(self.forget):
            m.d.sync += [threshold.eq(0), pressure.eq(0)]
