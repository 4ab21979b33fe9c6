"""docs/traces.md: every example is run, in its order, on files of the kinds that it names."""

import gzip
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
from typer.testing import CliRunner

from hotline_cli.main import app
from hotline_sim.traces.readers.schema import KEYS
from hotline_sim.traces.spec import SCHEME_KEYS, SCHEMES

from .conftest import line, write
from .test_npy import save_days

PAGE = (Path(__file__).parents[3] / "docs" / "traces.md").read_text()


def make_files(folder: Path) -> None:
    """What the examples call train.txt, clicks.csv, and so on."""
    r = np.random.default_rng(1)
    rows = [
        line(c1=str(n % 2), c2=str(n % 9), **{f"c{15 + k}": f"{r.zipf(1.4) % 65536:x}" for k in range(26)})
        for n in range(3000)
    ]
    write(folder / "train.txt", *rows)
    write(folder / "test.txt", *(text.partition("\t")[2] for text in rows[:100]))
    for day in (0, 1):
        (folder / f"day_{day}.gz").write_bytes(gzip.compress("\n".join(rows[:700]).encode()))
    write(
        folder / "clicks.csv",
        "click,hour,age,price,user,item,tags",
        "1,14102100,33,1.5,ann,7,x|y",
        "0,14102100,20,2.25,bob,9,",
        "1,14102101,41,0.75,ann,12,y",
        "0,14102101,33,1.25,eve,7,x",
    )
    (folder / "log").mkdir()
    columns = (
        {"label": [0, 1, 1]}
        | {f"I{n}": [n, 2, None] for n in range(1, 14)}
        | {f"C{n}": ["a", None, "b"] for n in range(1, 27)}
    )
    pq.write_table(pa.table(columns), folder / "log" / "part-0.parquet")
    views = {
        "stars": [5, 3, 1, 4],
        "user": [1, 2, 1, 3],
        "item": [10, 11, 12, 10],
        "history": [[], [10], [10, 11], [12]],
    }
    feather.write_feather(pa.table(views), str(folder / "views.feather"))
    (folder / "terabyte").mkdir()
    save_days(folder / "terabyte", tables=26)
    write(folder / "log.svm", "1 1:0.5 14:1 200:1 300:1", "0 13:2 20:1", "1 15:1 4999:1")


def test_every_example_runs(tmp_path, monkeypatch):
    make_files(tmp_path)
    examples = [c for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for c in block.strip().split("\n")]
    assert len(examples) > 20
    monkeypatch.chdir(tmp_path)
    said = {}
    for command in examples:
        words = shlex.split(command)
        assert words[0] == "hotline"
        done = CliRunner().invoke(app, words[1:], env={"COLUMNS": "150"})
        assert done.exit_code == 0, f"{command}\n{done.output}{done.exception}"
        said[command] = done.output
    shown = re.search(r"(proposed: hotline trace describe 'csv:clicks.*)\n", PAGE)
    assert shown and shown[1] in said["hotline trace describe clicks.csv"]
    assert "RTL == golden" in next(text for command, text in said.items() if " run " in command)


def test_every_scheme_and_key_is_explained():
    for scheme in SCHEMES:
        assert re.search(rf"^## .*{scheme}|\[`?{scheme}`?[\],`]|`{scheme}`", PAGE, re.M), scheme
    for key in {*KEYS, *(k for keys in SCHEME_KEYS.values() for k in keys)} - {"schema"}:
        assert f"`{key}`" in PAGE, key
