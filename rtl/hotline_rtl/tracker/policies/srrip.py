"""Static re-reference interval prediction with hit promotion (SRRIP-HP).

Source: Jaleel et al., ISCA 2010, section 4. The golden twin is ``hotline_golden.tracker.policies.srrip``.
"""

from amaranth.hdl import Const, Mux, Value


class Srrip:
    """``bits`` of re-reference prediction value (RRPV) for each of ``entries`` entries; larger is colder."""

    weight = 1

    def __init__(self, bits: int, entries: int):
        self.bits = bits
        self.entries = entries
        self.distant = (1 << bits) - 1
        #: RRPV of an entry that has just been inserted, or loaded from a hot list.
        self.inserted = self.distant - 1

    def touched(self, state: Value, shift: Value) -> Value:
        """The RRPV of an entry after a hit."""
        return Const(0, self.bits)

    def worth(self, state: Value) -> Value:
        """What an entry is worth: the least goes first, and that is the most distant."""
        return ~state

    def admits(self, least: Value, estimate: Value, strictly: Value) -> Value:
        """Whether a missing key takes the entry worth ``least``: always."""
        return Const(1)

    def after_miss(self, state: Value, is_victim: Value, least: Value, estimate: Value) -> Value:
        """The RRPV of an entry after a miss. If there was no empty one (the highest bit of ``least``), all have aged until
        the most distant one was distant."""
        age = Mux(least[-1], least[:-1], 0)
        return Mux(is_victim, self.inserted, (state + age)[: self.bits])
