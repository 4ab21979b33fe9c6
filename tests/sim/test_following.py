"""A hot set that follows the data: in the whole accelerator, on the command line, and what it is good for."""

import json

import numpy as np
import pytest

from hotline_golden.layouts import EMPTY_SLOT, NO_WORKING_ROW
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.host.driver import Driver
from hotline_sim.run.job import rings
from hotline_sim.run.session import Session
from hotline_sim.studies.following import FOLLOWING, FROZEN, HINDSIGHT, study

from ..command import hotline
from ..configurations import MAIN, MAIN_FROZEN, WIDE, options, tiny
from .conftest import HOSTILE, IDEAL, run_cosim, small_job

DRIFT = "synthetic:drift,samples=1200"


@pytest.mark.parametrize("prefetch", [False, True], ids=["in-order", "prefetch"])
@pytest.mark.parametrize(
    "settings, timing",
    [
        (MAIN, IDEAL),
        (WIDE, HOSTILE),
        pytest.param([*MAIN, "lanes=4", "bus_bits=128"], HOSTILE, marks=pytest.mark.slow),
    ],
    ids=["main", "wide", "4-128"],
)
def test_rtl_equals_golden_while_the_hot_set_changes(settings, timing, prefetch):
    job = small_job(tiny(settings), DRIFT, batch_size=40, resident=None, prefetch=prefetch)
    session = run_cosim(job, timing)
    results = session.results
    assert not results.difference and results.learn_batches == 0
    assert [s.batch for s in results.swaps] == list(range(30))
    assert sum(s.changed > 0 for s in results.swaps) > 20 and results.popular_shares[0] == 0 < results.popular
    # The deltas tell the host what each slot holds, and where its row is.
    hot = np.full((job.config.tracker_entries, 2), EMPTY_SLOT, np.uint32)
    for output, swap in zip(session.outputs, results.swaps, strict=True):
        slots, old, new, numbers = (output.delta[:, part] for part in (0, slice(1, 3), slice(3, 5), 5))
        assert len(slots) == swap.changed and np.array_equal(hot[slots], old)
        assert np.array_equal(output.working_keys[numbers], new)
        hot[slots] = new
    assert np.array_equal(hot, session.golden.tracker.dump())


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda gpu, delta: delta[1:], "the delta lists do not come to what DUMP gives"),
        (lambda gpu, delta: np.concatenate([delta[:, :5], delta[::-1, 5:]], axis=1), "updated without a hot set"),
    ],
    ids=["a-change-is-lost", "rows-are-mixed-up"],
)
def test_a_gpu_that_takes_the_wrong_rows_is_seen(monkeypatch, spoil, message):
    """Both sides do the same wrong thing, so RTL and golden agree."""
    from hotline_sim.run.gpu import Gpu

    right = Gpu.exchange
    monkeypatch.setattr(Gpu, "exchange", lambda gpu, delta, into: right(gpu, spoil(gpu, delta), into))
    session = run_cosim(small_job(tiny(MAIN), DRIFT, batch_size=40, resident=None))
    assert message in session.results.difference


@pytest.mark.parametrize("timing, ahead", [(IDEAL, 1), (HOSTILE, 3)], ids=["1-ahead", "3-ahead"])
def test_rows_come_before_they_are_used_where_learning_looks_ahead(timing, ahead):
    job = small_job(tiny(MAIN), DRIFT, batch_size=20, resident=None, look_ahead=ahead)
    session = run_cosim(job, timing)
    results = session.results
    assert not results.difference and len(results.swaps) == len(results.bus_rows_each) == results.batches == 60
    plain = run_cosim(small_job(tiny(MAIN), DRIFT, batch_size=20, resident=None)).results
    assert results.popular > 1.5 * plain.popular and results.popular_shares[0] > 0
    assert sum(results.bus_rows_each) < 1.1 * sum(plain.bus_rows_each)
    coming = [int((o.delta[:, 5] == NO_WORKING_ROW).sum()) for o in session.outputs]
    assert sum(coming) > 0 and any(n < len(o.delta) for n, o in zip(coming, session.outputs, strict=True))


def test_looking_ahead_is_refused_where_it_cannot_be():
    for settings, more in ((MAIN_FROZEN, {}), (MAIN, {"prefetch": True})):
        with pytest.raises(ValueError, match="needs shadow=1, and the mini-batches in strict order"):
            small_job(tiny(settings), DRIFT, look_ahead=1, **more)
    with pytest.raises(ValueError, match="must be 0 to 31 mini-batches, not 32"):
        small_job(tiny(MAIN), DRIFT, look_ahead=32)


def test_without_a_shadow_nothing_is_swapped():
    job, fresh = small_job(tiny(MAIN)), small_job(tiny(MAIN_FROZEN))
    with CosimTransport(fresh.config, fresh.host, fresh.device) as transport:
        driver = Driver(transport, fresh.config, rings(transport.host))
        driver.load_model(fresh.model)
        with pytest.raises(ValueError, match="no shadow; set shadow=1"):
            driver.check(job.swap())
        session = Session(fresh, transport)
        list(session.run())
        assert not session.results.swaps and session.results.learn_batches > 0 and not session.results.difference


