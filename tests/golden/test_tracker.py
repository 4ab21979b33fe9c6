import numpy as np
import pytest

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_WORKING_ROW
from hotline_golden.tracker.placement import Placement, linear_hash, partition_bits
from hotline_golden.tracker.policies import POLICIES
from hotline_golden.tracker.sample_scorer import BLOCK_ACCESSES, SampleScorer, blocks
from hotline_golden.tracker.tracker import HotListError, Tracker

KEYS = KeySpace(5, 16, seed=1)


def make(sets=16, ways=4, policy="srrip", **shape):
    return Tracker(KEYS, sets, ways, policy, **shape)


#: Shapes that a test of what holds for every tracker goes through.
SHAPES = [
    {"policy": "srrip"}, {"policy": "srrip", "arrays": 4, "sets": 64}, {"policy": "frequency", "arrays": 2},
    {"policy": "sample_aware"}, {"policy": "sample_aware", "arrays": 2, "sets": 32}, {"policy": "sample_aware", "arrays": 4},
]  # fmt: skip
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s.values())))


def learn_one_set(policy, tags, state, wanted, *, state_max, cell_max=63, weights=None, margin=0):
    """``wanted`` tags shown to a tracker of one set, with a sketch cell for each tag in both arrays."""
    tags, state, silent = np.array([tags]), np.array([state]), np.ones((1, len(tags)), np.int64)
    wanted = np.array(wanted)
    sketch = np.zeros(200, np.int64)
    cells = np.stack([wanted, 100 + wanted], axis=1)
    weights = np.ones(len(wanted), np.int64) if weights is None else np.array(weights)
    sets = np.zeros((len(wanted), 1), np.int64)
    hits = POLICIES[policy].learn(
        tags, state, silent, sketch, sets, wanted, cells, weights, state_max, cell_max, margin
    )
    return hits, tags[0].tolist(), state[0].tolist(), sketch


def test_srrip_by_hand():
    """The example of Jaleel et al., figure 3, with 2-bit values and hit promotion."""

    def learn(tags, state, *wanted):
        return learn_one_set("srrip", tags, state, wanted, state_max=3)[:3]

    assert learn([-1] * 4, [0] * 4, 1, 2, 3, 4) == (0, [1, 2, 3, 4], [2, 2, 2, 2])
    assert learn([1, 2, 3, 4], [2, 2, 2, 2], 2) == (1, [1, 2, 3, 4], [2, 0, 2, 2])
    # All age by 1, the lowest distant one goes.
    assert learn([1, 2, 3, 4], [2, 0, 2, 2], 5) == (0, [5, 2, 3, 4], [2, 1, 3, 3])
    assert learn([5, 2, 3, 4], [2, 1, 3, 3], 6) == (0, [5, 2, 6, 4], [2, 1, 2, 3])


def test_frequency_by_hand():
    hits, tags, state, sketch = learn_one_set("frequency", [1, 2, -1], [5, 2, 0], [1, 3, 4, 4, 4], state_max=255)
    assert hits == 3
    assert tags == [1, 2, 4], "3 takes the empty entry; 4, counted as often, pushes it out, then counts on"
    assert state == [6, 2, 3]
    assert sketch[[3, 4]].tolist() == [1, 1] and sketch[[103, 104]].tolist() == [1, 1]
    # A SPLIT takes in only what was counted more often.
    hits, tags, state, sketch = learn_one_set(
        "frequency", [1, 2, -1], [5, 2, 0], [3, 4, 4, 4], state_max=255, margin=1
    )
    assert (hits, tags, state, sketch[4]) == (1, [1, 2, 4], [5, 2, 3], 2)
    # Counters stop at their limits; a key that was counted less often than the least pushes nobody out.
    hits, tags, state, sketch = learn_one_set("frequency", [1, 2], [14, 3], [1, 1, 5, 5], state_max=15, cell_max=3)
    assert (hits, tags, state, sketch[5]) == (2, [1, 2], [15, 3], 2)
    _, tags, state, sketch = learn_one_set("frequency", [1, 2], [9, 4], [5] * 9, state_max=15, cell_max=3)
    assert (tags, state, sketch[5]) == ([1, 2], [9, 4], 3)
    # Weights: an access of weight 4 counts four times.
    _, tags, state, _ = learn_one_set("frequency", [1, 2], [9, 3], [5, 1], state_max=15, weights=[4, 2])
    assert (tags, state) == ([1, 5], [11, 4])


