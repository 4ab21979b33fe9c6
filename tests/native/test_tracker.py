"""Learning, hot lists and following: equal to golden in every entry, count and delta."""

import numpy as np
import pytest

from hotline_golden.layouts import EMPTY_SLOT, NO_WORKING_ROW
from hotline_golden.split import RowOutsideTable, Sampling, follow, learn, split
from hotline_golden.tracker.tracker import HotListError
from hotline_sim.run.job import golden_tracker, native_tracker
from hotline_sim.traces.shapes import SHAPES

from .conftest import pair, small


def same(golden, native) -> None:
    for name in ("tags", "state", "silent", "sketch", "hot", "cursor"):
        assert np.array_equal(getattr(golden, name), getattr(native, name)), name
    assert np.array_equal(golden.held[: len(native.held)], native.held)
    clock = golden.forgetting
    assert [golden.scorer.pressure, golden.scorer.threshold, clock.misses, clock.span] == native.kept.tolist()
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
    golden.swap(1000)
    assert (golden.dump() != EMPTY_SLOT).any()
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
    golden.swap(1000)
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


@pytest.mark.parametrize("policy", ["frequency", "sample_aware", "srrip"])
@pytest.mark.parametrize("limit, worth, shift", [(1 << 32, 0, 0), (5, 0, 1), (40, 3, 3), (0, 0, 0)])
def test_the_hot_set_follows_alike(policy, limit, worth, shift, monkeypatch):
    """SPLITs that learn, with a LEARN between them, and a SWAP after each: contents, counts and delta lists. Three threads, or
    as many as there are, share the partitions."""
    monkeypatch.setattr("hotline_native.tracker.LEAST_ACCESSES", 1)
    config = small("shadow=1", f"policy={policy}")
    job, golden, engine = pair(config, "synthetic:drift,samples=4000,scale=0.05", threads=3, resident=None)
    engine.sampling = sampling = Sampling(shift, 5)
    changed, known, spans = 0, 0, set()
    for first in range(0, 4000, 200):
        part = job.trace.part(first, first + 200)
        samples = np.concatenate([part.payload, part.rows], axis=1)
        follow(job.model, golden, part.rows, sampling)
        wanted = split(job.model, golden, samples)
        found = engine.split(part.rows, part.payload, follow=True)
        assert np.array_equal(found.working_keys, wanted.working_keys)
        if first % 1000 == 800:
            assert learn(job.model, golden, part.rows) == engine.learn(part.rows)
        (mine, left), (theirs, also) = engine.swap(limit, worth), golden.swap(limit, worth, wanted.working_keys)
        assert np.array_equal(mine, theirs) and left == also
        same(golden, engine.tracker)
        changed += len(mine)
        known += int((mine[:, 5] != NO_WORKING_ROW).sum())
        spans.add(golden.forgetting.span)
    assert (changed > 0) == (limit > 0) and known <= changed
    assert known == changed or limit < 1 << 32, "what enters was cold in the mini-batch, if nothing was kept back"
    other = golden_tracker(config)
    other.restore(engine.state())
    same(other, engine.tracker)
    engine.clear()
    engine.restore(golden.contents())
    same(golden, engine.tracker)
    assert len(spans) > 1 or policy == "srrip", "this test has seen epochs"


def test_what_comes_before_a_bad_row_is_followed_alike():
    config = small("shadow=1", "policy=frequency")
    job, golden, engine = pair(config, "synthetic:ratings,samples=60", resident=None)
    part = job.trace.part()
    rows = part.rows.copy()
    rows[7, 3] = 1 << 30
    with pytest.raises(RowOutsideTable, match="sample 7, access 3"):
        engine.split(rows, part.payload, follow=True)
    rows[7, 3:] = 0xFFFF_FFFF
    follow(job.model, golden, rows[:8], Sampling())
    same(golden, engine.tracker)
    assert (engine.swap()[0][:, 5] == NO_WORKING_ROW).all(), "there is no working set"


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="unknown policy 'lru'"):
        type(native_tracker(small()))(native_tracker(small()).keys, 64, 4, "lru")
