"""What Hotline is timed beside: every exact system trains the same, and what cannot be measured says why."""

from functools import lru_cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

from hotline_rtl.config import FROZEN, preset  # noqa: E402
from hotline_sim.run.job import prepare  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402
from hotline_sim.traces.trace import in_memory  # noqa: E402
from hotline_train.baselines import report, suite  # noqa: E402
from hotline_train.baselines.bus import bus_rates  # noqa: E402
from hotline_train.baselines.hotline import GpuOnly, Hotline  # noqa: E402
from hotline_train.baselines.hybrid import FusedHybrid, TableHybrid  # noqa: E402
from hotline_train.baselines.measure import Comparison, covered, measure  # noqa: E402
from hotline_train.baselines.system import Task  # noqa: E402
from hotline_train.baselines.systems import SYSTEMS  # noqa: E402
from hotline_train.evaluation import parameters, part_of_movement  # noqa: E402
from hotline_train.models.dlrm import DlrmShape  # noqa: E402
from hotline_train.reference import train_plain  # noqa: E402
from hotline_train.settings import Settings  # noqa: E402
from hotline_train.sources.native import NativeSource  # noqa: E402
from hotline_train.step.device import Cpu  # noqa: E402

from ..configurations import MAIN_FROZEN, tiny  # noqa: E402

torch.set_num_threads(1)
SHAPE = DlrmShape(dim=8, bottom=(16,), top=(16,))
#: Many tests compare with the same training of the same log.
opened, plain_training = lru_cache(lambda spec: in_memory(open_trace(spec))), lru_cache(maxsize=16)(train_plain)
ONE_HOT, MULTI_HOT = "synthetic:ratings,samples=400", "synthetic:taobao,samples=400,scale=0.001"


def task_for(spec=ONE_HOT, optimizer="rowwise-adagrad", dtype="float64", cap=1 << 40, device=None, **options):
    settings = Settings(SHAPE, optimizer, 0.05, dtype, seed=3)
    job = prepare(
        opened(spec),
        tiny(MAIN_FROZEN),
        batch_size=16,
        dim=settings.rows.words,
        **({"resident": 100, "fill": False} | options),
    )
    return Task(job, settings, device or Cpu(), cap, 2)


@pytest.mark.parametrize("spec", [ONE_HOT, MULTI_HOT], ids=["one-hot", "multi-hot"])
@pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad", "adagrad", "adam"])
@pytest.mark.parametrize("system", [TableHybrid, FusedHybrid, Hotline, GpuOnly])
def test_exact_systems_train_as_plain_training(system, optimizer, spec):
    """Over the end of the log, so that its mini-batches come again."""
    task = task_for(spec, optimizer)
    if system is FusedHybrid and optimizer == "adam":
        with pytest.raises(Exception, match="it has sgd, rowwise-adagrad, adagrad, not adam"):
            system(task)
        return
    made = system(task)
    assert made.steps(10) == 160 and made.steps(30) == 480
    plain, start = (plain_training(task.trace, task.settings, 16, steps) for steps in (40, 0))
    rows = made.rows(np.arange(int(task.trace.table_rows.sum())))
    found = part_of_movement(
        [*parameters(made.model), rows],
        [*parameters(plain.model), torch.cat(plain.tables)],
        [*parameters(start.model), torch.cat(start.tables)],
    )
    assert found < 1e-9
    assert made.bus_bytes > 0 or system is GpuOnly
    made.close()


def test_popular_samples_are_counted_where_nothing_was_learnt():
    task = task_for("synthetic:ratings,samples=1600", learn=0.5)
    job, source = task.job, NativeSource(task.job, task.settings.rows)
    source.open()
    later = [b for b in range(job.batches) if b not in job.learn_batches]
    share = sum(len(source.split(b)[0].popular) for b in later) / sum(job.samples_of(b) for b in later)
    assert Hotline(task).popular == pytest.approx(share)


class Broken(FusedHybrid):
    name = "broken"

    def steps(self, count):
        raise ImportError("undefined symbol: _ZN3c10\nand more")


class Wrong(FusedHybrid):
    """Forgets the last sample's gradient."""

    name = "wrong"

    def forward_and_back(self, batch, pooled):
        back = super().forward_and_back(batch, pooled)
        self.gradient[-1] = 0
        return back


def measured(*systems, **more):
    task = task_for(dtype="float32", **more)
    comparison = Comparison(task.in_float64())
    return [measure(system, task, comparison, seconds=0.05) for system in systems]


