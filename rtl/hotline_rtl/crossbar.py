"""Lanes to tracker banks and back.

Each lane has a queue of accesses. Every cycle each bank takes the oldest lane head that wants it;
results return to their own lane, in order, because a bank answers after a fixed time.

While learning, accesses to one bank must take effect in trace order. Access ``n`` is in lane
``n mod lanes`` as its ``n // lanes``-th: so a head may go only when every older access that is still
queued is another lane's head, and wants another bank. A lookup changes nothing and need not wait.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .dispatcher import lane_keys_layout
from .fifo import StreamFifo
from .words import count_ones, one_hot_mux


def result_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What the tracker says of an access."""
    return data.StructLayout({"hit": 1, "slot": config.slot_bits})


class Crossbar(wiring.Component):
    """Members
    -------
    start : In(1)
        Access numbers begin at 0 again; nothing is queued.
    learning : In(1)
    i : In(stream of lane_keys_layout)
        Permuted keys.
    banks : Out(array)
        Requests ``valid``, ``set``, ``tag``, ``lane``; responses ``r_valid``, ``r_lane``, ``r_hit``,
        ``r_way``.
    results : Out(stream of result_layout).array(lanes)
    blocked : Out
        Lanes whose head had to wait in this cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        lane_bits = ceil_log2(config.lanes)
        bank = wiring.Signature({
            "valid": Out(1), "set": Out(config.set_bits - config.bank_bits), "tag": Out(config.tag_bits),
            "lane": Out(lane_bits),
            "r_valid": In(1), "r_lane": In(lane_bits), "r_hit": In(1), "r_way": In(range(config.tracker_ways)),
        })  # fmt: skip
        super().__init__({
            "start": In(1), "learning": In(1),
            "i": In(stream.Signature(lane_keys_layout(config))),
            "banks": Out(bank).array(config.banks),
            "results": Out(stream.Signature(result_layout(config))).array(config.lanes),
            "blocked": Out(range(config.lanes + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes, banks = config.lanes, config.banks
        bank_bits, set_bits = config.bank_bits, config.set_bits

        # Queues of the lanes: all take together, so that they fill in trace order.
        queues = []
        for lane in range(lanes):
            m.submodules[f"queue_{lane}"] = queue = StreamFifo(config.key_bits, config.lane_queue)
            queues.append(queue)
        m.d.comb += self.i.ready.eq(Cat(queue.i.ready for queue in queues).all())
        for lane, queue in enumerate(queues):
            m.d.comb += [
                queue.i.valid.eq(self.i.valid & self.i.ready & self.i.p.extra[lane]),
                queue.i.p.eq(self.i.p.keys[lane]),
            ]

        # Results: room for everything that a lane has asked for.
        outs = []
        may_ask = []
        go = [Signal(name=f"go_{lane}") for lane in range(lanes)]
        for lane in range(lanes):
            m.submodules[f"results_{lane}"] = out = StreamFifo(result_layout(config), config.lane_queue)
            outs.append(out)
            wiring.connect(m, out.o, wiring.flipped(self.results[lane]))
            asked = Signal(range(config.lane_queue + 1), name=f"asked_{lane}")
            m.d.sync += asked.eq(asked + go[lane] - (out.o.valid & out.o.ready))
            may_ask.append(asked != config.lane_queue)

        # Which heads may go.
        step = [Signal(3, name=f"step_{lane}") for lane in range(lanes)]
        wants = []  # one-hot bank
        for lane in range(lanes):
            want = Signal(banks, name=f"wants_{lane}")
            bank = queues[lane].o.p[:bank_bits]
            m.d.comb += want.eq(Mux(queues[lane].o.valid, Const(1, banks) << bank, 0))
            wants.append(want)
        ready = []
        for lane in range(lanes):
            in_order = Const(1, 1)
            for other in range(lanes):
                if other == lane:
                    continue
                ahead = Signal(3, name=f"ahead_{lane}_{other}")
                m.d.comb += ahead.eq(step[lane] - step[other])
                other_is_older = (ahead == 1) | ((ahead == 0) & Const(other < lane, 1))
                clash = (wants[lane] & wants[other]).any()
                # The second oldest access of `other` is older too, and its bank is not known. So no
                # lane is ever more than 2 ahead of another, and 3 bits tell the difference.
                too_far = (ahead == 1) & Const(other < lane, 1) | (ahead == 2)
                in_order = in_order & ~too_far & ~(other_is_older & clash)
            can = Signal(name=f"can_{lane}")
            m.d.comb += can.eq(queues[lane].o.valid & may_ask[lane] & (in_order | ~self.learning))
            ready.append(can)
        # Each bank takes one; the lane with priority rotates for lookups, and order decides in learning.
        grants: list[list] = [[] for _ in range(lanes)]
        for b in range(banks):
            asks = Signal(lanes, name=f"asks_{b}")
            grant = Signal(lanes, name=f"grant_{b}")
            m.d.comb += [
                asks.eq(Cat(ready[lane] & wants[lane][b] for lane in range(lanes))),
                grant.eq(asks & (~asks + 1)),
            ]
            head = one_hot_mux(grant, [queue.o.p for queue in queues])
            request = self.banks[b]
            m.d.comb += [
                request.valid.eq(grant.any()),
                request.set.eq(head[bank_bits:set_bits]),
                request.tag.eq(head[set_bits:]),
                request.lane.eq(one_hot_mux(grant, [Const(k, max(1, ceil_log2(lanes))) for k in range(lanes)])),
            ]
            for lane in range(lanes):
                grants[lane].append(grant[lane])
        for lane in range(lanes):
            m.d.comb += [go[lane].eq(Cat(grants[lane]).any()), queues[lane].o.ready.eq(go[lane])]
            with m.If(go[lane]):
                m.d.sync += step[lane].eq(step[lane] + 1)
            with m.If(self.start):
                m.d.sync += step[lane].eq(0)
        waits = count_ones(queues[lane].o.valid & ~go[lane] for lane in range(lanes))
        m.d.sync += self.blocked.eq(waits)

        # Results to their lanes. The set of a response travels beside the bank's two stages.
        bank_latency = 2
        slots = []
        for b in range(banks):
            set_index = self.banks[b].set
            for stage in range(bank_latency):
                delayed = Signal.like(self.banks[b].set, name=f"set_{b}_{stage}")
                m.d.sync += delayed.eq(set_index)
                set_index = delayed
            slots.append(Cat(self.banks[b].r_way, Const(b, bank_bits), set_index))
        for lane in range(lanes):
            mine = [self.banks[b].r_valid & (self.banks[b].r_lane == lane) for b in range(banks)]
            m.d.comb += [
                outs[lane].i.valid.eq(Cat(mine).any()),
                outs[lane].i.p.hit.eq(Cat(one & self.banks[b].r_hit for b, one in enumerate(mine)).any()),
                outs[lane].i.p.slot.eq(one_hot_mux(mine, slots)),
            ]
        return m
