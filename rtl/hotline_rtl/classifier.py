"""From record beats to classified record beats: lanes, crossbar and tracker banks.

    dispatcher -> permutation -> crossbar <-> tracker banks
         |                          |
         +--- beats that wait --> merger ->

Up to ``lanes`` tracked accesses per cycle. While no mini-batch is inside, the hot-list engine may use
the banks through the ``port_*`` members.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .crossbar import Crossbar
from .dispatcher import Dispatcher
from .fifo import StreamFifo
from .keys import Permutation
from .layouts import beat_layout
from .merger import Merger
from .tracker import BankOp, TrackerBank, line_layout
from .words import count_ones


class Classifier(wiring.Component):
    """Members
    -------
    start : In(1)
        Begins a mini-batch; nothing is inside.
    learning : In(1)
        Accesses train the tracker; otherwise it stays as it is.
    i, o : streams of beat_layout
        ``mask``: tracked accesses in, cold accesses out.
    hits : Out(32)
        Tracked accesses that were hot, since ``start``.
    port_valid, port_all, port_op, port_set, port_line : In
        A request of the hot-list engine: for the set ``port_set`` of all the tracker, or, with
        ``port_all``, for that set number of every bank. Two cycles later ``port_r_line`` is the line.
    requests, evictions, blocked : Out
        This cycle's numbers, for the performance counters.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "learning": In(1),
            "i": In(stream.Signature(beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "hits": Out(32),
            "port_valid": In(1), "port_all": In(1), "port_op": In(2), "port_set": In(config.set_bits),
            "port_line": In(line_layout(config)), "port_r_line": Out(line_layout(config)),
            "requests": Out(range(config.banks + 1)), "evictions": Out(range(config.banks + 1)),
            "blocked": Out(range(config.lanes + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.dispatcher = dispatcher = Dispatcher(config)
        m.submodules.permutation = permutation = Permutation(config, config.lanes, config.lanes)
        m.submodules.crossbar = crossbar = Crossbar(config)
        m.submodules.merger = merger = Merger(config)
        # Deep enough for the beats whose accesses fill permutation, lanes and banks.
        waiting_depth = max(16, 2 * config.lane_queue)
        m.submodules.waiting = waiting = StreamFifo(beat_layout(config), waiting_depth)

        wiring.connect(m, wiring.flipped(self.i), dispatcher.i)
        wiring.connect(m, dispatcher.keys, permutation.i)
        wiring.connect(m, permutation.o, crossbar.i)
        wiring.connect(m, dispatcher.waiting, waiting.i)
        wiring.connect(m, waiting.o, merger.i)
        wiring.connect(m, merger.o, wiring.flipped(self.o))
        m.d.comb += [
            dispatcher.start.eq(self.start),
            crossbar.start.eq(self.start),
            merger.start.eq(self.start),
            crossbar.learning.eq(self.learning),
            self.hits.eq(merger.hits),
            self.blocked.eq(crossbar.blocked),
        ]
        for lane in range(config.lanes):
            wiring.connect(m, crossbar.results[lane], merger.results[lane])

        banks = []
        port_bank = self.port_set[: config.bank_bits]
        for b in range(config.banks):
            m.submodules[f"bank_{b}"] = bank = TrackerBank(config)
            banks.append(bank)
            lane_side = crossbar.banks[b]
            port_mine = self.port_valid & (self.port_all | (port_bank == b))
            m.d.comb += [
                bank.valid.eq(lane_side.valid | port_mine),
                bank.op.eq(Mux(self.port_valid, self.port_op, Mux(self.learning, BankOp.LEARN, BankOp.LOOKUP))),
                bank.set.eq(
                    Mux(
                        self.port_valid,
                        Mux(self.port_all, self.port_set, self.port_set[config.bank_bits :]),
                        lane_side.set,
                    )
                ),
                bank.tag.eq(lane_side.tag),
                bank.lane.eq(lane_side.lane),
                bank.line.eq(self.port_line),
                lane_side.r_hit.eq(bank.r_hit),
                lane_side.r_way.eq(bank.r_way),
                lane_side.r_lane.eq(bank.r_lane),
            ]
            # A response to the hot-list engine is none of the lanes' business.
            from_port = Signal(2, name=f"from_port_{b}")
            m.d.sync += from_port.eq(Cat(self.port_valid, from_port[0]))
            m.d.comb += lane_side.r_valid.eq(bank.r_valid & ~from_port[1])
        bank_asked = Signal(2 * max(1, config.bank_bits))
        m.d.sync += bank_asked.eq(Cat(port_bank, bank_asked)[: len(bank_asked)])
        answering = bank_asked[config.bank_bits : 2 * config.bank_bits]
        m.d.comb += self.port_r_line.eq(Array(bank.r_line.as_value() for bank in banks)[answering])
        m.d.sync += [
            self.requests.eq(count_ones(crossbar.banks[b].valid for b in range(config.banks))),
            self.evictions.eq(count_ones(bank.r_valid & bank.r_evicted for bank in banks)),
        ]
        return m