def test_the_best_of_two_sets_is_taken():
    tags = np.array([[1, 2], [3, -1]])
    state = np.array([[4, 3], [2, 0]])
    sets = np.array([[0, 1], [0, 1]])
    sketch, cells = np.zeros(50, np.int64), np.array([[7, 20], [8, 21]])
    weights = np.array([4, 4])
    hits = POLICIES["frequency"].learn(
        tags, state, np.zeros_like(state), sketch, sets, np.array([7, 8]), cells, weights, 255, 63, 0
    )
    assert hits == 0 and tags.tolist() == [[1, 2], [8, 7]] and state.tolist() == [[4, 3], [4, 4]]


def test_a_learnt_key_is_found_and_others_are_not():
    tracker = make()
    tracker.learn(KEYS.pack(3, np.arange(20)))
    slots = tracker.lookup(KEYS.pack(3, np.arange(20)))
    assert (slots >= 0).all() and len(np.unique(slots)) == 20
    assert (tracker.lookup(KEYS.pack(4, np.arange(1000))) == -1).all()


def test_learning_depends_on_order_only_within_a_set():
    random = np.random.default_rng(0)
    keys = KEYS.pack(1, random.integers(0, 300, 4000))
    whole, parts, shuffled = make(), make(), make()
    whole.learn(keys)
    for part in np.array_split(keys, 7):
        parts.learn(part)
    # Sets are independent: any interleaving that keeps each set's order gives the same contents.
    sets = KEYS.permute(keys) & np.uint64(15)
    shuffled.learn(keys[np.argsort(sets, kind="stable")])
    assert np.array_equal(whole.dump(), parts.dump())
    assert np.array_equal(whole.dump(), shuffled.dump())
    other = make()
    other.learn(keys[::-1])
    assert not np.array_equal(whole.dump(), other.dump())


def test_hits_are_counted_as_they_happen():
    tracker = make()
    assert tracker.learn(KEYS.pack(0, [5, 5, 6, 5])) == 2


@every_shape
def test_dump_then_load_restores_every_slot(shape):
    tracker, copy = make(**shape), make(**shape)
    tracker.learn(KEYS.pack(2, np.random.default_rng(1).integers(0, 500, 1000)))
    copy.load(tracker.dump())
    assert np.array_equal(copy.dump(), tracker.dump())
    assert (copy.state[copy.valid] == copy.policy.inserted(copy.state_max)).all()
    assert not copy.sketch.any() and copy.scorer.pressure == 0


@every_shape
def test_slots_name_set_and_way(shape):
    tracker = make(**shape)
    tracker.learn(KEYS.pack(2, np.arange(30)))
    hot = tracker.dump()
    used = np.flatnonzero(hot[:, 0] != EMPTY_SLOT)
    slots = tracker.lookup(KEYS.pack(hot[used, 0], hot[used, 1]))
    assert np.array_equal(slots, used)


@pytest.mark.parametrize("fault", ["wrong set", "twice", "table too large"])
@pytest.mark.parametrize("arrays", [1, 2])
def test_a_bad_hot_list_is_refused_with_its_slot_and_changes_nothing(fault, arrays):
    tracker = make(arrays=arrays)
    tracker.learn(KEYS.pack(2, np.arange(64)))
    before = tracker.dump()
    bad = before.copy()
    used = np.flatnonzero(before[:, 0] != EMPTY_SLOT)
    first = next(s for s in used if s % 4 == 0)
    slot, value = {
        "wrong set": ((first + 4) % 64, before[first]),
        "twice": (first + 1, before[first]),
        "table too large": (first, (32, 0)),
    }[fault]
    bad[slot] = value
    with pytest.raises(HotListError) as e:
        tracker.load(bad)
    assert e.value.slot == slot
    assert np.array_equal(tracker.dump(), before)


def test_an_offline_hot_set_can_be_placed_and_loaded():
    tracker = make()
    wanted = KEYS.pack(1, np.arange(40))
    hot = tracker.place(wanted)
    tracker.load(hot)
    placed = tracker.lookup(wanted) >= 0
    sets = (KEYS.permute(wanted) & np.uint64(15)).astype(int)
    for s in range(16):
        assert placed[sets == s].sum() == min(4, (sets == s).sum())
    # With a choice of sets fewer are left out.
    many = KEYS.pack(1, np.arange(900))
    found = []
    for arrays in (1, 2):
        choice = make(sets=256, arrays=arrays)
        choice.load(choice.place(many))
        found.append((choice.lookup(many) >= 0).sum())
    assert found[0] + 40 < found[1] > 870


