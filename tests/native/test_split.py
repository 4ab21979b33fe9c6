"""Splitting: every record, working key and count is golden's, whatever the number of threads."""

import numpy as np
import pytest

from hotline_golden.layouts import NO_ACCESS
from hotline_golden.split import RowOutsideTable, SplitResult, learn, split
from hotline_native.split import LEAST
from hotline_sim.traces.shapes import SHAPES
from hotline_sim.traces.trace import Samples

from .conftest import REAL, pair, small

FIELDS = ("popular", "non_popular", "working_keys", "accesses", "hot_accesses", "tracked_accesses", "cold_accesses")


def same(job, golden, engine, part) -> SplitResult:
    """Both split ``part`` alike; what golden finds."""
    expected, found = split(job.model, golden, part.records), engine.split(part.rows, part.payload)
    for name in FIELDS:
        assert np.array_equal(getattr(expected, name), getattr(found, name)), name
    assert found.popular.dtype == found.non_popular.dtype == found.working_keys.dtype == np.uint32
    return expected


@pytest.mark.parametrize("resident", [None, -1, 300])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_split_alike(shape, resident):
    samples = 300 if shape == "mlperf-v2" else 1200
    job, golden, engine = pair(small(), f"synthetic:{shape},samples={samples}", resident=resident)
    rows = job.trace.part(0, samples // 3).rows
    learn(job.model, golden, rows)
    engine.learn(rows)
    for part in job.trace.parts(samples // 2):
        same(job, golden, engine, part)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, LEAST, 3 * LEAST + 1])
def test_threads_and_sizes_do_not_matter(threads, size):
    job, golden, engine = pair(small(), "synthetic:taobao,samples=2000", threads, resident=None)
    rows = job.trace.part(0, 500).rows
    learn(job.model, golden, rows)
    engine.learn(rows)
    for first in range(0, 2000, 500):
        same(job, golden, engine, job.trace.part(first, first + size))


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not beside this checkout")
@pytest.mark.parametrize("rule", ["hash", "first-seen"])
def test_real_clicks_are_split_alike(rule):
    job, golden, engine = pair(small("tracker_sets=1024"), f"criteo:{REAL},rule={rule}")
    for part in job.trace.parts(111):
        same(job, golden, engine, part)
        learn(job.model, golden, part.rows)
        engine.learn(part.rows)


def test_splits_see_what_was_learnt_loaded_and_swapped():
    """Between any two commands that change the hot set."""
    job, golden, engine = pair(small("shadow=1"), "synthetic:drift,samples=1000,scale=0.05", resident=None)
    r = np.random.default_rng(3)
    kept, working = golden.dump(), None
    for _ in range(60):
        first = int(r.integers(0, 900))
        part = job.trace.part(first, first + 100)
        what = r.choice(["learn", "swap", "load", "clear", "split"], p=[0.3, 0.3, 0.1, 0.05, 0.25])
        if what == "learn":
            assert learn(job.model, golden, part.rows) == engine.learn(part.rows)
        elif what == "swap":
            limit = int(r.integers(0, 50))
            assert np.array_equal(golden.swap(limit, 0, working)[0], engine.swap(limit)[0])
        elif what == "load":
            golden.load(kept.reshape(-1))
            engine.load(kept)
        elif what == "clear":
            golden.clear()
            engine.clear()
        else:
            kept = golden.dump()
        working = same(job, golden, engine, part).working_keys


def test_a_key_that_a_hot_list_has_twice_is_in_its_lower_slot():
    """In two arrays; LOAD takes that."""
    config = small()
    job, golden, engine = pair(config, "synthetic:ratings,samples=400", resident=None)
    rows = job.trace.part().rows
    keys = golden.keys.pack(np.broadcast_to(job.trace.table_of, rows.shape), rows)
    hot = np.full((golden.slots, 2), 0xFFFF_FFFF, np.uint32)
    for key in np.unique(keys)[:50]:
        sets, _ = golden.placement.place(golden.keys.permute(np.array([key])))
        table, row = (int(x) for x in golden.keys.unpack(key))
        for s in sets[0].tolist():
            ways = hot[s * golden.ways : (s + 1) * golden.ways]
            free = np.flatnonzero(ways[:, 0] == 0xFFFF_FFFF)
            if len(free):
                ways[free[0]] = table, row
    golden.load(hot.reshape(-1))
    engine.load(hot)
    assert np.array_equal(golden.dump(), engine.dump())
    same(job, golden, engine, job.trace.part())


def test_a_mini_batch_without_samples_or_accesses():
    job, golden, engine = pair(small(), "synthetic:taobao,samples=400")
    part = Samples(job.trace.part(0, 50).rows.copy(), job.trace.part(0, 50).payload)
    part.rows[:, -20:] = NO_ACCESS
    part.rows[7] = NO_ACCESS
    same(job, golden, engine, part)
    same(job, golden, engine, job.trace.part(400, 500))


@pytest.mark.parametrize("sample, access", [(0, 0), (3, 1), (700, 4)])
def test_rows_outside_their_tables_are_refused_alike(sample, access):
    job, golden, engine = pair(small(), "synthetic:taobao,samples=800")
    part = Samples(job.trace.part(0, 800).rows.copy(), job.trace.part(0, 800).payload)
    table = int(job.trace.table_of[access])
    part.rows[sample, access] = job.trace.table_rows[table]
    part.rows[-1, -1] = NO_ACCESS - 1
    messages = []
    for call in (lambda: split(job.model, golden, part.records), lambda: engine.split(part.rows, part.payload)):
        with pytest.raises(RowOutsideTable) as refusal:
            call()
        messages.append(str(refusal.value))
    assert messages[0] == messages[1] and f"sample {sample}, access {access}" in messages[0]
    same(job, golden, engine, job.trace.part(0, 100))
