"""Traces: what is read, what is refused and how it is said, and what the generator makes."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.report import WIDE_KEYS, popular_curve
from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces.criteo import read_criteo
from hotline_sim.traces.shapes import MLPERF_V2_HOT, SHAPES
from hotline_sim.traces.synthetic import normal_cdf, scramble
from hotline_sim.traces.text_lines import zstd

REAL = Path(__file__).parents[3] / "shared" / "data" / "criteo_sample.tsv"

FIELDS = ["1", *map(str, range(13)), *[f"{0xA0 + n:08x}" for n in range(26)]]


def write(path, *lines):
    path.write_text("".join(line + "\n" for line in lines))
    return path


def line(**changes):
    fields = list(FIELDS)
    for column, value in changes.items():
        fields[int(column[1:]) - 1] = value
    return "\t".join(fields)


def test_criteo_lines_become_rows_and_payload(tmp_path):
    file = write(tmp_path / "log.tsv", line(), line(c1="0", c2="-3", c5="", c20=""), "0\t1\t2")
    trace = read_criteo(file)
    assert trace.samples == 3 and trace.accesses == 26 and trace.payload_words == 14
    payload = trace.payload.view(np.float32)
    assert payload[:, 0].tolist() == [1, 0, 0]
    assert np.allclose(payload[0, 1:], np.log1p(np.arange(13)))
    assert payload[1, 1] == 0 and payload[1, 4] == 0, "negative and empty integers give 0"
    assert (trace.rows < trace.table_rows).all()
    # A line cut short is one whose last fields are empty.
    short = read_criteo(write(tmp_path / "short.tsv", "\t".join(["0", "1", "2"] + [""] * 37)))
    assert np.array_equal(trace.rows[2], short.rows[0])


def test_first_seen_rule_numbers_values_in_order(tmp_path):
    file = write(tmp_path / "log.tsv", line(c15="ff"), line(c15="0a"), line(c15="ff"), line(c15=""))
    trace = open_trace(f"criteo:{file},rule=first-seen")
    assert trace.rows[:, 0].tolist() == [1, 2, 1, 0] and trace.table_rows[0] == 3


def test_hash_rule_is_seeded_and_reads_gzip(tmp_path):
    plain = write(tmp_path / "log.tsv", line(), line(c15="12345678"))
    packed = tmp_path / "log.tsv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    a, b = open_trace(f"criteo:{plain}"), open_trace(f"criteo:{packed}")
    assert np.array_equal(a.rows, b.rows)
    assert not np.array_equal(a.rows, open_trace(f"criteo:{plain},seed=2").rows)


@pytest.mark.parametrize(
    "lines, message",
    [
        ([line(), line() + "\t5"], "line 2: 41 columns; at most 40"),
        ([line(), line(), line(c20="xyz")], "line 3, column 20: 'xyz'; up to 8 hexadecimal digits"),
        ([line(c3="1.5")], "line 1, column 3: '1.5'; an integer of up to 18 digits, or nothing"),
        ([line(c1="2")], "line 1, column 1: label '2'; 0 or 1"),
        ([line(c40="123456789")], "line 1, column 40: '123456789'; up to 8 hexadecimal digits"),
        ([line(c15="f" * 16)], "line 1, column 15: 'ffffffffffffffff'; up to 8"),  # what an empty field is hashed as
        ([line(), "", line()], "line 2: a blank line; only at the end"),
        ([line(c2="9" * 400)], r"column 2: '9{24}'\.\.\. \(400 characters\); an integer of up to 18"),
        ([line(c2="9" * (1 << 20))], "line 1: longer than 1,048,576 characters"),
        ([], "no samples"),
        *(([line(c15=x)], "column 15: ") for x in (" 05db", "0x1f", "-0", "+05db", "1_0", "\u0663", "05db ")),
        *(
            ([line(c2=x)], "column 2: ")
            for x in (" 5", "0x1f", "-0", "-00", "+5", "1_0", "\u0663", "-", "5.0", "1e3")
        ),
    ],
)
def test_malformed_lines_are_refused_with_line_and_column(tmp_path, lines, message):
    with pytest.raises(TraceError, match=message):
        read_criteo(write(tmp_path / "bad.tsv", *lines))


def test_what_the_field_writes_is_read(tmp_path):
    """A byte-order mark, CRLF, blank lines at the end; leading zeros, negative integers, capital digits."""
    plain = read_criteo(write(tmp_path / "log.tsv", line(c2="5", c3="-10", c15="AB"), line()))
    file = tmp_path / "other.tsv"
    file.write_bytes(
        b"\xef\xbb\xbf" + f"{line(c2='005', c3='-010', c15='000000ab')}\r\n{line()}\r\n\r\n\r\n".encode()
    )
    other = read_criteo(file)
    assert np.array_equal(plain.rows, other.rows) and np.array_equal(plain.payload, other.payload)


@pytest.mark.parametrize("name", ["log.tsv.GZ", "log", "log.bz2", "log.tsv", "log.zst"])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_compression_is_told_by_content(tmp_path, name, compress):
    plain = write(tmp_path / "plain.tsv", line(), line(c15="12345678"))
    packed = tmp_path / name
    packed.write_bytes(compress(plain.read_bytes()))
    assert np.array_equal(open_trace(f"criteo:{packed}").rows, open_trace(f"criteo:{plain}").rows)
    packed.write_bytes(compress(plain.read_bytes() * 1000)[:-9])
    with pytest.raises(TraceError, match="damaged or truncated after line"):
        open_trace(f"criteo:{packed}")


def test_tables_of_the_hash_rule_have_the_sizes_that_are_asked_for(tmp_path):
    file = write(tmp_path / "log.tsv", line(), line(c15="12345678"))
    assert open_trace(f"criteo:{file},rows=1000").table_rows.tolist() == [1000] * 26
    sizes = list(range(10, 36))
    trace = open_trace(f"criteo:{file},rows={':'.join(map(str, sizes))}")
    assert trace.table_rows.tolist() == sizes and (trace.rows < sizes).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ("seed=-1", "seed=-1: 0 to 2"),
        ("seed=18446744073709551616", "seed=18446744073709551616: 0 to 2"),
        ("seed=1_0_", "'1_0_' is not a whole number"),
        ("seed=\u0663", "is not a whole number"),
        (f"seed={'9' * 5000}", r"9{24}'\.\.\. \(5,000 characters\) is not a whole number"),
        ("samples=0", "samples=0: at least 1"),
        ("rows=5:6", "table sizes: 2 given; one for all tables, or 26"),
        ("rows=0", "table sizes: 0; 1 to"),
        ("rows=x", "'x' is not a whole number"),
        ("rows=5,rule=first-seen", "rows=... is for rule=hash"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, message):
    file = write(tmp_path / "log.tsv", line())
    with pytest.raises(TraceError, match=message):
        open_trace(f"criteo:{file},{settings}")


def test_numbers_of_a_synthetic_trace_are_finite():
    with pytest.raises(TraceError, match="exponent=nan is not a finite number"):
        open_trace("synthetic:exponent=nan")


def arrays(**changes) -> dict:
    given = {"rows": np.zeros((3, 2), np.uint32), "table_of": np.array([0, 1]), "table_rows": np.array([5, 5]),
             "payload": np.zeros((3, 1), np.float32)}  # fmt: skip
    return given | changes


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_ids_of_any_integer_type_are_taken(tmp_path, dtype):
    rows = np.array([[0, 1], [2, 3], [4, 0]])
    np.savez(tmp_path / "t.npz", **arrays(rows=rows.astype(dtype), table_of=np.array([0, 1], dtype)))
    trace = open_trace(f"npz:{tmp_path}/t.npz")
    assert trace.rows.dtype == np.uint32 and np.array_equal(trace.rows, rows)


def test_padding_of_wide_ids_is_padding(tmp_path):
    np.savez(tmp_path / "t.npz", **arrays(rows=np.array([[0, NO_ACCESS], [2, 3], [4, 0]], np.int64)))
    assert open_trace(f"npz:{tmp_path}/t.npz").rows[0, 1] == NO_ACCESS


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            np.array([[0, -1], [2, 3], [4, 0]]),
            r"`rows\[0, 1\]` is -1; 0 to 4294967295 is right, where 4294967295 pads",
        ),
        (np.array([[0, 0], [1 << 32, 3], [4, 0]]), r"`rows\[1, 0\]` is 4294967296"),
        (np.zeros((3, 2)), "`rows` must hold integers, not float64"),
        (np.array([[0, "a"]] * 3, object), "`rows` holds Python objects; numbers are right"),
    ],
)
def test_ids_that_do_not_fit_are_refused(tmp_path, rows, message):
    np.savez(tmp_path / "t.npz", **arrays(rows=rows))
    with pytest.raises(TraceError, match=message) as refusal:
        open_trace(f"npz:{tmp_path}/t.npz")
    assert "pickle" not in str(refusal.value)


def test_other_files_are_no_archives(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros(3))
    with pytest.raises(TraceError, match=r"a single NumPy array \(.npy\), not an archive of arrays"):
        open_trace(f"npz:{tmp_path}/t.npy")
    write(tmp_path / "t.npz", "no archive")
    with pytest.raises(TraceError, match="not a NumPy .npz archive: numpy.savez"):
        open_trace(f"npz:{tmp_path}/t.npz")
    np.savez(tmp_path / "u.npz", **arrays())
    (tmp_path / "u.npz").write_bytes((tmp_path / "u.npz").read_bytes()[:300])
    with pytest.raises(TraceError, match="a damaged .npz archive"):
        open_trace(f"npz:{tmp_path}/u.npz")


def test_damaged_files_are_refused_with_the_line_reached(tmp_path):
    good = gzip.compress("".join(line(c2=str(n)) + "\n" for n in range(5000)).encode())
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(good[: len(good) // 2])
    with pytest.raises(TraceError, match=r"damaged or truncated after line \d+"):
        read_criteo(cut)
    with pytest.raises(TraceError, match="no such file"):
        open_trace(f"criteo:{tmp_path}/none.tsv")
    binary = tmp_path / "binary.tsv"
    binary.write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(TraceError):
        read_criteo(binary)


def test_npz_round_trip_keeps_padding_and_multi_hot_tables(tmp_path):
    trace = open_trace("synthetic:taobao,samples=50")
    assert (trace.rows == NO_ACCESS).any()
    trace.save(tmp_path / "t.npz")
    again = open_trace(f"npz:{tmp_path}/t.npz")
    for name in ("rows", "table_of", "table_rows", "payload"):
        assert np.array_equal(getattr(again, name), getattr(trace, name)), name


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"rows": np.full((3, 2), 9, np.uint32)},
            "sample 0, access 0: row 9 is outside table 0, which has rows 0 to 4",
        ),
        ({"table_of": np.zeros(3, np.uint32)}, "`table_of` must have 2 entries"),
        ({"table_of": np.array([0, 5], np.uint32)}, "must name tables 0 to 1"),
        ({"payload": np.zeros((2, 1), np.float32)}, "`payload` must be 32-bit"),
        ({"payload": np.zeros((3, 1))}, "`payload` must be float32 or uint32, not float64"),
        ({"table_rows": np.array([5, 0], np.uint32)}, "1 to 4294967294 rows"),
        ({"payload": None}, "no array payload"),
    ],
)
def test_npz_that_does_not_fit_together_is_refused(tmp_path, change, message):
    arrays = {"rows": np.zeros((3, 2), np.uint32), "table_of": np.array([0, 1], np.uint32),
              "table_rows": np.array([5, 6], np.uint32), "payload": np.zeros((3, 1), np.float32)}  # fmt: skip
    arrays = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(TraceError, match=message):
        open_trace(f"npz:{tmp_path}/t.npz")


def test_something_else_than_npz_is_refused(tmp_path):
    (tmp_path / "t.npz").write_text("no archive")
    with pytest.raises(TraceError, match="not a NumPy .npz archive"):
        open_trace(f"npz:{tmp_path}/t.npz")


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_reproducible_and_within_its_tables(name):
    a, b = (open_trace(f"synthetic:{name},samples=200,seed=4") for _ in range(2))
    assert np.array_equal(a.rows, b.rows) and np.array_equal(a.payload, b.payload)
    assert a.samples == 200 and a.accesses == sum(SHAPES[name].hot)
    labels = a.payload.view(np.float32)[:, 0]
    assert set(labels.tolist()) <= {0.0, 1.0}


def test_mlperf_has_214_accesses():
    assert sum(MLPERF_V2_HOT) == 214 == open_trace("synthetic:mlperf-v2,samples=5").accesses


@pytest.mark.parametrize(
    "spec, message",
    [
        ("criteo", "use criteo:PATH, npz:PATH or synthetic"),
        ("synthetic:nothing", "unknown shape 'nothing'"),
        ("synthetic:avazu,samples=many", "'many' is not a whole number"),
        ("synthetic:avazu,colour=red", "not key=value with one of samples"),
        ("synthetic:scale=2", "scale in"),
    ],
)
def test_bad_specs_say_what_would_be_right(spec, message):
    with pytest.raises(TraceError, match=message):
        open_trace(spec)


def test_scramble_is_a_bijection():
    for rows in (1, 2, 3, 24, 1000, 10007):
        assert sorted(scramble(np.arange(rows), rows, 5).tolist()) == list(range(rows))


def test_normal_distribution_function():
    from math import erf

    x = np.linspace(-5, 5, 101)
    assert np.abs(normal_cdf(x) - [(1 + erf(v / 2**0.5)) / 2 for v in x]).max() < 1e-6


def curve(trace, samples):
    part = trace.head(samples)
    present = part.rows != NO_ACCESS
    keys = WIDE_KEYS.pack(np.broadcast_to(part.table_of, part.rows.shape), np.where(present, part.rows, 0))
    return popular_curve(keys, present, samples // 2)


def test_accesses_of_a_sample_are_correlated():
    """With independent columns far fewer samples are popular at the same hot coverage."""
    correlated = curve(open_trace("synthetic:samples=4000"), 4000)
    independent = curve(open_trace("synthetic:samples=4000,correlation=0"), 4000)
    for a, b in zip(correlated[2:5], independent[2:5], strict=True):
        assert abs(a["hot_accesses"] - b["hot_accesses"]) < 0.05
        assert a["popular_share"] > 1.3 * b["popular_share"]


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not beside this checkout")
def test_generated_skew_resembles_the_real_sample():
    """Hot coverage and popular share at each size of hot set, same number of samples."""
    real = curve(open_trace(f"criteo:{REAL}"), 999)
    generated = curve(open_trace("synthetic:criteo-kaggle,samples=999,scale=1"), 999)
    for a, b in zip(real, generated, strict=True):
        assert abs(a["hot_accesses"] - b["hot_accesses"]) < 0.11, (a, b)
        assert abs(a["popular_share"] - b["popular_share"]) < 0.03, (a, b)
