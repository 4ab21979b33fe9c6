"""One bank of the hot-entry tracker: sets of (valid, tag, state) entries, a set in one memory word.

One request per cycle, always taken; latency 2 cycles from request to response. A request sees the
effect of every earlier one: the line written in the previous cycle is forwarded.

    cycle      0         1                      2
               request   line read, compared,   response
                         next line written

The golden twin is ``hotline_golden.tracker``.
"""

import enum

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .policies import POLICIES
from .ram import Ram


class BankOp(enum.IntEnum):
    """LOOKUP changes nothing; LEARN promotes or inserts; WRITE replaces the whole line."""

    LOOKUP = 0
    LEARN = 1
    WRITE = 2


def line_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A set: ``tracker_ways`` entries."""
    entry = data.StructLayout({"valid": 1, "tag": config.tag_bits, "state": config.policy_bits})
    return data.ArrayLayout(entry, config.tracker_ways)


def match_entries(line, tag: Value) -> Value:
    """One bit for each way: this entry is valid and holds ``tag``."""
    return Cat(entry.valid & (entry.tag == tag) for entry in line)


class TrackerBank(wiring.Component):
    """Members
    -------
    valid, op, set, tag, line : In
        A request. ``set`` counts within the bank; ``line`` is for WRITE.
    r_valid, r_hit, r_set, r_way, r_evicted : Out
        The response to LOOKUP or LEARN: ``r_hit`` is as it was before the request changed anything;
        ``r_evicted`` tells that a valid entry was replaced.
    r_line : Out
        The line as the request found it.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.set_bits = config.set_bits - config.bank_bits
        super().__init__({
            "valid": In(1), "op": In(2), "set": In(self.set_bits), "tag": In(config.tag_bits),
            "line": In(line_layout(config)),
            "r_valid": Out(1), "r_hit": Out(1), "r_set": Out(self.set_bits),
            "r_way": Out(range(config.tracker_ways)), "r_evicted": Out(1), "r_line": Out(line_layout(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        ways = config.tracker_ways
        policy = POLICIES[config.policy](config.policy_bits, ways)
        layout = line_layout(config)
        m.submodules.ram = ram = Ram(layout.size, 1 << self.set_bits)

        # Stage 1: the line arrives.
        s1_valid = Signal()
        s1_op = Signal(2)
        s1_set = Signal(self.set_bits)
        s1_tag = Signal(config.tag_bits)
        s1_line = Signal(layout)
        m.d.comb += [ram.r_en.eq(self.valid), ram.r_addr.eq(self.set)]
        m.d.sync += [
            s1_valid.eq(self.valid), s1_op.eq(self.op), s1_set.eq(self.set), s1_tag.eq(self.tag),
            s1_line.eq(self.line),
        ]  # fmt: skip

        written = Signal()  # in the previous cycle, to this set, this line
        written_set = Signal(self.set_bits)
        written_line = Signal(layout)
        line = Signal(layout)
        m.d.comb += line.eq(Mux(written & (written_set == s1_set), written_line, ram.r_data))

        match = Signal(ways)
        hit = Signal()
        m.d.comb += [match.eq(match_entries(line, s1_tag)), hit.eq(match.any())]
        valid = Cat(line[w].valid for w in range(ways))
        state = [line[w].state for w in range(ways)]
        promoted = policy.on_hit(m, state, match)
        victim, inserted = policy.on_miss(m, valid, state)
        learnt = Signal(layout)
        m.d.comb += learnt.eq(line)
        for w in range(ways):
            m.d.comb += learnt[w].state.eq(Mux(hit, promoted[w], inserted[w]))
            with m.If(~hit & victim[w]):
                m.d.comb += [learnt[w].valid.eq(1), learnt[w].tag.eq(s1_tag)]

        write = Signal()
        next_line = Signal(layout)
        m.d.comb += [
            write.eq(s1_valid & (s1_op != BankOp.LOOKUP)),
            next_line.eq(Mux(s1_op == BankOp.WRITE, s1_line, learnt)),
            ram.w_en.eq(write),
            ram.w_addr.eq(s1_set),
            ram.w_data.eq(next_line),
        ]
        m.d.sync += [written.eq(write), written_set.eq(s1_set), written_line.eq(next_line)]

        # Stage 2: the response.
        m.d.sync += [
            self.r_valid.eq(s1_valid & (s1_op != BankOp.WRITE)),
            self.r_set.eq(s1_set),
            self.r_hit.eq(hit),
            self.r_evicted.eq((s1_op == BankOp.LEARN) & ~hit & valid.all()),
            self.r_line.eq(line),
        ]
        for w in range(ways):
            with m.If(match[w]):
                m.d.sync += self.r_way.eq(w)
        return m
