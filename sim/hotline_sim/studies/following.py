"""``hotline bench relearn``: a hot set that follows the data beside others, mini-batch by mini-batch.

Of each: the popular share, the slots that changed, and the bytes that rows took over the bus. The software engine splits,
learns and swaps; it is golden's, byte for byte. Rows over the bus: each working row comes once, and goes back
once: it, or the row whose slot it took in the hot set. Where learning looks ahead, so does a row that enters before it is used.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from hotline_golden.layouts import EMPTY_SLOT, NO_WORKING_ROW
from hotline_golden.oracles.caches import least_often_used, least_recently_used, looks_ahead, run_cache
from hotline_golden.oracles.oracle import by_count, by_samples, is_hot
from hotline_golden.split import Sampling
from hotline_rtl.config import FROZEN as FROZEN_SETTINGS
from hotline_rtl.config import AcceleratorConfig

from ..run.job import Job, native_tracker, prepare
from ..traces import Trace, open_trace
from .tracker_study import MAIN_WAYS, ROW_BYTES, Samples, key_space, short_name

#: Caches as embedding libraries have them; mini-batches that some look ahead.
PEERS = {
    "cache, least recently used goes": least_recently_used,
    "cache, least often used goes": least_often_used,
    "cache that looks 1 ahead": looks_ahead(1),
    "cache that looks 4 ahead": looks_ahead(4),
}
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
class Way:
    """How a hot set learns: from the first ``learnt`` mini-batches, and nothing later, the paper's way; or from each as it is
    split, by ``sampling``; or, if it looks ``ahead``, from the one that is so many ahead."""

    learnt: int = 0
    sampling: Sampling = Sampling()
    ahead: int = 0


@dataclass(frozen=True)
class FollowingStudy:
    """``curves`` over the mini-batches of ``batch`` samples of a trace; ``learnt``: how many the frozen set has learnt."""

    trace: str
    entries: int
    batch: int
    learnt: int
    curves: list[Curve]

    def curve(self, name: str) -> Curve:
        return next(c for c in self.curves if c.name == name)


def study(
    spec: str,
    entries: int,
    batch: int,
    parts: Iterable[int] = (),
    ahead: Iterable[int] = (),
    peers: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FollowingStudy:
    """All curves of a trace. ``parts``: powers of two, for each a hot set that follows by one sample of so many alone;
    ``ahead``: for each one that learns from the mini-batch so many ahead; ``peers``: and of PEERS. Raises ValueError for a
    trace of fewer than ten mini-batches."""
    trace = open_trace(spec)
    batches = trace.samples // batch
    learnt = batches // 10
    if not learnt:
        raise ValueError(f"{spec}: {trace.samples:,} samples are too few for ten mini-batches of {batch}")
    ways = {FROZEN: Way(learnt), FOLLOWING: Way()}
    ways |= {f"{FOLLOWING}, one sample of {part:,}": Way(sampling=Sampling(part.bit_length() - 1)) for part in parts}
    ways |= {f"{FOLLOWING}, {window} ahead": Way(ahead=window) for window in ahead}
    samples = Samples(trace, resident=True)
    curves: list[Curve] = []
    for name, way in ways.items():
        job = study_job(trace, entries, batch, samples.bound, FROZEN_SETTINGS if way.learnt else [])
        before, total = len(curves) * batches, batches * len(ways)
        curves.append(_split_all(name, job, batches, way, lambda done, n=before, t=total: progress(n + done, t)))
    ids = samples.ids[: batch * batches]
    for name, policy in (PEERS if peers else {}).items():
        cache = run_cache(ids, samples.distinct, entries, batch, policy)
        moved = [ROW_BYTES * (come + go) for come, go in zip(cache.fetched, cache.evicted, strict=True)]
        curves.append(Curve(name, [popular / batch for popular in cache.popular], cache.evicted, moved))
    curves.append(_hindsight(ids, samples.distinct, entries, batch, batches))
    return FollowingStudy(spec, entries, batch, learnt, curves)


def study_job(trace: Trace, entries: int, batch: int, bound: int, settings: Sequence[str] = ()) -> Job:
    """A job without memories, whose configuration has a tracker of ``entries`` entries, and ``settings``; tables of up to
    ``bound`` rows are resident."""
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
    ).with_settings(list(settings))
    return prepare(trace, config, batch_size=batch, resident=bound, dim=ROW_BYTES // 4, fill=False)


def _split_all(name: str, job: Job, batches: int, way: Way, progress) -> Curve:
    """All mini-batches, split by a hot set that learns in this ``way``."""
    from hotline_native import NativeEngine

    engine = NativeEngine(job.model, native_tracker(job.config))
    engine.sampling = way.sampling
    curve, batch, payload = Curve(name), job.batch_size, np.zeros((job.batch_size, 0), np.uint32)

    def rows_of(number: int) -> np.ndarray:
        return job.trace.part(number * batch, (number + 1) * batch).rows

    for number in range(-way.ahead, batches):
        moved = 0
        if number >= 0:
            progress(number)
            if number < way.learnt:
                engine.learn(rows_of(number))
            found = engine.split(rows_of(number), payload, follow=job.follows and not way.ahead)
            moved = 2 * len(found.working_keys)
            curve.share.append(len(found.popular) / batch)
        if way.ahead and number + way.ahead < batches:
            engine.learn(rows_of(number + way.ahead))
        if job.follows and number >= -1:
            delta = engine.swap()[0]
            coming = delta[:, -1] == NO_WORKING_ROW
            moved += int(coming.sum()) + int((coming & (delta[:, 1] != EMPTY_SLOT)).sum())
            if number >= 0:
                curve.changed.append(len(delta))
        if number >= 0:
            curve.bytes.append(ROW_BYTES * moved)
    return curve


def _hindsight(ids: np.ndarray, distinct: int, entries: int, batch: int, batches: int) -> Curve:
    """One hot set for the second half, chosen with all of that at hand."""
    later = ids[batches // 2 * batch :]
    candidates = [by_count(later, distinct, entries), by_samples(later, distinct, entries)]
    hot = [is_hot(ids, distinct, chosen).all(axis=1).reshape(batches, batch).mean(axis=1) for chosen in candidates]
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
