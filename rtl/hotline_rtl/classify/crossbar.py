"""Rows of keys to the tracker banks, and their results back in order: a buffered crossbar.

    row ─► filter ─► a queue for each bank and lane ─► banks ─► a queue for each bank and lane ─► lanes ─► row
                 └─► of each bank: which lanes ──┘                    └── of each lane: which bank ◄─┘

A whole row is placed in a cycle: each key goes to the queue of its bank and lane, each bank with a key in it is told of
which lanes, and each lane of which bank. A bank takes the keys that it is told of lane by lane, so it serves its keys
in trace order; a lane takes its results bank by bank. At most ``lane_rows`` rows are under way, so no queue overflows.

Serving in trace order is all that learning asks for: its outcome depends on neither the number of lanes nor on time.

Keys that were classified a moment ago are answered by their lane's filter (``lane_filter`` entries,
direct-mapped): very hot keys would crowd their bank. Not those that are learnt: banks must see them all.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..interfaces.tracker import BankSignature, result_layout
from ..lib.fifo import StreamFifo
from ..lib.logic import count_ones, delayed, pick, without_reset
from ..lib.register_slice import RegisterSlice
from ..lib.shared_module import SharedModule
from .bank_queues import BankQueues, queued_request_layout
from .lane_filter import LaneFilter


def requests_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A row of permuted keys for the tracker: ``present`` lanes. All of one sample, where the policy scores samples:
    then ``train`` tells whether they are learnt or looked up, ``shift`` by how much their weight is shifted
    down, and ``first`` comes back with the results. ``follow``: of each lane, it is looked up and learnt."""
    fields: dict = {"keys": data.ArrayLayout(config.key_bits, config.lanes), "present": config.lanes}
    if config.scores_samples:
        fields |= {"train": 1, "shift": SHIFT_BITS, "first": 1}
    if config.shadow:
        fields |= {"follow": config.lanes}
    return data.StructLayout(fields)


