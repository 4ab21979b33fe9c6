"""Embedding bags on the CPU, against PyTorch's own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hotline_native.bags import ADAGRAD, ROW_WISE_ADAGRAD, SGD, Grouped, late_bags, pool, update  # noqa: E402


def plain(table, keys, table_of, tables, dim):
    out = np.zeros((len(keys), tables, dim), table.dtype)
    for s, row in enumerate(keys.tolist()):
        for j, key in enumerate(row):
            if key >= 0:
                out[s, table_of[j]] += table[key, :dim]
    return out


@pytest.fixture
def case():
    r = np.random.default_rng(1)
    table_of = np.array([0, 1, 1, 1, 2])
    keys = r.integers(-1, 60, (90, 5))
    return r, table_of, keys, r.random((60, 9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_are_summed_by_table(case, dtype, threads):
    r, table_of, keys, table = case
    table = table.astype(dtype)
    out = np.full((90, 3, 8), 7, dtype)
    pool(table, keys, table_of, out, threads)
    assert np.array_equal(out, plain(table, keys, table_of, 3, 8))


def test_bags_that_change_are_looked_up_late_and_others_early(case):
    r, table_of, keys, table = case
    before = np.unique(r.integers(0, 60, 8))
    late = late_bags(before, keys, table_of, 3)
    for s, row in enumerate(keys.tolist()):
        for t in range(3):
            assert late[s, t] == any(key in before for key, of in zip(row, table_of, strict=True) if of == t)
    assert late.any() and not late.all() and not late_bags(before[:0], keys, table_of, 3).any()
    out = np.zeros((90, 3, 8))
    pool(table, keys, table_of, out, 2, late, False)
    table[before] += 1
    pool(table, keys, table_of, out, 2, late, True)
    assert np.array_equal(out, plain(table, keys, table_of, 3, 8))


def test_accesses_are_grouped_by_row(case):
    _, _, keys, _ = case
    g = Grouped.of(keys)
    flat = keys.reshape(-1)
    assert g.rows.tolist() == sorted(set(flat[flat >= 0].tolist())) and g.starts[-1] == (flat >= 0).sum()
    for n, row in enumerate(g.rows):
        assert g.accesses[g.starts[n] : g.starts[n + 1]].tolist() == np.flatnonzero(flat == row).tolist()
    assert len(Grouped.of(np.full((3, 2), -1)).rows) == 0


@pytest.mark.parametrize("optimizer", [SGD, ROW_WISE_ADAGRAD, ADAGRAD])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_step_is_that_of_the_plain_optimizer(case, optimizer, threads):
    r, table_of, keys, table = case
    gradient = r.random((90, 3, 8))
    expected = table.copy()
    total = np.zeros((60, 8))
    for s, row in enumerate(keys.tolist()):
        for j, key in enumerate(row):
            if key >= 0:
                total[key] += gradient[s, table_of[j]]
    used = np.unique(keys[keys >= 0])
    step = np.full(60, 0.1)
    if optimizer == ADAGRAD:
        table = np.concatenate([table, np.ones((60, 7))], axis=1)
        expected = table.copy()
        expected[used, 8:] += total[used] ** 2
        expected[used, :8] -= 0.1 * total[used] / (np.sqrt(expected[used, 8:]) + 1e-10)
        step = np.zeros(60)
    if optimizer == ROW_WISE_ADAGRAD:
        expected[used, 8] += (total[used] ** 2).mean(axis=1)
        step = 0.1 / (np.sqrt(expected[:, 8]) + 1e-10)
    expected[used, :8] -= step[used, None] * total[used]
    update(table, Grouped.of(keys), table_of, gradient, optimizer, 0.1, 1e-10, threads)
    assert np.allclose(table, expected, rtol=1e-12, atol=1e-12)
