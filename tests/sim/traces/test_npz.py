"""The project's archive of arrays."""

import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces.mapped.npz import save_npz


def arrays(**changes) -> dict:
    given = {"rows": np.zeros((3, 2), np.uint32), "table_of": np.array([0, 1]), "table_rows": np.array([5, 6]),
             "payload": np.zeros((3, 1), np.float32)}  # fmt: skip
    return {k: v for k, v in (given | changes).items() if v is not None}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_ids_of_any_integer_type_are_taken(tmp_path, dtype, save):
    rows = np.array([[0, 1], [2, 3], [4, 0]])
    save(tmp_path / "t.npz", **arrays(rows=rows.astype(dtype), table_of=np.array([0, 1], dtype)))
    trace = open_trace(f"npz:{tmp_path}/t.npz")
    assert trace.part().rows.dtype == np.uint32 and np.array_equal(trace.part().rows, rows)
    assert np.array_equal(trace.part(1, 2).rows, rows[1:2])


def test_padding_of_wide_ids_is_padding(tmp_path):
    np.savez(tmp_path / "t.npz", **arrays(rows=np.array([[0, NO_ACCESS], [2, 3], [4, 0]], np.int64)))
    assert open_trace(f"npz:{tmp_path}/t.npz").part().rows[0, 1] == NO_ACCESS


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"rows": np.array([[0, -1], [2, 3], [4, 0]])},
            r"`rows\[0, 1\]` is -1; 0 to 4294967295 is right, where 4294967295 pads",
        ),
        ({"rows": np.array([[0, 0], [1 << 32, 3], [4, 0]])}, r"`rows\[1, 0\]` is 4294967296"),
        ({"rows": np.zeros((3, 2))}, "`rows` must hold integers .*, not float64"),
        ({"rows": np.array([[0, "a"]] * 3, object)}, "`rows` holds Python objects; numbers are right"),
        (
            {"rows": np.full((3, 2), 9, np.uint32)},
            "sample 0, access 0: row 9 is outside table 0, which has rows 0 to 4",
        ),
        ({"rows": np.asfortranarray(np.zeros((3, 2), np.uint32))}, "`rows` is in Fortran order"),
        ({"rows": np.zeros(3, np.uint32)}, r"`rows` must hold integers \[samples, accesses\]"),
        ({"rows": np.array(["a"])}, "`rows` is <U1"),
        ({"table_of": np.zeros(3, np.uint32)}, "`table_of` must have 2 entries"),
        ({"table_of": np.array([0, 5], np.uint32)}, "must name tables 0 to 1"),
        ({"table_of": np.zeros((2, 1), int)}, "`table_of` must be a list"),
        ({"payload": np.zeros((2, 1), np.float32)}, "`payload` must be 32-bit"),
        ({"payload": np.zeros((3, 1))}, "`payload` must be float32 or uint32, not float64"),
        ({"table_rows": np.array([5, 0], np.uint32)}, "1 to 4294967294 rows"),
        ({"payload": None}, "no array payload"),
        ({"rows": np.zeros((0, 2), np.uint32), "payload": np.zeros((0, 1), np.float32)}, "no samples"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, message):
    np.savez(tmp_path / "t.npz", **arrays(**change))
    with pytest.raises(TraceError, match=message) as refusal:
        open_trace(f"npz:{tmp_path}/t.npz").part()
    assert "pickle" not in str(refusal.value)


def test_other_files_are_no_archives(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros(3))
    with pytest.raises(TraceError, match=r"a single NumPy array \(.npy\), not an archive of arrays"):
        open_trace(f"npz:{tmp_path}/t.npy")
    (tmp_path / "t.npz").write_text("no archive")
    with pytest.raises(TraceError, match="not a NumPy .npz archive: numpy.savez"):
        open_trace(f"npz:{tmp_path}/t.npz")
    with pytest.raises(TraceError, match="no such file"):
        open_trace(f"npz:{tmp_path}/none.npz")
    np.savez(tmp_path / "u.npz", **arrays())
    (tmp_path / "u.npz").write_bytes((tmp_path / "u.npz").read_bytes()[:300])
    with pytest.raises(TraceError, match="a damaged .npz archive"):
        open_trace(f"npz:{tmp_path}/u.npz")


def test_a_trace_is_the_same_after_a_round_trip(tmp_path):
    trace = open_trace("synthetic:taobao,samples=50")
    assert (trace.part().rows == NO_ACCESS).any()
    save_npz(trace, tmp_path / "t.npz")
    again = open_trace(f"npz:{tmp_path}/t.npz")
    assert np.array_equal(again.part().rows, trace.part().rows) and np.array_equal(
        again.part().payload, trace.part().payload
    )
    assert np.array_equal(again.table_of, trace.table_of) and np.array_equal(again.table_rows, trace.table_rows)
    with np.load(tmp_path / "t.npz") as archive:
        assert archive["payload"].dtype == np.float32 and archive["rows"].shape == (50, 43)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.sampled_from(["stored", "packed"]))
def test_damaged_archives_are_refused_or_read(tmp_path, place, bytes_, kind):
    """Bytes changed anywhere, headers of the arrays too, never end in anything but a TraceError."""
    good = tmp_path / f"good_{kind}.npz"
    if not good.exists():
        (np.savez if kind == "stored" else np.savez_compressed)(good, **arrays())
    data = bytearray(good.read_bytes())
    place %= len(data)
    data[place : place + len(bytes_)] = bytes_
    bad = tmp_path / "bad.npz"
    bad.write_bytes(data)
    try:
        assert len(open_trace(f"npz:{bad}").part().rows)
    except TraceError as e:
        assert "bad.npz" in str(e)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60),
    st.lists(st.integers(-5, 1 << 40), max_size=3),
    st.sampled_from(["<u4", "|O", "<f8", "<U3", "i4"]),
)
def test_any_header_of_an_array_is_refused_or_read(tmp_path, junk, shape, kind):
    header = junk if not shape else str({"descr": kind, "fortran_order": False, "shape": tuple(shape)})
    text = header.encode()
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(24)
    np.savez(tmp_path / "t.npz", **arrays(rows=None))
    with zipfile.ZipFile(tmp_path / "t.npz", "a") as archive:
        archive.writestr("rows.npy", member)
    try:
        open_trace(f"npz:{tmp_path}/t.npz").part()
    except TraceError as e:
        assert "t.npz" in str(e)