def results_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The results of a row: ``count`` lanes from lane ``offset`` on."""
    fields: dict = {
        "lanes": data.ArrayLayout(result_layout(config), config.lanes),
        "offset": range(max(2, config.lanes)), "count": range(config.lanes + 1),
    }  # fmt: skip
    if config.scores_samples:
        fields |= {"train": 1, "first": 1}
    return data.StructLayout(fields)


class Crossbar(wiring.Component):
    """Members
    -------
    start : In(1)
        The tracker may have changed: forgets the filters. Nothing is inside.
    learning : In(1)
    rows : In(stream of requests_layout)
        Permuted keys.
    banks : Out(BankSignature).array(banks)
    results : Out(stream of results_layout)
        Row for row.
    holds, moves : Out(1)
        A row is in hand; and is placed.
    filtered : Out
        Keys that the filters answered, in the last cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "learning": In(1),
            "rows": In(stream.Signature(requests_layout(config))),
            "banks": Out(BankSignature(config)).array(config.banks),
            "results": Out(stream.Signature(results_layout(config))),
            "holds": Out(1), "moves": Out(1), "filtered": Out(range(config.lanes + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes, banks, bank_bits, depth = config.lanes, config.banks, config.bank_bits, config.lane_rows
        result = result_layout(config)

        # The row in hand: which keys go to the banks, and what the filters say of the others.
        row_valid = Signal()
        row = Signal(requests_layout(config), reset_less=True)
        keys, present = [row.keys[lane] for lane in range(lanes)], row.present
        known, answers = Signal(lanes), [Signal(result, name=f"answer_of_{lane}") for lane in range(lanes)]
        taken = Signal(lanes)
        m.d.comb += taken.eq(present & ~known)

        # Placing.
        fields: dict = {"taken": lanes, "offset": range(max(2, lanes)), "count": range(lanes + 1)}
        if config.scores_samples:
            fields |= {"train": 1, "first": 1}
        if config.lane_filter:
            fields |= {
                "known": lanes,
                "answers": data.ArrayLayout(result, lanes),
                "keys": data.ArrayLayout(config.key_bits, lanes),
            }
        placing = data.StructLayout(fields)
        m.submodules.placings = placings = StreamFifo(placing, depth, reserved=True)
        # Each queue of a bank and lane holds a row more than ``depth``; rows in and behind `placings` count.
        under_way, room, gone = Signal(range(depth + 3)), Signal(), Signal()
        m.d.sync += room.eq(under_way <= depth - 1)
        fire = row_valid & room
        m.d.sync += under_way.eq(under_way + fire - gone)
        # Where its keys go is decided in a cycle, and they go there in the next.
        putting, put, put_keys = Signal(placing), delayed(m, fire), [delayed(m, key, reset_less=True) for key in keys]
        put_taken = delayed(m, Mux(fire, taken, 0))
        put_placing = delayed(m, putting, reset_less=True)
        m.d.comb += [
            placings.i.valid.eq(put),
            placings.i.p.eq(put_placing),
            putting.taken.eq(taken),
            putting.count.eq(count_ones(present)),
            self.rows.ready.eq(~row_valid | room),
            self.holds.eq(row_valid),
            self.moves.eq(fire),
        ]
        for lane in reversed(range(lanes)):
            with m.If(present[lane]):
                m.d.comb += putting.offset.eq(lane)
            if config.lane_filter:
                m.d.comb += [
                    putting.known[lane].eq(known[lane]),
                    putting.answers[lane].eq(answers[lane]),
                    putting.keys[lane].eq(keys[lane]),
                ]
        if config.scores_samples:
            m.d.comb += [putting.train.eq(row.train), putting.first.eq(row.first)]
            put_train, put_shift = delayed(m, row.train, reset_less=True), delayed(m, row.shift, reset_less=True)
        if config.shadow:
            put_follow = delayed(m, row.follow, reset_less=True)
        with m.If(self.rows.ready):
            m.d.sync += [row_valid.eq(self.rows.valid), row.eq(self.rows.p)]
        m.d.sync += self.filtered.eq(Mux(fire, count_ones(known), 0))

        # Each bank serves its lanes in turn.
        request = queued_request_layout(config)
        request_queues = SharedModule("request_queue", lambda: StreamFifo(request, depth, reserved=True), platform)
        result_queues = SharedModule("result_queue", lambda: StreamFifo(result, depth, reserved=True), platform)
        results: list[list] = [[] for _ in range(lanes)]  # [lane][bank]
        for b in range(banks):
            m.submodules[f"queues_{b}"] = queues = BankQueues(config, request_queues, result_queues)
            wiring.connect(m, queues.bank, wiring.flipped(self.banks[b]))
            wants = Signal(lanes, name=f"wants_{b}")
            m.d.sync += queues.put.eq(Mux(fire, wants, 0))
            m.d.comb += [
                wants.eq(Cat(taken[lane] & (keys[lane][:bank_bits] == b) for lane in range(lanes))),
                queues.turn.eq(delayed(m, fire & wants.any())),
                *(queues.keys[lane].eq(put_keys[lane][bank_bits:]) for lane in range(lanes)),
            ]
            if config.scores_samples:
                m.d.comb += [queues.train.eq(put_train), queues.shift.eq(put_shift)]
            if config.shadow:
                m.d.comb += queues.follow.eq(put_follow)
            for lane in range(lanes):
                results[lane].append(queues.results[lane])

        # Each lane takes its results from its banks in turn.
        m.submodules.placed = placed = RegisterSlice(placing)
        wiring.connect(m, placings.o, placed.i)
        oldest = placed.o.p
        leave, step = Signal(), Signal()
        have = Signal(lanes)
        found = [Signal(result, name=f"found_{lane}") for lane in range(lanes)]
        row_out = without_reset(m, self.results.p)
        for lane, of_banks in enumerate(results):
            m.submodules[f"where_{lane}"] = where = StreamFifo(max(1, bank_bits), depth, reserved=True)
            m.submodules[f"found_{lane}"] = taken_out = RegisterSlice(result)
            here, free = Signal(name=f"here_{lane}"), taken_out.i.ready
            m.d.comb += [
                where.i.valid.eq(put_taken[lane]),
                where.i.p.eq(put_keys[lane][:bank_bits]),
                here.eq(where.o.valid & pick([queue.valid for queue in of_banks], where.o.p)),
                where.o.ready.eq(here & free),
                taken_out.i.valid.eq(here),
                taken_out.i.p.eq(pick([queue.p.as_value() for queue in of_banks], where.o.p)),
                taken_out.o.ready.eq(leave & oldest.taken[lane]),
                have[lane].eq(taken_out.o.valid),
                found[lane].eq(taken_out.o.p),
            ]
            for b, queue in enumerate(of_banks):
                m.d.comb += queue.ready.eq(where.o.valid & free & (where.o.p == b))

        # The oldest row leaves when all its results are there.
        m.d.sync += gone.eq(leave)
        complete = (oldest.taken & ~have) == 0
        m.d.comb += [
            step.eq(~self.results.valid | self.results.ready),
            leave.eq(placed.o.valid & complete & step),
            placed.o.ready.eq(complete & step),
        ]
        with m.If(step):
            m.d.sync += [
                self.results.valid.eq(leave),
                row_out.count.eq(oldest.count),
                row_out.offset.eq(oldest.offset),
            ]
            if config.scores_samples:
                m.d.sync += [row_out.train.eq(oldest.train), row_out.first.eq(oldest.first)]
            for lane in range(lanes):
                answer = found[lane].as_value()
                if config.lane_filter:
                    answer = Mux(oldest.known[lane], oldest.answers[lane].as_value(), answer)
                m.d.sync += row_out.lanes[lane].as_value().eq(answer)
        follow = self.rows.p.follow if config.shadow else Const(0, lanes)
        for lane in range(lanes) if config.lane_filter else ():
            m.submodules[f"filter_{lane}"] = lane_filter = LaneFilter(config)
            m.d.comb += [
                lane_filter.forget.eq(self.start),
                lane_filter.learning.eq(self.learning),
                lane_filter.load.eq(self.rows.ready),
                lane_filter.arriving.eq(self.rows.p.keys[lane]),
                lane_filter.present.eq(self.rows.p.present[lane] & ~follow[lane]),
                lane_filter.key.eq(keys[lane]),
                known[lane].eq(lane_filter.known),
                answers[lane].eq(lane_filter.answer),
                lane_filter.write.eq(leave & oldest.taken[lane]),
                lane_filter.written_key.eq(oldest.keys[lane]),
                lane_filter.result.eq(found[lane]),
            ]
        return m
