"""Estimates of a training: what they are made of adds up, and they say whether they are calibrated."""

import json

import pytest

simpy = pytest.importorskip("simpy", reason="simpy is not installed: pip install 'hotline-accelerator[study]'")

from dataclasses import replace  # noqa: E402

from hotline_sim.studies.estimate import draw, make  # noqa: E402
from hotline_sim.studies.parts import (  # noqa: E402
    Accelerator,
    Kernels,
    Links,
    Parts,
    PartsError,
    accelerator,
    by_hand,
    engine_rate,
    from_bench,
)
from hotline_sim.studies.pipeline import estimate  # noqa: E402

from ..command import hotline  # noqa: E402
from ..configurations import MAIN, options  # noqa: E402

KERNELS = Kernels(50e-6, 300e-6, 50e-6, 0.0, 200e-6, 300e-6, 150e-6, 8e6)
FAST = Links(1e12, 1e12, 1e12, 1e12)
BUS = Links(40e9, 40e9, 20e9, 20e9)
PARTS = Parts(4096, 0.5, 4000, 60_000, 68, 4 * 500_000, KERNELS, FAST, 0.0)


def step(parts, system, *more):
    return estimate(parts, system, *more).seconds


def test_the_software_engines_step_is_the_gpus_when_nothing_else_binds():
    assert step(PARTS, "software") == pytest.approx(400e-6, rel=1e-6)
    assert estimate(PARTS, "software").binding == "gpu"


def test_it_is_the_hosts_or_the_buss_when_these_bind():
    assert step(replace(PARTS, split_rate=4e6), "software") == pytest.approx(4096 / 4e6, rel=1e-6)
    slow = replace(PARTS, links=replace(FAST, rows_read=0.5e9, rows_written=1e9))
    rows = 4000 * 68
    assert step(slow, "software") == pytest.approx(rows / 0.5e9 + rows / 1e9, rel=1e-6)
    assert estimate(slow, "software").binding == "bus"
    shared = replace(PARTS, split_rate=20e6)
    assert step(shared, "software", 8) > 7.9 * 4096 / 20e6, "the GPUs of a node share its host"


def test_the_hybrids_step_is_the_sum_of_its_parts():
    expected = 200e-6 + 4e6 / 40e9 + 300e-6 + 4e6 / 40e9 + 150e-6
    assert step(replace(PARTS, links=BUS), "hybrid") == pytest.approx(expected, rel=1e-6)


def card(popular, split, scatter, clock=250e6):
    return replace(PARTS, accelerator=Accelerator(popular, split, scatter, 4096, clock))


def test_the_accelerator_is_hidden_behind_the_gpu_or_binds():
    assert step(card(10_000, 50_000, 10_000), "accelerator") == pytest.approx(400e-6, rel=1e-6)
    slow = card(100_000, 200_000, 50_000)  # 0.8 ms and 0.2 ms
    found = estimate(slow, "accelerator")
    assert found.seconds == pytest.approx(1e-3, rel=0.01) and found.binding == "accelerator"
    assert step(card(100_000, 200_000, 50_000, 500e6), "accelerator") == pytest.approx(0.5e-3, rel=0.01)
    assert step(card(10_000, 50_000, 10_000), "accelerator", 4) > step(card(10_000, 50_000, 10_000), "accelerator", 1)


def test_what_a_pass_takes_whatever_its_size_is_paid_twice_by_two_micro_batches():
    fixed = replace(card(1, 1, 1), kernels=replace(KERNELS, fixed=100e-6))
    assert step(fixed, "accelerator") == pytest.approx(500e-6, rel=1e-6)
    assert step(fixed, "software") == pytest.approx(400e-6, rel=1e-6)


def test_a_network_costs_what_goes_over_it():
    parts = replace(PARTS, links=replace(FAST, network=10e9, latency=0.0))
    reduced, gathered = 2 * 1 / 2 * 2e6 / 10e9, 56_000 * 68 / 10e9
    assert step(parts, "software", 2) == pytest.approx(400e-6 + reduced + gathered, rel=1e-6)
    fast = replace(parts, links=replace(FAST, network=1e12, latency=0.0))
    several = [estimate(fast, "software", g, n) for g, n in ((1, 1), (2, 1), (4, 1), (4, 2), (4, 4))]
    assert [e.samples_per_second for e in several] == sorted(e.samples_per_second for e in several)


def bench_run(**more):
    seconds = 4096 / 1e7
    return {
        "model": "rm2", "device": "a GPU", "batch_size": 4096, "row_bytes": 68, "mlp_parameters": 500_000,
        "popular_share": 0.4, "rows_per_mini_batch": {"distinct": 6e4, "working": 4e3},
        "samples_per_second": {"hotline": 4096 / seconds, "hybrid_fused": 3e6, "hybrid_tables": 1e6, "hybrid": 3e6},
        "bytes_per_sample": {"hotline": 100, "hybrid_fused": 3328, "hybrid_tables": 3328},
        "phase_seconds": {
            "hotline": {"look-up": 0.1 * seconds, "transfer": 0, "dense": 0.7 * seconds, "update": 0.2 * seconds},
            "hybrid_fused": {"look-up": 2e-4, "transfer": 2e-4, "dense": 3e-4, "update": 2e-4},
            "hybrid_tables": {"look-up": 9e-4, "transfer": 2e-4, "dense": 3e-4, "update": 9e-4},
        },
    } | more  # fmt: skip


