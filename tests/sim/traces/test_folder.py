"""The folder of a trace: written whole or not taken for it, and gone on with where it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hotline_sim.traces import ArrayTrace, Trace, TraceError, open_trace
from hotline_sim.traces.mapped import folder as folders
from hotline_sim.traces.mapped.folder import write_folder
from hotline_sim.traces.readers import reader, text_blocks
from hotline_sim.traces.spec import open_source

from ...command import hotline
from .conftest import line, write


def lines(count: int) -> list[str]:
    return [line(c2=str(n), c15=f"{n * 7 % 31:x}", c20=f"{n:x}") for n in range(count)]


def same(a: Trace, b: Trace) -> None:
    assert np.array_equal(a.part().rows, b.part().rows) and np.array_equal(a.part().payload, b.part().payload)
    assert np.array_equal(a.table_rows, b.table_rows) and np.array_equal(a.table_of, b.table_of)


def make(spec: str, folder, **more) -> None:
    write_folder(folder, spec, open_source(spec), **more)


class Stopped(Exception):
    pass


def stopped_after(samples: int):
    """Progress that raises once ``samples`` are written."""

    def progress(done: int, part: float) -> None:
        if done >= samples:
            raise Stopped

    return progress


@pytest.fixture
def small_steps(monkeypatch):
    """Blocks of a few lines, a note after each."""
    monkeypatch.setattr(text_blocks.text_blocks, "__kwdefaults__", {"header": False, "size": 2000})
    monkeypatch.setattr(folders, "NOTED", 0.0)
    monkeypatch.setattr(folders, "NOTE_SHARE", 0)
    monkeypatch.setattr(reader, "AHEAD", 1)


@pytest.mark.parametrize("rule", ["hash", "first-seen", "as-is"])
@pytest.mark.parametrize("at", [1, 40, 75, 100])
@pytest.mark.parametrize("samples", [120, 100])
def test_what_was_stopped_goes_on_where_it_was(tmp_path, small_steps, rule, at, samples):
    spec = f"criteo:{write(tmp_path / 'log.tsv', *lines(120))},rule={rule},samples={samples}"
    with pytest.raises(Stopped):
        make(spec, tmp_path / "t", progress=stopped_after(at))
    with pytest.raises(TraceError, match="t: not complete yet; the same `hotline trace make` again goes on"):
        open_trace(f"folder:{tmp_path}/t")
    seen: list[int] = []
    make(spec, tmp_path / "t", progress=lambda samples, part: seen.append(samples))
    if at > 20:
        assert seen[0] > 20, "what was there is not read again"
    same(open_trace(f"folder:{tmp_path}/t"), open_trace(spec))
    assert not (tmp_path / "t.partial").exists()


@pytest.mark.parametrize("shards", [1, 3])
def test_texts_that_have_been_seen_are_known_again(tmp_path, small_steps, shards):
    for number in range(shards):
        names = [f"{n % 5},name {n * (number + 1) % 17}\u00e9" for n in range(300)]
        write(tmp_path / f"{number}.csv", "y,u", *(f"{int(n[0]) % 2}{n[1:]}" for n in names))
    spec = f"csv:{tmp_path}/*.csv,label=y,sparse=u,rule=first-seen"
    whole = open_trace(spec)
    for at in (1, 250, 550):
        with pytest.raises((Stopped, ValueError)):
            make(spec, tmp_path / "t", progress=stopped_after(at))
            raise Stopped  # there are not so many
    shutil.rmtree(tmp_path / "t", ignore_errors=True)
    make(spec, tmp_path / "t")
    same(open_trace(f"folder:{tmp_path}/t"), whole)
    texts = json.loads((tmp_path / "t" / "values_000.json").read_text())
    assert texts[0] is None and texts[1] == "name 0\u00e9" and len(texts) == whole.table_rows[0]


def test_generated_traces_are_gone_on_with_too(tmp_path, small_steps):
    spec = "synthetic:ratings,samples=100000"
    with pytest.raises(Stopped):
        make(spec, tmp_path / "t", progress=stopped_after(60_000))
    make(spec, tmp_path / "t")
    same(open_trace(f"folder:{tmp_path}/t"), open_trace(spec))


def test_a_part_of_another_source_is_refused(tmp_path, small_steps):
    spec = f"criteo:{write(tmp_path / 'log.tsv', *lines(100))}"
    with pytest.raises(Stopped):
        make(spec, tmp_path / "t", progress=stopped_after(50))
    with pytest.raises(
        TraceError, match=r"the beginning of criteo:.*, not of .*seed=2: name another folder, or use --restart"
    ):
        make(spec + ",seed=2", tmp_path / "t")
    write(tmp_path / "log.tsv", *lines(101))
    with pytest.raises(TraceError, match="have changed since it was begun: use --restart"):
        make(spec, tmp_path / "t")
    (tmp_path / "t.partial" / "rows.npy").write_bytes(b"short")
    write(tmp_path / "log.tsv", *lines(100))
    make(spec, tmp_path / "t", restart=True)
    same(open_trace(f"folder:{tmp_path}/t"), open_trace(spec))
    with pytest.raises(ValueError, match="there is a folder of this name; name another one"):
        make(spec, tmp_path / "t")


def test_a_malformed_line_leaves_what_came_before_it(tmp_path, small_steps):
    """The line is mended, and the same command goes on; but the file is another one then, which is said."""
    file = write(tmp_path / "log.tsv", *lines(80), line(c3="x"))
    with pytest.raises(TraceError, match="line 81, column 3: 'x'"):
        make(f"criteo:{file}", tmp_path / "t")
    assert not (tmp_path / "t").exists() and (tmp_path / "t.partial" / "progress.json").exists()


def test_a_log_without_samples_leaves_nothing(tmp_path):
    with pytest.raises(TraceError, match="no samples"):
        make(f"criteo:{write(tmp_path / 'log.tsv')}", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def take_interrupts() -> None:
    """In the child: what runs in the background of a shell ignores them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_is_gone_on_with(tmp_path, number):
    command = [
        sys.executable,
        "-m",
        "hotline_cli",
        "trace",
        "make",
        "synthetic:criteo-kaggle,samples=1000000",
        "-o",
        str(tmp_path / "t"),
    ]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "150"}, preexec_fn=take_interrupts
    ) as process:
        note = tmp_path / "t.partial" / "progress.json"
        until = time.monotonic() + 60
        while not (note.exists() and '"samples": 0' not in note.read_text()):
            assert process.poll() is None and time.monotonic() < until, "it has not written anything"
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate()
    if number != signal.SIGKILL:
        assert "what has been written stays" in said and process.returncode == 128 + number
    assert not (tmp_path / "t").exists()
    shorter = hotline("trace", "make", "synthetic:ratings,samples=3000", "-o", tmp_path / "t", check=2)
    assert "--restart" in shorter.stderr
    done = hotline(*command[3:])
    assert "samples were there already" in done.stdout
    trace, expected = open_trace(f"folder:{tmp_path}/t"), open_trace("synthetic:criteo-kaggle,samples=1000000")
    for first in (0, 500_000, 990_000):
        assert np.array_equal(trace.part(first, first + 10_000).rows, expected.part(first, first + 10_000).rows)


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, small_steps, monkeypatch):
    spec = f"criteo:{write(tmp_path / 'log.tsv', *lines(100))}"
    written = 0
    original = folders._ArrayFile.write

    def full(self, array):
        nonlocal written
        written += 1
        if written > 5:
            raise OSError(28, "No space left on device")
        original(self, array)

    with monkeypatch.context() as m:
        m.setattr(folders._ArrayFile, "write", full)
        with pytest.raises(
            TraceError, match=r"after \d+ samples: No space left on device. They stay: once there is room"
        ):
            make(spec, tmp_path / "t")
    make(spec, tmp_path / "t")
    same(open_trace(f"folder:{tmp_path}/t"), open_trace(spec))


