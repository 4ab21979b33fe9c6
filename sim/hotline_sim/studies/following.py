"""``hotline bench relearn``: a hot set that follows the data beside others, mini-batch by mini-batch.

Of each: the popular share, the slots that changed, and the bytes that rows took over the bus. The software engine splits,
learns and swaps; it is golden's, byte for byte. Rows over the bus:

- each working row comes once, and goes back once: it, or the row whose slot it took in the hot set;
- a row that enters the hot set without being a working row comes once more, and the one that leaves for it goes once more.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_WORKING_ROW
from hotline_golden.oracles.oracle import by_count, by_samples, is_hot
from hotline_rtl.config import AcceleratorConfig

from ..run.job import Job, Relearn, native_tracker, prepare, resident_bound
from ..traces import Trace, open_trace
from .tracker_study import MAIN_WAYS, ROW_BYTES, Samples, key_space, resident_share, short_name

#: Slots that one SWAP may change, in the default study.
CAPS = (None, 256)
FROZEN, FOLLOWING, HINDSIGHT = "frozen", "following", "best fixed set, in hindsight"


@dataclass
class Curve:
    """One way to keep the hot set, mini-batch by mini-batch: ``share`` of samples popular; slots ``changed`` after it;
    ``bytes`` of rows over the bus."""

    name: str
    share: list[float] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)

    @property
    def late_share(self) -> float:
        """Mean over the second half."""
        return float(np.mean(self.share[len(self.share) // 2 :]))

    @property
    def late_changed(self) -> float:
        return float(np.mean(self.changed[len(self.changed) // 2 :])) if self.changed else 0.0

    @property
    def late_bytes(self) -> float:
        return float(np.mean(self.bytes[len(self.bytes) // 2 :])) if self.bytes else float("nan")


@dataclass(frozen=True)
class FollowingStudy:
    """``curves`` over the mini-batches of ``batch`` samples of a trace; ``learnt``: how many the frozen set has learnt."""

    trace: str
    entries: int
    batch: int
    learnt: int
    plan: Relearn
    curves: list[Curve]

    def curve(self, name: str) -> Curve:
        return next(c for c in self.curves if c.name == name)


def study(
    spec: str,
    entries: int,
    batch: int,
    plan: Relearn,
    caps: Iterable[int | None] = CAPS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FollowingStudy:
    """All curves of a trace. Raises ValueError for one of fewer than ten mini-batches."""
    trace = open_trace(spec)
    batches = trace.samples // batch
    learnt = batches // 10
    if not learnt:
        raise ValueError(f"{spec}: {trace.samples:,} samples are too few for ten mini-batches of {batch}")
    plans = {name_of(cap): plan if cap is None else replace(plan, limit=min(plan.limit, cap)) for cap in caps}
    total = batches * (1 + len(plans))
    curves: list[Curve] = []
    for name, follows in ({FROZEN: None} | plans).items():
        settings = {"shadow": 1, "policy": "frequency"} if follows else {}
        job = _job(trace, entries, batch, **settings)
        before = len(curves) * batches
        curves.append(
            _split_all(name, job, batches, follows, learnt, lambda done, n=before: progress(n + done, total))
        )
    curves.append(_hindsight(trace, entries, batch, batches))
    return FollowingStudy(spec, entries, batch, learnt, plan, curves)


def name_of(cap: int | None) -> str:
    return FOLLOWING if cap is None else f"{FOLLOWING}, at most {cap:,} slots"


def _job(trace: Trace, entries: int, batch: int, **settings) -> Job:
    """A job without memories, whose configuration has a tracker of ``entries`` entries."""
    keys = key_space(trace)
    config = AcceleratorConfig(
        lanes=1,
        banks_per_lane=1,
        tracker_sets=entries // MAIN_WAYS,
        tracker_ways=MAIN_WAYS,
        table_bits=keys.table_bits,
        row_bits=keys.row_bits,
        max_record_words=1024,
        working_rows=1 << 20,
        **settings,
    )
    bound = resident_bound(trace.table_rows, ROW_BYTES, resident_share(trace, ROW_BYTES))
    return prepare(trace, config, batch_size=batch, resident=bound, dim=ROW_BYTES // 4, fill=False)


def _split_all(name: str, job: Job, batches: int, plan: Relearn | None, learnt: int, progress) -> Curve:
    """All mini-batches, split by a hot set that follows by ``plan``; or, the paper's way, one that learns the first ``learnt``
    and nothing later."""
    from hotline_native import NativeEngine

    engine = NativeEngine(job.model, native_tracker(job.config))
    curve, batch, payload = Curve(name), job.batch_size, np.zeros((job.batch_size, 0), np.uint32)
    for number in range(batches):
        progress(number)
        rows = job.trace.part(number * batch, (number + 1) * batch).rows
        if not plan and number < learnt:
            engine.learn(rows)
        found = engine.split(rows, payload, follow=plan is not None and number % plan.every == 0)
        moved = 2 * len(found.working_keys)
        if plan:
            swaps = (number + 1) % plan.swap_every == 0
            delta = engine.swap(plan.limit, plan.worth)[0] if swaps else np.zeros((0, DELTA_WORDS), np.uint32)
            elsewhere = delta[:, 5] == NO_WORKING_ROW
            moved += int(elsewhere.sum()) + int((elsewhere & (delta[:, 1] != EMPTY_SLOT)).sum())
            curve.changed.append(len(delta))
        curve.share.append(len(found.popular) / batch)
        curve.bytes.append(ROW_BYTES * moved)
    return curve


def _hindsight(trace, entries, batch, batches) -> Curve:
    """One hot set for the second half, chosen with all of that at hand."""
    samples = Samples(trace, resident=True)
    ids = samples.ids[: batch * batches]
    later = ids[batches // 2 * batch :]
    candidates = [by_count(later, samples.distinct, entries), by_samples(later, samples.distinct, entries)]
    hot = [
        is_hot(ids, samples.distinct, chosen).all(axis=1).reshape(batches, batch).mean(axis=1)
        for chosen in candidates
    ]
    return Curve(HINDSIGHT, max(hot, key=lambda share: share[batches // 2 :].mean()).tolist())


def numbers(found: FollowingStudy) -> dict:
    """What ``--json`` holds. ``late``: popular share, slots changed and bytes of a mini-batch, means over the second half."""
    late = {
        c.name: {"share": c.late_share, "changed": c.late_changed, "bytes": c.late_bytes if c.bytes else None}
        for c in found.curves
    }
    return asdict(found) | {"late": late}


def table(found: FollowingStudy):
    """A row for each curve."""
    from rich.table import Table

    shown = Table(
        "hot set",
        "popular share",
        "bytes over the bus a sample",
        "slots changed a mini-batch",
        title=f"{short_name(found.trace)}: {found.entries:,} entries, mini-batches of {found.batch}",
        caption=f"{len(found.curves[0].share)} mini-batches; means over the second half. Frozen: after {found.learnt} of them",
    )
    for c in found.curves:
        moved = f"{c.late_bytes / found.batch:,.0f}" if c.bytes else ""
        shown.add_row(c.name, f"{c.late_share:.3f}", moved, f"{c.late_changed:,.0f}" if c.changed else "")
    return shown


#: Mini-batches that a point of a drawn curve is the mean of, at most so many points.
POINTS = 200


def draw(found: FollowingStudy, path) -> None:
    """Popular share, bytes over the bus and slots changed, over the mini-batches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 1, figsize=(9, 9), sharex=True, layout="constrained")
    width = max(1, len(found.curves[0].share) // POINTS)
    styles = {FROZEN: ":", HINDSIGHT: "--"}
    for n, c in enumerate(found.curves):
        values = [np.array(of_curve, float) for of_curve in (c.share, c.bytes, c.changed)]
        values[1] /= found.batch
        for panel, of_curve in zip(panels, values, strict=True):
            points = len(of_curve) // width
            if points:
                means = of_curve[: points * width].reshape(points, width).mean(axis=1)
                panel.plot(
                    np.arange(points) * width, means, color=f"C{n}", linestyle=styles.get(c.name, "-"), label=c.name
                )
    labels = "popular share", "bytes over the bus a sample", "slots changed"
    for panel, label in zip(panels, labels, strict=True):
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    panels[0].legend(fontsize=8, ncols=2)
    panels[2].set_xlabel(f"mini-batch of {found.batch} samples")
    figure.suptitle(f"{short_name(found.trace)}, {found.entries:,} entries")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
