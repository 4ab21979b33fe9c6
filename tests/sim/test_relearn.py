"""A hot set that follows the data: SWAP in the whole accelerator, on the command line, and what it is good for."""

import json

import numpy as np
import pytest

from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.run.job import Relearn, prepare, rings
from hotline_sim.studies.following import FROZEN, HINDSIGHT, name_of, study
from hotline_sim.traces import open_trace

from ..command import hotline
from ..configurations import FOLLOWING, MAIN, WIDE, options, tiny
from .conftest import HOSTILE, IDEAL, run_cosim, small_job

DRIFT = "synthetic:drift,samples=1200"
PLAN = Relearn(every=2, swap_every=4, limit=40, worth=2)


@pytest.mark.parametrize(
    "settings, timing",
    [
        ((), IDEAL),
        ((), HOSTILE),
        pytest.param(("lanes=4", "bus_bits=128"), HOSTILE, marks=pytest.mark.slow),
    ],
)
def test_rtl_equals_golden_while_the_hot_set_changes(settings, timing):
    job = small_job(tiny([*WIDE, *settings]), DRIFT, batch_size=40, resident=None, relearn=PLAN)
    session = run_cosim(job, timing)
    results = session.results
    assert not results.difference
    assert [s.batch for s in results.swaps] == list(range(4, 30, 4))
    assert 0 < sum(s.changed for s in results.swaps) and max(s.changed for s in results.swaps) <= 40
    assert all(s.bytes == 2 * 64 * s.changed for s in results.swaps)
    # The deltas tell the host what each slot holds.
    buffer = session.transport.host.buffers["hot list"]
    hot = session.transport.host.words(buffer.address, buffer.size // 4).reshape(-1, 2).copy()
    for output, swap in zip(
        [o for o in session.outputs if len(o.delta)], [s for s in results.swaps if s.changed], strict=True
    ):
        assert (output.batch, len(output.delta)) == (swap.batch, swap.changed)
        assert np.array_equal(hot[output.delta[:, 0]], output.delta[:, 1:3])
        hot[output.delta[:, 0]] = output.delta[:, 3:5]
    assert np.array_equal(hot, session.golden.tracker.dump())


def test_a_shadow_that_is_never_swapped_splits_as_one_set_does():
    """The first SWAP takes all of it over; after that the two configurations give the same bytes."""
    plain, shadow = (small_job(tiny(settings)) for settings in (MAIN, WIDE))
    a, b = run_cosim(plain).outputs, run_cosim(shadow).outputs
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.popular, other.popular) and np.array_equal(one.non_popular, other.non_popular)


def test_relearning_without_a_shadow_is_refused():
    with pytest.raises(ValueError, match="set shadow=1"):
        prepare(open_trace(DRIFT), tiny(MAIN), batch_size=40, relearn=PLAN)
    job = small_job(tiny(FOLLOWING))
    command = job.swap()
    fresh = small_job(tiny(MAIN))
    with CosimTransport(fresh.config, fresh.host, fresh.device) as transport:
        from hotline_sim.host.driver import Driver

        driver = Driver(transport, fresh.config, rings(transport.host))
        with pytest.raises(ValueError, match="no shadow; set shadow=1"):
            driver.check(command)
    with pytest.raises(ValueError, match="at least 1"):
        Relearn(every=0)


def test_relearning_on_the_command_line(tmp_path):
    common = [*options(WIDE), "--trace", DRIFT, "--batch-size", 40, "--resident", "none"]
    done = hotline(
        "run",
        *common,
        "--relearn",
        2,
        "--swap-every",
        10,
        "--swap-limit",
        30,
        "--json",
        tmp_path / "n.json",
        "--out",
        tmp_path / "out",
    )
    assert "swaps" in done.stdout and "RTL == golden" in done.stdout
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert [s["batch"] for s in numbers["swaps"]] == [10, 20] and len(numbers["popular_shares"]) == 30
    assert numbers["configuration"]["shadow"] == 1
    with np.load(tmp_path / "out" / "micro_batches" / "000010.npz") as archive:
        assert archive["delta"].shape == (numbers["swaps"][0]["changed"], 6)
    refused = hotline("train", tmp_path / "out", check=2)
    assert "without --relearn" in refused.stderr


def test_a_hot_set_that_follows_keeps_its_popular_share_through_a_drift():
    """A frozen one loses it; the bytes over the bus are those of the rows that were not hot."""
    found = study("synthetic:drift,samples=64000", 4096, 256, Relearn(every=1, swap_every=1), caps=(None, 64))
    frozen, following, hindsight = (found.curve(name) for name in (FROZEN, name_of(None), HINDSIGHT))
    assert frozen.late_share < 0.02 < 0.7 * hindsight.late_share < following.late_share
    assert following.late_bytes < 0.8 * frozen.late_bytes and following.late_changed < 100
    capped = found.curve(name_of(64))
    assert max(capped.changed) == 64 < max(following.changed) and capped.late_share > 0.8 * following.late_share
    assert len(capped.share) == len(frozen.bytes) == len(hindsight.share) == 250


def test_a_hot_set_that_follows_is_no_worse_where_nothing_drifts():
    """By popular share less a hundredth, and by bytes over the bus, in its default settings."""
    for spec, entries in (("synthetic:criteo-kaggle,samples=40000", 2048), ("synthetic:avazu,samples=40000", 1024)):
        found = study(spec, entries, 512, Relearn(every=1, swap_every=1), caps=(None,))
        frozen, following = found.curve(FROZEN), found.curve(name_of(None))
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
        "--json",
        tmp_path / "r.json",
        "--plot",
        tmp_path / "r.svg",
    )
    assert "frozen" in done.stdout and "in hindsight" in " ".join(done.stdout.split())
    found = json.loads((tmp_path / "r.json").read_text())
    assert {"name", "share", "changed", "bytes"} == set(found["curves"][0])
    assert {c["name"] for c in found["curves"]} == set(found["late"])
    assert "<svg" in (tmp_path / "r.svg").read_text()
    refused = hotline("bench", "relearn", "--trace", "synthetic:drift,samples=2000", check=2)
    assert "too few for ten mini-batches" in refused.stderr
