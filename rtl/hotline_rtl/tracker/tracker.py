"""The hot-entry tracker: all its banks, for the lanes and for the hot-list engine.

Each bank takes one request per cycle; 7 cycles from a request to its response (``hotline_rtl.tracker.bank``). A request of
the hot-list engine takes a cycle more, and its answer another. The golden twin is ``hotline_golden.tracker.tracker``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.tracker import BankOp, BankSignature, LanesSignature, PortSignature
from ..lib.logic import count_ones, delayed, is_one_of, one_hot_mux, without_reset
from ..lib.shared_module import SharedModule
from .bank import TrackerBank


class Tracker(wiring.Component):
    """Members
    -------
    lanes : In(LanesSignature), banks : In(BankSignature).array(banks)
        Accesses.
    port : In(PortSignature)
        Requests of the hot-list engine.
    requests, evictions : Out
        This cycle's numbers, for the performance counters of the same names.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "lanes": In(LanesSignature(config)), "banks": In(BankSignature(config)).array(config.banks),
            "port": In(PortSignature(config)),
            "requests": Out(range(config.banks + 1)), "evictions": Out(range(config.banks + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        port, request = self.port, {}
        for name, member in port.signature.members.items():
            if member.flow == In:  # from the engine, which lies far away
                request[name] = Signal(member.shape, name=f"port_{name}", reset_less=name != "valid")
                m.d.sync += request[name].eq(getattr(port, name))
        valid, op, set_ = request["valid"], request["op"], request["set"]
        m.d.sync += [
            self.lanes.cleared.eq(valid & (op == BankOp.CLEAR)),
        ]

        tracker_banks = SharedModule("tracker_bank", lambda: TrackerBank(config), platform)
        banks = []
        of_bank = set_[: config.bank_bits]
        sweeps = is_one_of(op, BankOp.CLEAR, BankOp.HALVE, BankOp.FORGET)
        brings = valid & is_one_of(op, BankOp.WRITE, BankOp.SWAP)
        for b in range(config.banks):
            bank = tracker_banks.add(m, f"bank_{b}")
            banks.append(bank)
            side = self.banks[b]
            access = side.o.p
            m.d.comb += [
                bank.i.valid.eq(side.o.valid | (valid & (sweeps | (of_bank == b))) | self.lanes.halve),
                side.o.ready.eq(bank.i.ready),
                bank.i.p.tag.eq(access.rest[config.index_bits - config.bank_bits :]),
                bank.i.p.lane.eq(access.lane),
                bank.line.eq(request["line"]),
                bank.brings.eq(brings & (of_bank == b)),
                side.r_valid.eq(bank.r_valid),
                side.r_lane.eq(bank.r_lane),
                side.r_hit.eq(bank.r_hit),
                side.r_slot.eq(Cat(bank.r_way, Const(b, config.bank_bits), bank.r_set)),
            ]
            train: Value = access.train if config.scores_samples else self.lanes.learning
            lookup = Value.cast(BankOp.LOOKUP)
            if config.scores_samples:
                m.d.comb += bank.i.p.shift.eq(access.shift)
            if config.shadow:
                lookup = Mux(access.follow, BankOp.FOLLOW, BankOp.LOOKUP)
            if config.forgets:
                m.d.comb += bank.least.eq(request["least"])
            with m.If(valid):
                m.d.comb += [bank.i.p.op.eq(op), bank.i.p.set.eq(Mux(sweeps, set_, set_[config.bank_bits :]))]
            with m.Elif(self.lanes.halve):
                m.d.comb += [bank.i.p.op.eq(BankOp.HALVE), bank.i.p.set.eq(self.lanes.number)]
            with m.Else():
                m.d.comb += [
                    bank.i.p.op.eq(Mux(train, BankOp.LEARN, Mux(self.lanes.learning, BankOp.SCORE, lookup))),
                    bank.i.p.set.eq(access.rest[: config.index_bits - config.bank_bits]),
                ]

        answering = [bank.r_port for bank in banks]
        names = ("r_line", "r_hot_line") if config.shadow else ("r_line",)
        m.d.sync += port.r_valid.eq(Cat(answering).any())
        for name in names:
            answer = without_reset(m, getattr(port, name))
            of_banks = [Value.cast(getattr(bank, name)) for bank in banks]
            with m.If(Cat(answering).any()):
                m.d.sync += Value.cast(answer).eq(one_hot_mux(answering, of_banks))
        if config.shadow:
            asked = [bank.r_marks for bank in banks]
            marks = without_reset(m, port.marks)
            m.d.sync += port.r_marks.eq(Cat(asked).any())
            with m.If(Cat(asked).any()):
                m.d.sync += marks.eq(one_hot_mux(asked, [bank.marks for bank in banks]))
        if config.forgets:
            # All banks answer a FORGET in the same cycle.
            m.d.sync += [
                port.r_forgot.eq(banks[0].r_forgot),
                port.forgotten.eq(count_ones(bank.forgotten for bank in banks)),
                port.misses.eq(count_ones(bank.missed for bank in banks)),
                port.halved.eq(self.lanes.halve & (self.lanes.number == 0)),
            ]
        m.d.sync += [
            self.requests.eq(count_ones(delayed(m, bank.o.valid & bank.o.ready) for bank in self.banks)),
            self.evictions.eq(count_ones(bank.evicted for bank in banks)),
        ]
        return m
