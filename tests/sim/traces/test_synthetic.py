"""What the generator makes."""

from math import erf

import numpy as np
import pytest

from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces import synthetic as generator
from hotline_sim.traces.shapes import MLPERF_V2_HOT, SHAPES
from hotline_sim.traces.statistics import describe
from hotline_sim.traces.synthetic import normal_cdf, scramble

from .conftest import REAL


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_reproducible_and_within_its_tables(name):
    a, b = (open_trace(f"synthetic:{name},samples=200,seed=4").part() for _ in range(2))
    assert np.array_equal(a.rows, b.rows) and np.array_equal(a.payload, b.payload)
    assert a.rows.shape == (200, sum(SHAPES[name].hot))
    assert set(a.payload.view(np.float32)[:, 0].tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", [n for n in SHAPES if n != "mlperf-v2"])
def test_a_trace_of_several_blocks_is_the_same_however_it_is_read(name, monkeypatch):
    monkeypatch.setattr(generator, "BLOCK", 100)
    whole = open_trace(f"synthetic:{name},samples=350").part()
    again = open_trace(f"synthetic:{name},samples=350")
    for first, last in ((340, 350), (0, 10), (95, 205), (210, 220)):
        part = again.part(first, last)
        assert np.array_equal(part.rows, whole.rows[first:last]) and np.array_equal(
            part.payload, whole.payload[first:last]
        )
    if SHAPES[name].pattern not in ("single-key", "all-distinct"):
        assert not np.array_equal(whole.rows[:100], whole.rows[100:200])
    if SHAPES[name].pattern == "ratings":  # a user's age is the same in every block
        ages = {(u, a) for u, a in zip(whole.rows[:, 0].tolist(), whole.rows[:, 2].tolist(), strict=True)}
        assert len(ages) == len({u for u, _ in ages})


def test_popularity_drifts_over_several_blocks(monkeypatch):
    monkeypatch.setattr(generator, "BLOCK", 1000)
    rows = open_trace("synthetic:drift,samples=20000,scale=0.05").part().rows[:, 0]
    top = [set(np.argsort(-np.bincount(part, minlength=10000))[:20].tolist()) for part in np.array_split(rows, 10)]
    assert len(top[0] & top[1]) > len(top[0] & top[9])


def test_mlperf_has_214_accesses():
    assert sum(MLPERF_V2_HOT) == 214 == open_trace("synthetic:mlperf-v2,samples=5").accesses


def test_no_more_distinct_samples_than_rows():
    with pytest.raises(TraceError, match="all-distinct: tables of .* rows give at most"):
        open_trace("synthetic:all-distinct,samples=4200000,scale=0.01")


def test_scramble_is_a_bijection():
    for rows in (1, 2, 3, 24, 1000, 10007):
        assert sorted(scramble(np.arange(rows), rows, 5).tolist()) == list(range(rows))


def test_normal_distribution_function():
    x = np.linspace(-5, 5, 101)
    assert np.abs(normal_cdf(x) - [(1 + erf(v / 2**0.5)) / 2 for v in x]).max() < 1e-6


def curve(spec: str):
    return describe(open_trace(spec)).curve


def test_accesses_of_a_sample_are_correlated():
    """With independent columns far fewer samples are popular at the same hot coverage."""
    correlated, independent = curve("synthetic:samples=4000"), curve("synthetic:samples=4000,correlation=0")
    for a, b in zip(correlated[2:5], independent[2:5], strict=True):
        assert abs(a.hot_accesses - b.hot_accesses) < 0.05
        assert a.popular_share > 1.3 * b.popular_share


def test_popularity_drifts_as_fast_as_told():
    """How many of the last tenth's accesses are to the rows that the first tenth used most."""

    def kept(drift: str) -> float:
        rows = open_trace(f"synthetic:drift,samples=20000{drift}").part().rows[:, 0]
        popular, counts = np.unique(rows[:2000], return_counts=True)
        return float(np.isin(rows[-2000:], popular[np.argsort(-counts)[:50]]).mean())

    shares = [kept(drift) for drift in (",drift=0", ",drift=0.03", "", ",drift=1")]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.3 and shares[-1] < 0.01
    assert kept(",drift=0.1") == shares[2]
    with pytest.raises(TraceError, match="drift=1.5: a part of the rows, 0 to 1, is right"):
        open_trace("synthetic:drift,drift=1.5")


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not beside this checkout")
def test_generated_skew_resembles_the_real_sample():
    """Hot coverage and popular share at each size of hot set, same number of samples."""
    for a, b in zip(curve(f"criteo:{REAL}"), curve("synthetic:criteo-kaggle,samples=999,scale=1"), strict=True):
        assert abs(a.hot_accesses - b.hot_accesses) < 0.11, (a, b)
        assert abs(a.popular_share - b.popular_share) < 0.03, (a, b)
