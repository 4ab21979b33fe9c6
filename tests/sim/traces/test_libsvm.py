"""LIBSVM text: ranges of indices are tables or dense features."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces.readers import text_blocks

from .conftest import write

LINES = ["1 1:0.5 3:-2 10:1 25:1 21:1", "0 10:1", "1 2:1e-3 19:1 20:1 29:0 ", "0  1:7   12:1", "+1 29:2.5"]
KEYS = "dense=1:3,fields=10:19+20:29*2"


def brute_force(lines: list[str]) -> tuple[list, list]:
    rows, payload = [], []
    for line in lines:
        label, *pairs = line.split()
        dense, one, many = [0.0] * 3, [NO_ACCESS], []
        for pair in pairs:
            index, value = int(pair.split(":")[0]), float(pair.split(":")[1])
            if index <= 3:
                dense[index - 1] = value
            elif value and index < 20:
                one = [index - 10]
            elif value:
                many.append(index - 20)
        rows.append(one + many + [NO_ACCESS] * (2 - len(many)))
        payload.append([float(label), *dense])
    return rows, payload


@pytest.mark.parametrize("size", [1, 40, 1 << 20])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_lines_are_read_as_a_brute_force_reading_has_them(tmp_path, monkeypatch, size, compress):
    monkeypatch.setattr(text_blocks.text_blocks, "__kwdefaults__", {"header": False, "size": size})
    file = tmp_path / "log.svm"
    file.write_bytes(compress("\n".join(LINES).encode()))
    trace = open_trace(f"libsvm:{file},{KEYS}")
    rows, payload = brute_force(LINES)
    assert trace.part().rows.tolist() == rows
    assert np.array_equal(trace.part().payload.view(np.float32), np.array(payload, np.float32))
    assert trace.table_rows.tolist() == [10, 10] and trace.table_of.tolist() == [0, 1, 1]


def test_labels_of_minus_one_are_mapped_when_asked_for(tmp_path):
    file = write(tmp_path / "log.svm", "-1 5:1", "+1 5:1")
    assert open_trace(f"libsvm:{file},fields=0:9,threshold=0").part().payload.view(np.float32)[:, 0].tolist() == [
        0,
        1,
    ]
    with pytest.raises(TraceError, match="line 1: label '-1'; 0 or 1 is right; threshold=N"):
        open_trace(f"libsvm:{file},fields=0:9")


@pytest.mark.parametrize(
    "lines, message",
    [
        (["1 10:1", "0 4:1"], "line 2: index 4 is in no range; there are 1:3, 10:19, 20:29"),
        (["1 30:1"], "line 1: index 30 is in no range"),
        (["1 10:1 11:1"], "line 1: more than 1 of the indices 10:19; fields=10:19.N takes N"),
        (["1 1:2 1:3"], "line 1: index 1 comes twice"),
        (["1 10"], "line 1: '10'; index:value is right"),
        (["1 10:1:1"], "line 1: '10:1:1'; index:value"),
        (["1 qid:3"], "line 1: 'qid:3'; index:value"),
        (["1 -1:3"], "line 1: '-1:3'; index:value"),
        (["1 1_0:3"], "line 1: '1_0:3'; index:value"),
        (["1 10:0x1"], "line 1: value '0x1'; a number is right"),
        (["1 10:1", "1 1:inf"], "line 2: value inf; a finite float32"),
        (["1 1:1e400"], "line 1: value inf; a finite float32"),
        (["2 10:1"], "line 1: label '2'"),
        (["x 10:1"], "line 1: label 'x'; a number is right"),
        ([f"{'1' * 500} 10:1"], r"line 1: label '1{24}'\.\.\. \(500 characters\)"),
        (["1 10:1", "", "1 10:1"], "line 2: a blank line"),
        ([], "no samples"),
    ],
)
def test_malformed_lines_are_refused_with_their_number(tmp_path, lines, message):
    with pytest.raises(TraceError, match=message):
        open_trace(f"libsvm:{write(tmp_path / 'bad.svm', *lines)},{KEYS}")


@pytest.mark.parametrize(
    "keys, message",
    [
        ("dense=1:3", "fields=... is missing"),
        ("fields=1-3", "fields='1-3'; FIRST:LAST, or FIRST:LAST.ACCESSES, is right"),
        ("fields=5:1", "indices 5:1: the first comes first"),
        ("fields=1:5+5:9", "indices 1:5 and 5:9 overlap"),
        ("fields=1:9,threshold=x", "threshold='x' is not a finite number"),
    ],
)
def test_ranges_that_cannot_be_are_refused(tmp_path, keys, message):
    with pytest.raises(TraceError, match=message):
        open_trace(f"libsvm:{write(tmp_path / 'log.svm', '1 5:1')},{keys}")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(st.sampled_from("01259:. +-e\n"), max_size=60).map(str.encode)))
def test_any_bytes_are_read_right_or_refused(tmp_path, data):
    file = tmp_path / "any.svm"
    file.write_bytes(data)
    try:
        found = open_trace(f"libsvm:{file},{KEYS}").part()
    except TraceError as e:
        assert "any.svm" in str(e)
        return
    rows, payload = brute_force(data.decode().replace("\r\n", "\n").rstrip("\n").split("\n"))
    assert found.rows.tolist() == rows and np.array_equal(
        found.payload.view(np.float32), np.array(payload, np.float32)
    )
