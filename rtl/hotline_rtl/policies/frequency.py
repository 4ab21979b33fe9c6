"""The most frequent keys: counters in the tracker, and a sketch that counts all other keys.

The golden twin, with sources, is ``hotline_golden.policies.frequency``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from ..words import extreme, first_set


class Frequency:
    """A counter of ``bits`` bits for each of ``entries`` entries."""

    default_bits = 8
    weight = 1
    sketch = True
    rehearses = False

    def __init__(self, bits: int, entries: int):
        self.bits = bits
        self.entries = entries
        self.most = (1 << bits) - 1
        #: Counter of an entry that has been loaded from a hot list.
        self.inserted = self.weight

    def on_hit(self, m: Module, state: list[Value], entry: Value, weight: Value) -> list[Value]:
        """State after a hit on one-hot ``entry``: its counter rises by ``weight``."""
        return [Mux(entry[e], self._limit(state[e] + weight), state[e]) for e in range(self.entries)]

    def on_miss(self, m: Module, valid: Value, state: list[Value], estimate: Value) -> tuple[Value, list[Value]]:
        """One-hot entry that the missing key takes, none if it takes none, and the state after it.

        The lowest empty entry; when there is none, the lowest of those counted least, if ``estimate`` is no less.
        """
        least = extreme(m, state, largest=False)
        coldest = Signal(self.entries, name="coldest")
        victim = Signal(self.entries, name="victim")
        m.d.comb += [
            coldest.eq(Mux(valid.all(), first_set(Cat(s == least for s in state)), first_set(~valid))),
            victim.eq(Mux(valid.all() & (estimate < least), 0, coldest)),
        ]
        count = self._limit(estimate)
        return victim, [Mux(victim[e], count, state[e]) for e in range(self.entries)]

    def _limit(self, count: Value) -> Value:
        return Mux(count > self.most, self.most, count)[: self.bits]