@pytest.mark.parametrize("arrays, cells", [(1, 4), (2, 16), (4, 8)])
def test_placement_is_exact_and_partitions_hold(arrays, cells):
    """Set and tag are the key, in every array; low set bits and low cell bits are the key's own."""
    placement = Placement(21, 256, 4, arrays, cells)
    permuted = np.random.default_rng(1).permutation(1 << 21)[:5000].astype(np.uint64)
    sets, tags = placement.place(permuted)
    assert sets.shape == (5000, arrays) and (sets // placement.lines == np.arange(arrays)).all()
    keep = partition_bits(placement.index_bits)
    low = permuted.astype(np.int64) & ((1 << keep) - 1)
    for a in range(arrays):
        assert np.array_equal(placement.unplace(sets[:, a], tags), permuted)
        assert np.array_equal(sets[:, a] & ((1 << keep) - 1), low)
        counts = np.bincount(sets[:, a] - a * placement.lines, minlength=placement.lines)
        assert counts.max() < 3 * counts.mean(), "sets are used alike"
    numbers = placement.place_cells(permuted)
    assert numbers.min() >= 0 and numbers.max() < 2 * placement.words * 8 == 256 * 4 * cells
    assert np.array_equal((numbers[:, 0] >> 3) & ((1 << keep) - 1), low)
    assert len(np.unique(numbers[:, 0])) > 0.7 * min(5000, placement.words * 8)


def test_keys_that_share_a_set_part_in_the_next_array():
    placement = Placement(21, 256, 4, 2)
    sets, _ = placement.place(np.arange(1 << 16, dtype=np.uint64))
    together = sets[sets[:, 0] == 5]
    assert len(np.unique(together[:, 1])) > 10


def test_linear_hash_is_linear_and_depends_on_every_bit():
    a, b = np.random.default_rng(2).integers(0, 1 << 30, (2, 100)).astype(np.uint64)
    h = [linear_hash(1, x, 30, 12) for x in (a, b, a ^ b)]
    assert np.array_equal(h[0] ^ h[1], h[2])
    single = linear_hash(1, np.uint64(1) << np.arange(30, dtype=np.uint64), 30, 12)
    assert (single != 0).all() and len(np.unique(single)) > 25


def test_blocks_are_whole_samples():
    assert blocks(np.array([], np.int64)) == []
    assert blocks(np.full(300, 8)) == [(0, 128), (128, 256), (256, 300)]
    assert blocks(np.array([2000, 1, 1023, 5])) == [(0, 1), (1, 3), (3, 4)]
    lengths = np.random.default_rng(3).integers(1, 100, 500)
    parts = blocks(lengths)
    assert (
        parts[0][0] == 0 and parts[-1][1] == 500 and all(x[1] == y[0] for x, y in zip(parts, parts[1:], strict=False))
    )
    for first, last in parts[:-1]:
        assert lengths[first : last - 1].sum() < BLOCK_ACCESSES <= lengths[first:last].sum()


def test_sample_scores_by_hand():
    scorer = SampleScorer(16)
    assert scorer.shifts(np.array([0, 3, 9])).tolist() == [0, 0, 0], "level 0: all alike"
    assert not scorer.note(np.full(16, 8))  # 128 misses are 8 for each entry
    assert (scorer.pressure, scorer.threshold, scorer.level) == (128, 1, 1)
    assert scorer.shifts(np.array([0, 1, 2, 9])).tolist() == [0, 0, 1, 1]
    assert not scorer.note(np.full(16, 8))
    assert (scorer.threshold, scorer.level) == (2, 2)
    assert scorer.shifts(np.array([2, 3, 4, 9])).tolist() == [0, 1, 2, 2]
    # One of eight samples below the threshold: it comes down; one at it: it stays.
    scorer.note(np.array([1] + [9] * 7))
    assert scorer.threshold == 1
    scorer.note(np.array([1] + [9] * 7))
    assert scorer.threshold == 1
    assert scorer.note(np.full(16, 10)), "512 misses: 32 for each entry"
    assert (scorer.pressure, scorer.level) == (272, 2)


def test_sample_aware_counts_misses_before_the_block_and_halves_after_it():
    """A trace long enough that weights differ and counters age; against the definition, said another way."""
    random = np.random.default_rng(4)
    lengths = random.integers(1, 30, 1500)
    samples = np.repeat(np.arange(1500), lengths)
    keys = KEYS.pack(1, np.minimum(random.zipf(1.3, len(samples)), 5000))
    tracker, slow = make(policy="sample_aware", arrays=2), make(policy="frequency", arrays=2)
    hits = tracker.learn(keys, samples)
    scorer = SampleScorer(64)
    expected_hits = aged = 0
    seen_shifts = set()
    for first, last in blocks(lengths):
        misses = []
        for sample in range(first, last):
            found = slow.lookup(keys[samples == sample]) >= 0
            misses.append(int((~found).sum()))
            expected_hits += int(found.sum())
        shifts = scorer.shifts(np.array(misses))
        seen_shifts |= set(shifts.tolist())
        for sample, shift in zip(range(first, last), shifts, strict=True):
            for key in keys[samples == sample]:
                permuted = slow.keys.permute([key])
                sets, tags = slow.placement.place(permuted)
                slow._train(sets, tags, slow.placement.place_cells(permuted), np.array([4 >> shift]))
        if scorer.note(np.array(misses)):
            slow.state, slow.sketch = slow.state // 2, slow.sketch // 2
            aged += 1
    assert hits == expected_hits and aged > 2 and seen_shifts == {0, 1, 2}
    assert np.array_equal(tracker.dump(), slow.dump())
    assert np.array_equal(tracker.state, slow.state) and np.array_equal(tracker.sketch, slow.sketch)


def test_sample_aware_prefers_samples_that_can_become_popular():
    """Half the samples are of ten keys that come together; the others mix common keys with unique ones."""
    random = np.random.default_rng(5)
    good = random.integers(0, 25, (6000, 1)) * 4 + np.arange(4)
    bad = np.concatenate([1000 + random.integers(0, 100, (6000, 3)), 2000 + np.arange(6000)[:, None]], axis=1)
    rows = np.where(random.random((6000, 1)) < 0.4, good, bad)
    keys = KEYS.pack(1, rows)
    share = {}
    for policy in ("frequency", "sample_aware"):
        tracker = make(sets=32, ways=4, policy=policy, arrays=2)
        tracker.learn(keys.reshape(-1), np.repeat(np.arange(6000), 4))
        share[policy] = (tracker.lookup(keys.reshape(-1)) >= 0).reshape(-1, 4).all(axis=1).mean()
    assert share["sample_aware"] > 1.3 * share["frequency"] > 0


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="power of two.*not 12"):
        make(sets=12)
    with pytest.raises(ValueError, match="unknown policy 'lru'"):
        Tracker(KEYS, 16, 4, "lru")


