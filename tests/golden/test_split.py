import numpy as np
import pytest

from hotline_golden.bounds import split_bound
from hotline_golden.keys import KeySpace
from hotline_golden.layouts import NO_ACCESS, WORKING_ROW
from hotline_golden.model import Model, Table
from hotline_golden.oracles.oracle import most_frequent, popular_share
from hotline_golden.split import RowOutsideTable, split
from hotline_golden.tracker.tracker import Tracker

KEYS = KeySpace(5, 16, seed=1)
MODEL = Model(
    (Table(0, 3, 64, True, 64), Table(192, 1000, 64), Table(64192, 5000, 64), Table(384192, 1, 64, True, 67)),
    (0, 1, 2, 2, 3),
    payload_words=2,
    row_bytes=64,
)


def random_samples(n, seed, padding=0.1):
    g = np.random.default_rng(seed)
    limits = MODEL.rows[list(MODEL.table_of)]
    rows = (g.random((n, MODEL.accesses)) ** 4 * limits).astype(np.uint32)
    rows[g.random(rows.shape) < padding] = NO_ACCESS
    return np.concatenate([g.integers(0, 1 << 32, (n, 2)).astype(np.uint32), rows], axis=1)


def slow_split(tracker, samples):
    """The definition, one access at a time."""
    slot_of = {tuple(k): s for s, k in enumerate(tracker.dump().tolist()) if k[0] != 0xFFFF_FFFF}
    popular, non_popular, working = [], [], {}
    for number, sample in enumerate(samples.tolist()):
        refs, cold = [], []
        for j, row in enumerate(sample[2:]):
            table = MODEL.table_of[j]
            if row == NO_ACCESS:
                refs.append(NO_ACCESS)
            elif MODEL.tables[table].resident:
                refs.append(MODEL.tables[table].first_slot + row)
            elif (table, row) in slot_of:
                refs.append(slot_of[table, row])
            else:
                cold.append(j)
                refs.append((table, row))
        for j in cold:
            refs[j] = WORKING_ROW | working.setdefault(refs[j], len(working))
        (non_popular if cold else popular).append([number, *sample[:2], *refs])
    return popular, non_popular, [list(k) for k in working]


@pytest.mark.parametrize("seed", range(5))
def test_split_equals_its_definition(seed):
    tracker = Tracker(KEYS, 16, 4)
    train, samples = random_samples(200, seed), random_samples(300, seed + 100)
    rows = train[:, 2:]
    tracked = (rows != NO_ACCESS) & ~MODEL.resident[list(MODEL.table_of)]
    tracker.learn(KEYS.pack(np.broadcast_to(MODEL.table_of, rows.shape), np.where(tracked, rows, 0))[tracked])
    result = split(MODEL, tracker, samples)
    popular, non_popular, working = slow_split(tracker, samples)
    assert result.popular.tolist() == popular
    assert result.non_popular.tolist() == non_popular
    assert result.working_keys.tolist() == working
    ids = np.concatenate([result.popular[:, 0], result.non_popular[:, 0]])
    assert sorted(ids.tolist()) == list(range(300)), "every sample exactly once"


def test_a_sample_of_padding_only_is_popular():
    samples = np.array([[1, 2] + [NO_ACCESS] * 5], np.uint32)
    result = split(MODEL, Tracker(KEYS, 16, 4), samples)
    assert result.popular.tolist() == [[0, 1, 2] + [NO_ACCESS] * 5] and result.accesses == 0


def test_the_first_row_outside_its_table_is_named():
    samples = random_samples(10, 0)
    samples[4, 2 + 3] = 5000
    samples[7, 2] = 3
    with pytest.raises(RowOutsideTable, match="sample 4, access 3: row 5000 is outside its table of 5000"):
        split(MODEL, Tracker(KEYS, 16, 4), samples)


def test_bound_counts_every_resource():
    samples = random_samples(100, 3)
    result = split(MODEL, Tracker(KEYS, 16, 4), samples)
    bound = split_bound(MODEL, result, lanes=2, bus_bits=128)
    n = len(result.working_keys)
    assert bound.input == 100 * 7 / 4
    assert bound.lanes == result.tracked_accesses / 2
    assert bound.working_set == result.cold_accesses
    assert bound.gather == n * 16 / 4
    assert bound.output == (100 * 8 + 2 * n + 16 * n) / 4
    assert bound.cycles == max(bound.input, bound.lanes, bound.working_set, bound.gather, bound.output)
    assert getattr(bound, bound.binding) == bound.cycles


def test_frequency_oracle_takes_the_most_frequent_first_seen_first():
    keys = np.array([5, 1, 1, 9, 9, 5, 7], np.uint64)
    assert most_frequent(keys, 2).tolist() == [5, 1]
    tracked = np.array([[True, True], [True, False]])
    pairs = np.array([[5, 1], [5, 7]], np.uint64)
    assert popular_share(pairs, tracked, np.array([5], np.uint64)) == 0.5
    assert popular_share(pairs, tracked, np.array([5, 1], np.uint64)) == 1.0
