"""Training on micro-batches is training on mini-batches: the same parameters, whatever makes the micro-batches."""

from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from rich.console import Console

torch = pytest.importorskip("torch")

from hotline_sim.engine.cosim import CosimTransport  # noqa: E402
from hotline_sim.run.job import prepare  # noqa: E402
from hotline_sim.run.run_directory import RunDirectory  # noqa: E402
from hotline_sim.run.runner import run_session  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402
from hotline_train import checkpoint  # noqa: E402
from hotline_train.evaluation import all_tables, evaluate, parameters, quality  # noqa: E402
from hotline_train.experiment import Plan, divide  # noqa: E402
from hotline_train.experiment import train as train_by_plan  # noqa: E402
from hotline_train.models.dlrm import DlrmShape  # noqa: E402
from hotline_train.reference import features, pool, train_plain  # noqa: E402
from hotline_train.settings import Settings  # noqa: E402
from hotline_train.sources.engine import GoldenSource  # noqa: E402
from hotline_train.sources.live import LiveSource  # noqa: E402
from hotline_train.sources.native import NativeSource  # noqa: E402
from hotline_train.sources.recorded import RecordedSource  # noqa: E402
from hotline_train.sources.source import SourceError, check_payload  # noqa: E402
from hotline_train.step.device import Cpu, Phase  # noqa: E402
from hotline_train.step.trainer import NotFiniteError, Parts, Trainer  # noqa: E402

from ..configurations import MAIN, MAIN_FROZEN, WIDE, tiny  # noqa: E402
from ..sim.conftest import HOSTILE, small_job, with_payload  # noqa: E402
from .threaded import Threaded  # noqa: E402

STEPS = 200
#: Mean delays before each piece of a stream's work.
LATE = {"main": 0.0001, "coming": 0.0002, "rows": 0.0003, "order": 0.0001}
torch.set_num_threads(1)  # small tensors, and tests beside each other
#: By optimizer; large enough that something is learnt in 200 steps.
RATES = {"sgd": 0.3, "rowwise-adagrad": 0.05, "adagrad": 0.05, "adam": 0.01}
SHAPE = DlrmShape(dim=8, bottom=(16,), top=(16,))
#: Many tests compare with the same training of the same log.
opened, plain_training = lru_cache(open_trace), lru_cache(maxsize=16)(train_plain)


def settings_for(optimizer: str, dtype: str = "float64") -> Settings:
    return Settings(SHAPE, optimizer, RATES[optimizer], dtype, seed=3)


def job_for(settings: Settings, spec: str, batch_size: int = 16, shape: list[str] = MAIN, **options):
    config = tiny(shape)
    options = {"resident": 100, **options}
    return prepare(opened(spec), config, batch_size=batch_size, dim=settings.rows.words, output_sets=2, **options)


def largest_difference(ours: list, theirs: list) -> float:
    """The largest difference of two lists of tensors, relative to the larger of value and 1; infinite when either holds a
    value that is not finite."""
    worst = 0.0
    for x, y in zip(ours, theirs, strict=True):
        if not (x.isfinite().all() and y.isfinite().all()):
            return float("inf")
        if x.numel():
            worst = max(worst, ((x - y).abs() / y.abs().clamp(min=1.0)).max().item())
    return worst


def difference(trainer: Trainer, plain) -> float:
    return max(
        largest_difference(parameters(trainer.model), parameters(plain.model)),
        largest_difference(all_tables(trainer), plain.tables),
    )


def run(trainer: Trainer, steps: int = STEPS) -> list[float]:
    losses: list[float] = []
    trainer.run(steps, lambda step: losses.append(step.loss))
    return losses


@pytest.fixture
def threaded():
    """A device whose streams are late."""
    device = Threaded(LATE)
    yield device
    device.close()


def check_against_plain(settings, trainer, job, steps):
    losses = run(trainer, steps)
    plain = plain_training(job.trace, settings, job.batch_size, steps)
    assert largest_difference([torch.tensor(losses)], [torch.tensor(plain.losses)]) < 1e-10
    assert difference(trainer, plain) < 1e-10
    start = plain_training(job.trace, settings, job.batch_size, 0)
    assert difference(trainer, start) > 1e-2, "something has been learnt"


