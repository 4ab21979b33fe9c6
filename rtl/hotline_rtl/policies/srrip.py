"""Static re-reference interval prediction with hit promotion (SRRIP-HP).

Source: Jaleel et al., ISCA 2010, section 4. The golden twin is ``hotline_golden.policies.srrip``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from ..words import extreme, first_set


class Srrip:
    """``bits`` of re-reference prediction value (RRPV) for each of ``entries`` entries; larger is colder."""

    default_bits = 3
    weight = 1
    sketch = False
    rehearses = False

    def __init__(self, bits: int, entries: int):
        self.bits = bits
        self.entries = entries
        self.distant = (1 << bits) - 1
        #: RRPV of an entry that has just been inserted, or loaded from a hot list.
        self.inserted = self.distant - 1

    def on_hit(self, m: Module, state: list[Value], entry: Value, weight: Value) -> list[Value]:
        """State after a hit on one-hot ``entry``: its RRPV becomes 0."""
        return [Mux(entry[e], 0, state[e]) for e in range(self.entries)]

    def on_miss(self, m: Module, valid: Value, state: list[Value], estimate: Value) -> tuple[Value, list[Value]]:
        """One-hot entry that the missing key takes, and the state after it.

        The lowest empty entry; when there is none, all entries age until one is distant, and the lowest
        distant one goes.
        """
        oldest = extreme(m, state, largest=True)
        full = valid.all()
        victim = Signal(self.entries, name="victim")
        m.d.comb += victim.eq(Mux(full, first_set(Cat(s == oldest for s in state)), first_set(~valid)))
        age = Mux(full, self.distant - oldest, 0)
        after = [Mux(victim[e], self.inserted, (state[e] + age)[: self.bits]) for e in range(self.entries)]
        return victim, after
