"""Static re-reference interval prediction with hit promotion (SRRIP-HP).

Source: Jaleel et al., "High Performance Cache Replacement Using Re-Reference Interval
Prediction (RRIP)", ISCA 2010, section 4; the policy of the Hotline paper's tracker.

State is a re-reference prediction value (RRPV); larger means colder, ``state_max`` is distant.
"""

from .policy import Policy


def learn(tags, state, silent, sketch, sets, wanted, cells, weights, state_max, cell_max, margin):
    """A hit makes the RRPV 0. A miss takes the lowest empty entry of the key's sets, array by array; if
    there is none, all their entries age alike until one is distant, and the lowest distant one goes."""
    arrays, ways = sets.shape[1], tags.shape[1]
    hits = 0
    for n in range(len(wanted)):
        tag = wanted[n]
        hit = False
        victim_set, victim_way, oldest = -1, -1, -1
        for a in range(arrays):
            s = sets[n, a]
            for w in range(ways):
                if tags[s, w] == tag:
                    state[s, w] = 0
                    hit = True
                age = state_max + 1 if tags[s, w] < 0 else state[s, w]
                if age > oldest:
                    victim_set, victim_way, oldest = s, w, age
        if hit:
            hits += 1
            continue
        if oldest <= state_max:
            for a in range(arrays):
                for w in range(ways):
                    state[sets[n, a], w] += state_max - oldest
        tags[victim_set, victim_way] = tag
        state[victim_set, victim_way] = state_max - 1
    return hits


SRRIP = Policy("srrip", learn, bits=3, inserted=lambda state_max: state_max - 1)