#: Whether to prefetch; the accelerator, whose hot set follows the data, or is frozen.
MODES = [(False, MAIN), (True, WIDE), (True, MAIN_FROZEN)]
MODE_IDS = ["in-order", "prefetch", "prefetch-frozen"]
ONE_HOT, MULTI_HOT = "synthetic:ratings,samples=1000", "synthetic:taobao,samples=1000,scale=0.001"


@pytest.mark.parametrize("spec", [ONE_HOT, MULTI_HOT], ids=["one-hot", "multi-hot"])
@pytest.mark.parametrize("prefetch, shape", MODES, ids=MODE_IDS)
@pytest.mark.parametrize("way", ["golden", "direct", "copied"])
def test_training_gives_the_parameters_of_plain_training(threaded, way, spec, prefetch, shape):
    """Streams are late; working rows go each way."""
    settings = settings_for("rowwise-adagrad")
    job = job_for(settings, spec, shape=shape)
    source = (GoldenSource if way == "golden" else NativeSource)(job, settings.rows)
    options = {} if way == "golden" else {"cold_rows": way}
    trainer = Trainer(settings, source, threaded, prefetch=prefetch, **options)
    check_against_plain(settings, trainer, job, 100)
    trainer.close()


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("options", [{}, {"together": False}, {"together": False, "padded": True}], ids=str)
def test_200_steps_with_each_optimizer_give_the_parameters_of_plain_training(optimizer, options):
    settings = settings_for(optimizer)
    job = job_for(settings, MULTI_HOT)
    trainer = Trainer(settings, NativeSource(job, settings.rows), Cpu(), prefetch=True, **options)
    check_against_plain(settings, trainer, job, STEPS)
    trainer.close()


@pytest.mark.parametrize("optimizer, least", [("sgd", 1e-6), ("rowwise-adagrad", 1e-3)])
def test_stepping_after_each_micro_batch_is_something_else(optimizer, least):
    """The negative control: an optimizer fused into the backward pass steps twice a mini-batch."""

    def step_now(trainer):
        trainer.dense_optimizer.step()
        trainer.dense_optimizer.zero_grad(set_to_none=False)

    class Fused(Trainer):
        def _micro_batch(self, number, records, *rest):
            super()._micro_batch(number, records, *rest)
            if records.count:
                self.device.main.run(lambda: step_now(self), Phase.DENSE)

    settings = settings_for(optimizer)
    job = job_for(settings, "synthetic:ratings,samples=1000")
    trainer = Fused(settings, GoldenSource(job, settings.rows), Cpu())
    steps = []
    trainer.run(STEPS, steps.append)
    assert any(0 < step.popular < step.samples for step in steps), "mini-batches with both parts"
    assert difference(trainer, plain_training(job.trace, settings, job.batch_size, STEPS)) > least


@pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad"])
def test_float32_is_as_near_as_two_orders_of_summation(optimizer):
    settings = settings_for(optimizer, "float32")
    job = job_for(settings, "synthetic:ratings,samples=1000")
    trainer = Trainer(settings, GoldenSource(job, settings.rows), Cpu(), prefetch=True)
    run(trainer)
    plain = plain_training(job.trace, settings, job.batch_size, STEPS)
    spread = 0.0
    for seed in range(3):
        order = np.random.default_rng(seed).permutation
        other = train_plain(job.trace, settings, job.batch_size, STEPS, order)
        spread = max(
            spread,
            largest_difference(other.tables, plain.tables),
            largest_difference(parameters(other.model), parameters(plain.model)),
        )
    assert 0 < difference(trainer, plain) <= 2 * spread


@pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad"])
@pytest.mark.parametrize("prefetch, shape", MODES, ids=MODE_IDS)
def test_the_accelerator_and_the_golden_model_train_alike(threaded, optimizer, prefetch, shape):
    """To the bit, with slow and disorderly memories behind the accelerator."""
    settings, steps = settings_for(optimizer), 40
    job = job_for(settings, "synthetic:samples=300,scale=0.001", shape=shape)
    options = {"prefetch": prefetch}
    golden = Trainer(settings, GoldenSource(job, settings.rows), Cpu(), **options)
    expected = run(golden, steps)

    with CosimTransport(
        job.config, job.host, job.device, host_timing=HOSTILE, device_timing=HOSTILE.with_seed(5)
    ) as transport:
        live = Trainer(settings, LiveSource(job, transport, settings.rows), threaded, **options)
        assert run(live, steps) == expected
        for a, b in zip(all_tables(live), all_tables(golden), strict=True):
            assert torch.equal(a, b)
        assert all(torch.equal(a, b) for a, b in zip(parameters(live.model), parameters(golden.model), strict=True))
        assert np.array_equal(live.hot_list, golden.hot_list)


@pytest.mark.parametrize("shape", [MAIN, MAIN_FROZEN], ids=["following", "frozen"])
def test_a_recorded_run_trains_as_the_golden_model_does(tmp_path, shape):
    settings, steps = settings_for("rowwise-adagrad"), 10
    recorded = small_job(tiny(shape), "synthetic:samples=400")
    with CosimTransport(recorded.config, recorded.host, recorded.device) as transport:
        run_session(recorded, transport, directory=tmp_path / "run")
    source = RecordedSource(RunDirectory.open(tmp_path / "run"), settings.rows)
    trainer = Trainer(settings, source, Cpu(), prefetch=True)
    golden = Trainer(settings, GoldenSource(recorded, settings.rows), Cpu())
    assert run(trainer, steps) == run(golden, steps)
    assert all(torch.equal(a, b) for a, b in zip(all_tables(trainer), all_tables(golden), strict=True))


def test_a_recorded_run_that_follows_can_be_gone_through_again(tmp_path):
    """It begins with the hot set that it began with; a checkpoint within it is taken up where it was."""
    settings = settings_for("rowwise-adagrad")
    recorded = small_job(tiny(MAIN), "synthetic:samples=400")
    with CosimTransport(recorded.config, recorded.host, recorded.device) as transport:
        run_session(recorded, transport, directory=tmp_path / "run")
    folder = RunDirectory.open(tmp_path / "run")
    source = RecordedSource(folder, settings.rows)
    trainer = Trainer(settings, source, Cpu(), prefetch=True)
    run(trainer, 26)  # eleven mini-batches
    assert difference(trainer, plain_training(source.trace, settings, source.batch_size, 26)) < 1e-10
    checkpoint.save(trainer, tmp_path / "kept")
    again = RecordedSource(folder, settings.rows)
    resumed = checkpoint.load(
        tmp_path / "kept", settings, again, lambda **more: Trainer(settings, again, Cpu(), prefetch=True, **more)
    )
    assert run(resumed, 9) == run(trainer, 9)
    assert np.array_equal(resumed.hot_list, trainer.hot_list)


def test_following_changes_the_hot_set_and_not_the_mathematics():
    settings = settings_for("sgd")
    job = job_for(settings, "synthetic:drift,samples=1000,scale=0.05", resident=None)
    trainer = Trainer(settings, GoldenSource(job, settings.rows), Cpu())
    hot_lists = []
    trainer.run(STEPS, lambda step: hot_lists.append(trainer.hot_list.copy()))
    changed = [int((a != b).any(axis=1).sum()) for a, b in zip(hot_lists, hot_lists[1:], strict=False)]
    assert sum(changed[100:]) > 100
    assert difference(trainer, plain_training(job.trace, settings, job.batch_size, STEPS)) < 1e-10


