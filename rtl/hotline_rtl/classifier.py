"""From record beats to classified record beats: lanes, crossbar and tracker banks.

    packer -> permutation -> rehearsal -> crossbar <-> tracker banks
       |                                     |
       +-------- beats that wait -------> merger ->

Up to ``lanes`` tracked accesses per cycle; where the policy rehearses, half as many while learning. While no
mini-batch is inside, the hot-list engine may use the banks through the ``port_*`` members.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .crossbar import Crossbar
from .fifo import StreamFifo
from .fork import fork
from .keys import Permutation
from .layouts import beat_layout
from .merger import Merger
from .packer import Packer
from .rehearsal import Rehearsal
from .repeated import Repeated
from .tracker import BankOp, TrackerBank, hot_line_layout, line_layout, sweep_bits
from .words import count_ones, delayed, is_one_of, no_reset, one_hot_mux


def port_set_bits(config: AcceleratorConfig) -> int:
    """Bits of the number that the hot-list engine gives with a request."""
    return max(config.set_bits, sweep_bits(config))


def port_layout(config: AcceleratorConfig) -> dict:
    """Members of the hot-list engine's port by name, without ``port_``: (shape, comes from the engine)."""
    port: dict = {
        "valid": (1, True), "op": (BankOp, True), "set": (port_set_bits(config), True),
        "line": (line_layout(config), True), "r_valid": (1, False), "r_line": (line_layout(config), False),
    }  # fmt: skip
    if config.shadow:
        port |= {"tag": (config.tag_bits, True), "r_hot_line": (hot_line_layout(config), False), "r_hit": (1, False)}
    return port


def connect_port(m: Module, config: AcceleratorConfig, engine, classifier) -> None:
    """Connects the hot-list ``engine``'s port to the ``classifier``'s; requests arrive a cycle later."""
    for name, (shape, comes) in port_layout(config).items():
        ours, theirs = getattr(classifier, f"port_{name}"), getattr(engine, f"port_{name}")
        if comes:
            request = Signal(shape, name=f"port_{name}", reset_less=name != "valid")
            m.d.sync += request.eq(theirs)
            m.d.comb += ours.eq(request)
        else:
            m.d.comb += theirs.eq(ours)


