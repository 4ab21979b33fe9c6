"""`hotline train --check` refuses a training that is wrong, in its default settings, whatever is wrong with it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")
pytest.importorskip("sklearn")

from rich.console import Console  # noqa: E402

from hotline_rtl.config import preset  # noqa: E402
from hotline_sim.gpu import experiment  # noqa: E402
from hotline_sim.gpu.evaluation import part_of_movement  # noqa: E402
from hotline_sim.gpu.experiment import TOLERANCE, Plan, train  # noqa: E402
from hotline_sim.gpu.native_source import NativeSource  # noqa: E402
from hotline_sim.gpu.trainer import LEARNING_RATES, Settings, Trainer  # noqa: E402
from hotline_sim.job import Relearn  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402

SPEC, SAMPLES = "synthetic:criteo-kaggle,samples=20000,scale=0.01", 6000
RELEARN = Relearn(4, 8)


class NoScatter(NativeSource):
    """Working rows never come back."""

    def scatter(self):
        self.given.pop(0)


class StaleGather(NativeSource):
    """Rows are read before the mini-batch before has been scattered."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.early = []

    def begin(self, batch, *, ahead=False):
        super().begin(batch, ahead=ahead)
        self.early.append(self.tables.read(self.asked[-1][2]))

    def non_popular(self):
        found = super().non_popular()
        found.rows[:] = self.early.pop(0)
        return found


class Misplaced(NativeSource):
    """Two working rows change places."""

    def scatter(self):
        given = self.given.pop(0)
        keys = given.keys.copy()
        keys[:2] = keys[:2][::-1]
        self.tables.write(keys, given.rows)


class OneMissing(NativeSource):
    """The last working row of a mini-batch stays where it was."""

    def scatter(self):
        given = self.given.pop(0)
        self.tables.write(given.keys[:-1], given.rows[:-1])


class OldHotSet(NativeSource):
    """A SWAP is told, but does not happen: mini-batches are split against the old hot set."""

    def swap(self, limit, worth, halve):
        frozen = self.engine.tracker.frozen.copy()
        delta = super().swap(limit, worth, halve)
        if len(delta.slots) and self.begun_once():
            self.engine.tracker.frozen[:] = frozen
            self.engine.known = False
        return delta

    def begun_once(self):
        self.swaps = getattr(self, "swaps", 0) + 1
        return self.swaps > 1


class NoColdGradient(Trainer):
    def _apply(self, working, values):
        super()._apply(None, None)


class NoHotGradient(Trainer):
    def _apply(self, working, values):
        self.embedding.hot.grad = None
        super()._apply(working, values)


class OwnSize(Trainer):
    """A micro-batch's loss is divided by its own samples, not the mini-batch's."""

    def _micro_batch(self, records, working, samples):
        return super()._micro_batch(records, working, len(records))


class TwoSteps(Trainer):
    """A step after each micro-batch, as an optimizer does that is fused into the backward pass."""

    def after_micro_batch(self, working, values):
        self._apply(working, values)


class NoState(Trainer):
    """The optimizer's state of a working row is lost on its way."""

    def _apply(self, working, values):
        super()._apply(working, values)
        if working is not None:
            working[:, self.settings.rows.dim :] = 0


class HalfOfTheMlps(Trainer):
    """The MLPs do not get the gradient of the non-popular micro-batch."""

    def _micro_batch(self, records, working, samples):
        before = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
        loss = super()._micro_batch(records, working, samples)
        if working is not None:
            for p, gradient in zip(self.model.parameters(), before, strict=True):
                p.grad = gradient
        return loss


class NoFlush(Trainer):
    """Hot rows do not come back in the end."""

    def flush(self):
        self._return_rows()


class WrongSlot(Trainer):
    """One table's hot rows are looked up a slot too low."""

    def _micro_batch(self, records, working, samples):
        words = records.words.clone()
        column = 1 + records.payload_words + 15
        words[words[:, column] > 0, column] -= 1
        return super()._micro_batch(records.to(words), working, samples)


class OtherRate(Trainer):
    """From the tenth step on rows learn 2 % faster."""

    def _step(self, number, ask_on):
        if number == 10:
            self.row_optimizer.learning_rate *= 1.02
        return super()._step(number, ask_on)


class SkippedSamples(Trainer):
    """The last sample of every popular micro-batch is forgotten."""

    def _micro_batch(self, records, working, samples):
        if working is None and len(records) > 1:
            records = records.to(records.words[:-1])
        return super()._micro_batch(records, working, samples)


class RowsLeftBehind(Trainer):
    """A SWAP changes the hot list, and no row moves."""

    def _change_hot_set(self, number):
        kept = self.embedding.load, self.source.write_rows
        if number:
            self.embedding.load = lambda slots, rows: None
        super()._change_hot_set(number)
        self.embedding.load = kept[0]


def result_of(monkeypatch, kind, *, optimizer="adagrad", dtype="float32", relearn=None):
    """The default settings of ``hotline train --check``, with another source or trainer."""
    if kind:
        monkeypatch.setattr(experiment, "NativeSource" if issubclass(kind, NativeSource) else "Trainer", kind)
    plan = Plan("native", Settings(optimizer=optimizer, learning_rate=LEARNING_RATES[optimizer], dtype=dtype), check=True,
                held_out=0.0, relearn=relearn)  # fmt: skip
    config = preset("ecp5").with_settings(["shadow=1"] if relearn else [])
    return train(plan, open_trace(SPEC).head(SAMPLES), config, 256, Console(quiet=True))


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("relearn", [None, RELEARN])
def test_a_training_that_is_right_is_taken_with_room_to_spare(monkeypatch, optimizer, dtype, relearn):
    found = result_of(monkeypatch, None, optimizer=optimizer, dtype=dtype, relearn=relearn)
    assert found.agree and found.difference < TOLERANCE[dtype] / 20


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
@pytest.mark.parametrize(
    "kind",
    [NoScatter, NoColdGradient, StaleGather, Misplaced, OneMissing, NoHotGradient, OwnSize, TwoSteps, HalfOfTheMlps, NoFlush,
     WrongSlot, OtherRate, SkippedSamples],
)  # fmt: skip
def test_a_training_that_is_wrong_is_refused(monkeypatch, kind, optimizer):
    found = result_of(monkeypatch, kind, optimizer=optimizer)
    assert not found.agree and found.difference > 5 * TOLERANCE["float32"]


def test_lost_state_is_refused(monkeypatch):
    assert not result_of(monkeypatch, NoState).agree


@pytest.mark.parametrize("kind", [RowsLeftBehind, OldHotSet])
def test_a_hot_set_that_changes_wrongly_is_refused(monkeypatch, kind):
    found = result_of(monkeypatch, kind, relearn=RELEARN)
    assert not found.agree and found.difference > 5 * TOLERANCE["float32"]


def test_what_has_not_moved_must_be_the_same():
    zero, one = torch.zeros(3), torch.ones(3)
    assert part_of_movement([zero], [zero], [zero]) == 0
    assert part_of_movement([one], [zero], [zero]) == float("inf")
    assert part_of_movement([one * 1.5], [one], [zero]) == pytest.approx(0.5)
    assert part_of_movement([zero, one * 1.5], [zero, one], [zero, zero]) == pytest.approx(0.5)
    for bad in (float("nan"), float("inf")):
        assert part_of_movement([one * bad], [one], [zero]) == part_of_movement([one], [one * bad], [zero]) == np.inf
