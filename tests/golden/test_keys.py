import numpy as np
import pytest

from hotline_golden.keys import KeySpace


@pytest.mark.parametrize("table_bits, row_bits", [(6, 26), (5, 16), (3, 4), (10, 31), (1, 8)])
def test_permutation_is_a_bijection_with_an_inverse(table_bits, row_bits):
    keys = KeySpace(table_bits, row_bits, seed=3)
    every = np.arange(min(1 << keys.key_bits, 1 << 16), dtype=np.uint64)
    permuted = keys.permute(every)
    assert len(np.unique(permuted)) == len(every)
    assert permuted.max() < 1 << keys.key_bits
    assert np.array_equal(keys.inverse(permuted), every)


def test_small_key_space_is_permuted_onto_itself():
    keys = KeySpace(3, 7, seed=1)
    assert sorted(keys.permute(np.arange(1024)).tolist()) == list(range(1024))


def test_consecutive_rows_spread_over_sets_like_random_ones():
    keys = KeySpace(6, 26, seed=1)
    for n, sets in ((4096, 512), (65536, 2048)):
        occupancy = np.bincount((keys.permute(np.arange(n)) & np.uint64(sets - 1)).astype(int), minlength=sets)
        # Poisson: the variance equals the mean; eight standard errors either way.
        assert abs(occupancy.var() / occupancy.mean() - 1) < 8 * np.sqrt(2 / sets)


def test_pack_and_unpack_are_inverse():
    keys = KeySpace(5, 20, seed=0)
    tables, rows = np.array([0, 31, 7]), np.array([0, (1 << 20) - 1, 12345])
    got_tables, got_rows = keys.unpack(keys.pack(tables, rows))
    assert np.array_equal(got_tables, tables) and np.array_equal(got_rows, rows)


def test_seeds_give_different_permutations():
    a, b = (KeySpace(6, 26, seed).permute(np.arange(100)) for seed in (1, 2))
    assert (a != b).mean() > 0.95
