"""One bank of the hot-entry tracker: sets of (valid, tag, state) entries, a set in one memory word.

The bank has a RAM for each array of the tracker; a key may live in one set of each, and all of them are
read at once. One request per cycle; 7 cycles from request to response.

    stage   1     2        3          4       5          6      7               8       9      10      11              12
            hash  compare  read RAMs  (data)  (register) tags   hit: next line  write
                                                         coldest entry: a tree --------------  admit?  miss: next line write

The change of a request is in memory 8 cycles (a hit) or 12 cycles (a miss) after it came. A later request for the same set, or
for the same word of the sketch, waits in stage 3, and so do all requests behind it. It goes on as soon as the next line is
known: it takes that line from the register that is being written. So a key that is learnt again and again takes 4 cycles each
time. A miss delays the next LEARN by one cycle when both would write a line in the same cycle.

The golden twin is ``hotline_golden.tracker.tracker``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..interfaces.tracker import BankOp, bank_request_layout, hot_line_layout, line_layout, weight_fields
from ..lib.delay_line import DelayLine
from ..lib.fifo import StreamFifo
from ..lib.logic import delayed, is_one_of, least_of, without_reset
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice
from .placement import cell_place, index_hash
from .policies import POLICIES
from .sketch import Sketch

#: Stages that a request passes, from the one in which it is read.
FIRST_STAGE, LAST_STAGE = 4, 12
#: Stages in which the next line of a hit, and of a miss, is known.
HIT_STAGE, MISS_STAGE = 7, 11


def match_entries(entries, tag: Value) -> Value:
    """One bit for each of ``entries``: it is valid and holds ``tag``."""
    return Cat(entry.valid & (entry.tag == tag) for entry in entries)


class TrackerBank(wiring.Component):
    """Members
    -------
    i : In(stream of bank_request_layout)
        Requests. CLEAR, HALVE, WRITE and SWAP come only while no LEARN is inside, and are always taken at once.
    line : In, brings : In(1)
        With a WRITE or SWAP request, in the same cycle: the line that it writes.
    r_valid, r_lane, r_hit, r_set, r_way : Out
        The response to LOOKUP, SCORE and LEARN: ``r_hit`` is as it was before the request changed anything; ``r_set``
        counts through all arrays.
    r_port, r_line, r_hot_line : Out
        The response to READ and FIND; ``r_hot_line`` only with a shadow.
    evicted : Out(1)
        A LEARN has replaced a valid entry.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        members: dict = {
            "i": In(stream.Signature(bank_request_layout(config))), "line": In(line_layout(config)), "brings": In(1),
            "r_valid": Out(1), "r_lane": Out(range(max(2, config.lanes))), "r_hit": Out(1),
            "r_set": Out(config.set_bits - config.bank_bits), "r_way": Out(range(config.tracker_ways)),
            "r_port": Out(1), "r_line": Out(line_layout(config)), "evicted": Out(1),
        }  # fmt: skip
        if config.shadow:
            members["r_hot_line"] = Out(hot_line_layout(config))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        ways, arrays = config.tracker_ways, config.tracker_arrays
        entries = arrays * ways
        address_bits = config.index_bits - config.bank_bits
        policy = POLICIES[config.policy](config.state_bits, entries)
        layout = line_layout(config)
        lines_layout = data.ArrayLayout(layout, arrays)
        if config.has_sketch:
            m.submodules.sketch = sketch = Sketch(config, policy)
            word_bits = sketch.word_bits
        else:
            word_bits = 0
        #: Of a request: where it looks.
        places = data.StructLayout({
            "sets": data.ArrayLayout(address_bits, arrays),
            **({"words": data.ArrayLayout(word_bits, config.cell_arrays)} if config.has_sketch else {}),
        })  # fmt: skip
        about = data.StructLayout({
            "op": BankOp, "tag": config.tag_bits, **weight_fields(config), "lane": range(max(2, config.lanes)),
            "by_key": 1, "learns": 1, "looks": 1, "changes": 1,
            "named": range(max(2, arrays)), "line_swept": 1, "places": places,
            **({"word_swept": 1, "cells": sketch.cells.shape()} if config.has_sketch else {}),
        })  # fmt: skip

        # Stage 1: hashing. A key goes to a set of each array, any other request to the set that it names. The stage is a register
        # slice: the crossbar may lie far away, and its `ready` must not depend on stage 3 in the same cycle.
        go = Signal()  # stages 1 to 3 move
        m.submodules.requests = requests = RegisterSlice(bank_request_layout(config), keeps_gaps=True)
        wiring.connect(m, wiring.flipped(self.i), requests.i)
        m.d.comb += requests.o.ready.eq(go)
        s1 = requests.o.p
        s2_valid, s2 = Signal(), Signal(about, reset_less=True)
        s3_valid, s3 = Signal(), Signal(about, reset_less=True)
        names = ("r_lane", "r_hit", "r_set", "r_way", "r_line")
        r_lane, r_hit, r_set, r_way, r_line = (without_reset(m, getattr(self, name)) for name in names)
        by_key = is_one_of(s1.op, BankOp.LOOKUP, BankOp.LEARN, BankOp.SCORE, BankOp.FIND)
        sweeps = is_one_of(s1.op, BankOp.CLEAR, BankOp.HALVE)
        index = s1.set[:address_bits]
        named = s1.set[address_bits:] if len(s1.set) > address_bits else Const(0)  # the array, for READ and WRITE
        with m.If(go):
            m.d.sync += [
                s2_valid.eq(requests.o.valid), s3_valid.eq(s2_valid), s3.eq(s2),
                s2.op.eq(s1.op), s2.tag.eq(s1.tag), s2.lane.eq(s1.lane),
                s2.by_key.eq(by_key), s2.learns.eq(s1.op == BankOp.LEARN),
                s2.looks.eq(by_key | (s1.op == BankOp.READ)),
                s2.changes.eq(is_one_of(s1.op, BankOp.LEARN, BankOp.WRITE, BankOp.CLEAR, BankOp.HALVE)),
                s2.named.eq(named), s2.line_swept.eq((named == 0) | ~sweeps),
            ]  # fmt: skip
            if config.scores_samples:
                m.d.sync += s2.shift.eq(s1.shift)
            for a in range(arrays):
                own = index_hash(config, a, s1.tag)[config.bank_bits :]
                m.d.sync += s2.places.sets[a].eq(index ^ Mux(by_key, own, 0))
            if config.has_sketch:
                m.d.sync += s2.word_swept.eq((s1.set >> word_bits) == 0)
                for a in range(config.cell_arrays):
                    word, cell = cell_place(config, a, index, s1.tag)
                    m.d.sync += [s2.places.words[a].eq(Mux(sweeps, s1.set[:word_bits], word)), s2.cells[a].eq(cell)]

        def shift_of(request):
            return request.shift if config.scores_samples else Const(0, SHIFT_BITS)

        # Stages 4 to 12 always move. ``hit`` is known from stage 7 on.
        valid = {k: Signal(name=f"s{k}_valid") for k in range(FIRST_STAGE, LAST_STAGE + 1)}
        at = {k: Signal(about, name=f"s{k}", reset_less=True) for k in range(FIRST_STAGE, LAST_STAGE + 1)}
        lines = {k: Signal(lines_layout, name=f"s{k}_lines", reset_less=True) for k in (6, 7)}
        hit = {k: Signal(name=f"s{k}_hit", reset_less=True) for k in range(HIT_STAGE, LAST_STAGE + 1)}
        m.d.sync += [valid[4].eq(s3_valid & go), at[4].eq(s3), lines[7].eq(lines[6])]
        for k in range(FIRST_STAGE + 1, LAST_STAGE + 1):
            m.d.sync += [valid[k].eq(valid[k - 1]), at[k].eq(at[k - 1])]
            if k in hit and k > HIT_STAGE:
                m.d.sync += hit[k].eq(hit[k - 1])

        m.submodules.old_lines = old_lines = DelayLine(lines_layout, MISS_STAGE - 7)
        m.d.comb += old_lines.i.eq(lines[7])
        lines[MISS_STAGE] = old_lines.o
        given = self._given_lines(m, valid, at)

        # Stages 2 and 3: which request in a later stage changes the same line or word? Those stages move while 1 to 3 stand.
        def meets(a, b):
            ours, theirs = ([x for name, _ in places for x in getattr(of, name)] for of in (a, b))
            return Cat(x == y for x, y in zip(ours, theirs, strict=True)).any()

        # meet[k]: the request in stage 3 looks at what the one in stage k changes. Not after HIT_STAGE for a hit, whose next
        # line is known by then.
        meet = {k: Signal(name=f"meets_s{k}") for k in range(FIRST_STAGE, LAST_STAGE + 1)}
        for k in meet:
            before_valid, before = (s3_valid & go, s3) if k == FIRST_STAGE else (valid[k - 1], at[k - 1])
            seen = s2_valid & s2.looks & before_valid & before.changes & meets(s2.places, before.places)
            met = Mux(go, seen, meet[k - 1] if k > FIRST_STAGE else 0)
            m.d.sync += meet[k].eq(met & ~hit[k - 1] if k > HIT_STAGE + 1 else met)
        waits = Signal()
        # A miss in HIT_STAGE writes its line in MISS_STAGE - HIT_STAGE cycles, and a hit in stage 3 would write one in as many.
        # Both cannot be written at once, so the LEARN in stage 3 waits. Only `hit` of one stage is late: `go` takes two LUTs.
        assert MISS_STAGE - HIT_STAGE == HIT_STAGE - 3
        clashes = delayed(m, valid[HIT_STAGE - 1] & at[HIT_STAGE - 1].changes) & s3.learns
        m.d.comb += [
            waits.eq(
                Cat(meet[k] for k in meet if k not in (HIT_STAGE, MISS_STAGE)).any()
                | (~hit[HIT_STAGE] & (meet[HIT_STAGE] | clashes))
            ),
            go.eq(~(s3_valid & waits)),
        ]

        # Stage 4: lines arrive from the RAMs. Stage 5: they are in registers. A line that was being written while it was read
        # comes from the register that it was written from.
        next_lines = Signal(lines_layout, reset_less=True)
        next_places = Signal(data.ArrayLayout(address_bits, arrays), reset_less=True)
        next_write = Signal(arrays)
        for a in range(arrays):
            m.submodules[f"ram_{a}"] = ram = Ram(layout.size, 1 << address_bits)
            m.d.comb += [
                ram.r_en.eq(1), ram.r_addr.eq(s3.places.sets[a]),
                ram.w_en.eq(next_write[a]), ram.w_addr.eq(next_places[a]), ram.w_data.eq(next_lines[a]),
            ]  # fmt: skip
            same = delayed(m, next_write[a] & (next_places[a] == at[4].places.sets[a]))
            arrived = delayed(m, ram.r_data, reset_less=True)
            written = delayed(m, next_lines[a].as_value(), reset_less=True)
            m.d.sync += lines[6][a].as_value().eq(Mux(same, written, arrived))
        looked_at = self._hot_lines(m, lines[6], s3.places.sets, valid, at, given)

        # Stage 6: does an entry hold the key? Which entry is the coldest?
        match = Signal(entries, reset_less=True)  # of stage 7
        found = [entry for line in looked_at for entry in line]
        matches = match_entries(found, at[6].tag)
        m.d.sync += [match.eq(matches), hit[7].eq(at[6].by_key & matches.any())]
        candidates = [
            Cat(Mux(entry.valid, policy.worth(entry.state), 0), entry.valid) for line in lines[6] for entry in line
        ]
        least, coldest = least_of(m, candidates, stages=MISS_STAGE - 1 - 6)
        estimate: Value = Const(0)
        if config.has_sketch:
            m.d.comb += [
                sketch.words.eq(s3.places.words), sketch.cells.eq(at[6].cells),
                sketch.shift.eq(shift_of(at[7])),
            ]  # fmt: skip
            m.d.sync += [
                sketch.update.eq(valid[10] & at[10].learns & ~hit[10]),
                sketch.clear.eq(valid[10] & (at[10].op == BankOp.CLEAR) & at[10].word_swept),
                sketch.halve.eq(valid[10] & (at[10].op == BankOp.HALVE) & at[10].word_swept),
            ]
            estimate = sketch.estimate

        # Stage 7: the response, and the next line of a hit.
        answers = is_one_of(at[7].op, BankOp.LOOKUP, BankOp.SCORE, BankOp.LEARN)
        m.d.sync += [
            self.r_valid.eq(valid[7] & answers), r_lane.eq(at[7].lane), r_hit.eq(hit[7]),
            self.r_port.eq(valid[7] & is_one_of(at[7].op, BankOp.READ, BankOp.FIND)),
        ]  # fmt: skip
        for a in reversed(range(arrays)):
            with m.If(at[7].named == a):
                m.d.sync += r_line.eq(lines[7][a])
            # The lowest array that holds the key is the one that counts.
            of_array = match[a * ways : a * ways + ways]
            with m.If(of_array.any()):
                m.d.sync += r_set.eq(Cat(at[7].places.sets[a], Const(a, ceil_log2(arrays))))
                for w in range(ways):
                    with m.If(of_array[w]):
                        m.d.sync += r_way.eq(w)
        # While a LEARN is in stage 7, no request that changes a line is in MISS_STAGE (see `clashes`).
        learns_7 = valid[7] & at[7].learns
        hit_learns = valid[7] & at[7].learns & hit[7]
        after_hit, after_miss = Signal(lines_layout), Signal(lines_layout)
        m.d.comb += [after_hit.eq(lines[7]), after_miss.eq(lines[MISS_STAGE])]
        for a in range(arrays):
            for w in range(ways):
                with m.If(match[a * ways + w]):
                    m.d.comb += after_hit[a][w].state.eq(policy.touched(lines[7][a][w].state, shift_of(at[7])))

        # Stage 10: is the key taken in? Stage 11: the next line of a miss, and of whatever else changes one.
        takes = Signal(reset_less=True)
        admitted = policy.admits(least, estimate) & ~hit[10]
        m.d.sync += [
            takes.eq(admitted),
            self.evicted.eq(valid[10] & at[10].learns & admitted & least[-1]),
        ]
        least, coldest, estimate = (delayed(m, value) for value in (least, coldest, estimate))
        last = at[MISS_STAGE]
        for a in range(arrays):
            for w in range(ways):
                now, then = lines[MISS_STAGE][a][w], after_miss[a][w]
                is_victim = takes & (coldest == a * ways + w)
                with m.Switch(last.op):
                    with m.Case(BankOp.WRITE):
                        m.d.comb += then.eq(given[MISS_STAGE][w])
                    with m.Case(BankOp.CLEAR):
                        m.d.comb += then.eq(0)
                    with m.Case(BankOp.HALVE):
                        m.d.comb += then.state.eq(now.state >> 1)
                    with m.Default():
                        m.d.comb += then.state.eq(policy.after_miss(now.state, is_victim, least, estimate))
                        with m.If(is_victim):
                            m.d.comb += [then.valid.eq(1), then.tag.eq(last.tag)]
        m.d.sync += [
            next_lines.eq(Mux(learns_7, after_hit.as_value(), after_miss.as_value())),
            next_places.eq(Mux(learns_7, at[7].places.sets.as_value(), last.places.sets.as_value())),
        ]  # fmt: skip
        miss_learns = last.learns & ~hit[MISS_STAGE]
        sweeps_line = is_one_of(last.op, BankOp.CLEAR, BankOp.HALVE) & last.line_swept
        for a in range(arrays):
            writes = miss_learns | sweeps_line | ((last.op == BankOp.WRITE) & (last.named == a))
            m.d.sync += next_write[a].eq(hit_learns | (valid[MISS_STAGE] & writes))
        return m

    def _given_lines(self, m: Module, valid: dict, at: dict) -> dict:
        """The lines that requests bring along wait beside the pipeline, until stage MISS_STAGE; with a shadow, 7, too."""
        config = self.config
        layout = line_layout(config)
        m.submodules.given = fifo = StreamFifo(layout, 16, reserved=True)
        brings = [BankOp.WRITE, BankOp.SWAP] if config.shadow else [BankOp.WRITE]
        stage = 7 if config.shadow else MISS_STAGE
        line = delayed(m, self.line, reset_less=True)
        m.d.comb += [
            fifo.i.valid.eq(delayed(m, self.i.ready & self.brings)), fifo.i.p.eq(line),
            fifo.o.ready.eq(valid[stage] & is_one_of(at[stage].op, *brings)),
        ]  # fmt: skip
        given = {stage: fifo.o.p}
        if config.shadow:
            m.submodules.given_later = later = DelayLine(layout, MISS_STAGE - stage)
            m.d.comb += later.i.eq(fifo.o.p)
            given[MISS_STAGE] = later.o
        return given

    def _hot_lines(self, m: Module, lines, sets, valid: dict, at: dict, given_lines: dict) -> list:
        """What keys are compared with, in stage 6: ``lines``, or with a shadow, for LOOKUP and FIND, those of the hot set.

        The hot set changes only by the hot-list engine, while nothing else is inside.
        """
        config = self.config
        if not config.shadow:
            return list(lines)
        layout = hot_line_layout(config)
        given = Signal(layout)
        for w in range(config.tracker_ways):
            m.d.comb += [given[w].valid.eq(given_lines[7][w].valid), given[w].tag.eq(given_lines[7][w].tag)]
        clears = at[7].op == BankOp.CLEAR
        looked_at = []
        r_hot_line = without_reset(m, self.r_hot_line)
        for a in range(config.tracker_arrays):
            m.submodules[f"hot_ram_{a}"] = ram = Ram(layout.size, 1 << len(sets[a]))
            written = is_one_of(at[7].op, BankOp.WRITE, BankOp.SWAP) & (at[7].named == a)
            arrived, hot, hot_7 = (Signal(layout, name=f"hot_line_{a}_{n}", reset_less=True) for n in (5, 6, 7))
            m.d.comb += [
                ram.r_en.eq(1), ram.r_addr.eq(sets[a]),
                ram.w_en.eq(valid[7] & ((clears & at[7].line_swept) | written)),
                ram.w_addr.eq(at[7].places.sets[a]), ram.w_data.eq(Mux(clears, 0, given)),
            ]  # fmt: skip
            m.d.sync += [arrived.eq(ram.r_data), hot.eq(arrived), hot_7.eq(hot)]
            with m.If(at[7].named == a):
                m.d.sync += r_hot_line.eq(hot_7)
            looked = Signal(layout, name=f"looked_at_{a}")
            in_hot_set = is_one_of(at[6].op, BankOp.LOOKUP, BankOp.FIND)
            for w in range(config.tracker_ways):
                m.d.comb += [
                    looked[w].valid.eq(Mux(in_hot_set, hot[w].valid, lines[a][w].valid)),
                    looked[w].tag.eq(Mux(in_hot_set, hot[w].tag, lines[a][w].tag)),
                ]
            looked_at.append(looked)
        return looked_at