@pytest.mark.parametrize("source", [GoldenSource, NativeSource])
def test_what_a_source_cannot_do_is_refused(source):
    settings = settings_for("sgd")
    job = job_for(settings, "synthetic:ratings,samples=200")
    with pytest.raises(ValueError, match="training needs"):
        Trainer(settings_for("rowwise-adagrad"), source(job, settings.rows), Cpu())
    large = job_for(settings, "synthetic:all-distinct,samples=512", batch_size=512)
    with pytest.raises(SourceError, match="mini-batch 0 has .* working rows, more than .*: use smaller mini-batches"):
        Trainer(settings, source(large, settings.rows), Cpu()).run(1)


@pytest.mark.parametrize(
    "kind, shape",
    [("golden", MAIN), ("native", MAIN), ("golden", MAIN_FROZEN), ("live", MAIN_FROZEN)],
    ids=["golden", "native", "golden-frozen", "live-frozen"],
)
@pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad"])
def test_resumed_at_any_step_it_ends_as_if_not_interrupted(tmp_path, kind, shape, optimizer):
    """Also while the hot set changes."""
    settings, steps = settings_for(optimizer, "float32"), 12

    def source():
        # 7 mini-batches: goes through them twice
        job = job_for(settings, "synthetic:samples=100,scale=0.001", shape=shape, resident=None)
        if kind == "live":
            return LiveJob(job, settings)
        return nullcontext((GoldenSource if kind == "golden" else NativeSource)(job, settings.rows))

    with source() as whole:
        trainer = Trainer(settings, whole, Cpu(), prefetch=True)
        run(trainer, steps)
        expected = all_tables(trainer), parameters(trainer.model)
        hot_list = trainer.hot_list.copy()
    for stop in (1, 5, 11):
        with source() as first:
            trainer = Trainer(settings, first, Cpu(), prefetch=True)
            run(trainer, stop)
            checkpoint.save(trainer, tmp_path / "kept")
        with source() as second:
            trainer = checkpoint.load(
                tmp_path / "kept",
                settings,
                second,
                lambda **more: Trainer(settings, second, Cpu(), prefetch=True, **more),
            )
            run(trainer, steps - stop)
            for a, b in zip(
                [*all_tables(trainer), *parameters(trainer.model)], [*expected[0], *expected[1]], strict=True
            ):
                assert torch.equal(a, b)
            assert np.array_equal(trainer.hot_list, hot_list)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"], "nothing half-written is left"


class LiveJob:
    """A live source as a context manager: the co-simulation ends with it."""

    def __init__(self, job, settings):
        self.job, self.settings = job, settings

    def __enter__(self):
        self.transport = CosimTransport(self.job.config, self.job.host, self.job.device)
        return LiveSource(self.job, self.transport, self.settings.rows)

    def __exit__(self, *exc):
        self.transport.close()


def test_a_training_on_the_accelerator_goes_on_from_a_checkpoint_as_if_not_interrupted(tmp_path):
    """It counts anew from there, interrupted or not."""
    settings = settings_for("rowwise-adagrad")

    def job():
        return job_for(settings, "synthetic:ratings,samples=400")

    with LiveJob(job(), settings) as source:
        trainer = Trainer(settings, source, Cpu(), prefetch=True)
        run(trainer, 17)
        checkpoint.save(trainer, tmp_path / "kept")
        expected = run(trainer, 30), trainer.hot_list.copy()
        assert difference(trainer, plain_training(source.trace, settings, source.batch_size, 47)) < 1e-10
    with LiveJob(job(), settings) as source:
        resumed = checkpoint.load(
            tmp_path / "kept",
            settings,
            source,
            lambda **more: Trainer(settings, source, Cpu(), prefetch=True, **more),
        )
        assert run(resumed, 30) == expected[0] and np.array_equal(resumed.hot_list, expected[1])


