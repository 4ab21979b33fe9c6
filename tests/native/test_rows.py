"""Gather and scatter of rows."""

import numpy as np
import pytest

from hotline_native.rows import LEAST, gather, scatter


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, LEAST - 1, 3 * LEAST + 5])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_rows_are_copied_where_they_belong(dtype, count, threads):
    r = np.random.default_rng(1)
    table = r.random((5000, 17)).astype(dtype)
    places = r.permutation(5000)[:count]
    out = np.empty((count, 17), dtype)
    gather(table, places, out, threads)
    assert np.array_equal(out, table[places])
    expected = table.copy()
    expected[places] = out + 1
    scatter(table, places, out + 1, threads)
    assert np.array_equal(table, expected)
