"""The most frequent keys: counters in the tracker, and a sketch that counts all other keys.

The golden twin, with sources, is ``hotline_golden.tracker.policies.frequency``.
"""

from amaranth.hdl import Cat, Const, Mux, Value


class Frequency:
    """A counter of ``bits`` bits for each of ``entries`` entries."""

    weight = 1

    def __init__(self, bits: int, entries: int):
        self.bits = bits
        self.entries = entries
        self.most = (1 << bits) - 1
        #: Counter of an entry that has been loaded from a hot list.
        self.inserted = self.weight

    def weight_of(self, shift: Value) -> Value:
        """What an access counts, its weight being shifted down by ``shift``."""
        return Const(self.weight)

    def touched(self, state: Value, shift: Value) -> Value:
        """The state of an entry after a hit: its counter rises."""
        return self._limit(state + self.weight_of(shift))

    def worth(self, state: Value) -> Value:
        """What an entry is worth: the least goes first."""
        return state

    def admits(self, least: Value, estimate: Value, strictly: Value) -> Value:
        """Whether a missing key takes the entry worth ``least`` (its highest bit: it is valid): if that has been counted
        no more often, ``strictly`` less often, or is empty."""
        return ~least[-1] | (Cat(~strictly, estimate) > Cat(Const(0, 1), least[:-1]))

    def after_miss(self, state: Value, is_victim: Value, least: Value, estimate: Value) -> Value:
        """The state of an entry after a miss."""
        return Mux(is_victim, self._limit(estimate), state)

    def _limit(self, count: Value) -> Value:
        return Mux(count > self.most, self.most, count)[: self.bits]