def test_two_at_once_do_not_write_one_folder(tmp_path, small_steps):
    spec = f"criteo:{write(tmp_path / 'log.tsv', *lines(100))}"

    def meanwhile(samples: int, part: float) -> None:
        with pytest.raises(
            ValueError, match="-o .*t: another run is writing there; wait for it, or name another folder"
        ):
            make(spec, tmp_path / "t", restart=True)

    make(spec, tmp_path / "t", progress=meanwhile)
    same(open_trace(f"folder:{tmp_path}/t"), open_trace(spec))


DESCRIPTION = {"format": "hotline-trace", "version": 1, "samples": 3, "table_of": [0, 1], "table_rows": [5, 6],
               "payload_words": 1, "payload": "float32"}  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": "other"}, "not the description of a trace; `hotline trace make"),
        ({"version": 2}, "version 2; this program reads 1"),
        ({"samples": "3"}, "no usable `samples`"),
        ({"samples": True}, "no usable `samples`"),
        ({"samples": 4}, r"rows.npy: uint32 \[3, 2\]; uint32 \[4, 2\] is right, as trace.json has it"),
        ({"table_of": [0, -1]}, "no usable `table_of`"),
        ({"table_of": [0, 2]}, "`table_of` must name tables 0 to 1"),
        ({"table_rows": [5, 0]}, "every table must have 1 to"),
        ({"table_rows": [5, 2]}, "sample 1, access 1: row 3 is outside table 1"),
        ({"payload": "float64"}, "payload 'float64'; float32 or uint32 is right"),
        ({"payload": "uint32"}, r"payload.npy: float32 \[3, 1\]; uint32 \[3, 1\] is right"),
    ],
)
def test_folders_that_do_not_fit_together_are_refused(tmp_path, change, message):
    np.save(tmp_path / "rows.npy", np.array([[0, 1], [2, 3], [4, 5]], np.uint32))
    np.save(tmp_path / "payload.npy", np.zeros((3, 1), np.float32))
    (tmp_path / "trace.json").write_text(json.dumps(DESCRIPTION))
    assert open_trace(f"folder:{tmp_path}").part().rows.tolist() == [[0, 1], [2, 3], [4, 5]]
    (tmp_path / "trace.json").write_text(json.dumps(DESCRIPTION | change))
    with pytest.raises(TraceError, match=message):
        open_trace(f"folder:{tmp_path}").part()


def test_other_folders_are_refused(tmp_path):
    for spec, message in (("none", "no such folder"), ("", "no trace.json; `hotline trace make")):
        with pytest.raises(TraceError, match=message):
            open_trace(f"folder:{tmp_path}/{spec}")
    (tmp_path / "trace.json").write_text("{")
    with pytest.raises(TraceError, match="trace.json: not a JSON file"):
        open_trace(f"folder:{tmp_path}")
    (tmp_path / "trace.json").write_text(json.dumps(DESCRIPTION))
    np.save(tmp_path / "payload.npy", np.zeros((3, 1), np.float32))
    np.save(tmp_path / "rows.npy", np.zeros((3, 2), np.uint32))
    with open(tmp_path / "rows.npy", "r+b") as file:
        file.truncate(140)
    with pytest.raises(TraceError, match="rows.npy is damaged or truncated: 12 bytes of data; 24 are right"):
        open_trace(f"folder:{tmp_path}")
    (tmp_path / "progress.json").write_text("{}")
    with pytest.raises(TraceError, match="not complete: it holds progress.json"):
        open_trace(f"folder:{tmp_path}")


def test_numpy_alone_reads_a_folder(tmp_path):
    trace = open_trace("synthetic:taobao,samples=500")
    write_folder(tmp_path / "t", "synthetic:taobao,samples=500", trace)
    assert np.array_equal(np.load(tmp_path / "t" / "rows.npy", mmap_mode="r"), trace.part().rows)
    assert np.array_equal(np.load(tmp_path / "t" / "payload.npy"), trace.part().payload.view(np.float32))
    whole = trace.part()
    words = ArrayTrace("words", whole.rows, trace.table_of, trace.table_rows, whole.payload, "uint32")
    write_folder(tmp_path / "u", "words", words)
    assert np.load(tmp_path / "u" / "payload.npy").dtype == np.uint32
    assert open_trace(f"folder:{tmp_path}/u").payload_type == "uint32"
