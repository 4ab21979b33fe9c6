"""`hotline bench engines`: the software engine beside golden."""

import pytest

pytest.importorskip("numba")

from hotline_native import NativeEngine  # noqa: E402
from hotline_rtl.config import preset  # noqa: E402
from hotline_sim.studies import engine_speed  # noqa: E402
from hotline_sim.studies.engine_speed import Different, measure, tables  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("SECONDS", 0.01), ("REPEATS", 1), ("TABLE_ROWS", 1 << 12), ("COPIED", 1 << 10)):
        monkeypatch.setattr(engine_speed, name, value)


def test_every_speed_is_measured(quick):
    found = measure(open_trace("synthetic:criteo-kaggle,samples=2000"), preset("ecp5"), 256)
    numbers = found.numbers()
    assert set(numbers["samples_per_second"]) == set(numbers["learn_samples_per_second"]) == {"native", "golden"}
    assert 1 in numbers["samples_per_second_by_threads"] and all(
        v > 0 for v in numbers["row_gigabytes_per_second"].values()
    )
    assert len(tables(found, 256)) == 2


@pytest.mark.parametrize("what", ["learn", "split"])
def test_an_engine_that_differs_is_told(quick, monkeypatch, what):
    right = getattr(NativeEngine, what)

    def wrong(self, rows, *rest):
        found = right(self, rows, *rest)
        if what == "learn":
            return found[0], found[1] + 1
        found.non_popular[:1] += 1
        return found

    monkeypatch.setattr(NativeEngine, what, wrong)
    with pytest.raises(Different, match=what.upper()):
        measure(open_trace("synthetic:criteo-kaggle,samples=2000"), preset("ecp5"), 256)
