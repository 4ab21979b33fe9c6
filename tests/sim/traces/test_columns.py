"""Logs with named columns: CSV, Parquet and Arrow files, what a schema makes of them, and what is refused."""

import csv
import gzip
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotline_golden.layouts import NO_ACCESS
from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces.readers import text_blocks

from .conftest import hashed, text_value, write

#: A log of every kind of column.
LOG = {
    "click": [1, 0, 1, 0, 1],
    "age": [33, None, 18, -4, 0],
    "price": [1.5, 2.0, 1e-3, None, 7.25],
    "user": ["ann", "bob", None, "ann", "zoë"],
    "item": [7, 1 << 40, 7, -3, 0],
    "history": [[7, 8], [], [5], None, [7, -3]],
    "tags": [["x"], ["yy", "x"], [], ["z"], ["x", "yy"]],
}
TYPES = pa.schema(
    [
        ("click", pa.int8()),
        ("age", pa.int32()),
        ("price", pa.float64()),
        ("user", pa.string()),
        ("item", pa.int64()),
        ("history", pa.list_(pa.int64())),
        ("tags", pa.list_(pa.string())),
    ]
)
KEYS = "label=click,dense=age+price,sparse=user+item=history+tags,hot=history:2+tags:2,rows=1000:5000:10"


def brute_force(rule: str) -> tuple[list[list[int]], list[list[float]]]:
    """Rows and payload of LOG by KEYS, value by value."""
    numbers: list[dict] = [{}, {}, {}]
    rows, payload = [], []

    def row(value, table: int) -> int:
        if rule == "hash":
            code = text_value(value) if isinstance(value, str) else (1 << 64) - 1 if value is None else value
            return hashed(code, table, [1000, 5000, 10][table])
        return 0 if value is None else numbers[table].setdefault(value, 1 + len(numbers[table]))

    for n in range(5):
        payload.append([LOG["click"][n], LOG["age"][n] or 0, LOG["price"][n] or 0])
        history, tags = ((LOG[name][n] or []) for name in ("history", "tags"))
        rows.append(
            [
                row(LOG["user"][n], 0),
                row(LOG["item"][n], 1),
                *(row(v, 1) for v in history),
                *[NO_ACCESS] * (2 - len(history)),
                *(row(v, 2) for v in tags),
                *[NO_ACCESS] * (2 - len(tags)),
            ]
        )
    return rows, payload


def save_parquet(path, table):
    pq.write_table(table, path, row_group_size=2)


def save_arrow(path, table):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)


def save_stream(path, table):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def save_csv(path, table):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        for entry in table.to_pylist():
            writer.writerow(
                ["|".join(map(str, v)) if isinstance(v, list) else "" if v is None else v for v in entry.values()]
            )


SAVED = [
    ("parquet", save_parquet, ""),
    ("arrow", save_arrow, ""),
    ("arrow", save_stream, ""),
    ("arrow", lambda path, table: feather.write_feather(table, str(path), compression="zstd"), ""),
    ("csv", save_csv, ",integers=item+history"),
]


@pytest.mark.parametrize("scheme, save, more", SAVED, ids=["parquet", "arrow", "stream", "feather", "csv"])
@pytest.mark.parametrize("rule", ["hash", "first-seen"])
def test_every_kind_of_column_is_read_as_a_brute_force_reading_has_it(tmp_path, scheme, save, more, rule):
    file = tmp_path / "log.any"
    save(file, pa.table(LOG, schema=TYPES))
    keys = KEYS if rule == "hash" else f"{KEYS.rpartition(',')[0]},rule=first-seen"
    trace = open_trace(f"{scheme}:{file},{keys}{more}")
    rows, payload = brute_force(rule)
    assert trace.part().rows.tolist() == rows
    assert np.array_equal(trace.part().payload.view(np.float32), np.array(payload, np.float32))
    assert trace.table_of.tolist() == [0, 1, 1, 1, 2, 2]
    assert trace.table_rows.tolist() == ([1000, 5000, 10] if rule == "hash" else [4, 7, 4])


