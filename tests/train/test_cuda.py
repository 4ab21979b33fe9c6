"""Training on a GPU, under delays injected into each stream. Skipped, and listed, where there is no CUDA."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

from hotline_sim.run.job import prepare  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402
from hotline_train.evaluation import all_tables, parameters, part_of_movement  # noqa: E402
from hotline_train.models.dlrm import DlrmShape  # noqa: E402
from hotline_train.reference import train_plain  # noqa: E402
from hotline_train.settings import Settings  # noqa: E402
from hotline_train.sources.native import NativeSource  # noqa: E402
from hotline_train.step.device import STREAMS, Cuda, device_for  # noqa: E402
from hotline_train.step.trainer import Trainer  # noqa: E402

from ..configurations import MAIN, MAIN_FROZEN, tiny  # noqa: E402

CUDA = torch.cuda.is_available()
needs_cuda = pytest.mark.skipif(not CUDA, reason="no CUDA device here")
#: Clock cycles of a GPU that are some milliseconds.
LONG = 10_000_000
STEPS = 30


class Delayed(Cuda):
    """Each piece of work of the streams ``late`` comes late."""

    def __init__(self, device, late):
        super().__init__(device)
        for name in late:
            stream = getattr(self, name)
            run = stream.run

            def late_run(work, phase, run=run):
                run(lambda: (torch.cuda._sleep(LONG), work()), phase)

            stream.run = late_run


def settings_for(optimizer="rowwise-adagrad", dtype="float64"):
    return Settings(DlrmShape(dim=8, bottom=(16,), top=(16,)), optimizer, 0.05, dtype, seed=3)


def trained(device, settings, *, prefetch=True, shape=MAIN, spec="synthetic:ratings,samples=400", **options):
    job = prepare(
        open_trace(spec),
        tiny(shape),
        batch_size=16,
        dim=settings.rows.words,
        output_sets=2,
        resident=100,
    )
    trainer = Trainer(settings, NativeSource(job, settings.rows), device, prefetch=prefetch, **options)
    trainer.run(STEPS)
    found = [t.clone() for t in [*parameters(trainer.model), *all_tables(trainer)]]
    trainer.close()
    return job, found


def difference(found, job, settings):
    plain, start = (train_plain(job.trace, settings, job.batch_size, steps) for steps in (STEPS, 0))
    return part_of_movement(
        found, [*parameters(plain.model), *plain.tables], [*parameters(start.model), *start.tables]
    )


@pytest.fixture(params=["cuda:0", "cuda:1"])
def device(request):
    """Each of two devices, while the other is the current one."""
    found = torch.device(request.param)
    if not CUDA:
        pytest.skip("no CUDA device here")
    if torch.cuda.device_count() <= (found.index or 0):
        pytest.skip(f"no {request.param} here")
    other = 0 if found.index or torch.cuda.device_count() == 1 else 1
    with torch.cuda.device(other):
        yield found


@needs_cuda
@pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad", "adagrad", "adam"])
@pytest.mark.parametrize("cold_rows", ["direct", "copied"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("shape", [MAIN, MAIN_FROZEN], ids=["following", "frozen"])
def test_training_on_a_gpu_gives_the_parameters_of_plain_training(device, optimizer, cold_rows, together, shape):
    settings = settings_for(optimizer)
    job, found = trained(Cuda(device), settings, cold_rows=cold_rows, together=together, shape=shape)
    assert difference(found, job, settings) < 1e-9


@needs_cuda
@pytest.mark.parametrize("late", [*[[name] for name in STREAMS], list(STREAMS)], ids=str)
@pytest.mark.parametrize("cold_rows", ["direct", "copied"])
@pytest.mark.parametrize("together", [True, False])
def test_the_bits_are_the_same_whatever_is_late(device, late, cold_rows, together):
    settings = settings_for(dtype="float32")
    expected = trained(Cuda(device), settings, cold_rows=cold_rows, together=together)[1]
    found = trained(Delayed(device, late), settings, cold_rows=cold_rows, together=together)[1]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@needs_cuda
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="--device cuda:99: there (is|are) .* here, numbered from 0"):
        device_for("cuda:99")


@pytest.mark.skipif(CUDA, reason="there is a CUDA device here")
def test_without_cuda_the_message_says_so():
    with pytest.raises(ValueError, match="--device cuda: PyTorch finds no CUDA device here; use --device cpu"):
        device_for("cuda")
