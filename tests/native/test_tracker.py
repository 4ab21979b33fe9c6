"""Learning, hot lists and following: equal to golden in every entry, count and delta."""

import numpy as np
import pytest

from hotline_golden.layouts import EMPTY_SLOT
from hotline_golden.split import learn
from hotline_golden.tracker.tracker import HotListError
from hotline_sim.run.job import golden_tracker, native_tracker
from hotline_sim.traces.shapes import SHAPES

from .conftest import pair, small


def same(golden, native) -> None:
    for name in ("tags", "state", "sketch", "frozen", "cursor"):
        assert np.array_equal(getattr(golden, name), getattr(native, name)), name
    assert [golden.scorer.pressure, golden.scorer.threshold] == native.kept.tolist()
    assert np.array_equal(golden.dump(), native.dump())


@pytest.mark.parametrize("policy", ["sample_aware", "frequency", "srrip"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_learnt_alike(shape, policy):
    """Long enough for a small tracker to age and halve its counters, where the policy does."""
    samples = 300 if shape == "mlperf-v2" else 1500
    job, golden, engine = pair(small(f"policy={policy}"), f"synthetic:{shape},samples={samples}", resident=None)
    halved = False
    for first in range(0, samples, 250):
        rows = job.trace.part(first, first + 250).rows
        before = int(golden.scorer.pressure)
        assert learn(job.model, golden, rows) == engine.learn(rows)
        halved |= golden.scorer.pressure < before
        same(golden, engine.tracker)
    if shape == "uniform" and policy == "sample_aware":
        assert halved, "this test has seen counters halved"


@pytest.mark.parametrize(
    "settings",
    [
        ["tracker_ways=8"],
        ["tracker_arrays=1"],
        ["tracker_sets=1024"],
        ["sketch_bits=4"],
        ["policy_bits=5"],
        ["row_bits=31", "table_bits=10"],
    ],
)
@pytest.mark.parametrize("size", [1, 7, 400])
def test_sizes_of_trackers_and_mini_batches_do_not_matter(settings, size):
    job, golden, engine = pair(small(*settings), "synthetic:taobao,samples=400", resident=2000)
    for first in range(0, 400, size):
        rows = job.trace.part(first, first + size).rows
        assert learn(job.model, golden, rows) == engine.learn(rows)
    same(golden, engine.tracker)


@pytest.mark.parametrize("policy", ["sample_aware", "srrip"])
def test_hot_lists_go_from_one_to_the_other(policy):
    config = small(f"policy={policy}")
    job, golden, engine = pair(config, "synthetic:ratings,samples=800", resident=None)
    learn(job.model, golden, job.trace.part().rows)
    engine.load(golden.dump())
    again = golden_tracker(config)
    again.load(engine.dump().reshape(-1))
    same(again, engine.tracker)
    engine.clear()
    assert (engine.dump() == EMPTY_SLOT).all()


def test_hot_lists_that_cannot_be_are_refused_alike():
    config = small()
    job, golden, engine = pair(config, "synthetic:ratings,samples=800", resident=None)
    learn(job.model, golden, job.trace.part().rows)
    good = golden.dump()
    engine.load(good)
    slots = np.flatnonzero(good[:, 0] != EMPTY_SLOT)
    r = np.random.default_rng(1)
    for n in range(40):
        bad = good.copy()
        slot = int(r.choice(slots))
        bad[slot] = [(1 << 31, 5), (bad[slot, 0], 1 << 30), (EMPTY_SLOT, 5), tuple(good[r.choice(slots)])][n % 4]
        faults = []
        for tracker in (golden_tracker(config), engine):
            try:
                tracker.load(bad.reshape(-1))
                faults.append(-1)
            except HotListError as e:
                faults.append(e.slot)
        assert faults[0] == faults[1]
        if faults[0] >= 0:
            assert np.array_equal(engine.dump(), good), "nothing has changed"
        engine.load(good)


@pytest.mark.parametrize("limit, worth, halve_every", [(1 << 32, 0, 0), (5, 0, 0), (40, 3, 2), (0, 0, 1)])
def test_the_hot_set_follows_alike(limit, worth, halve_every):
    job, golden, engine = pair(small("shadow=1"), "synthetic:drift,samples=2400,scale=0.05", resident=None)
    changed = 0
    for n, first in enumerate(range(0, 2400, 200)):
        rows = job.trace.part(first, first + 200).rows
        assert learn(job.model, golden, rows) == engine.learn(rows)
        halve = bool(halve_every and n % halve_every == 0)
        (mine, left), (theirs, also) = engine.swap(limit, worth, halve), golden.swap(limit, worth, halve)
        assert np.array_equal(mine, theirs) and left == also
        same(golden, engine.tracker)
        changed += len(mine)
    assert (changed > 0) == (limit > 0)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="unknown policy 'lru'"):
        type(native_tracker(small()))(native_tracker(small()).keys, 64, 4, "lru")