def test_nulls_become_what_is_asked_for(tmp_path):
    pq.write_table(pa.table({"y": [0, 1], "u": pa.array([5, None], pa.int64())}), tmp_path / "a.parquet")
    spec = f"parquet:{tmp_path}/a.parquet,label=y,sparse=u,"
    assert open_trace(spec + "null=skip").part().rows[1, 0] == NO_ACCESS
    assert open_trace(spec + "rule=first-seen,null=skip").part().rows.tolist() == [[0], [NO_ACCESS]]
    for keys in ("null=refuse", "rule=as-is", "rule=modulo,rows=9"):
        with pytest.raises(TraceError, match="a.parquet, row 1, column u: no value; null=skip"):
            open_trace(spec + keys)
    with pytest.raises(TraceError, match="null=value is for rule=hash and rule=first-seen"):
        open_trace(spec + "rule=as-is,null=value")


def test_several_files_are_one_log_in_natural_order(tmp_path):
    for day in (1, 2, 10):
        pq.write_table(
            pa.table({"y": [1, 0, 1], "u": [day, day + 100, day]}), tmp_path / f"day_{day}.parquet", row_group_size=2
        )
    (tmp_path / "README.txt").write_text("not a part of it")
    for place in (str(tmp_path), f"{tmp_path}/day_*.parquet"):
        trace = open_trace(f"parquet:{place},label=y,sparse=u,rule=as-is")
        assert trace.part().rows[:, 0].tolist() == [1, 101, 1, 2, 102, 2, 10, 110, 10] and trace.table_rows[0] == 111
    assert open_trace(f"parquet:{tmp_path},label=y,sparse=u,rule=as-is,samples=4").part().rows[:, 0].tolist() == [
        1,
        101,
        1,
        2,
    ]


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_headers_separators_and_quotes(tmp_path, monkeypatch, size):
    monkeypatch.setattr(text_blocks.text_blocks, "__kwdefaults__", {"header": False, "size": size})
    write(tmp_path / "a.csv.gz", "y;u;x", '1;"a;b";0.5', '0;"c""d";2', "1;;")
    trace = open_trace(f"csv:{tmp_path}/a.csv.gz,sep=semicolon,label=y,dense=x,sparse=u,rule=first-seen")
    assert trace.part().rows[:, 0].tolist() == [1, 2, 0]
    assert trace.part().payload.view(np.float32).tolist() == [[1, 0.5], [0, 2], [1, 0]]
    write(tmp_path / "b.tsv", "1\t7\t8", "0\t9\t7")
    trace = open_trace(f"csv:{tmp_path}/b.tsv,sep=tab,header=none,label=1,sparse=2:3,rule=as-is")
    assert trace.part().rows.tolist() == [[7, 8], [9, 7]]


def test_values_of_csv_are_text_unless_they_are_called_integers(tmp_path):
    write(tmp_path / "a.csv", "y,u", "1,007", "0,7")
    found = open_trace(f"csv:{tmp_path}/a.csv,label=y,sparse=u,rows=99999,integers=u").part().rows[:, 0].tolist()
    assert found == [hashed(7, 0, 99999)] * 2
    trace = open_trace(f"csv:{tmp_path}/a.csv,label=y,sparse=u,rows=99999")
    assert trace.part().rows[:, 0].tolist() == [hashed(text_value(t), 0, 99999) for t in ("007", "7")]


def test_labels_and_features_are_mapped_when_asked_for(tmp_path):
    pq.write_table(
        pa.table({"stars": [4, 5, 1], "x": [math.nan, -2.0, math.inf], "u": [0, 1, 2]}), tmp_path / "a.parquet"
    )
    pq.write_table(pa.table({"x": [1.0, -2.0, math.inf], "u": [0, 1, 2]}), tmp_path / "b.parquet")
    spec = f"parquet:{tmp_path}/a.parquet,label=stars,sparse=u,rule=as-is"
    assert open_trace(spec + ",threshold=4").part().payload.view(np.float32)[:, 0].tolist() == [1, 1, 0]
    with pytest.raises(TraceError, match="row 2, column x: label 'inf'; a finite number is right"):
        open_trace(f"parquet:{tmp_path}/b.parquet,label=x,sparse=u,threshold=1")
    with pytest.raises(TraceError, match="a.parquet, row 0, column stars: label '4'; 0 or 1 is right; threshold=N"):
        open_trace(spec)
    with pytest.raises(TraceError, match="row 0, column x: 'nan'; a finite float32 is right; nonfinite=zero"):
        open_trace(spec + ",threshold=4,dense=x")
    zero = open_trace(spec + ",threshold=4,dense=x,nonfinite=zero,transform=log1p").part().payload.view(np.float32)
    assert zero[:, 1].tolist() == [0, 0, 0]
    none = open_trace(f"parquet:{tmp_path}/a.parquet,label=none,sparse=u,rule=as-is").part().payload.view(np.float32)
    assert np.isnan(none).all()


