"""Rows of keys to the tracker banks, and their results back in order: a buffered crossbar.

    row -> filter -> place -> queues of each bank -> bank -> queues of results -> collect -> row
                       |                                                            |
                       +------------- where each key of the row went --------------->

Every cycle, each bank takes up to ``ports`` keys of the row in hand (a *knockout* concentrator: Yeh,
Hluchyj and Acampora, 1987); what does not fit follows in the next cycle. The ``n``-th key that a bank
takes, and its result, pass through the bank's queue ``n mod ports``, so each queue sees at most one
key of a placing; and since at most ``lane_rows`` placings are under way, none can overflow.

A bank serves its keys in trace order. That is all that learning asks for: its outcome depends on
neither the number of lanes nor on time.

Keys that were classified a moment ago are answered by their lane's filter (``lane_filter`` entries,
direct-mapped): very hot keys would crowd their bank. Not while learning, when banks must see all.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .layouts import SHIFT_BITS
from .ram import Ram
from .words import count_ones, first_set, one_hot_mux

#: Keys of one row that one bank can take in a cycle. With 2 banks a lane, one row in 240 of uniform
#: traffic wants more, at 16 lanes.
MAX_PORTS = 4


def result_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What the tracker says of an access."""
    return data.StructLayout({"hit": 1, "slot": config.slot_bits})


