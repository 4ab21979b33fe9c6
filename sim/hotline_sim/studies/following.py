"""``hotline bench relearn``: popular share, slots changed and bytes moved while popularity drifts, for several caps.

Golden trackers, compiled, as in ``tracker_study``. A tenth of the trace is learnt at first, then a mini-batch
now and then; SWAPs come at fixed distances. Beside them: the first hot set kept for ever (frozen), and a
tracker that is trained from empty before each interval (afresh), on as many mini-batches as at first.
"""

from dataclasses import asdict, dataclass, field

import numpy as np

from hotline_golden.oracles.oracle import is_hot

from ..run.job import Relearn
from ..traces import open_trace
from .tracker_study import MAIN_WAYS, ROW_BYTES, Samples, make_tracker, short_name

#: Slots that one SWAP may change, in the default study.
CAPS = (None, 1024, 256, 64)
FROZEN, AFRESH = "frozen", "trained afresh"


@dataclass
class Curve:
    """One way to keep the hot set, interval by interval: ``share`` of samples popular, slots ``changed`` before it,
    ``bytes`` of rows moved for that (old ones back, new ones in)."""

    name: str
    share: list[float] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class RelearnStudy:
    """``curves`` over intervals of ``interval`` mini-batches of ``batch`` samples, the first ``first`` of which
    were learnt."""

    trace: str
    entries: int
    batch: int
    interval: int
    first: int
    plan: Relearn
    curves: list[Curve]

    def curve(self, name: str) -> Curve:
        return next(c for c in self.curves if c.name == name)

    @property
    def recovered(self) -> dict[str, float]:
        """Popular share over the last third of the intervals, as a part of that of a tracker trained afresh."""

        def late(curve: Curve) -> float:
            return float(np.mean(curve.share[-max(1, len(curve.share) // 3) :]))

        reference = late(self.curve(AFRESH))
        return {c.name: late(c) / reference if reference else float("nan") for c in self.curves if c.name != AFRESH}


def study(
    spec: str, entries: int, batch: int, plan: Relearn, caps=CAPS, progress=lambda done, total: None
) -> RelearnStudy:
    """All curves of a trace."""
    samples = Samples(open_trace(spec), resident=True)
    batches = len(samples.ids) // batch
    first = max(1, batches // 10)
    starts = list(range(first, batches, plan.swap_every))
    if len(starts) < 3:
        raise ValueError(f"{spec}: {batches} mini-batches of {batch} are too few for swaps every {plan.swap_every}")

    def learn(tracker, number: int) -> None:
        samples.learn(tracker, number * batch, (number + 1) * batch)

    def share(tracker, start: int) -> float:
        part = samples.ids[start * batch : min(start + plan.swap_every, batches) * batch]
        return float(is_hot(part, samples.distinct, samples.hot_ids(tracker)).all(axis=1).mean())

    def tracker_of(numbers, shadow: bool):
        tracker = make_tracker(samples.space, "sample_aware", entries, MAIN_WAYS, shadow=shadow)
        for number in numbers:
            learn(tracker, number)
        if shadow:
            tracker.swap(entries)
        return tracker

    names = {cap: "no cap" if cap is None else f"at most {cap:,} slots" for cap in caps}
    curves = {name: Curve(name) for name in (FROZEN, AFRESH, *names.values())}
    frozen = tracker_of(range(first), False)
    shadows = {cap: tracker_of(range(first), True) for cap in caps}
    for n, start in enumerate(starts):
        progress(n, len(starts))
        curves[FROZEN].share.append(share(frozen, start))
        # The newest of the mini-batches that relearning saw, as many as were learnt at first.
        seen = [b for b in range(start) if b < first or b % plan.every == 0][-first:]
        curves[AFRESH].share.append(share(tracker_of(seen, False), start))
        for cap, tracker in shadows.items():
            changed = 0
            if n:
                limit = min(plan.limit, entries if cap is None else cap)
                changed = len(tracker.swap(limit, plan.worth, plan.halves(n))[0])
            curve = curves[names[cap]]
            curve.share.append(share(tracker, start))
            curve.changed.append(changed)
            curve.bytes.append(2 * changed * ROW_BYTES)
            for number in range(start, min(start + plan.swap_every, batches)):
                if number % plan.every == 0:
                    learn(tracker, number)
    progress(len(starts), len(starts))
    return RelearnStudy(spec, entries, batch, plan.swap_every, first, plan, list(curves.values()))


def numbers(found: RelearnStudy) -> dict:
    """What ``--json`` holds."""
    return asdict(found) | {"recovered": found.recovered}


def table(found: RelearnStudy):
    """A row for each curve."""
    from rich.table import Table

    shown = Table(
        "hot set",
        "first",
        "middle",
        "last",
        "of afresh",
        "slots a swap",
        "KiB a swap",
        title=f"{short_name(found.trace)}: popular share, {found.entries:,} entries",
        caption=f"{len(found.curves[0].share)} intervals of {found.interval} mini-batches of {found.batch}; "
        "of afresh: over the last third",
    )
    for c in found.curves:
        middle = c.share[len(c.share) // 2]
        moved = (f"{np.mean(c.changed[1:]):,.0f}", f"{np.mean(c.bytes[1:]) / 1024:,.0f}") if c.changed else ("", "")
        part = f"{found.recovered[c.name]:.2f}" if c.name in found.recovered else ""
        shown.add_row(c.name, f"{c.share[0]:.3f}", f"{middle:.3f}", f"{c.share[-1]:.3f}", part, *moved)
    return shown


def draw(found: RelearnStudy, path) -> None:
    """Popular share, slots changed and bytes moved over the mini-batches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 1, figsize=(9, 9), sharex=True, layout="constrained")
    for n, c in enumerate(found.curves):
        at = found.first + np.arange(len(c.share)) * found.interval
        line = {"color": f"C{n}", "linestyle": {FROZEN: ":", AFRESH: "--"}.get(c.name, "-"), "label": c.name}
        panels[0].plot(at, c.share, **line)
        if c.changed:
            panels[1].plot(at[1:], c.changed[1:], **line)
            panels[2].plot(at[1:], np.array(c.bytes[1:]) / 1024, **line)
    for panel, label in zip(
        panels, ("popular share", "slots changed by a swap", "KiB of rows moved by a swap"), strict=True
    ):
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    panels[0].legend(fontsize=8, ncols=3)
    panels[2].set_xlabel(f"mini-batch of {found.batch} samples")
    figure.suptitle(f"{short_name(found.trace)}, {found.entries:,} entries")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
