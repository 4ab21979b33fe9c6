import json

import numpy as np
import pytest

from hotline_golden.keys import KeySpace
from hotline_golden.tracker.tracker import Tracker
from hotline_sim.studies.advise import advise
from hotline_sim.studies.tracker_study import POLICIES, Samples, compiled, make_tracker, study
from hotline_sim.traces import open_trace

from ..command import hotline

KEYS = KeySpace(6, 26, 1)


@pytest.mark.parametrize("policy", POLICIES)
def test_compiled_policies_give_the_same_tracker(policy):
    random = np.random.default_rng(1)
    keys = KEYS.pack(1, np.minimum(random.zipf(1.3, 6000), 50_000))
    samples = np.repeat(np.arange(1500), 4)
    plain, fast = (Tracker(KEYS, 32, 4, policy, arrays=2, compile=c) for c in (lambda f: f, compiled))
    assert plain.learn(keys, samples) == fast.learn(keys, samples)
    for name in ("tags", "state", "sketch"):
        assert np.array_equal(getattr(plain, name), getattr(fast, name)), name


@pytest.mark.parametrize(
    "spec, entries, least",
    [
        # The project's bars: ratios to the frequency oracle, for traces of these shapes.
        ("synthetic:ratings,samples=100000", 2048, 0.94),
        ("synthetic:ratings,samples=100000", 1024, 0.92),
        ("synthetic:ratings,samples=100000", 512, 1.13),
        ("synthetic:independent,samples=100000", 16384, 0.76),
        ("synthetic:independent,samples=100000", 65536, 0.82),
        ("synthetic:criteo-kaggle,samples=40000", 8192, 0.95),
        ("synthetic:avazu,samples=40000", 4096, 0.95),
    ],
)
def test_the_default_policy_finds_popular_samples(spec, entries, least):
    done = study(spec, False, [entries], [8])
    default, srrip = done.find("sample_aware", entries), done.find("srrip", entries)
    assert default.ratio >= least
    assert default.share >= srrip.share
    assert default.coverage > 0.5 and default.bits > srrip.bits > 20
    assert 0 < default.samples_to_95 <= 50_000
    assert done.find("best offline", entries).share >= 0.95 * done.find("oracle", entries).share


def test_bench_tracker_prints_writes_and_draws(tmp_path):
    done = hotline(
        "bench",
        "tracker",
        "--trace",
        "synthetic:ratings,samples=6000",
        "--entries",
        512,
        "--entries",
        1024,
        "--json",
        tmp_path / "t.json",
        "--plot",
        tmp_path / "t.png",
    )
    assert "6 resident tables" in done.stdout and "0 resident tables" in done.stdout
    found = json.loads((tmp_path / "t.json").read_text())["popular_share"]
    assert {"trace", "policy", "entries", "ways", "share", "oracle_share"} <= set(found[0])
    assert {p["ways"] for p in found if p["policy"] == "sample_aware"} == {4, 8, 16}
    assert {p["policy"] for p in found} == {*POLICIES, "oracle", "best offline", "look-ahead", "hotsketch", "fae"}
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--entries", "1000"], "must be a power of two"),
        (["--trace", "synthetic:none"], "unknown shape 'none'"),
        (["--trace", "nowhere.tsv"], "use SCHEME:PATH"),
    ],
)
def test_bench_tracker_says_what_is_wrong(arguments, message):
    done = hotline("bench", "tracker", *arguments, check=2)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_small_tables_are_resident_and_not_tracked():
    trace = open_trace("synthetic:taobao,samples=500")
    samples = Samples(trace, resident=True)
    assert 0 < samples.resident_tables < len(trace.table_rows)
    assert not samples.tracked[:, 2].any() and samples.tracked[:, 1].all()
    assert (samples.present & ~samples.tracked).any() and (~samples.present).any(), "padding and residents"
    tracker = make_tracker(samples.space, "sample_aware", 1024, 8)
    samples.learn(tracker, 0, 250)
    assert 0 < len(samples.hot_ids(tracker)) <= 1024


@pytest.mark.parametrize(
    "spec, memory, verdict, reason",
    [
        ("synthetic:samples=20000", 4, "yes", "fewer bytes"),
        ("synthetic:mlperf-v2,samples=2000", 8, "no", "leave hardly a sample popular"),
        ("synthetic:uniform,samples=20000", 2, "no", "hardly a sample popular"),
        ("synthetic:avazu,samples=2000", 64, "no", "all tables fit into device memory"),
    ],
)
def test_advice(spec, memory, verdict, reason):
    found = advise(open_trace(spec), device_bytes=memory << 20, row_bytes=64)
    assert found.verdict == verdict and any(reason in r for r in found.reasons)
    assert found.merged_bytes < found.plain_bytes
    shares = [o.popular_share for o in found.options]
    assert all(b > a - 0.02 for a, b in zip(shares, shares[1:], strict=False)), "more entries, more popular samples"
    assert found.resident_rows * 64 <= memory << 19


def test_advise_on_the_command_line(tmp_path):
    done = hotline("advise", "synthetic:samples=5000", "--device-memory", 4, "--json", tmp_path / "a.json")
    assert "worth it:" in done.stdout
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["verdict"] in ("yes", "maybe", "no") and found["options"]
    done = hotline("advise", "synthetic:samples=500,scale=0.1", "--device-memory", 0.1, "--dim", 256, check=2)
    assert "hot rows of 1024 bytes" in done.stderr
