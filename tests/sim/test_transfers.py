"""The gather and scatter engines against the limit of the bus, and what `bench gather` makes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.layouts import Opcode
from hotline_sim.studies import transfer_study as study
from hotline_sim.studies.transfer_study import READ, WRITE, Transfer, measure, utilisation

from .. import configurations

MANY, ODD = tuple(configurations.MANY), tuple(configurations.ODD)


@pytest.mark.parametrize(
    "transfer",
    [
        Transfer("aligned", MANY, 16, 50, 16, rows=1500),
        Transfer(
            "aligned", MANY, 16, 100, 64, rows=1500
        ),  # an address in more than every other cycle, and some must wait
        Transfer("aligned", MANY, 64, 200, 64, rows=1500),
        Transfer("aligned", MANY, 128, 100, 200, rows=1500),
        Transfer("unaligned", MANY, 100, 100, 200, stride=100, rows=1500),
        Transfer("unaligned", MANY, 28, 100, 200, stride=44, rows=1500),
        Transfer("jittered", MANY, 64, 60, 200, jitter=True, rows=1500),
        Transfer("corner", ODD, 64, 100, 33, rows=1500),
    ],
    ids=lambda t: f"{t.case}-{t.row_bytes}-{t.outstanding}",
)
def test_reads_and_writes_reach_the_limit(transfer):
    result = measure(transfer)
    # A scatter reads its keys, 8 bytes a row, through the port that its rows come through.
    keys = transfer.row_bytes / (transfer.row_bytes + 8) if not transfer.stride else 1.0
    assert result.ratio(READ) > 0.96 and result.ratio(WRITE) > 0.96 * keys
    # Never more on their way than asked for; the cycles of a gather are all accounted for.
    assert len(result.occupancy) - 1 <= transfer.outstanding
    assert sum(result.stalls.values()) == pytest.approx(1.0)


def test_exactly_as_many_reads_as_the_register_says():
    for n in (1, 5, 16):
        result = measure(Transfer("aligned", MANY, 64, 100, n, rows=200))
        assert len(result.occupancy) - 1 == n


def test_gather_and_scatter_share_the_port():
    result = measure(Transfer("together", MANY, 256, 100, 200, both=True, rows=1040))
    assert result.utilisation[READ] > 0.93 and result.utilisation[WRITE] > 0.93


def test_one_mini_batch_s_rows_follow_another_s_without_a_gap():
    result = measure(Transfer("queued", MANY, 256, 300, 200, queued=4, rows=260))
    assert result.utilisation[READ] > 0.97


def test_a_wrong_row_is_told():
    transfer = Transfer("aligned", MANY, 64, 20, 16, rows=64)
    with study.Rig(transfer, 64) as rig:
        keys = rig.random_keys(64)
        rig.put_keys(keys, 0)
        rig.run(rig.command(Opcode.GATHER, 64, 0))
        assert np.array_equal(rig.working_rows(64, 0), rig.table_rows(keys))
        rig.working_rows(64, 0)[3, 1] ^= 1
        with pytest.raises(study.Mismatch, match="GATHER: the rows are not what they should be"):
            rig.check(np.array_equal(rig.working_rows(64, 0), rig.table_rows(keys)), "GATHER")


def test_the_model_and_the_data_phase():
    t = Transfer("aligned", MANY, 64, 100, 16)
    assert t.model(4) == pytest.approx(16 * 4 / 104)
    assert replace(t, outstanding=200).model(4) == 1.0
    assert replace(t, jitter=True, outstanding=200).model(4) == pytest.approx(0.9)
    assert utilisation(np.array([0, 0, 1, 1, 0, 1, 0])) == pytest.approx(3 / 4)


def test_reports(tmp_path):
    results = [measure(Transfer("aligned", MANY, 64, latency, 16, rows=200)) for latency in (20, 100)]
    assert len(study.report(results)) == 4
    numbers = json.loads(json.dumps(study.numbers(results)))
    first = numbers["read_utilisation"][0]
    assert {"bus_bits", "row_bytes", "latency", "outstanding", "case", "utilisation", "model"} <= set(first)
    assert numbers["read_utilisation"][1]["latency_p50"] in range(100, 110)
    study.draw(results, tmp_path / "gather.png")
    assert (tmp_path / "gather.png").read_bytes()[:4] == b"\x89PNG"
