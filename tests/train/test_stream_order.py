"""Whatever streams are late, a training gives the same bits; and each wait in the list is needed for that."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

from hotline_sim.run.job import prepare  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402
from hotline_train.evaluation import all_tables, parameters  # noqa: E402
from hotline_train.models.dlrm import DlrmShape  # noqa: E402
from hotline_train.settings import Settings  # noqa: E402
from hotline_train.sources.engine import GoldenSource  # noqa: E402
from hotline_train.sources.native import NativeSource  # noqa: E402
from hotline_train.step.device import STREAMS, Cpu, Wait  # noqa: E402
from hotline_train.step.trainer import Trainer  # noqa: E402

from ..configurations import MAIN, tiny  # noqa: E402
from .threaded import Threaded  # noqa: E402

torch.set_num_threads(1)
STEPS = 25
SETTINGS = Settings(DlrmShape(dim=8, bottom=(16,), top=(16,)), "rowwise-adagrad", 0.05, "float32", seed=3)
WAYS = ("golden", "direct", "copied")


def outcome(way, device, prefetch=True, together=False):
    """Losses, tables and parameters of a training."""
    trace = open_trace("synthetic:ratings,samples=400")
    job = prepare(trace, tiny(MAIN), batch_size=16, dim=SETTINGS.rows.words, output_sets=2, resident=100)
    source = (GoldenSource if way == "golden" else NativeSource)(job, SETTINGS.rows)
    options = {} if way == "golden" else {"cold_rows": way}
    trainer = Trainer(SETTINGS, source, device, prefetch=prefetch, together=together, **options)
    losses = []
    trainer.run(STEPS, lambda step: losses.append(step.loss if device.forgets_loss else step))
    found = [torch.tensor([x if isinstance(x, float) else x.loss for x in losses])]
    found += [t.clone() for t in [*all_tables(trainer), *parameters(trainer.model)]]
    trainer.close()
    return found


@pytest.fixture(scope="module")
def expected():
    return outcome("golden", plain_device(), prefetch=False)


@pytest.fixture(scope="module")
def expected_together():
    """Sums in another order."""
    return outcome("golden", plain_device(), prefetch=False, together=True)


def plain_device():
    device = Cpu()
    device.forgets_loss = False
    return device


def run(way, delays, forgotten=None, seed=1, together=False):
    device = Threaded(delays, seed, forgotten)
    device.forgets_loss = forgotten is Wait.LOSS
    try:
        return outcome(way, device, together=together)
    finally:
        device.close()


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("late", [*STREAMS, "all"])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_the_bits_are_the_same_whatever_is_late(expected, expected_together, way, late, together):
    delays = dict.fromkeys(STREAMS, 0.001) if late == "all" else {late: 0.003}
    assert same(run(way, delays, together=together), expected_together if together else expected)


#: For each wait, the streams that are late, and a way of rows that needs it.
NEEDED = {
    Wait.RECORDS: ("coming", "golden"), Wait.RECORDS_TO_SORT: ("coming", "golden"), Wait.WORKING_ROWS: ("rows", "golden"),
    Wait.CARRIED_ROWS: ("rows", "copied"), Wait.SORTED: ("order", "golden"), Wait.UPDATED: ("main", "direct"),
    Wait.RECORDS_USED: ("main", "direct"), Wait.ACCESSES_USED: ("main", "direct"), Wait.PINNED_RECORDS: ("coming", "direct"),
    Wait.PINNED_KEYS: ("rows", "direct"), Wait.RETURNED: ("rows", "golden"),
    Wait.LOSS: ("main", "direct"), Wait.ALL: ("rows", "direct"),
}  # fmt: skip


@pytest.mark.parametrize("wait", Wait)
def test_each_wait_is_needed(expected, wait):
    late, way = NEEDED[wait]
    try:
        found = run(way, {late: 0.01}, wait)
    except Exception:
        return  # that is noticed, too
    assert not same(found, expected), wait.value


def test_equal_results_are_told_from_others(expected):
    assert same(expected, expected)
    assert not same([expected[0], *[t + np.float32(1e-6) for t in expected[1:]]], expected)
