"""The most frequent keys: counters in the tracker, and a sketch that counts all other keys.

Entries count the accesses of their keys. A key without an entry is counted by a count-min sketch with
conservative update (Cormode and Muthukrishnan, 2005; Estan and Varghese, 2002), and takes the place of the
entry that was counted least as soon as it was counted as often (TinyLFU: Einziger, Friedman and
Manes, 2017). So a key that comes rarely is not forgotten between its accesses, one that came once pushes
out only what came once, and of keys counted alike the later stays.

A SPLIT that learns is stricter, as what it takes in moves rows: a key must have been counted more often, so of keys counted
alike the earlier stays.
"""

from .policy import Policy


def learn(tags, state, silent, sketch, sets, wanted, cells, weights, state_max, cell_max, margin):
    """A hit adds the access's weight to the entry. A miss adds it to the key's estimate, the smallest of its
    cells; cells below the estimate rise to it. The key takes the lowest empty entry of its sets, or
    the lowest of those with the smallest counter if its estimate is larger by ``margin``; its counter begins with it."""
    arrays, ways = sets.shape[1], tags.shape[1]
    hits = 0
    for n in range(len(wanted)):
        tag = wanted[n]
        hit = False
        victim_set, victim_way, smallest = -1, -1, state_max + 1
        for a in range(arrays):
            s = sets[n, a]
            for w in range(ways):
                if tags[s, w] == tag:
                    state[s, w] = min(state_max, state[s, w] + weights[n])
                    silent[s, w] = 0
                    hit = True
                count = -1 if tags[s, w] < 0 else state[s, w]
                if count < smallest:
                    victim_set, victim_way, smallest = s, w, count
        if hit:
            hits += 1
            continue
        estimate = sketch[cells[n, 0]]
        for c in range(1, cells.shape[1]):
            estimate = min(estimate, sketch[cells[n, c]])
        estimate = min(cell_max, estimate + weights[n])
        for c in range(cells.shape[1]):
            sketch[cells[n, c]] = max(sketch[cells[n, c]], estimate)
        if estimate >= smallest + margin:
            tags[victim_set, victim_way] = tag
            state[victim_set, victim_way] = min(state_max, estimate)
            silent[victim_set, victim_way] = 0
    return hits


FREQUENCY = Policy("frequency", learn, bits=8, inserted=lambda state_max: 1, counts=True, sketch=True)
