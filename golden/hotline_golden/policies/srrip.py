"""Static re-reference interval prediction with hit promotion (SRRIP-HP).

Source: Jaleel et al., "High Performance Cache Replacement Using Re-Reference Interval
Prediction (RRIP)", ISCA 2010, section 4; the policy of the Hotline paper's tracker.
"""


class Srrip:
    """Each entry keeps a re-reference prediction value (RRPV) of ``bits`` bits; larger means colder.

    The methods act on one set: ``state`` is a list of ``ways`` RRPVs, changed in place.
    """

    def __init__(self, bits: int):
        if bits < 1:
            raise ValueError(f"SRRIP needs at least 1 bit of state per entry, not {bits}")
        self.bits = bits
        self.distant = (1 << bits) - 1
        #: RRPV of an entry that has just been inserted, or loaded from a hot list.
        self.inserted = self.distant - 1

    def on_hit(self, state: list[int], way: int) -> None:
        """Promotes the entry that was hit: RRPV 0."""
        state[way] = 0

    def on_miss(self, valid: list[bool], state: list[int]) -> int:
        """Chooses the way that the missing key takes, and gives it its first RRPV.

        The lowest empty way, if there is one. Otherwise all entries age by the same amount until
        one is distant, and the lowest distant way is replaced.
        """
        ways = len(state)
        for way in range(ways):
            if not valid[way]:
                state[way] = self.inserted
                return way
        age = self.distant - max(state)
        for way in range(ways):
            state[way] += age
        victim = state.index(self.distant)
        state[victim] = self.inserted
        return victim
