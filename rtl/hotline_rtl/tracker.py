"""One bank of the hot-entry tracker: sets of (valid, tag, state) entries, a set in one memory word.

The bank has a RAM for each array of the tracker; a key may live in one set of each, and all of them are
read at once. One request per cycle, always taken; latency 3 cycles from request to response. A request
sees the effect of every earlier one: lines and cells written in the previous cycle are forwarded.

    cycle      0         1              2                      3
               request   hashed to      lines read, compared,   response
                         sets, cells    next lines written

The golden twin is ``hotline_golden.tracker``.
"""

import enum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .layouts import SHIFT_BITS
from .placement import cell_place, twist
from .policies import POLICIES
from .ram import Ram
from .sketch import Sketch
from .words import is_one_of

#: Cycles from request to response.
BANK_LATENCY = 3


class BankOp(enum.IntEnum):
    """LOOKUP finds a key in the hot set, LEARN trains with it, REHEARSE finds it where LEARN would. READ gives the line of
    a set, WRITE replaces it. CLEAR empties, and HALVE halves the counters of, set and sketch word of one number in all
    arrays. FIND is a LOOKUP of the hot-list engine, SWAP its WRITE to the hot set alone, where that is apart."""

    LOOKUP = 0
    LEARN = 1
    READ = 2
    WRITE = 3
    CLEAR = 4
    HALVE = 5
    REHEARSE = 6
    FIND = 7
    SWAP = 8


def line_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A set: ``tracker_ways`` entries."""
    entry = data.StructLayout({"valid": 1, "tag": config.tag_bits, "state": config.state_bits})
    return data.ArrayLayout(entry, config.tracker_ways)


def hot_line_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A set of the hot set, where that is apart from what is learnt."""
    return data.ArrayLayout(data.StructLayout({"valid": 1, "tag": config.tag_bits}), config.tracker_ways)


def match_entries(line, tag: Value) -> Value:
    """One bit for each way: this entry is valid and holds ``tag``."""
    return Cat(entry.valid & (entry.tag == tag) for entry in line)


def sweep_bits(config: AcceleratorConfig) -> int:
    """Bits that number all sets, and all sketch words, of one array in a bank."""
    sketch = config.sketch_word_bits if config.has_sketch else 0
    return max(config.index_bits, sketch) - config.bank_bits


def bank_set_bits(config: AcceleratorConfig) -> int:
    """Bits of a bank's ``set`` member."""
    return max(config.set_bits - config.bank_bits, sweep_bits(config))