def test_each_system_is_timed_or_says_why_not():
    found = {m.name: m for m in measured(*SYSTEMS, cap=20_000)}
    assert "MB of device memory" in found["gpu_only"].note and not found["hybrid_fused"].note
    assert "fbgemm_gpu is not installed" in found["fbgemm_lru"].note
    shown = report.numbers(list(found.values()), "CPU")
    speeds = shown["samples_per_second"]
    assert set(speeds) == {"hotline", "hybrid_tables", "hybrid_fused", "hybrid", "fae"}
    assert speeds["hybrid"] == max(speeds["hybrid_tables"], speeds["hybrid_fused"]) > 0
    assert set(shown["not_measured"]) == {"gpu_only", "fbgemm_lru", "fbgemm_lfu"}
    assert set(shown["difference"]) == {"hotline", "hybrid_tables", "hybrid_fused"}
    for name in ("hotline", "hybrid_fused", "hybrid_tables", "fae"):
        phases = shown["phase_seconds"][name]
        assert set(phases) == {"look-up", "transfer", "dense", "update"} and all(phases.values())
    assert len(found["hotline"].windows) == 3


def test_a_system_that_fails_is_its_own_line():
    broken, right = measured(Broken, FusedHybrid)
    assert broken.note == "ImportError: undefined symbol: _ZN3c10" and not right.note
    assert len(right.windows) == 3 and min(right.windows) <= right.samples_per_second <= max(right.windows)


def test_the_time_of_a_system_that_trains_something_else_does_not_count():
    right, wrong = measured(FusedHybrid, Wrong)
    assert (
        not right.note and wrong.note.startswith("after 20 steps its parameters are") and not wrong.samples_per_second
    )


@pytest.mark.parametrize(
    "spans, total", [([], 0), ([(0, 1)], 1), ([(0, 2), (1, 3)], 3), ([(5, 6), (0, 2), (1, 1.5)], 3)]
)
def test_overlapping_spans_count_once(spans, total):
    assert covered(spans) == total


def test_the_cases_of_a_gpu_are_all_shapes_sizes_and_caps_the_telling_ones_first():
    wanted = suite.cases()
    assert len(wanted) == 24 == len({(c.model, c.batch_size, c.capped) for c in wanted})
    assert [(c.model, c.batch_size, c.capped) for c in wanted[:2]] == [("rm2", 4096, True), ("rm3", 4096, True)]
    assert all(c.seconds >= 3 for c in wanted[:2])


def test_a_suite_measures_cases_until_its_time_is_over(monkeypatch):
    monkeypatch.setattr(suite, "SYSTEMS", [FusedHybrid, Hotline])
    cases = [suite.Case("rm1", 64, True, 0.02), suite.Case("rm4", 64, False, 0.02)]
    base = Settings(optimizer="rowwise-adagrad", learning_rate=0.01)
    made = suite.Suite(base, preset("alveo").with_settings(FROZEN), Cpu(), 1 << 40, 2, 640, 0.1)
    told = []
    done = made.run(cases, 5, lambda text: None, lambda ran: told.append(sum(len(r.measured) for r in ran)))
    assert told == [1, 2, 3, 4] and [ran.case for ran in done] == cases
    assert not any(m.note for ran in done for m in ran.measured)
    hotline = done[0].measured[1]
    assert hotline.device_bytes <= done[0].task.cap < 1 << 30, "the tracker is made to fit"
    assert suite.fitting(preset("alveo"), 70_000).tracker_entries == 65_536
    assert made.run(cases, 0, lambda text: None, lambda ran: None) == []
    small = suite.Suite(base, preset("tiny").with_settings(FROZEN), Cpu(), 1 << 40, 2, 640, 0.001)
    small = small.run([suite.Case("rm3", 64, True, 0.02)], 5, lambda text: None, told.append)
    assert small[0].note and not small[0].measured, "what a configuration cannot serve says so"


def test_rates_of_the_bus_are_measured(monkeypatch):
    from hotline_train.baselines import bus

    for name, value in (("COPIED", 1 << 16), ("MOVED", 64), ("ROWS", 1 << 10)):
        monkeypatch.setattr(bus, name, value)
    rates = bus_rates(Cpu())
    assert set(rates) == {"to_device", "from_device", "rows_read", "rows_written"} and min(rates.values()) > 0
