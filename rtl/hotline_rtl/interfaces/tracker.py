"""What the lanes and the hot-list engine ask of the tracker."""

import enum

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from .layouts import SHIFT_BITS

#: Bits of the epochs that an entry has not been used in: 0, 1, 2, and 3 or more.
SILENT_BITS = 2


class BankOp(enum.IntEnum):
    """LOOKUP finds a key in the hot set, LEARN trains with it, SCORE finds it where LEARN would. FOLLOW is a LOOKUP and a LEARN.
    READ gives the line of a set, WRITE replaces it. CLEAR empties, and HALVE halves the counters of, set and sketch word of one
    number in all arrays; FORGET ends an epoch for the sets of one number. SWAP is a WRITE to the hot set alone, where that is
    apart. MARK marks a set as one that differs from the hot set; MARKS gives a word of
    marks, and takes them away."""

    LOOKUP = 0
    LEARN = 1
    READ = 2
    WRITE = 3
    CLEAR = 4
    HALVE = 5
    SCORE = 6
    SWAP = 7
    FOLLOW = 8
    FORGET = 9
    MARK = 10
    MARKS = 11


def line_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A set: ``tracker_ways`` entries. ``silent``: epochs without a use, where entries are forgotten. ``held``, with a shadow:
    the key was in the hot set when it was learnt last."""
    more = ({"held": 1} if config.shadow else {}) | ({"silent": SILENT_BITS} if config.forgets else {})
    entry = data.StructLayout({"valid": 1, "tag": config.tag_bits, "state": config.state_bits, **more})
    return data.ArrayLayout(entry, config.tracker_ways)


def hot_line_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """A set of the hot set, where that is apart from what is learnt."""
    return data.ArrayLayout(data.StructLayout({"valid": 1, "tag": config.tag_bits}), config.tracker_ways)


def sweep_bits(config: AcceleratorConfig) -> int:
    """Bits that number all sets, and all sketch words, of one array in a bank."""
    sketch = config.sketch_word_bits if config.has_sketch else 0
    return max(config.index_bits, sketch) - config.bank_bits


def bank_set_bits(config: AcceleratorConfig) -> int:
    """Bits of a bank's ``set`` member."""
    return max(config.set_bits - config.bank_bits, sweep_bits(config))


def weight_fields(config: AcceleratorConfig) -> dict:
    """``shift``: by how much the weight of an access that is learnt is shifted down, if weights differ."""
    return {"shift": SHIFT_BITS} if config.scores_samples else {}


def forget_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """For entries that have been silent for 1, 2, 3 epochs: the least counter that is forgotten. One bit more than a counter."""
    return data.ArrayLayout(config.state_bits + 1, (1 << SILENT_BITS) - 1)


def bank_request_layout(config: AcceleratorConfig) -> data.StructLayout:
    """``set`` counts within the bank: for LOOKUP, SCORE, LEARN and FOLLOW the key's set in array 0; for READ, WRITE, SWAP
    and MARK through all arrays; for CLEAR, HALVE and FORGET it numbers sets and sketch words alike, for MARKS words of marks.
    ``lane`` comes back with the response."""
    return data.StructLayout({
        "op": BankOp, "set": bank_set_bits(config), "tag": config.tag_bits, **weight_fields(config),
        "lane": range(max(2, config.lanes)),
    })  # fmt: skip


def result_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What the tracker says of an access."""
    return data.StructLayout({"hit": 1, "slot": config.slot_bits})


class BankSignature(wiring.Signature):
    """From the lanes to a bank: a stream of requests, and responses in the same order, each with the lane of its request.

    ``rest``: the permuted key without the bank's number. ``train``: the access is learnt, its weight shifted down by ``shift``.
    ``follow``: it is looked up, and learnt with its whole weight.
    """

    def __init__(self, config: AcceleratorConfig):
        lane = range(max(2, config.lanes))
        self.request = data.StructLayout({
            "rest": config.key_bits - config.bank_bits, "lane": lane,
            **({"train": 1, "shift": SHIFT_BITS} if config.scores_samples else {}),
            **({"follow": 1} if config.shadow else {}),
        })  # fmt: skip
        super().__init__({
            "o": Out(stream.Signature(self.request)),
            "r_valid": In(1), "r_lane": In(lane), "r_hit": In(1), "r_slot": In(config.slot_bits),
        })  # fmt: skip


class LanesSignature(wiring.Signature):
    """From the lanes to the tracker, beside the ``banks`` (an array of BankSignature, which an interface cannot hold: Amaranth
    0.5 does not flip an array inside one).

    ``learning``: accesses train the tracker; otherwise it stays as it is. ``halve``: the counters of sets and sketch words
    ``number`` in all banks are to be halved; only while no access is inside. ``cleared``: the hot-list engine empties the
    tracker.
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "learning": Out(1), "halve": Out(1), "number": Out(sweep_bits(config)), "cleared": In(1),
        })  # fmt: skip


def connect_lanes(m: Module, lanes, tracker) -> None:
    """Connects the classifier, which has the members ``tracker`` and ``banks``, with the tracker (``lanes`` and ``banks``)."""
    wiring.connect(m, lanes.tracker, tracker.lanes)
    for requests, bank in zip(lanes.banks, tracker.banks, strict=True):
        wiring.connect(m, requests, bank)


def port_set_bits(config: AcceleratorConfig) -> int:
    """Bits of the number that the hot-list engine gives with a request."""
    return max(config.set_bits, sweep_bits(config))


class PortSignature(wiring.Signature):
    """From the hot-list engine to all banks: one request per cycle, always taken, only while no access is inside.

    ``set``: a set of the whole tracker; for CLEAR, HALVE and FORGET, a number that means the same in every bank. READs are
    answered, in order, by ``r_valid``; ``r_line`` and ``r_hot_line`` stay until the next answer. MARKS, whose ``set`` has the
    bank's number below the word's, are answered likewise by ``r_marks`` and ``marks``. Each kind takes as many cycles in every
    bank, as nothing waits there while no access is inside: so answers of several banks keep their order, and come one by one.

    ``r_hot_line`` and ``marks`` exist only with a shadow.

    Where entries are forgotten: ``least``, see forget_layout, stays while FORGETs are under way; each is answered by
    ``r_forgot``, with ``forgotten``, the entries of all banks that were. ``misses``: accesses of this cycle that were learnt, and
    missed; ``halved``: the lanes halve all counters.
    """

    def __init__(self, config: AcceleratorConfig):
        members: dict = {
            "valid": Out(1), "op": Out(BankOp), "set": Out(port_set_bits(config)), "line": Out(line_layout(config)),
            "r_valid": In(1), "r_line": In(line_layout(config)),
        }  # fmt: skip
        if config.shadow:
            members |= {
                "r_hot_line": In(hot_line_layout(config)), "r_marks": In(1), "marks": In(config.mark_bits),
            }  # fmt: skip
        if config.forgets:
            members |= {
                "least": Out(forget_layout(config)), "r_forgot": In(1), "misses": In(range(config.banks + 1)), "halved": In(1),
                "forgotten": In(range(config.banks * config.tracker_arrays * config.tracker_ways + 1)),
            }  # fmt: skip
        super().__init__(members)