class TrackerBank(wiring.Component):
    """Members
    -------
    valid, op, set, tag, shift, line : In
        A request. ``set`` counts within the bank: for LOOKUP, FIND, REHEARSE and LEARN the key's set in array 0;
        for READ, WRITE and SWAP through all arrays; for CLEAR and HALVE it numbers sets and sketch words alike. ``shift``:
        by how much the weight of an access that is learnt is shifted down. ``line`` is for WRITE and SWAP.
    r_valid, r_hit, r_set, r_way, r_evicted : Out
        The response to LOOKUP or LEARN: ``r_hit`` is as it was before the request changed anything; ``r_set``
        counts through all arrays; ``r_evicted`` tells that a valid entry was replaced.
    r_line, r_hot_line : Out
        The response to READ; ``r_hot_line`` only with a shadow.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        members: dict = {
            "valid": In(1), "op": In(BankOp), "set": In(bank_set_bits(config)), "tag": In(config.tag_bits),
            "shift": In(SHIFT_BITS), "line": In(line_layout(config)),
            "r_valid": Out(1), "r_hit": Out(1), "r_set": Out(config.set_bits - config.bank_bits),
            "r_way": Out(range(config.tracker_ways)), "r_evicted": Out(1), "r_line": Out(line_layout(config)),
        }  # fmt: skip
        if config.shadow:
            members["r_hot_line"] = Out(hot_line_layout(config))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        ways, arrays = config.tracker_ways, config.tracker_arrays
        address_bits = config.index_bits - config.bank_bits
        policy = POLICIES[config.policy](config.state_bits, arrays * ways)
        layout = line_layout(config)

        # Cycle 1: hashing. Keys go to a set of each array, everything else to the one that it names.
        valid_1, op_1, shift_1 = Signal(), Signal(BankOp), Signal(SHIFT_BITS)
        set_1, tag_1, line_1 = Signal.like(self.set), Signal(config.tag_bits), Signal(layout)
        m.d.sync += [
            valid_1.eq(self.valid), op_1.eq(self.op), set_1.eq(self.set), tag_1.eq(self.tag),
            shift_1.eq(self.shift), line_1.eq(self.line),
        ]  # fmt: skip
        by_key = is_one_of(op_1, BankOp.LOOKUP, BankOp.LEARN, BankOp.REHEARSE, BankOp.FIND)
        index = set_1[:address_bits]
        addresses = []
        for a in range(arrays):
            address = Signal(address_bits, name=f"address_{a}")
            own = twist(config, a, tag_1)[config.bank_bits :]
            m.d.comb += address.eq(index ^ Mux(by_key, own, 0))
            addresses.append(address)
        sweeps = (op_1 == BankOp.CLEAR) | (op_1 == BankOp.HALVE)
        named = set_1[address_bits:] if len(set_1) > address_bits else Const(0)  # the array, for READ and WRITE
        line_swept = (named == 0) | ~sweeps

        # Cycle 2: lines arrive.
        valid_2, op_2, shift_2 = Signal(), Signal(BankOp), Signal(SHIFT_BITS)
        tag_2, line_2 = Signal(config.tag_bits), Signal(layout)
        named_2, line_swept_2 = Signal(range(max(2, arrays))), Signal()
        m.d.sync += [
            valid_2.eq(valid_1), op_2.eq(op_1), shift_2.eq(shift_1), tag_2.eq(tag_1), line_2.eq(line_1),
            named_2.eq(named), line_swept_2.eq(line_swept),
        ]  # fmt: skip
        rams, sets, lines = [], [], []
        for a in range(arrays):
            m.submodules[f"ram_{a}"] = ram = Ram(layout.size, 1 << address_bits)
            at = Signal(address_bits, name=f"set_{a}")
            line = Signal(layout, name=f"line_{a}")
            m.d.comb += [ram.r_en.eq(valid_1), ram.r_addr.eq(addresses[a])]
            m.d.sync += at.eq(addresses[a])
            rams.append(ram)
            sets.append(at)
            lines.append(line)
        entries = [line[w] for line in lines for w in range(ways)]
        looked_at = self._hot_lines(m, lines, addresses, valid_1, valid_2, op_2, named_2, sets, line_2, line_swept_2)
        match = Signal(arrays * ways)
        hit = Signal()
        m.d.comb += [match.eq(Cat(match_entries(line, tag_2) for line in looked_at)), hit.eq(match.any())]
        valid = Cat(entry.valid for entry in entries)
        state = [entry.state for entry in entries]
        weight = Const(policy.weight) >> shift_2 if policy.rehearses else Const(policy.weight)

        learns = valid_2 & (op_2 == BankOp.LEARN)
        clears = valid_2 & (op_2 == BankOp.CLEAR)
        halves = valid_2 & (op_2 == BankOp.HALVE)
        estimate: Value = Const(0)
        if config.has_sketch:
            m.submodules.sketch = sketch = Sketch(config)
            word_bits = sketch.word_bits
            swept = Signal()
            m.d.sync += swept.eq((set_1 >> word_bits) == 0)
            for a in range(config.cell_arrays):
                word, cell = cell_place(config, a, index, tag_1)
                m.d.comb += [sketch.words[a].eq(Mux(sweeps, set_1[:word_bits], word)), sketch.cells[a].eq(cell)]
            m.d.comb += [
                sketch.weight.eq(weight),
                sketch.update.eq(learns & ~hit),
                sketch.clear.eq(clears & swept),
                sketch.halve.eq(halves & swept),
            ]
            estimate = sketch.estimate

        touched = policy.on_hit(m, state, match, weight)
        victim, after_miss = policy.on_miss(m, valid, state, estimate)
        for a in range(arrays):
            following = Signal(layout, name=f"following_{a}")
            written = Signal(name=f"written_{a}")
            written_set = Signal(address_bits, name=f"written_set_{a}")
            written_line = Signal(layout, name=f"written_line_{a}")
            with m.Switch(op_2):
                with m.Case(BankOp.WRITE):
                    m.d.comb += following.eq(line_2)
                with m.Case(BankOp.CLEAR):
                    m.d.comb += following.eq(0)
                with m.Default():
                    m.d.comb += following.eq(lines[a])
                    for w in range(ways):
                        e = a * ways + w
                        with m.If(op_2 == BankOp.HALVE):
                            m.d.comb += following[w].state.eq(lines[a][w].state >> 1)
                        with m.Else():
                            m.d.comb += following[w].state.eq(Mux(hit, touched[e], after_miss[e]))
                            with m.If(~hit & victim[e]):
                                m.d.comb += [following[w].valid.eq(1), following[w].tag.eq(tag_2)]
            write = learns | ((clears | halves) & line_swept_2)
            write |= valid_2 & (op_2 == BankOp.WRITE) & (named_2 == a)
            m.d.comb += [
                lines[a].eq(Mux(written & (written_set == sets[a]), written_line, rams[a].r_data)),
                rams[a].w_en.eq(write),
                rams[a].w_addr.eq(sets[a]),
                rams[a].w_data.eq(following),
            ]
            m.d.sync += [written.eq(write), written_set.eq(sets[a]), written_line.eq(following)]

        # Cycle 3: the response.
        m.d.sync += [
            self.r_valid.eq(valid_2 & is_one_of(op_2, BankOp.LOOKUP, BankOp.REHEARSE, BankOp.LEARN)),
            self.r_hit.eq(hit),
            self.r_evicted.eq(learns & ~hit & (victim & valid).any()),
        ]
        for a in reversed(range(arrays)):
            with m.If(named_2 == a):
                m.d.sync += self.r_line.eq(lines[a])
            # The lowest array that holds the key is the one that counts.
            with m.If(match[a * ways : a * ways + ways].any()):
                m.d.sync += self.r_set.eq(Cat(sets[a], Const(a, ceil_log2(arrays))))
                for w in range(ways):
                    with m.If(match[a * ways + w]):
                        m.d.sync += self.r_way.eq(w)
        return m

    def _hot_lines(self, m: Module, lines: list, addresses: list, valid_1: Value, valid_2: Value, op_2: Value,
                   named_2: Value, sets: list, line_2, line_swept_2: Value) -> list:  # fmt: skip
        """What keys are compared with: ``lines``, or with a shadow, for LOOKUP and FIND, those of the hot set."""
        config = self.config
        if not config.shadow:
            return lines
        layout = hot_line_layout(config)
        given = Signal(layout)  # of the request
        for w in range(config.tracker_ways):
            m.d.comb += [given[w].valid.eq(line_2[w].valid), given[w].tag.eq(line_2[w].tag)]
        found = []
        for a, line in enumerate(lines):
            m.submodules[f"hot_ram_{a}"] = ram = Ram(layout.size, 1 << len(addresses[a]))
            hot, following = Signal(layout, name=f"hot_line_{a}"), Signal(layout, name=f"hot_following_{a}")
            written = Signal(name=f"hot_written_{a}")
            written_set = Signal.like(addresses[a], name=f"hot_written_set_{a}")
            written_line = Signal(layout, name=f"hot_written_line_{a}")
            clears = op_2 == BankOp.CLEAR
            write = valid_2 & (
                (clears & line_swept_2) | (is_one_of(op_2, BankOp.WRITE, BankOp.SWAP) & (named_2 == a))
            )
            m.d.comb += [
                ram.r_en.eq(valid_1),
                ram.r_addr.eq(addresses[a]),
                hot.eq(Mux(written & (written_set == sets[a]), written_line, ram.r_data)),
                following.eq(Mux(clears, 0, given)),
                ram.w_en.eq(write),
                ram.w_addr.eq(sets[a]),
                ram.w_data.eq(following),
            ]
            m.d.sync += [written.eq(write), written_set.eq(sets[a]), written_line.eq(following)]
            with m.If(named_2 == a):
                m.d.sync += self.r_hot_line.eq(hot)
            looked_at = Signal(layout, name=f"looked_at_{a}")
            for w in range(config.tracker_ways):
                in_hot_set = is_one_of(op_2, BankOp.LOOKUP, BankOp.FIND)
                m.d.comb += [
                    looked_at[w].valid.eq(Mux(in_hot_set, hot[w].valid, line[w].valid)),
                    looked_at[w].tag.eq(Mux(in_hot_set, hot[w].tag, line[w].tag)),
                ]
            found.append(looked_at)
        return found
