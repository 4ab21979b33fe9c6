import numpy as np
import pytest

from hotline_golden.oracles.baselines import hot_sketch
from hotline_golden.oracles.caches import least_often_used, least_recently_used, looks_ahead, run_cache
from hotline_golden.oracles.oracle import (
    best_offline,
    by_count,
    by_samples,
    by_threshold,
    is_hot,
    number_keys,
    removal_order,
)


def test_keys_are_numbered_where_tracked():
    keys = np.array([[7, 9], [9, 7], [3, 8]], np.uint64)
    tracked = np.array([[1, 1], [1, 0], [1, 0]], bool)
    ids, distinct = number_keys(keys, tracked)
    assert distinct.tolist() == [3, 7, 9] and ids.tolist() == [[1, 2], [2, -1], [0, -1]]


def test_count_and_threshold():
    ids = np.array([[0, 1], [0, 1], [0, 2], [3, -1]])
    assert by_count(ids, 5, 3).tolist() == [0, 1, 2], "ties go to the lower id"
    assert sorted(by_threshold(ids, 5, 3).tolist()) == [0, 1], "2 and 3 were seen alike, and there is room for one"
    assert sorted(by_threshold(ids, 5, 4).tolist()) == [0, 1, 2, 3]
    assert by_count(ids, 5, 9).tolist() == [0, 1, 2, 3], "4 never came"
    assert is_hot(ids, 5, np.array([0, 1])).tolist() == [[1, 1], [1, 1], [1, 0], [0, 1]]


def test_samples_that_come_whole_are_better_than_keys_that_come_often():
    """Keys 0 and 1 make samples of their own; key 9 comes oftenest, always with a key that comes once."""
    ids = np.array([[0, 1]] * 5 + [[9, k] for k in range(10, 17)])
    assert by_count(ids, 20, 2).tolist() == [9, 0]
    assert sorted(removal_order(ids, 20)[-2:].tolist()) == [0, 1]
    assert sorted(by_samples(ids, 20, 3, factor=0.25).tolist()) == [0, 1, 9]
    assert 18 not in removal_order(ids, 20), "what never came is nowhere in the order"


def test_the_best_offline_set_is_chosen_on_samples_it_was_not_made_of():
    random = np.random.default_rng(1)
    whole = random.integers(0, 40, (4000, 1)) * 4 + np.arange(4)
    mixed = np.concatenate(
        [300 + random.integers(0, 60, (4000, 3)), 400 + random.integers(0, 3000, (4000, 1))], axis=1
    )
    ids = np.where(random.random((4000, 1)) < 0.4, whole, mixed)
    (best,) = best_offline(ids[:2000], 3400, [100])
    share = is_hot(ids[2000:], 3400, best).all(axis=1).mean()
    assert share > 1.5 * is_hot(ids[2000:], 3400, by_count(ids[:2000], 3400, 100)).all(axis=1).mean()


def test_hot_sketch_replaces_the_least_and_inherits_its_count():
    keys = np.array([1, 1, 1, 2, 2, 3, 3, 4, 5, 5])
    # One bucket of four: 5 takes the slot of 4 with count 2, then has 3.
    assert hot_sketch(keys, 4, 2).tolist() in ([1, 5], [5, 1])
    assert sorted(hot_sketch(keys, 4, 4).tolist()) == [1, 2, 3, 5]


@pytest.mark.parametrize("window, held", [(3, 3), (1, 2)])
def test_look_ahead_keeps_what_comes_next(window, held):
    """Mini-batches of one sample, a cache of two keys. When 2 comes, 0 is known to be next, and 1 only to those
    who look far enough."""
    ids = np.array([[0], [1], [2], [0], [1], [0]])
    found = run_cache(ids, 3, 2, 1, looks_ahead(window))
    assert sum(found.popular) == held == found.hits and found.accesses == 6 and sum(found.fetched) == 6 - held
    assert sum(found.evicted) == sum(found.fetched) - 2, "two are in it at the end"


def test_caches_of_libraries_keep_what_was_used_last_or_most():
    ids = np.array([[0, 0], [0, 1], [1, 2], [0, 1], [2, 2]])
    recent = run_cache(ids, 3, 2, 1, least_recently_used)
    often = run_cache(ids, 3, 2, 1, least_often_used)
    # When 2 has come, 0 was used longest ago, and 2 least often.
    assert (recent.fetched, recent.evicted) == ([1, 1, 1, 1, 1], [0, 0, 1, 1, 1])
    assert (often.fetched, often.evicted) == ([1, 1, 1, 0, 1], [0, 0, 1, 0, 1])
    ids = np.array([[0], [0], [0], [1], [2], [0]])
    assert run_cache(ids, 3, 2, 1, least_recently_used).fetched == [1, 0, 0, 1, 1, 1]
    assert run_cache(ids, 3, 2, 1, least_often_used).fetched == [1, 0, 0, 1, 1, 0]
    began = run_cache(ids, 3, 2, 1, least_recently_used, np.array([0]))
    assert began.fetched[0] == 0 and began.popular == [1, 1, 1, 0, 0, 0]