@pytest.mark.parametrize("name", ["s.json", "s.toml"])
def test_a_schema_can_be_a_file(tmp_path, name):
    save_parquet(tmp_path / "log.parquet", pa.table(LOG, schema=TYPES))
    keys = {"label": "click", "dense": ["age", "price"], "sparse": ["user", ["item", "history"], "tags"],
            "hot": {"history": 2, "tags": 2}, "rows": [1000, 5000, 10]}  # fmt: skip
    file = tmp_path / name
    if name.endswith("json"):
        file.write_text(json.dumps(keys))
    else:
        file.write_text(
            'label = "click"\ndense = ["age", "price"]\nsparse = ["user", ["item", "history"], "tags"]\n'
            "rows = [1000, 5000, 10]\n[hot]\nhistory = 2\ntags = 2\n"
        )
    for trace in (
        open_trace(f"parquet:{tmp_path}/log.parquet", schema_file=file),
        open_trace(f"parquet:{tmp_path}/log.parquet,schema={file}"),
    ):
        assert trace.part().rows.tolist() == brute_force("hash")[0]


@pytest.mark.parametrize(
    "lines, keys, message",
    [
        (["y,u", "1,2", "0,2,3"], "", "line 3: 3 columns; 2 are right, as in the first line"),
        (["y,u", "1,2", "0"], "", "line 3: 1 columns; 2 are right"),
        (["y,u", "1,2", "0,1_0"], ",integers=u", "line 3, column u: '1_0'; an integer of 64 bits is right"),
        (["y,u", "1,2", "0,-0"], ",integers=u", "line 3, column u: '-0'; an integer"),
        *(
            (["y,u,x", "1,2,3", f"0,2,{bad}"], ",dense=x", f"line 3, column x: '{bad[:20]}")
            for bad in ("0x1f", "1_0", "\u0663", "+5", "--1", "5 ", "Infinity", "1e", "9" * 500)
        ),
        (["y,u,x", "1,2,1e400"], ",dense=x", "line 2, column x: '1e400'; a finite float32"),
        (["y,u,x", "1,2,nan"], ",dense=x", "line 2, column x: 'nan'; a finite float32"),
        (
            ["y,u", "1,5", "1,99999999999999999999"],
            ",integers=u",
            r"line 3, column u: '99999999999999999999'; an integer",
        ),
        (
            ["y,u", "1,5", "1,9999999999999999999"],
            ",integers=u",
            r"line 3, column u: '9999999999999999999'; an integer",
        ),
        (["y,u", "2,5"], "", "line 2, column y: label '2'; 0 or 1"),
        (["y,u", ",5"], "", "line 2, column y: label empty; 0 or 1"),
        (["y,u", "1,5"], ",rows=5,rule=as-is", "line 2, column u: row 5; 0 to 4 is right"),
        (["y,u", "1,-5"], ",rule=as-is", "line 2, column u: -5; 0 or more is right"),
        (["y,u", "1,x"], ",rule=as-is", "line 2, column u: 'x'; an integer of 64 bits is right"),
        (["y,u", "1,a|b"], ",hot=u:1", r"line 2, column u: a list of 2; at most 1 is right: hot=u:N, or longer=cut"),
        (["y,u,u", "1,2,3"], "", "column 'u' is named twice; header=none"),
        (["y,u"], "", "no samples"),
        ([], "", "no lines"),
        (["y,u", "1,2", "", "1,2"], "", "line 3: a blank line"),
    ],
)
def test_malformed_csv_is_refused_with_line_and_column(tmp_path, lines, keys, message):
    file = write(tmp_path / "a.csv", *lines)
    with pytest.raises(TraceError, match=message.replace("+", r"\+")):
        open_trace(f"csv:{file},label=y,sparse=u{keys}")