class Classifier(wiring.Component):
    """Members
    -------
    start : In(1)
        Begins a mini-batch; nothing is inside, but for what came ahead.
    learning : In(1)
        Accesses train the tracker; otherwise it stays as it is.
    i, o : streams of beat_layout
        ``mask``: tracked accesses in, cold accesses out. Beats behind a mini-batch's ``end`` are of the next one, and come out
        after its ``start``.
    hold : In(1)
        Accesses that come are of the next mini-batch, and wait for its ``start``. Begins only while none is ``coming``.
    coming : Out(1)
        Accesses are on their way to the lanes.
    hits : Out(32)
        Tracked accesses that were hot, since ``start``.
    port_valid, port_op, port_set, port_line, port_tag : In
        A request of the hot-list engine: for the set ``port_set`` of all the tracker, or, to CLEAR and to HALVE, for
        that number in every bank. A READ or FIND is answered by ``port_r_valid``; ``port_r_line``, ``port_r_hot_line`` and
        ``port_r_hit`` stay until the next answer. (Tag, hot line and hit only with a shadow.)
    more : In(1)
        Beats of the mini-batch are still to come; of the next one, while ``hold``.
    busy : Out(1)
        Some of what came was still to be learnt a cycle ago.
    requests, evictions, filtered, lane_cycles, lane_rows, stall_banks, stall_input, stall_output : Out
        This cycle's numbers, for the performance counters of the same names.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "learning": In(1),
            "i": In(stream.Signature(beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "hold": In(1), "coming": Out(1), "hits": Out(32),
            **{f"port_{name}": (In if comes else Out)(shape) for name, (shape, comes) in port_layout(config).items()},
            "requests": Out(range(config.banks + 1)), "evictions": Out(range(config.banks + 1)),
            "filtered": Out(range(config.lanes + 1)), "more": In(1), "busy": Out(1),
            "lane_cycles": Out(1), "lane_rows": Out(1),
            "stall_banks": Out(1), "stall_input": Out(1), "stall_output": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.packer = packer = Packer(config)
        row_extra = len(packer.rows.p.extra)
        m.submodules.permutation = permutation = Permutation(config, config.lanes, row_extra)
        m.submodules.crossbar = crossbar = Crossbar(config)
        m.submodules.merger = merger = Merger(config, 4 * config.lane_rows)
        # Deep enough for the beats whose accesses fill packer, permutation, crossbar and banks.
        m.submodules.waiting = waiting = StreamFifo(beat_layout(config), 4 * config.lane_rows)

        fork(m, self.i, [packer.i, waiting.i, merger.masks])
        m.d.comb += [packer.i.p.eq(self.i.p), waiting.i.p.eq(self.i.p), merger.masks.p.eq(self.i.p.mask)]
        wiring.connect(m, packer.rows, permutation.i)
        halve, number = Const(0, 1), Const(0, 1)
        rows = stream.Signature(permutation.o.p.shape()).create()
        expected = delayed(m, (self.more | packer.busy | permutation.busy) & ~self.hold)  # rows of this mini-batch
        m.d.comb += [
            rows.p.eq(permutation.o.p),
            rows.valid.eq(permutation.o.valid & ~self.hold),
            permutation.o.ready.eq(rows.ready & ~self.hold),
            self.coming.eq(packer.busy | permutation.busy | crossbar.holds),
        ]
        if config.rehearses:
            m.submodules.rehearsal = rehearsal = Rehearsal(config)
            wiring.connect(m, rows, rehearsal.i)
            wiring.connect(m, rehearsal.o, crossbar.rows)
            wiring.connect(m, crossbar.results, rehearsal.results)
            wiring.connect(m, rehearsal.r, merger.results)
            m.d.comb += [
                rehearsal.learning.eq(self.learning),
                rehearsal.ended.eq(~expected),
                rehearsal.forget.eq(delayed(m, self.port_valid & (self.port_op == BankOp.CLEAR))),
                rehearsal.halve_pressure.eq(
                    delayed(m, self.port_valid & (self.port_op == BankOp.HALVE) & (self.port_set == 0))
                ),
                self.busy.eq(rehearsal.busy),
            ]
            halve, number = rehearsal.halve, rehearsal.number
        else:
            m.d.comb += [
                crossbar.rows.valid.eq(rows.valid),
                rows.ready.eq(crossbar.rows.ready),
                Cat(crossbar.rows.p.keys).eq(Cat(rows.p.keys)),
                crossbar.rows.p.present.eq(rows.p.extra),
            ]
            wiring.connect(m, crossbar.results, merger.results)
        # Behind the last beat of a mini-batch, the next one's wait.
        open_ = Signal()
        m.d.comb += [
            merger.i.valid.eq(waiting.o.valid & open_),
            merger.i.p.eq(waiting.o.p),
            waiting.o.ready.eq(merger.i.ready & open_),
        ]
        with m.If(merger.i.valid & merger.i.ready):
            m.d.sync += open_.eq(~merger.i.p.end)
        with m.If(self.start):
            m.d.sync += open_.eq(1)
        wiring.connect(m, merger.o, wiring.flipped(self.o))
        m.d.comb += [
            crossbar.start.eq(self.start),
            merger.start.eq(self.start),
            crossbar.learning.eq(self.learning),
            self.hits.eq(merger.hits),
            self.filtered.eq(crossbar.filtered),
        ]

        tracker_banks = Repeated("tracker_bank", lambda: TrackerBank(config), platform)
        banks = []
        port_bank = self.port_set[: config.bank_bits]
        sweeps = is_one_of(self.port_op, BankOp.CLEAR, BankOp.HALVE)
        brings = self.port_valid & is_one_of(self.port_op, BankOp.WRITE, BankOp.SWAP)
        for b in range(config.banks):
            bank = tracker_banks.add(m, f"bank_{b}")
            banks.append(bank)
            lane_side = crossbar.banks[b]
            request = lane_side.o.p
            port_mine = self.port_valid & (sweeps | (port_bank == b))
            m.d.comb += [
                bank.i.valid.eq(lane_side.o.valid | port_mine | halve),
                lane_side.o.ready.eq(bank.i.ready),
                bank.i.p.tag.eq(request.rest[config.index_bits - config.bank_bits :]),
                bank.i.p.lane.eq(request.lane),
                bank.line.eq(self.port_line),
                bank.brings.eq(brings & (port_bank == b)),
                lane_side.r_valid.eq(bank.r_valid),
                lane_side.r_lane.eq(bank.r_lane),
                lane_side.r_hit.eq(bank.r_hit),
                lane_side.r_slot.eq(Cat(bank.r_way, Const(b, config.bank_bits), bank.r_set)),
            ]
            train: Value = request.train if config.rehearses else self.learning
            if config.rehearses:
                m.d.comb += bank.i.p.shift.eq(request.shift)
            with m.If(self.port_valid):
                m.d.comb += [
                    bank.i.p.op.eq(self.port_op),
                    bank.i.p.set.eq(Mux(sweeps, self.port_set, self.port_set[config.bank_bits :])),
                ]
                if config.shadow:
                    m.d.comb += bank.i.p.tag.eq(self.port_tag)
            with m.Elif(halve):
                m.d.comb += [bank.i.p.op.eq(BankOp.HALVE), bank.i.p.set.eq(number)]
            with m.Else():
                m.d.comb += [
                    bank.i.p.op.eq(Mux(train, BankOp.LEARN, Mux(self.learning, BankOp.REHEARSE, BankOp.LOOKUP))),
                    bank.i.p.set.eq(request.rest[: config.index_bits - config.bank_bits]),
                ]
        answering = [bank.r_port for bank in banks]
        names = ("r_line", "r_hot_line", "r_hit") if config.shadow else ("r_line",)
        m.d.sync += self.port_r_valid.eq(Cat(answering).any())
        with m.If(Cat(answering).any()):
            for name in names:
                no_reset(getattr(self, f"port_{name}"))
                of_banks = [Value.cast(getattr(bank, name)) for bank in banks]
                m.d.sync += Value.cast(getattr(self, f"port_{name}")).eq(one_hot_mux(answering, of_banks))
        # Where the lanes' cycles go, from a mini-batch's first row to its last. Lanes that have run ahead, and wait for the next
        # one to begin, are between the two.
        within = Signal()
        m.d.sync += within.eq(
            (within | crossbar.holds) & (expected | self.busy | (crossbar.holds & ~crossbar.rows.ready))
        )
        window = (within | crossbar.holds) & (open_ | crossbar.moves | self.busy)
        full = crossbar.holds & ~crossbar.moves  # as many rows as there may be are under way
        waits = self.o.valid & ~self.o.ready
        m.d.sync += [
            self.lane_cycles.eq(window),
            self.lane_rows.eq(window & crossbar.moves),
            self.stall_output.eq(window & ~crossbar.moves & waits),
            self.stall_banks.eq(window & full & ~waits),
            self.stall_input.eq(window & ~crossbar.holds & ~waits),
        ]
        m.d.sync += [
            self.requests.eq(count_ones(delayed(m, bank.o.valid & bank.o.ready) for bank in crossbar.banks)),
            self.evictions.eq(count_ones(bank.evicted for bank in banks)),
        ]
        return m
