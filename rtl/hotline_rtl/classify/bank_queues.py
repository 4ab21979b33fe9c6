"""What the crossbar has for one bank: a queue of requests and a queue of results for each lane, and whose turn it is.

The bank takes the keys of a row lane by lane, so it serves its keys in trace order. One key per cycle; latency 3 cycles from a
key that is put to the bank.
"""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..interfaces.tracker import BankSignature, result_layout
from ..lib.fifo import StreamFifo
from ..lib.logic import first_set, one_hot_mux
from ..lib.register_slice import RegisterSlice
from ..lib.shared_module import SharedModule


def queued_request_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A request for a bank in a lane's queue: as the bank gets it, without the lane's number."""
    request = BankSignature(config).request
    return data.StructLayout({name: field.shape for name, field in request if name != "lane"})


class BankQueues(wiring.Component):
    """``request_queues``, ``result_queues``: what makes the queues, StreamFifos of ``lane_rows`` payloads.

    Members
    -------
    turn : In(1)
        The row that is put has keys for this bank: those of the lanes ``put``.
    put : In(lanes), keys : In(array)
        Keys that are put into the queues, without the bank's number. Only as many as there is room for.
    train, shift : In
        With the keys, where the policy scores samples.
    follow : In(lanes)
        With the keys, with a shadow: they are looked up and learnt.
    bank : Out(BankSignature)
    results : Out(stream of result_layout).array(lanes)
        What the bank has said of each lane's keys, in order.
    """

    def __init__(self, config: AcceleratorConfig, request_queues: SharedModule, result_queues: SharedModule):
        self.config = config
        self.request_queues, self.result_queues = request_queues, result_queues
        rest = config.key_bits - config.bank_bits
        super().__init__({
            "turn": In(1), "put": In(config.lanes), "keys": In(data.ArrayLayout(rest, config.lanes)),
            **({"train": In(1), "shift": In(SHIFT_BITS)} if config.scores_samples else {}),
            **({"follow": In(config.lanes)} if config.shadow else {}),
            "bank": Out(BankSignature(config)), "results": Out(stream.Signature(result_layout(config))).array(config.lanes),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, bank = self.config, self.bank
        lanes = config.lanes
        m.submodules.turns = turns = StreamFifo(lanes, config.lane_rows, reserved=True)
        m.submodules.slice = out = RegisterSlice(bank.o.p.shape())
        wiring.connect(m, out.o, wiring.flipped(bank.o))
        left, lane_now = Signal(lanes), Signal(lanes)  # lanes of the row being served; the one whose turn it is
        more = left & ~lane_now
        serves = out.i.valid & out.i.ready
        m.d.comb += [
            turns.i.valid.eq(self.turn),
            turns.i.p.eq(self.put),
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
            queue = self.request_queues.add(m, f"request_{lane}")
            m.d.comb += [
                queue.i.valid.eq(self.put[lane]),
                queue.i.p.rest.eq(self.keys[lane]),
                queue.o.ready.eq(lane_now[lane] & serves),
            ]
            if config.scores_samples:
                m.d.comb += [queue.i.p.train.eq(self.train), queue.i.p.shift.eq(self.shift)]
            if config.shadow:
                m.d.comb += queue.i.p.follow.eq(self.follow[lane])
            requests.append(queue.o.p)
            queue = self.result_queues.add(m, f"result_{lane}")
            result = self.results[lane]
            m.d.comb += [
                queue.i.valid.eq(bank.r_valid & (bank.r_lane == lane)),
                queue.i.p.hit.eq(bank.r_hit),
                queue.i.p.slot.eq(bank.r_slot),
                result.valid.eq(queue.o.valid),
                result.p.eq(queue.o.p),
                queue.o.ready.eq(result.ready),
            ]
        for name, _ in requests[0].shape():
            m.d.comb += getattr(out.i.p, name).eq(one_hot_mux(lane_now, [getattr(r, name) for r in requests]))
        m.d.comb += out.i.p.lane.eq(one_hot_mux(lane_now, [Const(n, len(out.i.p.lane)) for n in range(lanes)]))
        return m