@pytest.mark.parametrize(
    "keys, message",
    [
        ("sparse=v", "no column 'v'; there are y, u, x"),
        ("sparse=u,label=z", "no column 'z'"),
        ("label=y", "sparse=... names no column of a table; there are y, u, x"),
        ("label=y,sparse=u+u", "column 'u' is named twice"),
        ("label=y,sparse=u,hot=x:3", "hot names 'x', which is no column of sparse"),
        ("label=y,sparse=u,hot=u:0", "hot of 'u' is 0"),
        ("sparse=u,null=maybe", "null='maybe'; one of value, skip, refuse is right"),
        ("sparse=u,transform=log", "transform='log'; one of none, log1p"),
        ("sparse=u,threshold=x", "threshold='x'; a number is right"),
        ("sparse=I5:I1", "'I5:I1' is no range of columns; I1:I13 is one"),
        ("sparse=u,sep=ab", "sep='ab'; one ASCII character"),
        ("sparse=u,header=yes", "header='yes'; first"),
        ("schema=none.toml", "none.toml: no such file"),
        ("sparse=u=x,integers=u", "columns u and x share a table; all of them hold text, or none"),
        ("sparse=u,integers=x", "integers names 'x', which is no column of sparse"),
        ("sparse=u,list=ab", "list='ab'; one character"),
    ],
)
def test_schemas_that_cannot_be_are_refused(tmp_path, keys, message):
    file = write(tmp_path / "a.csv", "y,u,x", "1,2,a")
    with pytest.raises(TraceError, match=message):
        open_trace(f"csv:{file},{keys}")


def test_columns_of_the_wrong_kind_are_refused(tmp_path):
    table = pa.table({"y": [0, 1], "d": pa.array([{"a": 1}, {"a": 2}]), "f": [1.5, 2.0], "u": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(pa.table({"y": [0, 1], "u": ["a", "b"]}), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match="table 0 holds text, for which rule=hash and rule=first-seen are right"):
        open_trace(f"parquet:{tmp_path}/t.parquet,label=y,sparse=u,rule=as-is")
    for keys, message in (
        ("label=y,sparse=d", "column d: struct<a: int64>; integers, text, or lists"),
        ("label=d,sparse=u", "column d: struct<a: int64>; numbers are right"),
        ("label=y,sparse=f", "row 0, column f: 1.5; an integer or text is right"),
    ):
        with pytest.raises(TraceError, match=message):
            open_trace(f"parquet:{tmp_path}/a.parquet,{keys}")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.sampled_from(["parquet", "arrow"]))
def test_damaged_files_are_refused_or_read(tmp_path, place, bytes_, scheme):
    """Bytes changed anywhere, headers and footers too, never end in anything but a TraceError."""
    good = tmp_path / f"good.{scheme}"
    if not good.exists():
        {"parquet": save_parquet, "arrow": save_arrow}[scheme](good, pa.table(LOG, schema=TYPES))
    data = bytearray(good.read_bytes())
    place %= len(data)
    data[place : place + len(bytes_)] = bytes_
    bad = tmp_path / f"bad.{scheme}"
    bad.write_bytes(data)
    try:
        assert open_trace(f"{scheme}:{bad},{KEYS}").part().rows.shape[1] == 6
    except TraceError as e:
        assert "bad." in str(e)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_as_csv_are_read_or_refused(tmp_path, data):
    file = tmp_path / "any.csv"
    file.write_bytes(b"y,u,x\n1,2,3\n" + data)
    try:
        open_trace(f"csv:{file},label=y,sparse=u,dense=x").part()
    except TraceError as e:
        assert "any.csv" in str(e)


def test_truncated_files_are_refused(tmp_path):
    save_parquet(tmp_path / "a.parquet", pa.table(LOG, schema=TYPES))
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(TraceError, match="a.parquet: not a Parquet file, or a damaged one"):
        open_trace(f"parquet:{tmp_path}/a.parquet,{KEYS}")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"y,u\n" + b"1,2\n" * 100_000)[:-20])
    with pytest.raises(TraceError, match=r"a.csv.gz: damaged or truncated after line \d+"):
        open_trace(f"csv:{tmp_path}/a.csv.gz,label=y,sparse=u")
