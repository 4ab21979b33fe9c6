"""The preprocessed Terabyte layout of .npy files, one access or several a table."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotline_sim.traces import TraceError, open_trace

from .conftest import hashed


def save_days(folder, counts=(5, 3), tables=4, multi_hot=(), dtype=np.int32):
    """Days 0, 1, ...: returns their dense features, labels, and sparse values [n, tables] or, for ``multi_hot``, a list."""
    r = np.random.default_rng(1)
    found = []
    for day, count in enumerate(counts):
        dense = r.random((count, 2)).astype(np.float32)
        labels = r.integers(0, 2, (count, 1)).astype(np.int32)
        np.save(folder / f"day_{day}_dense.npy", dense)
        np.save(folder / f"day_{day}_labels.npy", labels)
        if multi_hot:
            sparse = [r.integers(0, 50, (count, hot)).astype(dtype) for hot in multi_hot]
            np.savez(folder / f"day_{day}_sparse_multi_hot.npz", **{str(n): s for n, s in enumerate(sparse)})
        else:
            sparse = r.integers(0, 50, (count, tables)).astype(dtype)
            np.save(folder / f"day_{day}_sparse.npy", sparse)
        found.append((dense, labels, sparse))
    return found


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint64])
def test_days_follow_one_another(tmp_path, dtype):
    days = save_days(tmp_path, dtype=dtype)
    trace = open_trace(f"npy:{tmp_path}")
    sparse = np.concatenate([s for _, _, s in days])
    assert (
        np.array_equal(trace.part().rows, sparse) and trace.table_rows.tolist() == (sparse.max(axis=0) + 1).tolist()
    )
    payload = np.concatenate([np.concatenate([labels, dense], axis=1) for dense, labels, _ in days]).astype(
        np.float32
    )
    assert np.array_equal(trace.part().payload.view(np.float32), payload)
    assert np.array_equal(trace.part(4, 7).rows, sparse[4:7]), "across days"
    assert np.array_equal(open_trace(f"npy:{tmp_path}/day_1").part().rows, days[1][2])
    assert open_trace(f"npy:{tmp_path},samples=6").samples == 6


def test_several_accesses_a_table(tmp_path):
    days = save_days(tmp_path, multi_hot=(1, 3, 2))
    trace = open_trace(f"npy:{tmp_path},rows=50")
    assert trace.table_of.tolist() == [0, 1, 1, 1, 2, 2] and trace.table_rows.tolist() == [50] * 3
    assert np.array_equal(trace.part().rows, np.concatenate([np.concatenate(s, axis=1) for _, _, s in days]))


def test_values_become_rows_by_the_stated_rule(tmp_path):
    (_, _, sparse), *_ = save_days(tmp_path)
    assert np.array_equal(open_trace(f"npy:{tmp_path},rule=modulo,rows=7").part(0, 5).rows, sparse % 7)
    found = open_trace(f"npy:{tmp_path},rule=hash,rows=1000,seed=3").part(0, 5).rows
    assert found.tolist() == [[hashed(int(v), n, 1000, seed=3) for n, v in enumerate(row)] for row in sparse]


@pytest.mark.parametrize(
    "name, array, keys, message",
    [
        ("dense", np.zeros((4, 2), np.float32), "", r"day_0_dense.npy: \[4, 2\]; \[5, columns\] is right"),
        ("dense", np.full((5, 2), np.nan, np.float32), "", "day_0_dense.npy, row 0, column 0: nan; a finite float32"),
        ("dense", np.full((5, 2), 1e300), "", "day_0_dense.npy, row 0, column 0: inf; a finite float32"),
        ("dense", np.zeros((5, 3), np.float32), "", "day_1_sparse.npy: columns"),
        ("labels", np.full(5, 2, np.int32), "", "day_0_labels.npy, row 0: label 2; 0 or 1"),
        ("labels", np.full((5, 2), 1, np.int32), "", r"day_0_labels.npy: \[5, 2\]; \[samples\] or \[samples, 1\]"),
        ("sparse", np.zeros((5, 4)), "", "day_0_sparse.npy: float64; integers are right"),
        ("sparse", np.full((5, 4), -1), "rows=50", "day_0_sparse.npy, row 0, table 0: -1; 0 or more is right"),
        ("sparse", np.full((5, 4), 50), "rows=50", "day_0_sparse.npy, row 0, table 0: row 50; 0 to 49"),
        ("sparse", np.full((5, 4), 1 << 40), "", "rows up to 1099511627776; 0 to"),
        ("sparse", np.zeros((5, 4), int), "rule=first-seen", "rule=first-seen is for files of text and columns"),
        ("sparse", np.zeros((5, 4), int), "rule=modulo", "rule=modulo needs rows"),
        ("sparse", np.zeros((5, 4), int), "transform=log", "transform='log'; none or log1p"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, array, keys, message):
    save_days(tmp_path)
    np.save(tmp_path / f"day_0_{name}.npy", array)
    with pytest.raises(TraceError, match=message):
        open_trace(f"npy:{tmp_path}" + (f",{keys}" if keys else "")).part()


def test_files_that_are_missing_are_named(tmp_path):
    with pytest.raises(TraceError, match="no day's files; day_0_sparse.npy or day_0_sparse_multi_hot.npz"):
        open_trace(f"npy:{tmp_path}")
    save_days(tmp_path)
    (tmp_path / "day_1_labels.npy").unlink()
    with pytest.raises(TraceError, match="day_1_labels.npy: no such file"):
        open_trace(f"npy:{tmp_path}")
    with pytest.raises(TraceError, match="none: no such folder"):
        open_trace(f"npy:{tmp_path}/none/day_0")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["dense", "labels", "sparse"]),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=8),
    st.booleans(),
)
def test_damaged_files_are_refused_or_read(tmp_path, name, place, bytes_, cut):
    save_days(tmp_path)
    file = tmp_path / f"day_0_{name}.npy"
    data = bytearray(file.read_bytes())
    place %= len(data)
    data[place : place + len(bytes_)] = b"" if cut else bytes_
    file.write_bytes(data)
    try:
        open_trace(f"npy:{tmp_path},rule=hash,rows=100").part()
    except TraceError as e:
        assert "day_" in str(e)
