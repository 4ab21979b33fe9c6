import numpy as np
import pytest

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import EMPTY_SLOT
from hotline_golden.policies import Srrip
from hotline_golden.tracker import HotListError, Tracker

KEYS = KeySpace(5, 16, seed=1)


def make(sets=16, ways=4):
    return Tracker(KEYS, sets, ways)


def test_srrip_by_hand():
    """The example of Jaleel et al., figure 3, with 2-bit values and hit promotion."""
    policy = Srrip(2)
    valid, state = [False] * 4, [0, 0, 0, 0]
    for way in range(4):
        assert policy.on_miss(valid, state) == way
        valid[way] = True
    assert state == [2, 2, 2, 2]
    policy.on_hit(state, 1)
    assert state == [2, 0, 2, 2]
    assert policy.on_miss(valid, state) == 0  # all age by 1, the lowest distant one goes
    assert state == [2, 1, 3, 3]
    assert policy.on_miss(valid, state) == 2
    assert state == [2, 1, 2, 3]


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


def test_dump_then_load_restores_every_slot():
    tracker, copy = make(), make()
    tracker.learn(KEYS.pack(2, np.random.default_rng(1).integers(0, 500, 1000)))
    copy.load(tracker.dump())
    assert np.array_equal(copy.dump(), tracker.dump())
    assert (copy.state[copy.valid] == copy.policy.inserted).all()


def test_slots_name_set_and_way():
    tracker = make()
    tracker.learn(KEYS.pack(2, np.arange(30)))
    hot = tracker.dump()
    used = np.flatnonzero(hot[:, 0] != EMPTY_SLOT)
    slots = tracker.lookup(KEYS.pack(hot[used, 0], hot[used, 1]))
    assert np.array_equal(slots, used)


@pytest.mark.parametrize("fault", ["wrong set", "twice", "table too large"])
def test_a_bad_hot_list_is_refused_with_its_slot_and_changes_nothing(fault):
    tracker = make()
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


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="power of two, not 12"):
        make(sets=12)
    with pytest.raises(ValueError, match="unknown policy 'lru'"):
        Tracker(KEYS, 16, 4, "lru")
