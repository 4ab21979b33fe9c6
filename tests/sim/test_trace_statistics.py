"""`hotline trace describe`: its counts and hot sets beside golden's oracle."""

import numpy as np
import pytest

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import NO_ACCESS
from hotline_golden.oracles.oracle import most_frequent, popular_share
from hotline_sim.traces import open_trace
from hotline_sim.traces import statistics as trace_statistics
from hotline_sim.traces.statistics import describe


@pytest.mark.parametrize(
    "spec", ["ratings,samples=801", "samples=600", "drift,samples=500", "uniform,samples=7", "ratings,samples=2"]
)
@pytest.mark.parametrize("part", [64, 1 << 16])
def test_hot_sets_are_those_of_the_frequency_oracle(spec, part, monkeypatch):
    """Tables with one access a sample, where the first of two keys is always the same."""
    monkeypatch.setattr(trace_statistics, "PART", part)
    trace = open_trace(f"synthetic:{spec}")
    rows = trace.part().rows
    keys = KeySpace(table_bits=10, row_bits=31, seed=1).pack(np.broadcast_to(trace.table_of, rows.shape), rows)
    half = trace.samples // 2
    found = describe(trace)
    distinct = len(np.unique(keys[:half]))
    for shift, point in zip(range(6, -1, -1), found.curve, strict=True):
        hot = most_frequent(keys[:half].reshape(-1), max(1, distinct >> shift))
        assert point.entries == max(1, distinct >> shift)
        assert point.popular_share == popular_share(keys[half:], np.ones_like(keys[half:], bool), hot)
        assert point.hot_accesses == pytest.approx(float(np.isin(keys[half:], hot).mean()))


def test_tables_are_counted_over_the_whole_trace():
    trace = open_trace("synthetic:taobao,samples=300")
    rows = trace.part().rows
    for number, table in enumerate(describe(trace).tables):
        mine = rows[:, trace.table_of == number]
        counts = np.sort(np.unique(mine[mine != NO_ACCESS], return_counts=True)[1])[::-1]
        assert (table.rows, table.accesses, table.used) == (trace.table_rows[number], counts.sum(), len(counts))
        assert table.top_share == pytest.approx(counts[:10].sum() / counts.sum())