def test_golden_and_the_software_engine_take_up_each_others_checkpoints(tmp_path):
    settings = settings_for("rowwise-adagrad")
    job = job_for(settings, "synthetic:drift,samples=1000,scale=0.05", resident=None)
    kinds = [GoldenSource, NativeSource]
    for first, second in (kinds, kinds[::-1]):
        trainer = Trainer(settings, first(job, settings.rows), Cpu())
        run(trainer, 33)
        checkpoint.save(trainer, tmp_path / "kept")
        source = second(job, settings.rows)

        def make(**more):
            return Trainer(settings, source, Cpu(), **more)  # noqa: B023

        resumed = checkpoint.load(tmp_path / "kept", settings, source, make)
        run(trainer, 20), run(resumed, 20)
        assert np.array_equal(resumed.hot_list, trainer.hot_list)
        resumed.close()


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    settings = settings_for("sgd")
    job = job_for(settings, "synthetic:ratings,samples=100")

    def make_of(settings, source):
        return lambda **more: Trainer(settings, source, Cpu(), **more)

    source = GoldenSource(job, settings.rows)
    checkpoint.save(Trainer(settings, source, Cpu()), tmp_path / "kept")
    other = settings_for("rowwise-adagrad")
    source = GoldenSource(job_for(other, "synthetic:ratings,samples=100"), other.rows)
    with pytest.raises(checkpoint.CheckpointError, match="optimizer sgd, not rowwise-adagrad"):
        checkpoint.load(tmp_path / "kept", other, source, make_of(other, source))
    source = GoldenSource(job_for(settings, "synthetic:ratings,samples=100,seed=2"), settings.rows)
    with pytest.raises(checkpoint.CheckpointError, match="digest"):
        checkpoint.load(tmp_path / "kept", settings, source, make_of(settings, source))
    (tmp_path / "none").write_text("no")
    with pytest.raises(checkpoint.CheckpointError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "none", settings, source, make_of(settings, source))


def test_quality_on_held_out_samples_is_that_of_plain_training():
    """The labels of generated traces depend on features and rows, so there is something to learn."""
    settings = Settings(SHAPE, "rowwise-adagrad", 0.05, "float32", seed=3)
    trace = open_trace("synthetic:ratings,samples=12000")
    part, held_out = divide(trace, 64, 0.2)
    job = prepare(part, tiny(MAIN), batch_size=64, dim=settings.rows.words, output_sets=2, resident=100)
    trainer = Trainer(settings, GoldenSource(job, settings.rows), Cpu(), prefetch=True)
    steps = 2 * job.batches
    run(trainer, steps)
    ours = evaluate(trainer, held_out)
    plain = plain_training(part, settings, 64, steps)
    theirs = quality(*plain.probabilities(held_out))
    assert ours.samples == held_out.samples and ours.auc > 0.6
    assert abs(ours.auc - theirs.auc) < 5e-5 and abs(ours.log_loss - theirs.log_loss) < 5e-5


def test_what_is_not_finite_is_never_equal():
    one, nan, inf = torch.tensor([1.0]), torch.tensor([float("nan")]), torch.tensor([float("inf")])
    assert largest_difference([one], [one]) == 0
    for x, y in ((nan, nan), (nan, one), (one, nan), (one, inf), (inf, one), (inf, inf)):
        assert largest_difference([x], [y]) == float("inf")


def changed_payload(sample: int, word: int, value: float):
    trace = open_trace("synthetic:ratings,samples=64")
    payload = trace.part().payload.view(np.float32).copy()
    payload[sample, word] = value
    return with_payload(trace, payload)


@pytest.mark.parametrize(
    "sample, word, value, message",
    [
        (7, 0, 2, "sample 7, payload word 0: label 2.0; training needs a label, 0 or 1"),
        (63, 0, -1, "sample 63, payload word 0: label -1.0"),
        (0, 0, float("nan"), "sample 0, payload word 0: label nan"),
        (9, 1, float("nan"), "sample 9, payload word 1: dense feature nan"),
        (9, 1, float("-inf"), "sample 9, payload word 1: dense feature -inf"),
    ],
)
def test_a_payload_that_cannot_be_trained_on_is_refused_first(sample, word, value, message):
    with pytest.raises(SourceError, match=message):
        check_payload(changed_payload(sample, word, value))