def bench_file(path, *runs):
    rates = {"to_device": 5e10, "from_device": 5e10, "rows_read": 2e10, "rows_written": 2e10}
    path.write_text(json.dumps({"device": "a GPU", "bus_bytes_per_second": rates, "runs": runs}))
    return path


def test_parts_come_from_what_was_measured(tmp_path):
    small = bench_run(batch_size=1024, case="rm2 batch 1024 tables fit")
    small["phase_seconds"] = {"hotline": {"look-up": 0, "transfer": 0, "dense": 1e-4, "update": 0}}
    runs = [
        bench_run(case="rm2 batch 4096 tables fit"),
        small,
        bench_run(case="rm2 batch 4096 a tenth fits", batch_size=2048),
    ]
    file = bench_file(tmp_path / "b.json", *runs)
    parts = from_bench(file, None, None, 0.0)
    assert parts.kernels.hybrid_look_up == 2e-4 and parts.kernels.hybrid_bytes == 3328 * 4096, "the faster hybrid"
    large = parts.kernels.dense
    assert parts.kernels.fixed == pytest.approx(1e-4 - (large - 1e-4) / 3072 * 1024)
    assert from_bench(file, "rm2 batch 4096 a tenth fits", None, 0.0).kernels.fixed == 0
    found = make(parts, [1], [1])
    assert found.calibrated and found.calibration == pytest.approx(1, rel=0.01) and "calibrated" in found.verdict
    wrong = make(replace(parts, measured=parts.measured * 1.3), [1], [1])
    assert not wrong.calibrated and "not calibrated" in wrong.verdict and "further than 15% away" in wrong.verdict
    assert make(replace(parts, measured=0.0), [1], [1]).verdict.startswith("not calibrated: no time")
    with pytest.raises(PartsError, match="has no case 'rm9'; there are 'rm2 batch 4096 tables fit'"):
        from_bench(file, "rm9", None, 0.0)


def test_files_that_are_none_are_refused(tmp_path):
    file = tmp_path / "f.json"
    for text, message in (("no", "not a JSON file"), ("[]", "not an object"), ("{}", "has no runs")):
        file.write_text(text)
        with pytest.raises(PartsError, match=message):
            from_bench(file, None, None, 0.0)
    file.write_text(json.dumps({"popular_cycles": 1}))
    with pytest.raises(PartsError, match="has no split_cycles: write it with hotline run --json"):
        accelerator(file, 250)
    with pytest.raises(PartsError, match="has no samples_per_second of native"):
        engine_rate(file)
    hand = {"samples": 4096, "popular": 0.5, "working_rows": 4000, "distinct_rows": 6e4, "row_bytes": 68,
            "mlp_parameters": 5e5, "look_up_ms": 0.05, "dense_ms": 0.3, "update_ms": 0.05}  # fmt: skip
    file.write_text(json.dumps(hand))
    assert step(by_hand(file, FAST, 0.0), "software") == pytest.approx(400e-6, rel=1e-6)
    for change, message in (
        ({"dense_ms": -1}, "dense_ms must be a number of at least 0, not -1"),
        ({"x": 1}, "unknown x"),
        ({"popular": 1.5}, "popular at most 1"),
        ({"dense_ms": True}, "dense_ms must be a number"),
    ):
        file.write_text(json.dumps(hand | change))
        with pytest.raises(PartsError, match=message):
            by_hand(file, FAST, 0.0)
    file.write_text(json.dumps({k: v for k, v in hand.items() if k != "popular"}))
    with pytest.raises(PartsError, match="has no popular"):
        by_hand(file, FAST, 0.0)


def test_the_command_estimates_from_a_run_and_a_benchmark(tmp_path):
    hotline(
        "run",
        *options(MAIN),
        "--samples",
        64,
        "--batch-size",
        32,
        "--json",
        tmp_path / "r.json",
    )
    file = bench_file(tmp_path / "b.json", bench_run(case="rm2 batch 4096 tables fit"))
    out = hotline(
        "estimate",
        "--bench",
        file,
        "--run",
        tmp_path / "r.json",
        "--clock",
        250,
        "--gpus",
        "1,2",
        "--nodes",
        "1,4",
        "--json",
        tmp_path / "e.json",
        "--plot",
        tmp_path / "e.png",
    ).stdout
    assert "calibrated" in out and "estimated, not measured" in out
    found = json.loads((tmp_path / "e.json").read_text())
    assert len(found["estimates"]) == 3 * 4 and found["calibrated"] and "250 MHz" in found["sources"]["accelerator"]
    assert {e["system"] for e in found["estimates"]} == {"accelerator", "software", "hybrid"}
    assert (tmp_path / "e.png").stat().st_size > 10_000
    assert "--bench FILE or --parts FILE" in hotline("estimate", check=2).stderr
    assert "use numbers of at least 1" in hotline("estimate", "--bench", file, "--gpus", "1,x", check=2).stderr


def test_a_picture_shows_steps_and_scaling(tmp_path):
    draw(make(replace(card(10_000, 50_000, 10_000), split_rate=2e7, links=BUS), [1, 2], [1]), tmp_path / "e.svg")
    text = (tmp_path / "e.svg").read_text()
    assert "accelerator" in text or text.count("<path") > 50
