"""Which words of a beat go to which lane: shared by the dispatcher and the merger.

Tracked accesses are numbered in trace order; access ``n`` belongs to lane ``n mod lanes``.
"""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.utils import ceil_log2

from .words import count_ones


class Choice:
    """The first (up to ``lanes``) words of ``waiting``, where the first is access number ``rank``.

    ``lane_words[lane]`` is the one-hot word of each lane, ``chosen`` all of them, ``finish`` whether
    they are all that waits, ``next_rank`` the number of the access after them (modulo lanes).
    """

    def __init__(self, m: Module, waiting: Value, rank: Value, lanes: int):
        words = len(waiting)
        lane_bits = ceil_log2(lanes)
        self.chosen = Signal(words)
        self.lane_words = [Signal(words, name=f"lane_words_{lane}") for lane in range(lanes)]
        for i in range(words):
            before = Signal(range(words + 1), name=f"before_{i}")
            lane = Signal(lane_bits, name=f"lane_{i}")
            m.d.comb += [
                before.eq(count_ones([waiting[k] for k in range(i)])),
                self.chosen[i].eq(waiting[i] & (before < lanes)),
                lane.eq(rank + before),
            ]
            for number in range(lanes):
                m.d.comb += self.lane_words[number][i].eq(self.chosen[i] & (lane == number))
        self.finish = (waiting & ~self.chosen) == 0
        self.lane_used = Cat(one.any() for one in self.lane_words)
        self.next_rank = (rank + count_ones(self.chosen))[:lane_bits]
