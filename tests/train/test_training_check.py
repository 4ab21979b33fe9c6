"""`hotline train --check` refuses a training that is wrong, in its default settings, whatever is wrong with it."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")
pytest.importorskip("sklearn")

from rich.console import Console  # noqa: E402

from hotline_rtl.config import FROZEN, preset  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402
from hotline_train import experiment  # noqa: E402
from hotline_train.evaluation import part_of_movement  # noqa: E402
from hotline_train.experiment import TOLERANCE, Plan, train  # noqa: E402
from hotline_train.optimizers import LEARNING_RATES  # noqa: E402
from hotline_train.settings import Settings  # noqa: E402
from hotline_train.sources.native import NativeSource  # noqa: E402
from hotline_train.sources.source import Exchange  # noqa: E402
from hotline_train.step.trainer import Trainer  # noqa: E402

SPEC, SAMPLES = "synthetic:criteo-kaggle,samples=20000,scale=0.01", 6000
#: A tracker so small that rows leave it all the time.
SMALL = ["tracker_sets=256"]


class Apart(Trainer):
    """Micro-batches one after another."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **(more | {"together": False}))


class NoScatter(Trainer):
    """Working rows never come back."""

    def _feed(self):
        feed = super()._feed()
        feed.cold.give_back = lambda step, count, done: None
        return feed


class NoCarry(Trainer):
    """Rows that the mini-batch before has, too, are not carried over."""

    def _feed(self):
        self.kernels.carry = lambda *arguments: None
        return super()._feed()


class StaleGather(Trainer):
    """They are fetched instead, before that mini-batch's rows are back."""

    def _feed(self):
        feed = super()._feed()
        self.kernels.carry = lambda *arguments: None
        fetch = feed.cold.fetch
        feed.cold.fetch = lambda step, rows: fetch(step, replace(rows, carried=torch.full_like(rows.carried, -1)))
        return feed


class Misplaced(Trainer):
    """Two working rows change places on their way back."""

    def _feed(self):
        feed = super()._feed()
        scatter = self.kernels.scatter
        self.kernels.scatter = lambda table, rows, source: scatter(
            table, torch.cat([rows[:2].flip(0), rows[2:]]), source
        )
        return feed


class OneMissing(Trainer):
    """The last working row of a mini-batch stays where it was."""

    def _feed(self):
        feed = super()._feed()
        scatter = self.kernels.scatter
        self.kernels.scatter = lambda table, rows, source: scatter(table, rows[:-1], source[:-1])
        return feed


class OldHotSet(NativeSource):
    """A SWAP is told, but does not happen: mini-batches are split against the old hot set."""

    def split(self, batch, out=None):
        if batch == 2:
            self.engine.hot.change = lambda delta: None
        return super().split(batch, out)


class LostOnTheWay(Exchange):
    """Rows that leave the hot set are written where those lay that entered it."""

    def going_home(self, keys):
        return keys.copy()


class NeverHome(NativeSource):
    def split(self, batch, out=None):
        found, exchange = super().split(batch, out)
        return found, LostOnTheWay(**vars(exchange))


class NoColdGradient(Apart):
    def _apply(self, ordered):
        kept = self.store.all[self.store.slots :].clone()
        super()._apply(ordered)
        self.store.all[self.store.slots :] = kept


class NoHotGradient(Apart):
    def _apply(self, ordered):
        kept = self.store.all[: self.store.slots].clone()
        super()._apply(ordered)
        self.store.all[: self.store.slots] = kept


class OwnSize(Apart):
    """A micro-batch's loss is divided by its own samples, not the mini-batch's."""

    def _micro_batch(self, number, records, *rest):
        records.words[0, 1] = records.count
        super()._micro_batch(number, records, *rest)


class TwoSteps(Apart):
    """A step of the MLPs after each micro-batch, as an optimizer does that is fused into the backward pass."""

    def _micro_batch(self, *arguments):
        super()._micro_batch(*arguments)
        self.dense_optimizer.step()
        self.dense_optimizer.zero_grad(set_to_none=False)


class NoState(Apart):
    """The optimizer's state of a working row is lost on its way."""

    def _apply(self, ordered):
        super()._apply(ordered)
        self.store.all[self.store.slots :, self.settings.rows.dim :] = 0


class HalfOfTheMlps(Apart):
    """The MLPs do not get the gradient of the non-popular micro-batch."""

    def _micro_batch(self, number, records, part, header, *rest):
        before = [p.grad.clone() for p in self.model.parameters()]
        super()._micro_batch(number, records, part, header, *rest)
        if header == 1:
            for p, gradient in zip(self.model.parameters(), before, strict=True):
                p.grad.copy_(gradient)


class NoFlush(Trainer):
    """Hot rows do not come back in the end."""

    def flush(self):
        self.feed.settle()


class WrongSlot(Apart):
    """One table's hot rows are looked up a slot too low."""

    def _micro_batch(self, number, records, *rest):
        column = records.words[1:, 1 + self.records.payload_words + 15]
        column[column > 0] -= 1
        super()._micro_batch(number, records, *rest)


