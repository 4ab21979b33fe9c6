"""Static re-reference interval prediction with hit promotion (SRRIP-HP).

Source: Jaleel et al., ISCA 2010, section 4. The golden twin is ``hotline_golden.policies.srrip``.
Combinational: one set's state in, its next state out.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from ..words import first_set


class Srrip:
    """``bits`` of re-reference prediction value (RRPV) for each of ``ways`` entries; larger is colder."""

    def __init__(self, bits: int, ways: int):
        self.bits = bits
        self.ways = ways
        self.distant = (1 << bits) - 1
        #: RRPV of an entry that has just been inserted, or loaded from a hot list.
        self.inserted = self.distant - 1

    def on_hit(self, m: Module, state: list[Value], way: Value) -> list[Value]:
        """State after a hit on one-hot ``way``: that entry's RRPV becomes 0."""
        return [Mux(way[w], 0, state[w]) for w in range(self.ways)]

    def on_miss(self, m: Module, valid: Value, state: list[Value]) -> tuple[Value, list[Value]]:
        """One-hot way that the missing key takes, and the state after it.

        The lowest empty way; when there is none, all entries age until one is distant, and the lowest
        distant one goes.
        """
        oldest = Signal(self.bits, name="oldest")
        colder = state[0]
        for w in range(1, self.ways):
            pair = Signal(self.bits, name=f"colder_{w}")
            m.d.comb += pair.eq(Mux(state[w] > colder, state[w], colder))
            colder = pair
        full = valid.all()
        victim = Signal(self.ways, name="victim")
        m.d.comb += [
            oldest.eq(colder),
            victim.eq(Mux(full, first_set(Cat(s == oldest for s in state)), first_set(~valid))),
        ]
        age = Mux(full, self.distant - oldest, 0)
        after = [Mux(victim[w], self.inserted, (state[w] + age)[: self.bits]) for w in range(self.ways)]
        return victim, after