def shadowed(**shape):
    tracker = make(**({"policy": "sample_aware", "arrays": 2, "shadow": True} | shape))
    tracker.learn(KEYS.pack(1, np.random.default_rng(7).zipf(1.3, 3000) % 4000))
    return tracker


def test_a_shadow_learns_and_lookups_do_not_see_it_until_the_swap():
    tracker = shadowed()
    keys = KEYS.pack(1, np.arange(4000))
    assert (tracker.lookup(keys) == -1).all() and (tracker.dump() == EMPTY_SLOT).all()
    delta, left = tracker.swap(1000)
    assert left == 0 and len(delta) == tracker.valid.sum() == len(np.unique(delta[:, 0]))
    assert (delta[:, 1:3] == EMPTY_SLOT).all()
    plain = make(policy="sample_aware", arrays=2)
    plain.learn(KEYS.pack(1, np.random.default_rng(7).zipf(1.3, 3000) % 4000))
    assert np.array_equal(tracker.dump(), plain.dump())
    assert tracker.swap(1000)[0].shape == (0, DELTA_WORDS), "nothing more to take over"
    before = tracker.dump()
    tracker.learn(KEYS.pack(2, np.arange(500)))
    assert np.array_equal(tracker.dump(), before)


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_swaps_under_a_limit_come_to_the_same_and_never_hold_a_key_twice(limit):
    tracker = shadowed()
    hot = np.full((tracker.slots, 2), EMPTY_SLOT, np.uint32)
    for _ in range(2 * tracker.slots):
        delta, left = tracker.swap(limit)
        assert len(delta) <= limit
        slots = delta[:, 0]
        assert np.array_equal(hot[slots], delta[:, 1:3]), "old keys are those that the slots held"
        hot[slots] = delta[:, 3:5]
        assert np.array_equal(hot, tracker.dump())
        used = hot[hot[:, 0] != EMPTY_SLOT]
        assert len(np.unique(used, axis=0)) == len(used), "a key is in one slot"
        if not left:
            break
        if _ < 20:
            tracker.learn(KEYS.pack(1, np.random.default_rng(_).integers(0, 300, 400)))
    differs = tracker.tags != tracker.hot
    assert np.array_equal(differs, differs & tracker.held), "only keys that have moved, and were not learnt since"