def requests_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A row of permuted keys for the tracker: ``present`` lanes. All of one sample, where the policy rehearses:
    then ``train`` tells whether they are learnt or looked up, ``shift`` by how much their weight is shifted
    down, and ``first`` comes back with the results."""
    fields: dict = {"keys": data.ArrayLayout(config.key_bits, config.lanes), "present": config.lanes}
    if config.rehearses:
        fields |= {"train": 1, "shift": SHIFT_BITS, "first": 1}
    return data.StructLayout(fields)


def results_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The results of a row: ``count`` lanes from lane ``offset`` on."""
    fields: dict = {
        "lanes": data.ArrayLayout(result_layout(config), config.lanes),
        "offset": range(max(2, config.lanes)), "count": range(config.lanes + 1),
    }  # fmt: skip
    if config.rehearses:
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
    banks : Out(array)
        Requests ``valid``, ``learn``, ``shift``, ``set``, ``tag``; responses ``r_valid``, ``r_hit``, ``r_slot``,
        in order.
    results : Out(stream of results_layout)
        Row for row.
    holds, moves, split : Out(1)
        A row is in hand; keys of it were placed; but not all, because more than ``ports`` wanted one bank.
    filtered : Out
        Keys that the filters answered, in the last cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.ports = min(MAX_PORTS, config.lanes)
        bank = wiring.Signature({
            "valid": Out(1), "learn": Out(1), "shift": Out(SHIFT_BITS),
            "set": Out(config.index_bits - config.bank_bits), "tag": Out(config.tag_bits),
            "r_valid": In(1), "r_hit": In(1), "r_slot": In(config.slot_bits),
        })  # fmt: skip
        super().__init__({
            "start": In(1), "learning": In(1),
            "rows": In(stream.Signature(requests_layout(config))),
            "banks": Out(bank).array(config.banks),
            "results": Out(stream.Signature(results_layout(config))),
            "holds": Out(1), "moves": Out(1), "split": Out(1), "filtered": Out(range(config.lanes + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, ports = self.config, self.ports
        lanes, banks, bank_bits = config.lanes, config.banks, config.bank_bits
        result = result_layout(config)

        # The row in hand: which keys still have to be placed, and what the filters say of the others.
        row_valid = Signal()
        row = Signal(requests_layout(config))
        keys, present = [row.keys[lane] for lane in range(lanes)], row.present
        placed = Signal(lanes)  # in earlier cycles
        known, answers = self._filter(m, row_valid, keys)
        pending = Signal(lanes)
        m.d.comb += pending.eq(present & ~placed & ~known)

        # Placing. ``first`` is the queue that takes the bank's next key.
        queue_bits = max(1, ceil_log2(banks * ports))  # queues are numbered bank * ports + port
        fields: dict = {
            "taken": lanes, "where": data.ArrayLayout(queue_bits, lanes), "last": 1,
            "offset": range(max(2, lanes)), "count": range(lanes + 1),
        }  # fmt: skip
        if config.rehearses:
            fields |= {"train": 1, "first": 1}
        request_layout = data.StructLayout(
            {"rest": config.key_bits - bank_bits} | ({"train": 1, "shift": SHIFT_BITS} if config.rehearses else {})
        )
        if config.lane_filter:
            fields |= {
                "known": lanes, "answers": data.ArrayLayout(result, lanes),
                "keys": data.ArrayLayout(config.key_bits, lanes),
            }  # fmt: skip
        placing = data.StructLayout(fields)
        m.submodules.placings = placings = StreamFifo(placing, config.lane_rows)
        fire = row_valid & placings.i.ready
        taken = Signal(lanes)
        takes: list[list] = [[] for _ in range(lanes)]  # one-hot: the queue that takes the lane's key
        requests = []
        for b in range(banks):
            wants = Signal(lanes, name=f"wants_{b}")
            m.d.comb += wants.eq(Cat(pending[lane] & (keys[lane][:bank_bits] == b) for lane in range(lanes)))
            picks = []
            left: Value = wants
            for n in range(ports):
                pick = Signal(lanes, name=f"pick_{b}_{n}")
                m.d.comb += pick.eq(first_set(left))
                picks.append(pick)
                left = left & ~pick
            first = self._turn(m, Mux(fire, count_ones(pick.any() for pick in picks), 0), f"first_{b}")
            # Turned, so that pick n goes to queue first + n.
            queues = []
            for port in range(ports):
                turned = Signal(lanes, name=f"queue_{b}_{port}_takes")
                for start in range(ports):
                    with m.If(first == start):
                        m.d.comb += turned.eq(picks[(port - start) % ports])
                m.submodules[f"request_{b}_{port}"] = queue = StreamFifo(request_layout, config.lane_rows)
                m.d.comb += [
                    queue.i.valid.eq(fire & turned.any()),
                    queue.i.p.rest.eq(one_hot_mux(turned, [key[bank_bits:] for key in keys])),
                ]
                if config.rehearses:
                    m.d.comb += [queue.i.p.train.eq(row.train), queue.i.p.shift.eq(row.shift)]
                queues.append(queue)
                for lane in range(lanes):
                    takes[lane].append(turned[lane])
            requests.append(queues)
        for lane in range(lanes):
            m.d.comb += [
                taken[lane].eq(Cat(takes[lane]).any()),
                placings.i.p.where[lane].eq(
                    one_hot_mux(takes[lane], [Const(n, queue_bits) for n in range(banks * ports)])
                ),
            ]
            if config.lane_filter:
                m.d.comb += [
                    placings.i.p.known[lane].eq(known[lane]),
                    placings.i.p.answers[lane].eq(answers[lane]),
                    placings.i.p.keys[lane].eq(keys[lane]),
                ]
        last = (pending & ~taken) == 0
        m.d.comb += [
            placings.i.valid.eq(row_valid),
            placings.i.p.taken.eq(taken),
            placings.i.p.count.eq(count_ones(present)),
            placings.i.p.last.eq(last),
            self.rows.ready.eq(~row_valid | (fire & last)),
        ]
        for lane in reversed(range(lanes)):
            with m.If(present[lane]):
                m.d.comb += placings.i.p.offset.eq(lane)
        if config.rehearses:
            m.d.comb += [placings.i.p.train.eq(row.train), placings.i.p.first.eq(row.first)]
        with m.If(self.rows.ready):
            m.d.sync += [row_valid.eq(self.rows.valid), row.eq(self.rows.p), placed.eq(0)]
        with m.Elif(fire):
            m.d.sync += placed.eq(placed | taken)
        m.d.comb += [self.holds.eq(row_valid), self.moves.eq(fire), self.split.eq(~last)]
        m.d.sync += self.filtered.eq(Mux(fire & last, count_ones(known), 0))

        # Banks: each serves its queues in turn.
        heads = []  # [bank][port]: (valid, result, what takes it)
        for b in range(banks):
            request = self.banks[b]
            head = Signal(request_layout, name=f"head_{b}")
            have = Signal(name=f"have_{b}")
            turn = self._turn(m, have, f"turn_{b}")
            answer = self._turn(m, request.r_valid, f"answer_{b}")
            for port, queue in enumerate(requests[b]):
                with m.If(turn == port):
                    m.d.comb += [head.eq(queue.o.p), have.eq(queue.o.valid), queue.o.ready.eq(1)]
            m.d.comb += [
                request.valid.eq(have),
                request.learn.eq(head.train if config.rehearses else self.learning),
                request.shift.eq(head.shift if config.rehearses else 0),
                request.set.eq(head.rest),
                request.tag.eq(head.rest[config.index_bits - bank_bits :]),
            ]
            results = []
            for port in range(ports):
                m.submodules[f"result_{b}_{port}"] = queue = StreamFifo(result, config.lane_rows)
                m.d.comb += [
                    queue.i.valid.eq(request.r_valid & (answer == port)),
                    queue.i.p.hit.eq(request.r_hit),
                    queue.i.p.slot.eq(request.r_slot),
                ]
                results.append(queue)
            heads.append(results)

        # Collecting: the oldest placing leaves when all its results are there.
        oldest = placings.o.p
        have_lane = Signal(lanes)
        found = [Signal(result, name=f"found_{lane}") for lane in range(lanes)]
        flat = [heads[b][port] for b in range(banks) for port in range(ports)]
        from_queue = []
        for lane in range(lanes):
            mine = Signal(banks * ports, name=f"collect_{lane}")
            m.d.comb += mine.eq(Mux(oldest.taken[lane], Const(1, 1) << oldest.where[lane], 0))
            from_queue.append(mine)
            m.d.comb += [
                have_lane[lane].eq(~oldest.taken[lane] | (mine & Cat(queue.o.valid for queue in flat)).any()),
                found[lane].as_value().eq(one_hot_mux(mine, [queue.o.p.as_value() for queue in flat])),
            ]
        leave = Signal()
        step = ~self.results.valid | self.results.ready
        m.d.comb += [
            leave.eq(placings.o.valid & have_lane.all() & step),
            placings.o.ready.eq(have_lane.all() & step),
        ]
        for n, queue in enumerate(flat):
            m.d.comb += queue.o.ready.eq(leave & Cat(mine[n] for mine in from_queue).any())
        with m.If(step):
            m.d.sync += [
                self.results.valid.eq(leave & oldest.last),
                self.results.p.count.eq(oldest.count),
                self.results.p.offset.eq(oldest.offset),
            ]
            if config.rehearses:
                m.d.sync += [self.results.p.train.eq(oldest.train), self.results.p.first.eq(oldest.first)]
        with m.If(leave):
            for lane in range(lanes):
                with m.If(oldest.taken[lane]):
                    m.d.sync += self.results.p.lanes[lane].eq(found[lane])
                if config.lane_filter:
                    with m.Elif(oldest.known[lane]):
                        m.d.sync += self.results.p.lanes[lane].eq(oldest.answers[lane])
        if config.lane_filter:
            self._remember(m, leave, oldest, found)
        return m

    def _turn(self, m: Module, step: Value, name: str) -> Value:
        """Counts by ``step`` modulo ``ports``."""
        if self.ports == 1:
            return Const(0, 1)
        turn = Signal(range(self.ports), name=name)
        m.d.sync += turn.eq(turn + step)
        return turn

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
