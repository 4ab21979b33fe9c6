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
from ..interfaces.tracker import BankOp, bank_request_layout, forget_layout, hot_line_layout, line_layout
from ..lib.delay_line import DelayLine
from ..lib.fifo import StreamFifo
from ..lib.logic import count_ones, delayed, is_one_of, least_of, pick, without_reset
from ..lib.ram import Ram
from .bank_requests import HIT_STAGE, LAST_STAGE, MISS_STAGE, BankRequests
from .marks import Marks
from .policies import POLICIES
from .sketch import Sketch


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
    least : In(forget_layout)
        Stays while FORGETs are inside.
    r_valid, r_lane, r_hit, r_set, r_way : Out
        The response to LOOKUP, FOLLOW, SCORE and LEARN: ``r_hit`` is as it was before the request changed anything; ``r_set``
        counts through all arrays. Those of LOOKUP and FOLLOW are of the hot set, the others' of what is learnt.
    r_port, r_line, r_hot_line : Out
        The response to READ; ``r_hot_line`` only with a shadow.
    r_marks : Out(1), marks : Out(mark_bits)
        The response to MARKS, with a shadow.
    r_forgot : Out(1), forgotten : Out
        The response to FORGET: how many entries were forgotten.
    evicted, missed : Out(1)
        A LEARN or FOLLOW has replaced a valid entry; has not found its key in what is learnt.
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
            members |= {
                "r_hot_line": Out(hot_line_layout(config)), "r_marks": Out(1), "marks": Out(config.mark_bits),
            }  # fmt: skip
        if config.forgets:
            entries = config.tracker_arrays * config.tracker_ways
            members |= {
                "least": In(forget_layout(config)), "r_forgot": Out(1), "forgotten": Out(range(entries + 1)), "missed": Out(1),
            }  # fmt: skip
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
        names = ("r_lane", "r_hit", "r_set", "r_way", "r_line")
        r_lane, r_hit, r_set, r_way, r_line = (without_reset(m, getattr(self, name)) for name in names)
        m.submodules.requests = requests = BankRequests(config)
        wiring.connect(m, wiring.flipped(self.i), requests.i)
        looks_up = requests.looks_up  # of stage 3

        def shift_of(request):
            return request.shift if config.scores_samples else Const(0, SHIFT_BITS)

        # ``hit`` is known from stage 7 on.
        valid, at = requests.valid, requests.at
        lines = {k: Signal(lines_layout, name=f"s{k}_lines", reset_less=True) for k in (6, 7)}
        hit = {k: Signal(name=f"s{k}_hit", reset_less=True) for k in range(HIT_STAGE, LAST_STAGE + 1)}
        m.d.sync += [lines[7].eq(lines[6]), *(hit[k].eq(hit[k - 1]) for k in range(HIT_STAGE + 1, LAST_STAGE + 1))]
        m.d.comb += [requests.hit[k].eq(hit[k]) for k in hit]
        m.submodules.old_lines = old_lines = DelayLine(lines_layout, MISS_STAGE - 7)
        m.d.comb += old_lines.i.eq(lines[7])
        lines[MISS_STAGE] = old_lines.o
        given = self._given_lines(m, valid, at)

        # Stage 4: lines arrive from the RAMs. Stage 5: they are in registers. A line that was being written while it was read
        # comes from the register that it was written from.
        next_lines = Signal(lines_layout, reset_less=True)
        next_places = Signal(data.ArrayLayout(address_bits, arrays), reset_less=True)
        next_write = Signal(arrays)
        for a in range(arrays):
            m.submodules[f"ram_{a}"] = ram = Ram(layout.size, 1 << address_bits)
            m.d.comb += [
                ram.r_en.eq(1),
                ram.r_addr.eq(looks_up.sets[a]),
                ram.w_en.eq(next_write[a]),
                ram.w_addr.eq(next_places[a]),
                ram.w_data.eq(next_lines[a]),
            ]
            same = delayed(m, next_write[a] & (next_places[a] == at[4].places.sets[a]))
            arrived = delayed(m, ram.r_data, reset_less=True)
            written = delayed(m, next_lines[a].as_value(), reset_less=True)
            m.d.sync += lines[6][a].as_value().eq(Mux(same, written, arrived))
        hot_lines = self._hot_lines(m, looks_up.sets, valid, at, given)

        # Stage 6: does an entry hold the key, of what is learnt, and of what is looked up? Which entry is the coldest?
        match = Signal(entries, reset_less=True)  # of stage 7
        matches = match_entries([entry for line in lines[6] for entry in line], at[6].tag)
        m.d.sync += [match.eq(matches), hit[7].eq(at[6].by_key & matches.any())]
        answer, answer_hit, held = match, hit[7], None
        if config.shadow:
            answer, answer_hit = Signal(entries, reset_less=True), Signal(reset_less=True)
            in_hot_set = is_one_of(at[6].op, BankOp.LOOKUP, BankOp.FOLLOW)
            hot_matches = match_entries([entry for line in hot_lines for entry in line], at[6].tag)
            answers = Mux(in_hot_set, hot_matches, matches)
            m.d.sync += [answer.eq(answers), answer_hit.eq(at[6].by_key & answers.any())]
            held_7 = delayed(m, hot_matches.any(), reset_less=True)
            m.submodules.held = held = DelayLine(1, MISS_STAGE - 7)
            m.d.comb += held.i.eq(held_7)
        candidates = [
            Cat(Mux(entry.valid, policy.worth(entry.state), 0), entry.valid) for line in lines[6] for entry in line
        ]
        least, coldest = least_of(m, candidates, stages=MISS_STAGE - 1 - 6)
        estimate: Value = Const(0)
        if config.has_sketch:
            m.d.comb += [
                sketch.words.eq(looks_up.words),
                sketch.cells.eq(at[6].cells),
                sketch.shift.eq(shift_of(at[7])),
            ]
            m.d.sync += [
                sketch.update.eq(valid[10] & at[10].learns & ~hit[10]),
                sketch.clear.eq(valid[10] & (at[10].op == BankOp.CLEAR) & at[10].word_swept),
                sketch.halve.eq(valid[10] & (at[10].op == BankOp.HALVE) & at[10].word_swept),
            ]
            estimate = sketch.estimate

        # Stage 7: the response, and the next line of a hit.
        answered = is_one_of(at[7].op, BankOp.LOOKUP, BankOp.FOLLOW, BankOp.SCORE, BankOp.LEARN)
        m.d.sync += [
            self.r_valid.eq(valid[7] & answered),
            r_lane.eq(at[7].lane),
            r_hit.eq(answer_hit),
            self.r_port.eq(valid[7] & (at[7].op == BankOp.READ)),
        ]
        for a in reversed(range(arrays)):
            with m.If(at[7].named == a):
                m.d.sync += r_line.eq(lines[7][a])
            # The lowest array that holds the key is the one that counts.
            of_array = answer[a * ways : a * ways + ways]
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
                    if config.forgets:
                        m.d.comb += after_hit[a][w].silent.eq(0)
                    if config.shadow:
                        m.d.comb += after_hit[a][w].held.eq(held_7)

        # Stage 10: is the key taken in? Stage 11: the next line of a miss, and of whatever else changes one.
        takes = Signal(reset_less=True)
        strictly = at[10].op == BankOp.FOLLOW if config.shadow else Const(0)
        admitted = policy.admits(least, estimate, strictly) & ~hit[10]
        m.d.sync += [
            takes.eq(admitted),
            self.evicted.eq(valid[10] & at[10].learns & admitted & least[-1]),
        ]
        least, coldest, estimate = (delayed(m, value) for value in (least, coldest, estimate))
        last = at[MISS_STAGE]
        gone = self._forgotten(m, lines[7], valid, at) if config.forgets else None
        if config.forgets:
            m.d.sync += self.missed.eq(valid[10] & at[10].learns & ~hit[10])
        self._change_after_miss(
            m, after_miss, lines[MISS_STAGE], last, given[MISS_STAGE], takes, coldest, least, estimate, gone, held
        )
        if config.shadow:
            self._mark(m, valid[MISS_STAGE], last, takes, coldest)
        m.d.sync += [
            next_lines.eq(Mux(learns_7, after_hit.as_value(), after_miss.as_value())),
            next_places.eq(Mux(learns_7, at[7].places.sets.as_value(), last.places.sets.as_value())),
        ]
        miss_learns = last.learns & ~hit[MISS_STAGE]
        sweeps_line = is_one_of(last.op, BankOp.CLEAR, BankOp.HALVE, BankOp.FORGET) & last.line_swept
        for a in range(arrays):
            writes = miss_learns | sweeps_line | ((last.op == BankOp.WRITE) & (last.named == a))
            m.d.sync += next_write[a].eq(hit_learns | (valid[MISS_STAGE] & writes))
        return m

    def _forgotten(self, m: Module, lines, valid, at) -> Value:
        """Which entries a FORGET forgets, in stage MISS_STAGE, from its ``lines`` in stage 7; and the response to it."""
        config = self.config
        layout = forget_layout(config)
        gone = []
        for line in lines:
            for entry in line:
                # An entry that is not silent is never forgotten: no counter is as large as that.
                bounds = [
                    Const((1 << layout.elem_shape) - 1, layout.elem_shape),
                    *(self.least[n] for n in range(layout.length)),
                ]
                bound = delayed(m, pick(bounds, entry.silent), reset_less=True)
                state, there = delayed(m, entry.state, reset_less=True), delayed(m, entry.valid, reset_less=True)
                gone.append(there & (state >= bound))
        gone_9 = delayed(m, Cat(gone), reset_less=True)
        sweeps = valid[9] & (at[9].op == BankOp.FORGET)
        m.d.sync += [
            self.r_forgot.eq(sweeps),
            self.forgotten.eq(Mux(sweeps & at[9].line_swept, count_ones(gone_9), 0)),
        ]
        assert MISS_STAGE == 11
        return delayed(m, delayed(m, gone_9, reset_less=True), reset_less=True)

    def _mark(self, m: Module, valid, request, takes, coldest) -> None:
        """Marks the set that a LEARN or FOLLOW has changed, in stage MISS_STAGE; and answers MARKS."""
        config = self.config
        m.submodules.marks = marks = Marks(config)
        array_bits = ceil_log2(config.tracker_arrays)
        array = coldest[ceil_log2(config.tracker_ways) :][:array_bits]
        victim = Cat(pick(list(request.places.sets), array), array)
        named = Cat(request.places.sets[0], request.named[:array_bits])
        learnt = request.learns & takes
        # Their memory may lie far away: a register is before it.
        m.d.comb += [
            marks.mark.eq(delayed(m, valid & (learnt | (request.op == BankOp.MARK)))),
            marks.set.eq(delayed(m, Mux(learnt, victim, named), reset_less=True)),
            marks.take.eq(delayed(m, valid & (request.op == BankOp.MARKS))),
            marks.clear.eq(delayed(m, valid & (request.op == BankOp.CLEAR))),
            marks.word.eq(delayed(m, named, reset_less=True)),
            self.r_marks.eq(marks.r_valid),
            self.marks.eq(marks.marks),
        ]

    def _change_after_miss(
        self, m: Module, after, before, request, given, takes, coldest, least, estimate, gone, held
    ) -> None:
        """Drives the next lines ``after`` of a miss, and of whatever else changes a line, in stage MISS_STAGE.

        ``takes``: the key is taken in, in place of entry ``coldest``, whose worth is ``least``; ``estimate``: the key's own.
        ``gone``: entries that are forgotten. ``held``: the key is in the hot set.
        """
        config = self.config
        ways, arrays = config.tracker_ways, config.tracker_arrays
        policy = POLICIES[config.policy](config.state_bits, arrays * ways)
        for a in range(arrays):
            for w in range(ways):
                now, then = before[a][w], after[a][w]
                is_victim = takes & (coldest == a * ways + w)
                with m.Switch(request.op):
                    with m.Case(BankOp.WRITE):
                        m.d.comb += then.eq(given[w])
                    with m.Case(BankOp.CLEAR):
                        m.d.comb += then.eq(0)
                    with m.Case(BankOp.HALVE):
                        m.d.comb += then.state.eq(now.state >> 1)
                    if config.forgets:
                        with m.Case(BankOp.FORGET):
                            m.d.comb += [
                                then.state.eq(Mux(gone[a * ways + w], 0, now.state)),
                                then.silent.eq(Mux(now.silent.all(), now.silent, now.silent + 1)),
                            ]
                    with m.Default():
                        m.d.comb += then.state.eq(policy.after_miss(now.state, is_victim, least, estimate))
                        with m.If(is_victim):
                            m.d.comb += [then.valid.eq(1), then.tag.eq(request.tag)]
                            if config.forgets:
                                m.d.comb += then.silent.eq(0)
                            if config.shadow:
                                m.d.comb += then.held.eq(held.o)

    def _given_lines(self, m: Module, valid, at) -> dict:
        """The lines that requests bring along wait beside the pipeline, until stage MISS_STAGE; with a shadow, 7, too."""
        config = self.config
        layout = line_layout(config)
        m.submodules.given = fifo = StreamFifo(layout, 16, reserved=True)
        brings = [BankOp.WRITE, BankOp.SWAP] if config.shadow else [BankOp.WRITE]
        stage = 7 if config.shadow else MISS_STAGE
        line = delayed(m, self.line, reset_less=True)
        m.d.comb += [
            fifo.i.valid.eq(delayed(m, self.i.ready & self.brings)),
            fifo.i.p.eq(line),
            fifo.o.ready.eq(valid[stage] & is_one_of(at[stage].op, *brings)),
        ]
        given = {stage: fifo.o.p}
        if config.shadow:
            m.submodules.given_later = later = DelayLine(layout, MISS_STAGE - stage)
            m.d.comb += later.i.eq(fifo.o.p)
            given[MISS_STAGE] = later.o
        return given

    def _hot_lines(self, m: Module, sets, valid, at, given_lines: dict) -> list:
        """With a shadow, the lines of the hot set, in stage 6. It changes only by the hot-list engine, while nothing else is
        inside."""
        config = self.config
        if not config.shadow:
            return []
        layout = hot_line_layout(config)
        given = Signal(layout)
        for w in range(config.tracker_ways):
            m.d.comb += [given[w].valid.eq(given_lines[7][w].valid), given[w].tag.eq(given_lines[7][w].tag)]
        clears = at[7].op == BankOp.CLEAR
        hot_lines = []
        r_hot_line = without_reset(m, self.r_hot_line)
        for a in range(config.tracker_arrays):
            m.submodules[f"hot_ram_{a}"] = ram = Ram(layout.size, 1 << len(sets[a]))
            written = is_one_of(at[7].op, BankOp.WRITE, BankOp.SWAP) & (at[7].named == a)
            arrived, hot, hot_7 = (Signal(layout, name=f"hot_line_{a}_{n}", reset_less=True) for n in (5, 6, 7))
            m.d.comb += [
                ram.r_en.eq(1),
                ram.r_addr.eq(sets[a]),
                ram.w_en.eq(valid[7] & ((clears & at[7].line_swept) | written)),
                ram.w_addr.eq(at[7].places.sets[a]),
                ram.w_data.eq(Mux(clears, 0, given)),
            ]
            m.d.sync += [arrived.eq(ram.r_data), hot.eq(arrived), hot_7.eq(hot)]
            with m.If(at[7].named == a):
                m.d.sync += r_hot_line.eq(hot_7)
            hot_lines.append(hot)
        return hot_lines
