"""What is proposed for files that nobody has described, and that it reads them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from hotline_sim.traces import TraceError, open_trace
from hotline_sim.traces.mapped.folder import write_folder
from hotline_sim.traces.mapped.npz import save_npz
from hotline_sim.traces.propose import propose
from hotline_sim.traces.spec import is_unknown

from .conftest import line, write
from .test_columns import LOG, TYPES
from .test_npy import save_days


def proposed(path, spec: str):
    found = propose(path)
    assert found.spec == spec and is_unknown(str(path)) and not is_unknown(spec)
    return open_trace(spec).part()


def test_logs_of_known_formats_are_recognised(tmp_path):
    file = write(tmp_path / "a.gz", line(), line(c15="000000ff", c16=""), "\t".join(["0", "1", *[""] * 38]))
    assert len(proposed(file, f"criteo:{file}").rows) == 3
    file = write(tmp_path / "b", line().partition("\t")[2])
    assert len(proposed(file, f"criteo:{file},label=none").rows) == 1
    file = write(tmp_path / "c", "1 3:1 90:0.5", "0 4:1")
    assert proposed(file, f"libsvm:{file},fields=3:90*2").rows.shape == (2, 2)
    trace = open_trace("synthetic:ratings,samples=9")
    save_npz(trace, tmp_path / "d")
    assert np.array_equal(proposed(tmp_path / "d", f"npz:{tmp_path}/d").rows, trace.part().rows)
    write_folder(tmp_path / "e", "x", trace)
    assert np.array_equal(proposed(tmp_path / "e", f"folder:{tmp_path}/e").rows, trace.part().rows)
    (tmp_path / "f").mkdir()
    save_days(tmp_path / "f")
    assert len(proposed(tmp_path / "f", f"npy:{tmp_path}/f").rows) == 8


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_are_told_by_their_types_and_names(tmp_path, kind):
    table = pa.table(LOG, schema=TYPES).append_column("timestamp", pa.array(range(5)))
    file = tmp_path / "log"
    pq.write_table(table, file) if kind == "parquet" else feather.write_feather(table, str(file))
    spec = f"{kind}:{file},label=click,dense=age+price,sparse=user+item+history+tags,hot=history:2+tags:2"
    assert proposed(file, spec).rows.shape == (5, 6)
    assert [taken for *_, taken in propose(file).columns] == [
        "label",
        "a dense feature",
        "a dense feature",
        "a table",
        "a table",
        "a table, several accesses",
        "a table, several accesses",
        "left out",
    ]


def test_a_folder_of_shards_is_one_log(tmp_path):
    for n in range(2):
        pq.write_table(pa.table({"label": [1], "u": [n]}), tmp_path / f"part-{n}.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert proposed(tmp_path, f"parquet:{tmp_path},label=label,sparse=u").rows.shape == (2, 1)


@pytest.mark.parametrize(
    "lines, keys",
    [
        (["click,user,price", "1,ann,2.5", "0,bob,1"], "label=click,dense=price,sparse=user"),
        (["y;u;words", "1;5;a b", "0;6;c"], "sep=semicolon,list=space,label=y,sparse=u+words,hot=words:2,integers=u"),
        (["1\tann\t7", "0\tbob\t8"], "sep=tab,header=none,label=none,sparse=1+2+3,integers=1+3"),
        (["is_click,date,x_count,u", "1,2020-01-01,3,a"], "label=is_click,dense=x_count,sparse=u"),
    ],
)
def test_text_with_separators_is_taken_apart(tmp_path, lines, keys):
    file = write(tmp_path / "log.csv", *lines)
    proposed(file, f"csv:{file},{keys}")
    (tmp_path / "s.json").write_text(json.dumps(propose(file).keys))
    assert open_trace(f"csv:{file}", schema_file=tmp_path / "s.json").samples == len(lines) - (lines[0][0] != "1")


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "no lines"),
        (["some words", "and more"], "its lines have no tab, comma, semicolon or bar in common"),
        (["price,age", "1.5,2"], "no column of it looks like a table: name them"),
    ],
)
def test_what_nothing_can_be_made_of_is_refused(tmp_path, lines, message):
    with pytest.raises(TraceError, match=message):
        propose(write(tmp_path / "log", *lines))
