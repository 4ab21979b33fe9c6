"""The Criteo format: what is read, by which rule, and what is refused with line and column."""

import bz2
import gzip
import lzma
import math
import re
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces.readers import text_blocks
from hotline_sim.traces.shapes import CRITEO_KAGGLE_ROWS, CRITEO_TERABYTE_ROWS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from .conftest import REAL, hashed, line, write


def brute_force(lines: list[str], labels: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Rows and payload float32 of lines, field by field, by rule=hash."""
    rows, payload = [], []
    for text in lines:
        fields = text.split("\t")
        fields += [""] * (39 + labels - len(fields))
        values = fields[13 + labels :]
        assert all(
            re.fullmatch(r"([0-9]+|-0*[1-9][0-9]*)(\.0+)?|", x, re.ASCII) for x in fields[labels : 13 + labels]
        )
        assert all(re.fullmatch(r"[0-9a-fA-F]{0,8}", x) for x in values) and len(values) == 26
        payload.append(
            [float(fields[0]) if labels else math.nan]
            + [math.log1p(max(float(x or 0), 0)) for x in fields[labels : 13 + labels]]
        )
        rows.append(
            [hashed(int(v, 16) if v else (1 << 64) - 1, n, CRITEO_KAGGLE_ROWS[n]) for n, v in enumerate(values)]
        )
    return np.array(rows, np.uint32), np.array(payload, np.float32)


def check(spec: str, lines: list[str], labels: bool = True) -> None:
    found = open_trace(spec).part()
    rows, payload = brute_force(lines, labels)
    assert np.array_equal(found.rows, rows)
    assert np.array_equal(found.payload.view(np.float32), payload, equal_nan=True)


def test_lines_are_read_as_a_brute_force_reading_has_them(tmp_path):
    lines = [
        line(),
        line(c1="0", c2="-3", c5="", c20=""),
        "0\t1\t2",
        line(c15="AB", c16="f", c40=""),
        "1",
        line(c3="999999"),
    ]
    check(f"criteo:{write(tmp_path / 'log.tsv', *lines)}", lines)


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not beside this checkout")
def test_real_lines_are_read_as_a_brute_force_reading_has_them():
    check(f"criteo:{REAL}", REAL.read_text().splitlines())


def test_what_the_field_writes_is_read(tmp_path):
    """A byte-order mark, CRLF, blank lines at the end; leading zeros, capital digits, floats without fraction."""
    plain = [line(c2="5", c3="-10", c4="7", c15="AB"), line()]
    file = tmp_path / "other.tsv"
    odd = line(c1="1.0", c2="005", c3="-010", c4="7.00", c15="000000ab")
    file.write_bytes(b"\xef\xbb\xbf" + f"{odd}\r\n{line()}\r\n\r\n\r\n".encode())
    check(f"criteo:{file}", plain)
    file.write_bytes("\n".join(plain).encode())  # no end of the last line
    check(f"criteo:{file}", plain)


def test_files_without_labels_are_read(tmp_path):
    lines = [line().partition("\t")[2], line(c2="9").partition("\t")[2]]
    check(f"criteo:{write(tmp_path / 'test.txt', *lines)},label=none", lines, labels=False)
    with pytest.raises(TraceError, match="line 1, column 1: label '7'"):
        open_trace(f"criteo:{write(tmp_path / 'bad.txt', line(c2='7').partition(chr(9))[2])}")


@pytest.mark.parametrize("size", [40, 333, 1 << 20])
def test_blocks_and_shards_do_not_matter(tmp_path, monkeypatch, size):
    monkeypatch.setattr(text_blocks.text_blocks, "__kwdefaults__", {"header": False, "size": size})
    lines = [line(c2=str(n), c15=f"{n:x}") for n in range(50)]
    for number, part in enumerate((lines[:20], lines[20:21], lines[21:])):
        write(tmp_path / f"day_{[2, 9, 10][number]}.gz", *part)
    check(f"criteo:{tmp_path}/day_*.gz", lines)
    check(f"criteo:{tmp_path}", lines)
    assert np.array_equal(open_trace(f"criteo:{tmp_path},samples=33").part().rows, brute_force(lines[:33])[0])


def test_only_the_samples_that_are_asked_for_are_looked_at(tmp_path):
    file = write(tmp_path / "log.tsv", line(), line(c15="1"), "nonsense")
    assert open_trace(f"criteo:{file},samples=2").samples == 2
    assert open_trace(f"criteo:{file}", samples=1).samples == 1
    first_seen = open_trace(f"criteo:{file},samples=1,rule=first-seen")
    assert first_seen.table_rows.tolist() == [2] * 26, "no row for a value that comes later"


def test_values_are_numbered_as_they_appear(tmp_path):
    file = write(tmp_path / "log.tsv", line(c15="ff"), line(c15="0a"), line(c15="ff"), line(c15=""))
    trace = open_trace(f"criteo:{file},rule=first-seen")
    assert trace.part().rows[:, 0].tolist() == [1, 2, 1, 0] and trace.table_rows[0] == 3


def test_values_can_be_taken_as_they_are_or_modulo(tmp_path):
    file = write(tmp_path / "log.tsv", line(c15="ff"), line(c15="0a"), line(c15=""))
    as_is = open_trace(f"criteo:{file},rule=as-is")
    assert as_is.part().rows[:, 0].tolist() == [255, 10, NO_ACCESS] and as_is.table_rows[0] == 256
    assert open_trace(f"criteo:{file},rule=modulo,rows=100").part().rows[:, 0].tolist() == [55, 10, NO_ACCESS]
    with pytest.raises(TraceError, match="line 1, column 15: row 255; 0 to 199 is right"):
        open_trace(f"criteo:{file},rule=as-is,rows=200")


def test_hashes_have_a_seed_and_sizes(tmp_path):
    file = write(tmp_path / "log.tsv", line(), line(c15="12345678"))
    assert open_trace(f"criteo:{file},seed=2").part().rows[1, 0] == hashed(
        0x12345678, 0, CRITEO_KAGGLE_ROWS[0], seed=2
    )
    assert open_trace(f"criteo:{file},rows=1000").table_rows.tolist() == [1000] * 26
    sizes = list(range(10, 36))
    assert open_trace(f"criteo:{file},rows={':'.join(map(str, sizes))}").table_rows.tolist() == sizes
    assert open_trace(f"criteo:{file},rows=criteo-terabyte").table_rows.tolist() == CRITEO_TERABYTE_ROWS


@pytest.mark.parametrize("name", ["log.tsv.GZ", "log", "log,a=b.tsv"])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_compression_is_told_by_content(tmp_path, name, compress):
    lines = [line(), line(c15="12345678")]
    data = "".join(x + "\n" for x in lines).encode()
    packed = tmp_path / name
    packed.write_bytes(compress(data))
    check(f"criteo:{packed},samples=9", lines)
    packed.write_bytes(compress(data * 1000)[:-9])
    with pytest.raises(TraceError, match=r"damaged or truncated after line \d+"):
        open_trace(f"criteo:{packed},samples=9999")


@pytest.mark.parametrize(
    "lines, message",
    [
        ([line(), line() + "\t5"], "line 2: 41 columns; at most 40"),
        ([line(), line(), line(c20="xyz")], "line 3, column 20: 'xyz'; up to 8 hexadecimal digits"),
        ([line(c3="1.5")], "line 1, column 3: '1.5'; an integer of up to 18 digits, or nothing"),
        ([line(c1="2")], "line 1, column 1: label '2'; 0 or 1"),
        ([line(c1="")], "line 1, column 1: label ''; 0 or 1"),
        ([line(c1="01")], "line 1, column 1: label '01'; 0 or 1"),
        ([line(c40="123456789")], "line 1, column 40: '123456789'; up to 8 hexadecimal digits"),
        ([line(c15="f" * 16)], "line 1, column 15: 'ffffffffffffffff'; up to 8"),  # what an empty field is hashed as
        ([line(), "", line()], "line 2: a blank line; only at the end"),
        (["", line()], "line 1: a blank line; only at the end"),
        ([line(c2="9" * 19)], "line 1, column 2: '9999999999999999999'; an integer of up to 18"),
        ([line(c2="9" * 400)], r"column 2: '9{24}'\.\.\. \(400 characters\); an integer of up to 18"),
        ([line(c2="9" * (1 << 20))], "line 1: longer than 1,048,576 characters"),
        ([line(), line(c2="5\r6")], r"line 2: a carriage return \(CR\) that no line feed follows"),
        ([line(), line(c2="\0")], "line 2: a NUL; text is right"),
        ([line(c2="5"), line(c2="-7", c30="-1")], "line 2, column 30: '-1'; up to 8"),
        ([], "no samples"),
        ([line(c3="2x"), line(c2="1x")], "line 1, column 3: '2x'"),
        *(([line(c15=x)], "column 15: ") for x in (" 05db", "0x1f", "-0", "+05db", "1_0", "\u0663", "05db ", "1.0")),
        *(
            ([line(c2=x)], "column 2: ")
            for x in (
                " 5",
                "0x1f",
                "-0",
                "-00",
                "+5",
                "1_0",
                "\u0663",
                "-",
                "--1",
                "5.5",
                "1e3",
                ".0",
                "inf",
                "nan",
                "a",
            )
        ),
    ],
)
def test_malformed_lines_are_refused_with_line_and_column(tmp_path, lines, message):
    with pytest.raises(TraceError, match=message):
        open_trace(f"criteo:{write(tmp_path / 'bad.tsv', *lines)}")


@pytest.mark.parametrize(
    "keys, message",
    [
        ("seed=-1", "seed=-1: 0 to 2"),
        ("seed=18446744073709551616", "seed=18446744073709551616: 0 to 2"),
        ("seed=1_0", "'1_0' is not a whole number"),
        ("seed=\u0663", "is not a whole number"),
        (f"seed={'9' * 5000}", r"9{24}'\.\.\. \(5,000 characters\) is not a whole number"),
        ("samples=0", "samples=0: 1 to"),
        ("rows=5:6", "table sizes: 2 given; one for all tables, or 26"),
        ("rows=0", "table sizes: 0; 1 to"),
        ("rows=x", "'x' is not a whole number"),
        ("rows=5,rule=first-seen", "rows=... is for other rules"),
        ("rule=second", "unknown rule 'second' for categorical values: use hash, modulo, first-seen, as-is"),
        ("label=first", "label='first'; none, for a file without labels"),
        ("seed=1,seed=2", "seed is given twice"),
        ("colour=red", "'colour=red' is not key=value with one of samples, shuffle, label, rule, rows, seed"),
    ],
)
def test_keys_that_cannot_be_are_refused(tmp_path, keys, message):
    file = write(tmp_path / "log.tsv", line())
    with pytest.raises(TraceError, match=message):
        open_trace(f"criteo:{file},{keys}")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    for path, message in (
        ("none.tsv", "no such file"),
        ("none_*.tsv", "no file has such a name"),
        ("empty", "no files in"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(TraceError, match=message):
            open_trace(f"criteo:{tmp_path}/{path}")
    good = gzip.compress("".join(line(c2=str(n)) + "\n" for n in range(5000)).encode())
    (tmp_path / "cut.gz").write_bytes(good[: len(good) // 2])
    with pytest.raises(TraceError, match=r"damaged or truncated after line \d+"):
        open_trace(f"criteo:{tmp_path}/cut.gz")


FIELD = st.text(st.sampled_from("0123456789abcdefAF-.+_x \t\n\r\0\u0663"), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 40), FIELD), max_size=3), st.integers(1, 5), st.binary(max_size=20))
def test_any_bytes_are_read_right_or_refused_with_a_line(tmp_path, changes, count, tail):
    """Where something is accepted, a brute-force reading accepts it, too, and has the same numbers."""
    text = "\n".join(line(**{f"c{n}": value for n, value in changes}) for _ in range(count)).encode()
    file = tmp_path / "any.tsv"
    file.write_bytes(text + b"\n" + tail)
    try:
        found = open_trace(f"criteo:{file}").part()
    except TraceError as e:
        assert "line " in str(e) or "no samples" in str(e)
        return
    # The last line may lack its end, or the second half of it.
    lines = (file.read_bytes().decode() + "\n").replace("\r\n", "\n").rstrip("\n").split("\n")
    rows, payload = brute_force(lines)
    assert np.array_equal(found.rows, rows) and np.array_equal(found.payload.view(np.float32), payload)