def test_a_payload_of_whole_numbers_is_refused(tmp_path):
    trace = open_trace("synthetic:ratings,samples=64")
    np.savez(
        tmp_path / "t.npz",
        rows=trace.part().rows,
        table_of=trace.table_of,
        table_rows=trace.table_rows,
        payload=np.zeros((64, 2), np.uint32),
    )
    with pytest.raises(SourceError, match="its payload is uint32; training needs a label"):
        check_payload(open_trace(f"npz:{tmp_path}/t.npz"))


@pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad"])
def test_training_without_dense_features_is_exact_too(optimizer):
    settings = settings_for(optimizer)
    trace = open_trace("synthetic:ratings,samples=400")
    trace = with_payload(trace, trace.part().payload[:, :1].copy())
    job = prepare(trace, tiny(MAIN), batch_size=16, dim=settings.rows.words, resident=100)
    trainer = Trainer(settings, GoldenSource(job, settings.rows), Cpu())
    run(trainer, 50)
    assert difference(trainer, plain_training(trace, settings, 16, 50)) < 1e-10
    assert difference(trainer, plain_training(trace, settings, 16, 0)) > 1e-3, "something has been learnt"


def test_a_training_that_leaves_the_finite_numbers_fails_with_its_step_and_keeps_nothing(tmp_path):
    settings = Settings(SHAPE, "sgd", 1e30, "float32", seed=3)
    plan = Plan("golden", settings, checkpoint=tmp_path / "kept", every=1, check=True)
    trace = open_trace("synthetic:ratings,samples=400")
    with pytest.raises(NotFiniteError, match=r"step \d+: .* nothing of this training can be used"):
        train_by_plan(plan, trace, tiny(MAIN), 16, Console(quiet=True))
    if checkpoint.exists(tmp_path / "kept"):
        kept, _, rows = checkpoint.read(tmp_path / "kept")
        assert np.isfinite(rows).all() and all(value.isfinite().all() for value in kept["model"].values())


