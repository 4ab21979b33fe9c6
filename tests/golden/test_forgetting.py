"""How a tracker that follows the data forgets: against the rules told entry by entry, and by what they are for."""

import numpy as np
import pytest

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import EMPTY_SLOT
from hotline_golden.tracker.forgetting import MAX_SPAN, Forgetting
from hotline_golden.tracker.tracker import Tracker

KEYS = KeySpace(5, 16, seed=1)
ALL = 1 << 20


def following(policy="frequency", sets=16, **shape):
    return Tracker(KEYS, sets, 4, policy, arrays=2, shadow=True, **shape)


def told_entry_by_entry(valid, state, silent, span, weight, entries):
    """The end of an epoch, by the rules: counters, epochs of silence, and whether all are halved."""
    after, quiet, forgotten = [], [], 0
    for there, count, epochs in zip(valid, state, silent, strict=True):
        expected = count / weight / span  # uses an epoch
        gone = there and epochs * expected >= 6
        forgotten += gone
        after.append(0 if gone else count)
        quiet.append(epochs + 1 if epochs < 3 else 3)
    return after, quiet, forgotten >= entries / 64 or span == 64


@pytest.mark.parametrize("weight", [1, 4])
def test_the_end_of_an_epoch_is_what_the_rules_say(weight):
    g = np.random.default_rng(weight)
    seen = set()
    for _ in range(300):
        span = int(g.choice([0, 1, 5, 20, 63]))
        valid = g.random(64) < 0.9
        silent, state = g.integers(0, 4, 64), g.integers(0, 256, 64) >> int(g.integers(0, 8))
        clock = Forgetting(64, weight, misses=70, span=span)
        assert clock.epoch_ends
        wanted = told_entry_by_entry(valid, state.tolist(), silent.tolist(), span + 1, weight, 64)
        halves = clock.end_epoch(valid, state, silent)
        assert (state.tolist(), silent.tolist(), halves) == wanted
        assert (clock.misses, clock.span) == (0, span + 1)
        seen.add((halves, bool((state == 0).any())))
    assert len(seen) == 4, "counters halved or not, entries forgotten or not"


def test_an_epoch_is_as_many_misses_as_there_are_entries_and_ends_with_a_swap():
    tracker = following()
    tracker.follow(KEYS.pack(1, np.arange(63)))
    tracker.swap(ALL)
    assert (tracker.forgetting.misses, tracker.forgetting.span) == (63, 0)
    tracker.follow(KEYS.pack(1, np.arange(100, 200)))
    assert tracker.forgetting.misses == 163, "nothing is forgotten while it learns"
    tracker.swap(ALL)
    assert (tracker.forgetting.misses, tracker.forgetting.span) == (0, 1)


def test_what_is_used_no_more_is_forgotten_soon_and_what_is_used_now_and_then_is_not():
    """Keys 0 to 9 are used a lot and then never again; keys 20 to 29 are used all the time, once an epoch."""
    tracker = following()
    g = np.random.default_rng(5)

    def epoch(*used):
        rare = g.integers(1000, 60000, 70)
        tracker.follow(KEYS.pack(1, g.permutation(np.concatenate([*used, rare]))))
        tracker.swap(ALL)

    old, steady = np.repeat(np.arange(10), 12), np.arange(20, 30)
    for _ in range(6):
        epoch(old, steady)
    hot = lambda rows: int((tracker.lookup(KEYS.pack(1, rows)) >= 0).sum())  # noqa: E731
    assert hot(np.arange(10)) == 10
    for _ in range(3):
        epoch(steady)
    assert hot(np.arange(10)) <= 2 and hot(steady) >= 8


def test_where_nothing_drifts_the_span_grows_to_its_limit_and_where_rows_come_and_go_it_stays_short():
    still, moving = following(sets=64), following(sets=64)
    g = np.random.default_rng(6)
    spans = []
    for n in range(150):
        still.follow(KEYS.pack(1, g.zipf(1.1, 1500) % 5000))
        fresh = 40 * n + g.integers(0, 40, 600)
        moving.follow(KEYS.pack(2, np.concatenate([fresh % 60000, g.integers(0, 60000, 300)])))
        still.swap(ALL), moving.swap(ALL)
        spans.append((still.forgetting.span, moving.forgetting.span))
    assert max(spans)[0] == MAX_SPAN - 1 and still.forgetting.span >= MAX_SPAN // 2
    assert max(span for _, span in spans[20:]) < 8


@pytest.mark.parametrize("policy", ["srrip"])
def test_a_policy_that_does_not_count_forgets_nothing(policy):
    tracker = following(policy)
    for n in range(10):
        tracker.follow(KEYS.pack(1, np.arange(100 * n, 100 * n + 100)))
        tracker.swap(ALL)
    assert tracker.forgetting.span == 0 and (tracker.silent == 0).all()


def test_clearing_and_loading_begin_anew():
    tracker = following()
    for n in range(3):
        tracker.follow(KEYS.pack(1, np.arange(100 * n, 100 * n + 100)))
        tracker.swap(ALL)
    listed = tracker.dump()
    assert tracker.forgetting.span and tracker.silent.any()
    tracker.load(listed)
    assert not tracker.forgetting.span and not tracker.silent.any() and np.array_equal(tracker.dump(), listed)
    tracker.clear()
    assert not tracker.forgetting.misses and (tracker.dump() == EMPTY_SLOT).all()