def test_following_on_the_command_line(tmp_path):
    common = [*options(WIDE), "--trace", DRIFT, "--batch-size", 40, "--resident", "none"]
    files = "--json", tmp_path / "n.json", "--out", tmp_path / "out", "--plot", tmp_path / "p.svg"
    done = hotline("run", *common, *files)
    assert "slots changed" in (tmp_path / "p.svg").read_text() or (tmp_path / "p.svg").stat().st_size > 10_000
    assert "follows the data" in done.stdout and "in the last tenth" in done.stdout and "▁" in done.stdout
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert [s["batch"] for s in numbers["swaps"]] == list(range(30)) and len(numbers["popular_shares"]) == 30
    assert numbers["follows"] and numbers["learn_mini_batches"] == 0
    assert numbers["bus_bytes_per_sample"] == 2 * 64 * numbers["working_rows"] / 1200
    with np.load(tmp_path / "out" / "micro_batches" / "000010.npz") as archive:
        assert archive["delta"].shape == (numbers["swaps"][10]["changed"], 6)
    assert (np.load(tmp_path / "out" / "hot_list.npy") == EMPTY_SLOT).all(), "before the first mini-batch"


def test_a_run_that_looks_ahead_is_not_trained_on(tmp_path):
    hotline(
        "run", *options(MAIN), "--trace", DRIFT, "--batch-size", 100, "--look-ahead", 2, "--out", tmp_path / "out"
    )
    refused = hotline("train", tmp_path / "out", check=2)
    assert "rows came into the hot set ahead; use one without --look-ahead" in " ".join(refused.stderr.split())


def test_frozen_is_the_papers_way():
    common = [*options(MAIN), "--trace", "synthetic:samples=150", "--batch-size", 40]
    done = hotline("run", *common, "--frozen", "--learn", 0.5)
    assert "learnt from 2" in done.stdout and "follows" not in done.stdout
    refused = hotline("run", *common, "--frozen", "--set", "shadow=1", check=2)
    assert "a hot set that stays has no shadow" in " ".join(refused.stderr.split())
    refused = hotline("run", *common, "--learn", 0.5, check=2)
    assert "a hot set that follows the data is not learnt first; add --frozen" in " ".join(refused.stderr.split())


def test_a_hot_set_that_follows_keeps_its_popular_share_through_a_drift():
    """A frozen one loses it; the bytes over the bus are those of the rows that were not hot."""
    found = study("synthetic:drift,samples=64000", 4096, 256, (8,))
    frozen, following, hindsight = (found.curve(name) for name in (FROZEN, FOLLOWING, HINDSIGHT))
    assert frozen.late_share < 0.02 < 0.7 * hindsight.late_share < following.late_share
    assert following.late_bytes < 0.8 * frozen.late_bytes and following.late_changed < 100
    sampled = found.curve("following, one sample of 8")
    assert sampled.late_changed < following.late_changed and sampled.late_share > 0.7 * following.late_share
    assert len(sampled.share) == len(frozen.bytes) == len(hindsight.share) == 250


def test_a_hot_set_that_follows_is_no_worse_where_nothing_drifts():
    """By popular share less a hundredth, and by bytes over the bus, in its default settings."""
    for spec, entries in (("synthetic:criteo-kaggle,samples=40000", 2048), ("synthetic:avazu,samples=40000", 1024)):
        found = study(spec, entries, 512)
        frozen, following = found.curve(FROZEN), found.curve(FOLLOWING)
        assert following.late_share >= 0.99 * frozen.late_share, spec
        assert following.late_bytes <= frozen.late_bytes, spec


def test_bench_relearn_prints_writes_and_draws(tmp_path):
    done = hotline(
        "bench",
        "relearn",
        "--trace",
        "synthetic:drift,samples=20000",
        "--entries",
        1024,
        "--sampling",
        "4",
        "--look-ahead",
        "1,2",
        "--peers",
        "--json",
        tmp_path / "r.json",
        "--plot",
        tmp_path / "r.svg",
    )
    assert "frozen" in done.stdout and "in hindsight" in " ".join(done.stdout.split())
    found = json.loads((tmp_path / "r.json").read_text())
    assert {"name", "share", "changed", "bytes"} == set(found["curves"][0])
    assert {c["name"] for c in found["curves"]} == set(found["late"])
    late = found["late"]
    assert (
        late["following, 1 ahead"]["share"] > late["following"]["share"] > late["following, one sample of 4"]["share"]
    )
    assert len(late) == 10 and late["cache, least recently used goes"]["bytes"] > 0
    assert "<svg" in (tmp_path / "r.svg").read_text()
    refused = hotline("bench", "relearn", "--trace", "synthetic:drift,samples=2000", check=2)
    assert "too few for ten mini-batches" in refused.stderr
    assert "powers of two" in hotline("bench", "relearn", "--sampling", "3", check=2).stderr
