"""Rows of keys to the tracker banks, and their results back in order: a buffered crossbar.

    row ─► filter ─► a queue for each bank and lane ─► banks ─► a queue for each bank and lane ─► lanes ─► row
                 └─► of each bank: which lanes ──┘                    └── of each lane: which bank ◄─┘

A whole row is placed in a cycle: each key goes to the queue of its bank and lane, each bank with a key in it is told of
which lanes, and each lane of which bank. A bank takes the keys that it is told of lane by lane, so it serves its keys
in trace order; a lane takes its results bank by bank. At most ``lane_rows`` rows are under way, so no queue overflows.

Serving in trace order is all that learning asks for: its outcome depends on neither the number of lanes nor on time.

Keys that were classified a moment ago are answered by their lane's filter (``lane_filter`` entries,
direct-mapped): very hot keys would crowd their bank. Not while learning, when banks must see all.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..interfaces.tracker import BankSignature, result_layout
from ..lib.fifo import StreamFifo
from ..lib.logic import count_ones, delayed, first_set, one_hot_mux, pick, without_reset
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice
from ..lib.shared_module import SharedModule


def requests_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A row of permuted keys for the tracker: ``present`` lanes. All of one sample, where the policy scores samples:
    then ``train`` tells whether they are learnt or looked up, ``shift`` by how much their weight is shifted
    down, and ``first`` comes back with the results."""
    fields: dict = {"keys": data.ArrayLayout(config.key_bits, config.lanes), "present": config.lanes}
    if config.scores_samples:
        fields |= {"train": 1, "shift": SHIFT_BITS, "first": 1}
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
        known, answers = self._filter(m, row_valid, keys)
        taken = Signal(lanes)
        m.d.comb += taken.eq(present & ~known)

        # Placing.
        fields: dict = {"taken": lanes, "offset": range(max(2, lanes)), "count": range(lanes + 1)}
        if config.scores_samples:
            fields |= {"train": 1, "first": 1}
        if config.lane_filter:
            fields |= {
                "known": lanes, "answers": data.ArrayLayout(result, lanes),
                "keys": data.ArrayLayout(config.key_bits, lanes),
            }  # fmt: skip
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
        with m.If(self.rows.ready):
            m.d.sync += [row_valid.eq(self.rows.valid), row.eq(self.rows.p)]
        m.d.sync += self.filtered.eq(Mux(fire, count_ones(known), 0))

        # Each bank serves its lanes in turn.
        request = data.StructLayout({
            name: field.shape for name, field in self.banks[0].o.p.shape() if name != "lane"
        })  # fmt: skip
        request_queues = SharedModule("request_queue", lambda: StreamFifo(request, depth, reserved=True), platform)
        result_queues = SharedModule("result_queue", lambda: StreamFifo(result, depth, reserved=True), platform)
        results: list[list] = [[] for _ in range(lanes)]  # [lane][bank]
        for b in range(banks):
            bank = self.banks[b]
            m.submodules[f"turns_{b}"] = turns = StreamFifo(lanes, depth, reserved=True)
            wants, put_wants = Signal(lanes, name=f"wants_{b}"), Signal(lanes, name=f"put_wants_{b}")
            m.d.sync += put_wants.eq(Mux(fire, wants, 0))
            m.d.comb += [
                wants.eq(Cat(taken[lane] & (keys[lane][:bank_bits] == b) for lane in range(lanes))),
                turns.i.valid.eq(delayed(m, fire & wants.any())),
                turns.i.p.eq(put_wants),
            ]
            m.submodules[f"slice_{b}"] = out = RegisterSlice(bank.o.p.shape())
            wiring.connect(m, out.o, wiring.flipped(bank.o))
            left = Signal(lanes, name=f"left_{b}")  # lanes of the row being served
            lane_now = Signal(lanes, name=f"lane_now_{b}")
            more = left & ~lane_now
            serves = out.i.valid & out.i.ready
            m.d.comb += [
                lane_now.eq(first_set(left)),
                out.i.valid.eq(left.any()),
                turns.o.ready.eq((left == 0) | (serves & (more == 0))),
            ]
            with m.If(turns.o.ready):
                m.d.sync += left.eq(Mux(turns.o.valid, turns.o.p, 0))
            with m.Elif(serves):
                m.d.sync += left.eq(more)
            requests = []
            for lane in range(lanes):
                queue = request_queues.add(m, f"request_{b}_{lane}")
                m.d.comb += [
                    queue.i.valid.eq(put_wants[lane]),
                    queue.i.p.rest.eq(put_keys[lane][bank_bits:]),
                    queue.o.ready.eq(lane_now[lane] & serves),
                ]
                if config.scores_samples:
                    m.d.comb += [queue.i.p.train.eq(put_train), queue.i.p.shift.eq(put_shift)]
                requests.append(queue.o.p)
                queue = result_queues.add(m, f"result_{b}_{lane}")
                m.d.comb += [
                    queue.i.valid.eq(bank.r_valid & (bank.r_lane == lane)),
                    queue.i.p.hit.eq(bank.r_hit),
                    queue.i.p.slot.eq(bank.r_slot),
                ]
                results[lane].append(queue.o)
            for name, _ in requests[0].shape():
                m.d.comb += getattr(out.i.p, name).eq(one_hot_mux(lane_now, [getattr(r, name) for r in requests]))
            m.d.comb += out.i.p.lane.eq(one_hot_mux(lane_now, [Const(n, len(out.i.p.lane)) for n in range(lanes)]))

        # Each lane takes its results from its banks in turn.
        m.submodules.placed = placed = RegisterSlice(placing)
        wiring.connect(m, placings.o, placed.i)
        oldest = placed.o.p
        leave, step = Signal(), Signal()
        have = Signal(lanes)
        found = [Signal(result, name=f"found_{lane}") for lane in range(lanes)]
        row_out = without_reset(m, self.results.p)
        for lane, queues in enumerate(results):
            m.submodules[f"where_{lane}"] = where = StreamFifo(max(1, bank_bits), depth, reserved=True)
            m.submodules[f"found_{lane}"] = taken_out = RegisterSlice(result)
            here, free = Signal(name=f"here_{lane}"), taken_out.i.ready
            m.d.comb += [
                where.i.valid.eq(put_taken[lane]),
                where.i.p.eq(put_keys[lane][:bank_bits]),
                here.eq(where.o.valid & pick([queue.valid for queue in queues], where.o.p)),
                where.o.ready.eq(here & free),
                taken_out.i.valid.eq(here),
                taken_out.i.p.eq(pick([queue.p.as_value() for queue in queues], where.o.p)),
                taken_out.o.ready.eq(leave & oldest.taken[lane]),
                have[lane].eq(taken_out.o.valid),
                found[lane].eq(taken_out.o.p),
            ]
            for b, queue in enumerate(queues):
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
        if config.lane_filter:
            self._remember(m, leave, oldest, found)
        return m

    def _filter(self, m: Module, row_valid, keys: list) -> tuple[Value, list]:
        """Which of the keys in hand the filters know, and their results."""
        config = self.config
        known = Signal(config.lanes)
        answers = [Signal(result_layout(config), name=f"answer_of_{lane}") for lane in range(config.lanes)]
        if not config.lane_filter:
            return known, answers
        index_bits = ceil_log2(config.lane_filter)
        low, high = config.bank_bits, config.bank_bits + index_bits
        self.filter_entry = entry = data.StructLayout({
            "rest": config.key_bits - index_bits, "result": result_layout(config),
        })  # fmt: skip
        self.filter_rams, self.filter_full = [], []
        for lane, key in enumerate(keys):
            m.submodules[f"filter_{lane}"] = ram = Ram(entry.size, config.lane_filter)
            full = Signal(config.lane_filter, name=f"filter_full_{lane}")
            self.filter_rams.append(ram)
            self.filter_full.append(full)
            arriving = self.rows.p.keys[lane]
            usable = Signal(name=f"filter_usable_{lane}")
            m.d.comb += [ram.r_en.eq(self.rows.ready), ram.r_addr.eq(arriving[low:high])]
            with m.If(self.rows.ready):
                # Not in the cycle in which the entry is being written: then it cannot be read.
                m.d.sync += usable.eq(
                    full.bit_select(arriving[low:high], 1)
                    & self.rows.p.present[lane] & ~self.learning
                    & ~(ram.w_en & (ram.w_addr == arriving[low:high]))
                )  # fmt: skip
            remembered = data.View(entry, ram.r_data)
            m.d.comb += [
                known[lane].eq(usable & (remembered.rest == Cat(key[:low], key[high:]))),
                answers[lane].eq(remembered.result),
            ]
            with m.If(self.start):
                m.d.sync += full.eq(0)
        return known, answers

    def _remember(self, m: Module, leave, oldest, found: list) -> None:
        """Results that came from the banks go into their lane's filter."""
        config = self.config
        index_bits = ceil_log2(config.lane_filter)
        low, high = config.bank_bits, config.bank_bits + index_bits
        for lane, (ram, full) in enumerate(zip(self.filter_rams, self.filter_full, strict=True)):
            key = oldest.keys[lane]
            write = leave & oldest.taken[lane] & ~self.learning
            m.d.comb += [
                ram.w_en.eq(write),
                ram.w_addr.eq(key[low:high]),
                ram.w_data.eq(Cat(key[:low], key[high:], found[lane].as_value())),
            ]
            with m.If(write):
                m.d.sync += full.bit_select(key[low:high], 1).eq(1)
