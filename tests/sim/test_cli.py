"""The ``hotline`` command, as a person or a script uses it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hotline_golden.layouts import EMPTY_SLOT
from hotline_sim.engine.emission import emitted_verilog
from hotline_sim.files.json_file import write_json
from hotline_sim.traces import open_trace
from hotline_sim.traces.mapped.npz import save_npz

from ..command import hotline
from ..configurations import LEAST, MAIN, MANY, WIDE, options, tiny
from .conftest import with_payload

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "criteo_sample.tsv"
TINY = options(MAIN)
#: An accelerator that is built in a third of the time, for what any accelerator shows.
SMALL = options(LEAST)


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "out"
    hotline(
        "run",
        *TINY,
        "--trace",
        "synthetic:samples=200",
        "--batch-size",
        48,
        "--out",
        directory,
        "--json",
        directory.parent / "numbers.json",
    )
    return directory


def test_run_prints_the_table_and_agrees():
    done = hotline("run", *TINY, "--trace", "synthetic:samples=100", "--batch-size", 32)
    for word in (
        "samples",
        "mini-batches",
        "hot coverage",
        "popular share",
        "working rows",
        "cycles / bound",
        "RTL == golden",
    ):
        assert word in done.stdout
    assert "Verilator" in done.stderr


def test_a_run_with_prefetch_ends_with_the_same_tables(run_directory, tmp_path):
    hotline(
        "run",
        *options(WIDE),
        "--trace",
        "synthetic:samples=200",
        "--batch-size",
        48,
        "--prefetch",
        "--step-cycles",
        2000,
        "--timeline",
        tmp_path / "timeline.png",
    )
    assert (tmp_path / "timeline.png").read_bytes()[:4] == b"\x89PNG"
    hotline(
        "run",
        *TINY,
        "--trace",
        "synthetic:samples=200",
        "--batch-size",
        48,
        "--prefetch",
        "--out",
        tmp_path / "out",
        "--json",
        tmp_path / "numbers.json",
    )
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["prefetch"] and numbers["golden_match"]
    with (
        np.load(tmp_path / "out" / "tables_after.npz") as mine,
        np.load(run_directory / "tables_after.npz") as strict,
    ):
        assert mine.files == strict.files
        assert all(np.array_equal(mine[name], strict[name]) for name in strict.files)


def test_pictures_are_refused_before_anything_runs(tmp_path):
    for name, message in (
        ("missing/x.png", "there is no folder"),
        ("x.doc", "pictures are written as .png, .svg, .pdf"),
    ):
        assert message in hotline("run", "--timeline", tmp_path / name, check=2).stderr


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not beside this checkout")
@pytest.mark.parametrize("settings", [MAIN, MANY, WIDE], ids=["2-64", "1-128", "4-512"])
@pytest.mark.parametrize("resident", ["auto", "none"])
def test_real_clicks(settings, resident):
    done = hotline(
        "run", "--trace", f"criteo:{REAL}", "--batch-size", 128, *options(settings), "--resident", resident
    )
    assert "RTL == golden" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not beside this checkout")
@pytest.mark.parametrize("resident", ["auto", "none"])
@pytest.mark.parametrize("bus", [64, 128, 512])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_real_clicks_in_every_width(lanes, bus, resident):
    hotline(
        "run",
        "--trace",
        f"criteo:{REAL}",
        "--batch-size",
        128,
        "--set",
        f"lanes={lanes}",
        "--set",
        f"bus_bits={bus}",
        "--resident",
        resident,
    )


@pytest.mark.slow
def test_a_hundred_thousand_samples_on_both_engines(tmp_path):
    hotline("bench", "engines", "--samples", "100000", "--cocotb-samples", "500", "--json", tmp_path / "engines.json")
    speeds = json.loads((tmp_path / "engines.json").read_text())["samples_per_second"]
    assert speeds["cosim"] > speeds["cocotb"]


@pytest.mark.slow
def test_the_large_preset():
    hotline("run", "--preset", "alveo", "--trace", "synthetic:samples=8000", "--batch-size", 1024)


def test_out_holds_what_the_docs_say(run_directory):
    assert sorted(p.name for p in run_directory.iterdir()) == [
        "hot_list.npy",
        "hotline.v",
        "micro_batches",
        "summary.json",
        "tables_after.npz",
        "tables_before.npz",
        "trace.npz",
    ]
    summary = json.loads((run_directory / "summary.json").read_text())
    assert summary["golden_match"] and summary["samples"] == 200
    assert summary == json.loads((run_directory.parent / "numbers.json").read_text())
    hot = np.load(run_directory / "hot_list.npy")
    assert hot.dtype == np.uint32 and (hot[:256, 0] == EMPTY_SLOT).all(), "before the first mini-batch"
    resident = [r for r in np.load(run_directory / "trace.npz")["table_rows"] if r <= summary["resident_bound_rows"]]
    assert len(hot) == 256 + sum(resident)
    ids = []
    batches = sorted((run_directory / "micro_batches").iterdir())
    assert [b.name for b in batches] == [f"{n:06}.npz" for n in range(5)]
    before = np.load(run_directory / "tables_before.npz")
    with np.load(batches[0]) as batch:
        numbers = batch["delta"][:, 5]
        assert np.array_equal(batch["delta"][:, 3:5], batch["working_keys"][numbers]) and len(numbers) > 0
        assert batch["working_rows"].dtype == np.float32
        for key, row in zip(batch["working_keys"], batch["working_rows"], strict=True):
            assert np.array_equal(before[str(key[0])][key[1]], row)
        ids = sorted(np.concatenate([batch["popular"][:, 0], batch["non_popular"][:, 0]]).tolist())
    assert ids == list(range(48))
    after = np.load(run_directory / "tables_after.npz")
    assert any(not np.array_equal(before[n], after[n]) for n in before.files)


def test_out_must_be_new(run_directory):
    done = hotline("run", *TINY, "--out", run_directory, check=2)
    assert "the folder is not empty" in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run", "--preset", "huge"], "unknown preset 'huge'; there are tiny, ecp5, alveo"),
        (["run", "--set", "lanes=3"], "lanes must be 1, 2, 4, 8 or 16, not 3"),
        (["run", "--trace", "criteo:none.tsv"], "none.tsv: no such file"),
        (["run", "--trace", "synthetic:avazu", "--resident", "some"], "use a number of rows, none or auto"),
        (
            ["run", "--trace", "synthetic:samples=50", "--frozen", "--learn", "0"],
            r"learning fraction must be in (0, 1], not 0.0",
        ),
        (
            ["run", "--trace", "synthetic:mlperf-v2,samples=4", *TINY],
            "this configuration has max_record_words=64",
        ),
        (["run", "--json", "no/such/file.json"], "there is no folder no/such"),
        (["verilog", "-o", "no/such/file.v"], "there is no folder no/such"),
        (["verilog", "-o", "."], "this is a folder; name a file in it"),
        (["trace", "make", "synthetic:samples=9", "-o", "."], "-o .: name a folder that is to be made"),
        (["trace", "make", "synthetic:samples=9", "-o", "no/such/trace"], "there is no folder no/such"),
        (["train", "nowhere"], "nowhere: no summary.json"),
        (["trace", "describe", "npz:none.npz"], "none.npz: no such file"),
    ],
)
def test_unusable_input_says_why_and_exits_with_2(arguments, message, tmp_path):
    done = hotline(*arguments, check=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_working_set_that_does_not_fit_is_told():
    done = hotline(
        "run",
        *TINY,
        "--trace",
        "synthetic:all-distinct,samples=300,scale=0.01",
        "--batch-size",
        300,
        "--resident",
        "none",
        check=2,
    )
    assert "WORKING_SET_OVERFLOW" in done.stderr and "larger working_rows" in done.stderr


def small_trace(folder: Path) -> str:
    """A log that fits SMALL: four tables of 256 rows, 160 samples of 4 accesses, nearly all of them to different rows."""
    r = np.random.default_rng(1)
    arrays = {"rows": r.integers(0, 256, (160, 4)).astype(np.uint32), "table_of": np.arange(4), "table_rows": np.full(4, 256),
              "payload": np.zeros((160, 2), np.float32)}  # fmt: skip
    np.savez(folder / "small.npz", **arrays)
    return f"npz:{folder}/small.npz"


@pytest.mark.parametrize("engine", ["cosim", "cocotb"])
def test_a_difference_between_rtl_and_golden_exits_with_1(engine, tmp_path):
    """Golden is a copy with another permutation here; RTL would have to be compiled."""
    shutil.copytree(ROOT / "golden" / "hotline_golden", tmp_path / "hotline_golden")
    keys = tmp_path / "hotline_golden" / "keys.py"
    good = "PRODUCT_SHIFT = 8"
    assert good in keys.read_text()
    keys.write_text(keys.read_text().replace(good, "PRODUCT_SHIFT = 7"))
    words = ["run", *TINY, "--engine", engine, "--trace", "synthetic:samples=60", "--batch-size", "30"]
    done = subprocess.run(
        [sys.executable, "-m", "hotline_cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "RTL differs from golden" in done.stdout


@pytest.mark.slow
def test_broken_rtl_exits_with_1(tmp_path):
    """A copy of the RTL whose tag comparison ignores eight bits. Slow for its accelerator of its own."""
    shutil.copytree(ROOT / "rtl" / "hotline_rtl", tmp_path / "hotline_rtl")
    tracker = tmp_path / "hotline_rtl" / "tracker" / "bank.py"
    good = "(entry.tag == tag)"
    assert good in tracker.read_text()
    tracker.write_text(tracker.read_text().replace(good, "(entry.tag[8:] == tag[8:])"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "hotline_cli",
            "run",
            *SMALL,
            "--trace",
            small_trace(tmp_path),
            "--resident",
            "none",
            "--batch-size",
            "4",
            "--learn",
            "0.5",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "RTL differs from golden" in done.stdout


def test_verilog_is_written_whole_and_the_same_by_every_process(tmp_path):
    hotline("verilog", *SMALL, "-o", tmp_path / "hotline.v")
    assert (tmp_path / "hotline.v").read_text() == emitted_verilog(tiny(LEAST))


def test_traces_can_be_made_described_and_run(tmp_path):
    hotline("trace", "make", "synthetic:taobao,samples=60", "-o", tmp_path / "t.npz")
    done = hotline("trace", "describe", f"npz:{tmp_path}/t.npz", "--json", tmp_path / "t.json")
    assert "popular samples" in done.stdout
    assert json.loads((tmp_path / "t.json").read_text())["samples"] == 60
    hotline("run", *TINY, "--trace", f"npz:{tmp_path}/t.npz", "--batch-size", 20)
    assert "mlperf-v2" in hotline("trace", "shapes").stdout


@pytest.mark.slow
def test_waves_are_written_on_request(tmp_path):
    """Slow for its accelerator of its own, four times as large. A bench writes waves by default, too (test_cocotb)."""
    hotline("run", *SMALL, "--trace", small_trace(tmp_path), "--batch-size", 4, "--waves", "--out", tmp_path / "w")
    assert (tmp_path / "w.vcd").stat().st_size > 10_000


def test_large_tables_are_told_by_their_rule(tmp_path):
    hotline("run", *TINY, "--trace", "synthetic:all-distinct,samples=40,scale=1", "--out", tmp_path / "big")
    before, after = (
        np.load(tmp_path / "big" / "tables_before.npz"),
        np.load(tmp_path / "big" / "tables_after.npz"),
    )
    assert "splitmix64" in str(before["rule"])
    assert len(after["0"]) == len(after["0_touched"]) == 40


@pytest.mark.parametrize("command", [[], ["run"], ["verilog"], ["trace"], ["train"], ["config"]])
def test_help_is_there(command):
    text = hotline(*command, "--help").stdout
    assert "Usage" in text and len(text) > 300


def test_training_from_a_directory_equals_training_on_whole_mini_batches(run_directory, tmp_path):
    pytest.importorskip("torch")
    done = hotline("train", run_directory, "--double", "--check", "--held-out", 0, "--json", tmp_path / "train.json")
    assert "against whole mini-batches" in done.stdout
    numbers = json.loads((tmp_path / "train.json").read_text())
    assert numbers["agree"] and numbers["difference"] < 1e-10 and numbers["mini_batches"] == 5


def test_training_is_kept_and_resumed(tmp_path):
    pytest.importorskip("torch")
    training = [
        "--preset",
        "tiny",
        "--samples",
        600,
        "--batch-size",
        50,
        "--optimizer",
        "rowwise-adagrad",
        "--model",
        "rm4",
        "--scale",
        0.001,
    ]
    kept = ["--checkpoint", tmp_path / "kept"]
    hotline("train", *training, "--json", tmp_path / "whole.json", "--plot", tmp_path / "curves.png")
    hotline("train", *training, "--steps", 4, *kept)
    done = hotline("train", *training, *kept, "--resume", "must", "--every", 3, "--json", tmp_path / "rest.json")
    assert "from step 4 on" in done.stdout and (tmp_path / "curves.png").stat().st_size > 10_000
    whole, rest = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "rest"))
    assert whole["losses"][4:] == rest["losses"] and whole["held_out"] == rest["held_out"]
    assert (
        "optimizer rowwise-adagrad, not sgd"
        in hotline("train", *training, "--optimizer", "sgd", *kept, "--resume", "must", check=2).stderr
    )


def without(module: str, *arguments) -> subprocess.CompletedProcess:
    """The command on a machine that lacks ``module``."""
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from hotline_cli.main import main\n"
        f"sys.argv = ['hotline', *{[str(a) for a in arguments]!r}]\nmain()\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "module, extra, arguments",
    [
        ("torch", "train", ["train"]),
        ("sklearn", "train", ["train"]),
        ("torch", "train", ["bench", "train"]),
        ("cocotb", "cocotb", ["run", "--engine", "cocotb"]),
        ("cocotb", "cocotb", ["bench", "split"]),
        ("cocotb", "cocotb", ["bench", "engines"]),
        ("numba", "study", ["advise", "synthetic:samples=10"]),
        ("numba", "study", ["bench", "tracker"]),
        ("numba", "study", ["bench", "relearn"]),
        ("matplotlib", "study", ["bench", "gather", "--plot", "x.png"]),
        ("matplotlib", "study", ["run", "--timeline", "x.png"]),
    ],
)
def test_what_is_missing_is_said_at_once_with_the_extra_that_brings_it(module, extra, arguments, tmp_path):
    done = without(module, *arguments)
    assert done.returncode == 2 and f"needs {module}: `pip install 'hotline-accelerator[{extra}]'`" in done.stderr
    if module == "cocotb" and arguments[0] == "bench":
        assert "--engines cosim" in done.stderr


def test_engines_can_be_measured_without_cocotb(tmp_path):
    done = without(
        "cocotb",
        "bench",
        "engines",
        "--engines",
        "cosim",
        *TINY,
        "--samples",
        60,
        "--batch-size",
        30,
        "--json",
        tmp_path / "engines.json",
    )
    assert done.returncode == 0 and "RTL == golden in the co-simulation" in done.stdout, done.stderr
    assert list(json.loads((tmp_path / "engines.json").read_text())["samples_per_second"]) == [
        "cosim",
        "native",
        "golden",
    ]


def test_json_has_null_for_what_is_not_a_number(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": ({"d": -float("inf")},)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.5, None], "c": [{"d": None}]}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_held_out_samples_of_one_label_have_no_auc(tmp_path):
    """Its AUC is not a number, which JSON does not have."""
    trace = open_trace("synthetic:ratings,samples=80")
    payload = trace.part().payload.view(np.float32).copy()
    payload[60:, 0] = 1
    save_npz(with_payload(trace, payload), tmp_path / "t.npz")
    hotline("train", "--trace", f"npz:{tmp_path}/t.npz", "--batch-size", 20, *TINY, "--json", tmp_path / "train.json")
    assert json.loads((tmp_path / "train.json").read_text())["held_out"]["auc"] is None


def test_training_that_is_not_finite_fails_with_the_step(tmp_path):
    done = hotline(
        "train",
        *TINY,
        "--samples",
        400,
        "--batch-size",
        20,
        "--lr",
        "1e300",
        "--check",
        "--checkpoint",
        tmp_path / "kept",
        check=2,
    )
    assert "step" in done.stderr and "not finite" in done.stderr or "the loss is" in done.stderr
    assert not (tmp_path / "kept").exists()


def test_memory_that_cannot_be_had_is_said(tmp_path):
    np.savez(
        tmp_path / "t.npz",
        rows=np.zeros((40, 32), np.int64),
        table_of=np.arange(32),
        table_rows=[2**31 - 5] * 32,
        payload=np.zeros((40, 1), np.float32),
    )
    done = hotline(
        "run", *TINY, "--set", "row_bits=31", "--set", "address_bits=64", "--trace", f"npz:{tmp_path}/t.npz", check=2
    )
    assert "there is not enough memory: Unable to allocate" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error, code, said",
    [
        ("RuntimeError('one\\ntwo')", 3, "an unexpected RuntimeError: one. This is a fault of hotline"),
        ("EOFError('x')", 3, "an unexpected RuntimeError: a file ended too early: x"),
        ("KeyboardInterrupt()", 130, "hotline: interrupted"),
        ("MemoryError()", 2, "there is not enough memory"),
        ("ValueError('no such thing')", 2, "hotline: no such thing"),
    ],
)
def test_no_exception_reaches_the_user(error, code, said, tmp_path):
    program = (
        "import sys, hotline_cli.main as m\n"
        "def fails(*_, **__): raise " + error + "\n"
        "import hotline_sim.run.report as r; r.shapes_table = fails\n"
        "sys.argv = ['hotline', 'trace', 'shapes']\nm.main()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "500"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
    files = list(tmp_path.glob("hotline-*.traceback.txt"))
    assert len(files) == (code == 3)
    for file in files:
        assert str(file) in done.stderr and "issue tracker" in done.stderr
        assert "hotline trace shapes" in file.read_text() and "Traceback" in file.read_text()


def test_sigterm_cleans_up_as_an_interrupt_does(tmp_path):
    command = [
        sys.executable,
        "-m",
        "hotline_cli",
        "run",
        *TINY,
        "--trace",
        "synthetic:samples=20000",
        "--batch-size",
        "64",
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out.partial" / "micro_batches").exists() or not list(
        (tmp_path / "out.partial" / "micro_batches").iterdir()
    ):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143 and "hotline: terminated" in said
    assert not list(tmp_path.iterdir())


def damaged(run: Path, folder: Path, change) -> Path:
    """A copy of a run in ``folder``, to which ``change`` has been done."""
    shutil.copytree(run, folder)
    change(folder)
    return folder


def batch_without(name: str):
    def change(folder: Path) -> None:
        file = folder / "micro_batches" / "000001.npz"
        with np.load(file) as archive:
            arrays = {n: archive[n] for n in archive.files if n != name}
        np.savez(file, **arrays)

    return change


DAMAGES = {
    "truncated micro-batch": (
        lambda f: (f / "micro_batches/000001.npz").write_bytes((f / "micro_batches/000001.npz").read_bytes()[:200]),
        "000001.npz: a damaged .npz archive",
    ),
    "empty micro-batch": (lambda f: (f / "micro_batches/000001.npz").write_bytes(b""), "000001.npz: not a NumPy .npz archive"),
    "no micro-batch": (lambda f: (f / "micro_batches/000001.npz").unlink(), "000001.npz: no such file"),
    "micro-batch without keys": (batch_without("working_keys"), "000001.npz: no array working_keys"),
    "another run's micro-batch": (
        lambda f: shutil.copyfile(f / "micro_batches/000004.npz", f / "micro_batches/000001.npz"),
        "000001.npz: 8 samples; this mini-batch has 48",
    ),
    "empty summary": (lambda f: (f / "summary.json").write_text(""), "summary.json: not a JSON file"),
    "summary {}": (lambda f: (f / "summary.json").write_text("{}"), "summary.json: no usable `golden_match`"),
    "summary []": (lambda f: (f / "summary.json").write_text("[]"), "summary.json: no usable `golden_match`"),
    "summary without sizes": (
        lambda f: (f / "summary.json").write_text('{"golden_match": true, "difference": "", "swaps": []}'),
        "summary.json: no usable `batch_size`",
    ),
    "empty hot list": (lambda f: (f / "hot_list.npy").write_bytes(b""), "hot_list.npy: not a NumPy array"),
    "other hot list": (lambda f: np.save(f / "hot_list.npy", np.zeros(3)), "hot_list.npy: float64 [3]; uint32 [slots, 2]"),
    "empty trace": (lambda f: (f / "trace.npz").write_bytes(b""), "trace.npz: not a NumPy .npz archive"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_training_on_a_damaged_folder_says_what_is_wrong(run_directory, tmp_path, damage):
    pytest.importorskip("torch")
    change, message = DAMAGES[damage]
    done = hotline("train", damaged(run_directory, tmp_path / "run", change), "--held-out", 0, check=2)
    assert message in done.stderr and "Traceback" not in done.stderr and "unexpected" not in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run", "--batch-size", 4294967296], "less than or equal to 1048576"),
        (["run", "--resident", "\u00b2"], "use a number of rows, none or auto"),
        (["run", "--resident", "9" * 5000], "use a number of rows, none or auto"),
        (["run", "--host-latency", 5000000000], "a latency must be from 0 to 2147483647 cycles"),
        (["run", "--json", "."], "this is a folder; name a file in it"),
        (["trace", "describe", "synthetic:samples=9", "--json", "."], "this is a folder; name a file in it"),
    ],
)
def test_numbers_and_files_that_cannot_be_are_refused_at_once(arguments, message, tmp_path):
    done = hotline(*arguments, check=2)
    assert message in " ".join(done.stderr.replace("\u2502", " ").split()) and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_memory_that_is_slower_than_the_driver_waits_is_no_difference(tmp_path):
    """Exit code 1 is for RTL that differs from golden."""
    done = hotline("run", *SMALL, "--trace", small_trace(tmp_path), "--host-latency", 3_000_000, check=2)
    assert "no completion within 2,000,000 cycles, as long as the driver waits: memory is slower" in done.stderr
    assert "differs" not in done.stdout + done.stderr


def test_a_damaged_build_is_made_anew(tmp_path, monkeypatch):
    from hotline_sim.engine.toolchain import cached_build

    monkeypatch.setenv("HOTLINE_BUILD", str(tmp_path))

    def build() -> tuple[Path, bool]:
        with cached_build("kind", "parts") as (folder, built):
            if not built:
                (folder / "obj").mkdir()
                (folder / "obj" / "lib.o").write_text("object")
                (folder / "library.so").write_text("library")
        return folder, built

    folder, built = build()
    assert not built and build()[1]
    (folder / "obj" / "lib.o").unlink()
    assert not build()[1] and build()[1]
    (folder / "library.so").write_text("libr")
    assert not build()[1] and build()[1]
    (folder / "library.so").unlink()
    (folder / "left over").write_text("from a build that was killed")
    assert not build()[1] and build()[1] and not (folder / "left over").exists()
    (folder / "results.xml").write_text("of a test that ran there")
    assert build()[1]


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    from hotline_sim.run.outputs import OutputWriter

    with OutputWriter(tmp_path / "out"):
        (tmp_path / "out.partial" / "mine").touch()
        done = hotline("run", *TINY, "--trace", "synthetic:samples=20", "--out", tmp_path / "out", check=2)
        assert "another run is writing there" in done.stderr
        assert (tmp_path / "out.partial" / "mine").exists()
        shutil.rmtree(tmp_path / "out.partial")
    # What a killed run has left is no obstacle.
    (tmp_path / "out.partial" / "micro_batches").mkdir(parents=True)
    (tmp_path / "out.partial" / "left").touch()
    hotline("run", *TINY, "--trace", "synthetic:samples=20", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "left").exists() and not (tmp_path / "out.partial").exists()


def test_a_full_disk_leaves_no_half_of_a_json_file(tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text("{}")

    def full(self, text):
        with open(self, "w") as file:
            file.write(text[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "x.json", {"a": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"] and (tmp_path / "x.json").read_bytes() == b"{}"
