"""What all traces have in common: parts, windows, another order, and SPECs that name them."""

import pickle

import numpy as np
import pytest

from hotline_sim.traces import ArrayTrace, TraceError, open_trace
from hotline_sim.traces.mapped.folder import write_folder
from hotline_sim.traces.mapped.npz import save_npz

from .conftest import line, write


@pytest.fixture(params=["synthetic", "npz", "folder", "criteo", "array"])
def trace(request, tmp_path):
    """The same 300 samples from different places."""
    made = open_trace("synthetic:ratings,samples=300")
    if request.param == "npz":
        save_npz(made, tmp_path / "t.npz")
        return open_trace(f"npz:{tmp_path}/t.npz")
    if request.param == "folder":
        write_folder(tmp_path / "t", "s", made)
        return open_trace(f"folder:{tmp_path}/t")
    if request.param == "array":
        return ArrayTrace("a", made.part().rows, made.table_of, made.table_rows, made.part().payload)
    if request.param == "criteo":
        return open_trace(f"criteo:{write(tmp_path / 'log.tsv', *(line(c15=f'{n:x}') for n in range(300)))}")
    return made


def test_parts_are_the_whole_in_order(trace):
    whole = trace.part()
    assert whole.rows.dtype == whole.payload.dtype == np.uint32
    assert whole.rows.shape == (300, trace.accesses) and whole.payload.shape == (300, trace.payload_words)
    for size in (1, 7, 300, 1000):
        parts = list(trace.parts(size))
        assert all(len(p.rows) == size for p in parts[:-1])
        assert np.array_equal(np.concatenate([p.rows for p in parts]), whole.rows)
        assert np.array_equal(np.concatenate([p.payload for p in parts]), whole.payload)
    assert (
        len(trace.part(290, 400).rows) == 10 and len(trace.part(300, 400).rows) == len(trace.part(500, 600).rows) == 0
    )
    assert np.array_equal(trace.part(3, 5).records, np.concatenate([whole.payload[3:5], whole.rows[3:5]], axis=1))


def test_windows_are_parts(trace):
    whole = trace.part()
    head, rest = trace.head(120), trace.after(120)
    assert (head.samples, rest.samples, trace.head(1000).samples) == (120, 180, 300)
    assert np.array_equal(head.part().rows, whole.rows[:120]) and np.array_equal(
        rest.part(10, 20).rows, whole.rows[130:140]
    )
    assert np.array_equal(rest.head(5).after(2).part().payload, whole.payload[122:125])


def test_another_process_gets_the_same_samples(trace):
    again = pickle.loads(pickle.dumps(trace.head(50)))
    assert np.array_equal(again.part().rows, trace.part(0, 50).rows) and again.name == trace.name


@pytest.mark.parametrize("samples", [1, 2048, 5000, 200_000])
def test_another_order_has_every_sample_once(samples):
    rows = np.arange(samples, dtype=np.uint32)[:, None]
    trace = ArrayTrace("count", rows, np.array([0]), np.array([samples]), rows + 7)
    from hotline_sim.traces.shuffle import ShuffledTrace

    shuffled = ShuffledTrace(trace, 3)
    whole = shuffled.part()
    assert np.array_equal(np.sort(whole.rows[:, 0]), rows[:, 0]) and np.array_equal(whole.payload, whole.rows + 7)
    assert np.array_equal(ShuffledTrace(trace, 3).part().rows, whole.rows)
    for first in (0, samples // 3, samples - 1):
        assert np.array_equal(shuffled.part(first, first + 1000).rows, whole.rows[first : first + 1000])
    if samples > 1:
        assert not np.array_equal(whole.rows, rows) and not np.array_equal(
            ShuffledTrace(trace, 4).part().rows, whole.rows
        )
    if samples == 200_000:  # nothing is left of the order of time: the mean place of each tenth is near the middle
        means = whole.rows[:, 0].reshape(10, -1).mean(axis=1) / samples
        assert (abs(means - 0.5) < 0.25).all() and abs(np.corrcoef(whole.rows[:, 0], rows[:, 0])[0, 1]) < 0.3


def test_any_spec_can_be_shuffled_and_cut(tmp_path):
    plain = open_trace("synthetic:ratings,samples=5000")
    shuffled = open_trace("synthetic:ratings,samples=5000,shuffle=1")
    assert not np.array_equal(plain.part().rows, shuffled.part().rows)
    assert sorted(map(tuple, plain.part().rows.tolist())) == sorted(map(tuple, shuffled.part().rows.tolist()))
    file = write(tmp_path / "log.tsv", *(line(c15=f"{n:x}") for n in range(100)))
    assert not np.array_equal(
        open_trace(f"criteo:{file},shuffle=1").part().rows, open_trace(f"criteo:{file}").part().rows
    )
    assert open_trace("synthetic:ratings,samples=5000", samples=70).samples == 70


@pytest.mark.parametrize(
    "spec, message",
    [
        ("criteo", "no path; use SCHEME:PATH"),
        ("log.tsv", "use SCHEME:PATH.* with one of criteo, csv, parquet"),
        (".", "is it folder:.?"),
        ("", "use SCHEME:PATH"),
        ("synthetic:nothing", "unknown shape 'nothing'"),
        ("synthetic:avazu,samples=many", "'many' is not a whole number"),
        ("synthetic:avazu,colour=red", "not key=value with one of samples"),
        ("synthetic:scale=2", "scale in"),
        ("synthetic:exponent=nan", "exponent='nan' is not a finite number"),
        ("synthetic:exponent=1e400", "exponent='1e400' is not a finite number"),
        ("synthetic:shuffle=x", "'x' is not a whole number"),
        ("npz:x.npz,rule=hash", "not key=value with one of samples, shuffle"),
    ],
)
def test_bad_specs_say_what_would_be_right(spec, message):
    with pytest.raises(TraceError, match=message):
        open_trace(spec)


def test_a_schema_is_for_named_columns(tmp_path):
    with pytest.raises(TraceError, match="--schema is for csv:, parquet: and arrow:"):
        open_trace("synthetic:", schema_file=tmp_path / "s.json")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rows": np.zeros((3, 2), np.int64)}, r"`rows` must be uint32 \[samples, accesses\], not int64"),
        ({"table_of": np.zeros(3, int)}, "`table_of` must have 2 entries"),
        ({"payload": np.zeros((2, 1), np.uint32)}, r"`payload` must be 32-bit \[3, words\]"),
        ({"rows": np.full((3, 2), 9, np.uint32)}, "sample 0, access 0: row 9 is outside table 0"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    arrays = {"rows": np.zeros((3, 2), np.uint32), "table_of": np.array([0, 1]), "table_rows": np.array([5, 6]),
              "payload": np.zeros((3, 1), np.uint32)}  # fmt: skip
    with pytest.raises(TraceError, match=message):
        ArrayTrace("x", **(arrays | change))