class OtherRate(Trainer):
    """From the tenth step on rows learn 2 % faster."""

    def _step(self, number, last):
        if number == 10:
            self.row_optimizer.learning_rate *= 1.02
        return super()._step(number, last)


class SkippedSamples(Apart):
    """The last sample of every popular micro-batch is forgotten."""

    def _micro_batch(self, number, records, part, header, *rest):
        if header == 0 and records.count > 1:
            records.words[0, 0] -= 1
        super()._micro_batch(number, records, part, header, *rest)


class LostAccesses(Apart):
    """The last accesses of a mini-batch, sorted by row, are not updated."""

    def _apply(self, ordered):
        ordered.sorted[0][-5:] = self.store.none
        super()._apply(ordered)


class RowsLeftBehind(Trainer):
    """A SWAP changes the hot list, and no row moves."""

    def _exchange(self, number, other):
        exchange, self.store.exchange = self.store.exchange, lambda *arguments: None
        if not number:
            self.store.exchange = exchange
        super()._exchange(number, other)
        self.store.exchange = exchange


class ExchangedTooSoon(Trainer):
    """Rows change places before they are updated."""

    def _together(self, number, popular, last):
        update = self.kernels.update

        def late(*arguments):
            if self.waiting:
                super(ExchangedTooSoon, self)._exchange(number, self.waiting)
            update(*arguments)

        other, self.feed.other = self.feed.other, lambda: self._keep(other())
        self.kernels.update = late
        found = super()._together(number, popular, last)
        self.kernels.update, self.feed.other = update, other
        return found

    def _keep(self, other):
        self.waiting = other
        return other

    def _exchange(self, number, other):
        pass


def result_of(monkeypatch, kind, *, optimizer="rowwise-adagrad", dtype="float32", settings=()):
    """The default settings of ``hotline train --check``, with another source or trainer."""
    if kind:
        monkeypatch.setattr(experiment, "NativeSource" if issubclass(kind, NativeSource) else "Trainer", kind)
    plan = Plan(
        "native",
        Settings(optimizer=optimizer, learning_rate=LEARNING_RATES[optimizer], dtype=dtype),
        check=True,
        held_out=0.0,
    )
    config = preset("ecp5").with_settings(["max_row_bytes=512", *settings])
    return train(plan, open_trace(SPEC).head(SAMPLES), config, 256, Console(quiet=True))


@pytest.mark.parametrize(
    "optimizer, settings, kind",
    [
        *((optimizer, [], None) for optimizer in ("rowwise-adagrad", "sgd", "adagrad", "adam")),
        *(("rowwise-adagrad", settings, kind) for settings in (SMALL, FROZEN) for kind in (None, Apart)),
        ("sgd", SMALL, Apart),
    ],
)
def test_a_training_that_is_right_is_taken_with_room_to_spare(monkeypatch, optimizer, settings, kind):
    """In float64, as ``--check`` does it: in float32 rounding may turn a ReLU, on one processor and not on another."""
    found = result_of(monkeypatch, kind, optimizer=optimizer, dtype="float64", settings=settings)
    assert found.agree and found.difference < TOLERANCE["float64"] / 1000


@pytest.mark.parametrize("optimizer", ["rowwise-adagrad", pytest.param("sgd", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind",
    [
        NoScatter,
        NoCarry,
        NoColdGradient,
        StaleGather,
        Misplaced,
        OneMissing,
        NoHotGradient,
        OwnSize,
        TwoSteps,
        HalfOfTheMlps,
        NoFlush,
        WrongSlot,
        OtherRate,
        SkippedSamples,
        LostAccesses,
    ],
)
def test_a_training_that_is_wrong_is_refused(monkeypatch, kind, optimizer):
    found = result_of(monkeypatch, kind, optimizer=optimizer)
    assert not found.agree and found.difference > 5 * TOLERANCE["float32"]


def test_lost_state_is_refused(monkeypatch):
    assert not result_of(monkeypatch, NoState).agree


@pytest.mark.parametrize("kind", [RowsLeftBehind, NeverHome, ExchangedTooSoon])
def test_a_hot_set_that_changes_wrongly_is_refused(monkeypatch, kind):
    found = result_of(monkeypatch, kind, settings=SMALL)
    assert not found.agree and found.difference > 5 * TOLERANCE["float32"]


def test_rows_that_are_looked_up_in_an_old_hot_set_are_missed(monkeypatch):
    with pytest.raises(ValueError, match="not among the mini-batch's working rows"):
        result_of(monkeypatch, OldHotSet, settings=SMALL)


def test_what_has_not_moved_must_be_the_same():
    zero, one = torch.zeros(3), torch.ones(3)
    assert part_of_movement([zero], [zero], [zero]) == 0
    assert part_of_movement([one], [zero], [zero]) == float("inf")
    assert part_of_movement([one * 1.5], [one], [zero]) == pytest.approx(0.5)
    assert part_of_movement([zero, one * 1.5], [zero, one], [zero, zero]) == pytest.approx(0.5)
    for bad in (float("nan"), float("inf")):
        assert part_of_movement([one * bad], [one], [zero]) == part_of_movement([one], [one * bad], [zero]) == np.inf