def test_a_row_that_is_not_finite_is_in_no_checkpoint(tmp_path):
    settings = settings_for("sgd")
    source = GoldenSource(job_for(settings, "synthetic:ratings,samples=200"), settings.rows)
    trainer = Trainer(settings, source, Cpu())
    run(trainer, 2)
    trainer.flush()
    key = checkpoint.touched_keys(source.trace)[:1]
    cold = np.array(
        [k for k in checkpoint.touched_keys(source.trace).tolist() if k not in trainer.hot_list.tolist()][:1]
    )
    assert len(key) and len(cold)
    source.write_rows(cold, np.full((1, settings.rows.width), np.nan))
    table, row = cold[0].tolist()
    with pytest.raises(NotFiniteError, match=f"after step 1: row {row} of table {table} is not finite"):
        checkpoint.save(trainer, tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_resuming_with_other_sizes_says_which(tmp_path):
    settings = settings_for("sgd")
    spec = "synthetic:ratings,samples=200"
    trainer = Trainer(settings, GoldenSource(job_for(settings, spec), settings.rows), Cpu())
    run(trainer, 2)
    checkpoint.save(trainer, tmp_path / "kept")
    config = tiny([*MAIN, "tracker_sets=128", "tracker_ways=2"])
    job = prepare(open_trace(spec), config, batch_size=16, dim=settings.rows.words, resident=50)
    source = GoldenSource(job, settings.rows)
    with pytest.raises(
        checkpoint.CheckpointError,
        match="another hot set: tracker_sets 64, not 128; tracker_ways 4, not 2; resident 100, not 50",
    ):
        checkpoint.load(tmp_path / "kept", settings, source, lambda **more: None)


def test_a_checkpoint_holds_the_rows_that_have_changed(tmp_path):
    settings = settings_for("sgd")
    source = NativeSource(job_for(settings, "synthetic:ratings,samples=600"), settings.rows)
    trainer = Trainer(settings, source, Cpu(), prefetch=True)
    run(trainer, 2)
    checkpoint.save(trainer, tmp_path / "kept")
    _, keys, rows = checkpoint.read(tmp_path / "kept")
    used = np.unique(source.trace.part(0, 32).rows + source.tables.first[source.trace.table_of])
    assert sorted(source.tables.places(keys).tolist()) == used.tolist()
    assert len(used) < len(checkpoint.touched_keys(source.trace))
    assert np.array_equal(rows, source.read_rows(keys))
    trainer.close()


def test_a_checkpoint_whose_replacement_was_cut_short_is_still_there(tmp_path):
    settings = settings_for("sgd")
    trainer = Trainer(
        settings, GoldenSource(job_for(settings, "synthetic:ratings,samples=100"), settings.rows), Cpu()
    )
    checkpoint.save(trainer, tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path / "kept.old")
    (tmp_path / "kept.new").mkdir()
    assert checkpoint.exists(tmp_path / "kept") and checkpoint.read(tmp_path / "kept")[0]["step"] == 0
    run(trainer, 1)
    checkpoint.save(trainer, tmp_path / "kept")
    assert checkpoint.read(tmp_path / "kept")[0]["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


class Wide(torch.nn.Module):
    """Somebody's own model."""

    def __init__(self, tables, dense):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(tables * SHAPE.dim + dense, 12), torch.nn.Tanh(), torch.nn.Linear(12, 1)
        )

    def forward(self, dense, pooled):
        return self.layers(torch.cat([dense, pooled.flatten(1)], dim=1)).squeeze(1)


def hinge(logits, labels):
    return torch.relu(1 - (2 * labels - 1) * logits)


@pytest.mark.parametrize("together", [True, False])
def test_any_model_and_loss_with_clipping_and_a_schedule(together):
    """Against a loop in plain PyTorch, over tables as parameters."""
    settings, steps = settings_for("sgd"), 60
    job = job_for(settings, ONE_HOT)
    trace, batch = job.trace, job.batch_size
    tables, dense = len(trace.table_rows), trace.payload_words - 1

    def made():
        torch.manual_seed(5)
        model = Wide(tables, dense).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)

    def clip(model):
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)

    model, optimizer, schedule = made()
    parts = Parts(model, optimizer, hinge, clip)
    trainer = Trainer(
        settings, NativeSource(job, settings.rows), Cpu(), prefetch=True, parts=parts, together=together
    )
    trainer.run(steps, lambda step: schedule.step())
    ours = all_tables(trainer)

    plain, optimizer, schedule = made()
    start = plain_training(trace, settings, batch, 0).tables
    weights = [torch.nn.Parameter(table.clone()) for table in start]
    rows_optimizer = torch.optim.SGD(weights, lr=settings.learning_rate)
    for step in range(steps):
        part = trace.part(step % job.batches * batch, (step % job.batches + 1) * batch)
        labels, inputs = features(part.payload, torch.float64)
        loss = hinge(plain(inputs, pool(list(weights), trace.table_of.tolist(), part.rows)), labels).mean()
        loss.backward()
        clip(plain)
        optimizer.step()
        rows_optimizer.step()
        optimizer.zero_grad()
        rows_optimizer.zero_grad()
        schedule.step()
    assert largest_difference(parameters(trainer.model), parameters(plain)) < 1e-10
    assert largest_difference(ours, [w.detach() for w in weights]) < 1e-10
    assert largest_difference(ours, start) > 1e-2, "something has been learnt"
    trainer.close()


def test_bfloat16_is_near_and_parameters_stay_float32():
    """Autocast computes the MLPs in bfloat16: near, and not the same."""
    settings = Settings(SHAPE, "rowwise-adagrad", 0.05, "float32", seed=3)
    losses = []
    for amp in (False, True):
        plan = replace(settings, amp=amp)
        job = job_for(plan, ONE_HOT)
        trainer = Trainer(plan, NativeSource(job, plan.rows), Cpu(), prefetch=True)
        losses.append(run(trainer, 60))
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
        trainer.close()
    assert losses[0] != losses[1] and np.allclose(*losses, atol=0.05)
    with pytest.raises(ValueError, match="bfloat16 and TF32 are for float32, not float64"):
        replace(settings, amp=True, dtype="float64")