def test_a_key_that_moves_is_taken_over_when_it_is_learnt_again():
    tracker = make(sets=4, ways=2, policy="srrip", shadow=True)
    every = KEYS.pack(1, np.arange(200))
    mine = every[tracker._place(every)[0][:, 0] == 0]
    kept, others = mine[:1], mine[1:3]
    tracker.learn(kept)
    assert len(tracker.swap(1000)[0]) == 1
    tracker.learn(np.r_[others, others[1:], kept])  # one takes its slot, and then it takes the other's
    before = tracker.lookup(kept)
    moved = tracker._find(tracker.tags, *tracker._place(kept)[:2])
    assert moved >= 0 and moved != before, "it lies elsewhere in the shadow"
    delta, left = tracker.swap(1000)
    assert left == 1 and tracker.lookup(kept) == -1, "its old slot has another key; it has not been gathered since"
    tracker.learn(kept)
    delta, left = tracker.swap(1000)
    assert left == 0 and len(delta) == 1 and tracker.lookup(kept) == moved


def test_a_limit_goes_round_the_sets():
    tracker = shadowed()
    seen = [tracker.swap(10)[0][:, 0] // tracker.ways for _ in range(3)]
    assert seen[0].max() <= seen[1].min() and seen[1].max() <= seen[2].min(), "it goes on where it stopped"


def test_entries_of_little_worth_stay_out():
    tracker = shadowed()
    worthy = int((tracker.state >= 40).sum())
    delta, left = tracker.swap(1000, worth=40)
    assert 0 < len(delta) == worthy < tracker.valid.sum() and left == 0


def test_a_delta_list_names_the_working_rows_of_new_keys():
    tracker = shadowed()
    listed = np.array([(1, 5), (1, 3999), (1, 2), (1, 1)], np.uint32)
    delta, _ = tracker.swap(1000, working_keys=listed)
    found = {tuple(new): number for *new, number in delta[:, 3:].tolist()}
    assert (found[1, 5], found[1, 2], found[1, 1]) == (0, 2, 3)
    assert (1, 3999) not in found, "it is not in the tracker"
    assert sum(number != NO_WORKING_ROW for number in found.values()) == 3


@every_shape
def test_following_is_learning_with_whole_weights_and_a_margin(shape):
    keys = KEYS.pack(1, np.random.default_rng(3).zipf(1.2, 3000) % 700)
    followed, learnt = make(shadow=True, **shape), make(shadow=True, **shape)
    hits = followed.follow(keys)
    assert followed.forgetting.misses == len(keys) - hits
    of_entries = learnt.tags, learnt.state, learnt.silent, learnt.sketch
    most = (1 << (3 if shape["policy"] == "srrip" else 8)) - 1
    assert hits == learnt.policy.learn(*of_entries, *learnt._place(keys), most, 63, 1)
    assert np.array_equal(followed.tags, learnt.tags) and np.array_equal(followed.state, learnt.state)
    assert np.array_equal(followed.sketch, learnt.sketch)


def test_loading_and_clearing_reach_hot_set_and_shadow():
    tracker = shadowed()
    good = tracker.place(KEYS.pack(2, np.arange(40)))
    tracker.load(good)
    assert np.array_equal(tracker.dump(), good) and len(tracker.swap(1000)[0]) == 0
    tracker.clear()
    assert (tracker.dump() == EMPTY_SLOT).all() and len(tracker.swap(1000)[0]) == 0
