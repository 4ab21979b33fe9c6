"""Training on micro-batches is training on mini-batches."""

import pytest

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402

from hotline_sim.cosim import CosimTransport  # noqa: E402
from hotline_sim.gpu import train as t  # noqa: E402
from hotline_sim.gpu.dlrm import Dlrm  # noqa: E402
from hotline_sim.outputs import RunDirectory  # noqa: E402
from hotline_sim.runner import run_session  # noqa: E402

from .conftest import small_job, tiny  # noqa: E402

QUIET = Console(quiet=True)


def recorded(tmp_path, spec, **changes) -> RunDirectory:
    job = small_job(tiny(), spec, **changes)
    with CosimTransport(job.config, job.host, job.device) as transport:
        run_session(job, transport, directory=tmp_path / "run")
    return RunDirectory.open(tmp_path / "run")


@pytest.mark.parametrize(
    "spec, changes",
    [
        ("synthetic:samples=400", {}),
        ("synthetic:samples=200", {"resident": None}),
        ("synthetic:taobao,samples=120", {"dim": 8}),
    ],
    ids=["criteo", "no-residents", "multi-hot"],
)
def test_losses_parameters_and_tables_are_equal(tmp_path, spec, changes):
    run = recorded(tmp_path, spec, **changes)
    settings = dict(learning_rate=0.5, double=True, seed=3, console=QUIET)
    ours, whole = t.train_on_micro_batches(run, **settings), t.train_whole(run, **settings)
    assert len(ours.losses) > 3
    assert t.largest_difference(ours, whole) < 1e-10
    assert abs(ours.losses[0] - ours.losses[-1]) > 1e-3, "something has been learnt"
    start = [torch.from_numpy(x).double() for x in run.tables()]
    assert any(not torch.equal(a, b) for a, b in zip(ours.tables, start, strict=True))


def test_stepping_after_each_micro_batch_would_be_seen(tmp_path, monkeypatch):
    """A negative control: the comparison notices when gradients are not those of the mini-batch."""
    run = recorded(tmp_path, "synthetic:samples=200")
    settings = dict(learning_rate=0.5, double=True, seed=3, console=QUIET)
    whole = t.train_whole(run, **settings)
    loss = t._loss
    monkeypatch.setattr(t, "_loss", lambda m, d, r, y, n: loss(m, d, r, y, len(y)))
    assert t.largest_difference(t.train_on_micro_batches(run, **settings), whole) > 1e-6


def test_dlrm_pools_accesses_of_one_table_and_takes_all_pairs():
    model = Dlrm([0, 1, 1], dense=2, dim=4).double()
    rows = torch.randn(5, 3, 4, dtype=torch.float64)
    dense = torch.randn(5, 2, dtype=torch.float64)
    swapped = rows[:, [0, 2, 1]]
    assert torch.allclose(model(dense, rows), model(dense, swapped))
    assert model.top[0].in_features == 4 + 3, "3 vectors make 3 pairs"
