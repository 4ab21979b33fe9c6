"""``hotline bench tracker``: how many samples each policy makes popular, against what could be had.

Golden trackers, not RTL: they are equal bit for bit, and these learn millions of accesses a second when
Numba compiles them. The first half of a trace is learnt, mini-batch by mini-batch; all shares are of
the second half. The oracles need all of it: some 30 bytes an access are held.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache

import numpy as np

from hotline_golden.keys import KeySpace
from hotline_golden.layouts import NO_ACCESS
from hotline_golden.oracles.baselines import hot_sketch
from hotline_golden.oracles.caches import looks_ahead, run_cache
from hotline_golden.oracles.oracle import best_offline, by_count, by_threshold, is_hot, number_keys
from hotline_golden.tracker.tracker import Tracker
from hotline_rtl.config import PRESETS, AcceleratorConfig

from ..run.job import RESIDENT_SHARE_BYTES, resident_bound
from ..traces import Trace, open_trace
from ..traces.trace import in_memory

#: Traces of the default study, with samples enough that most keys have come.
TRACES = (
    "synthetic:ratings,samples=100000",
    "synthetic:independent,samples=100000",
    "synthetic:criteo-kaggle,samples=60000",
    "synthetic:criteo-terabyte,samples=60000",
    "synthetic:avazu,samples=60000",
    "synthetic:taobao,samples=60000",
    "synthetic:mlperf-v2,samples=8000",
    "synthetic:drift,samples=60000",
    "synthetic:uniform,samples=60000",
)
SIZES = tuple(1 << n for n in range(10, 19))
WAYS = (4, 8, 16)
#: The ways at which peers are compared and curves are drawn.
MAIN_WAYS = 8
#: Policy by name, with what differs from the configuration's defaults. SRRIP is the paper's: one set for a key.
POLICIES = {"srrip": {"arrays": 1}, "frequency": {}, "sample_aware": {}}
#: Bits of a HotSketch counter.
COUNTER_BITS = 16
#: Mini-batches that a look-ahead cache knows.
WINDOW = 8
ROW_BYTES = 64
#: Samples, at most, that checkpoints of learning are evaluated on.
CHECKPOINT_SAMPLES = 8000


class StudyError(ValueError):
    """A study that cannot be made; the message says what would be right."""


def compiler() -> Callable[[Callable], Callable]:
    """Numba's. Raises StudyError if that is not installed."""
    try:
        import numba
    except ImportError:
        raise StudyError(
            "this needs Numba: pip install 'hotline-accelerator[study]', or in a checkout "
            "`.venv/bin/pip install -c constraints.txt -e '.[study]'`"
        ) from None
    return numba.njit


@cache
def compiled(function: Callable) -> Callable:
    """``function``, compiled."""
    return compiler()(function)


@dataclass(frozen=True)
class Point:
    """One hot set: shares of later samples and accesses. ``bits`` of state for each entry; ``samples_to_95``:
    learning samples after which 95 % of the final share was reached (0 where it was not followed)."""

    trace: str
    resident: bool
    policy: str
    entries: int
    ways: int
    share: float
    coverage: float
    oracle_share: float
    bits: float = 0.0
    samples_to_95: int = 0
    fetched: float = 0.0

    @property
    def ratio(self) -> float:
        """Of the frequency oracle's share."""
        return self.share / self.oracle_share if self.oracle_share else float(self.share > 0)


@dataclass(frozen=True)
class Study:
    """All points of one trace, with or without resident tables. ``distinct``: tracked keys of the whole trace."""

    trace: str
    resident: bool
    samples: int
    accesses: float
    resident_tables: int
    distinct: int
    points: list[Point] = field(default_factory=list)

    def find(self, policy: str, entries: int, ways: int = MAIN_WAYS) -> Point | None:
        return next((p for p in self.points if (p.policy, p.entries, p.ways) == (policy, entries, ways)), None)

    @property
    def sizes(self) -> list[int]:
        return sorted({p.entries for p in self.points})


class Samples:
    """A trace, in memory, as the tracker sees it. ``keys`` uint64, ``tracked`` and ``present`` bool, ``ids`` int64: all
    [samples, accesses]; ``half`` samples are for learning."""

    def __init__(
        self,
        trace: Trace,
        resident: bool,
        share_bytes: int = RESIDENT_SHARE_BYTES,
        *,
        row_bytes: int = ROW_BYTES,
        whole: bool = False,
    ):
        self.space = key_space(trace)
        if not whole:
            share_bytes = resident_share(trace, row_bytes, share_bytes)
        self.bound = bound = resident_bound(trace.table_rows, row_bytes, share_bytes) if resident else 0
        self.resident_tables = int((trace.table_rows <= bound).sum())
        self.resident_rows = int(trace.table_rows[trace.table_rows <= bound].sum())
        rows = in_memory(trace).rows
        self.present = rows != NO_ACCESS
        self.tracked_accesses = ~(trace.table_rows <= bound)[trace.table_of]
        self.tracked = self.present & self.tracked_accesses
        self.keys = self.space.pack(trace.table_of[None, :], np.where(self.present, rows, 0))
        self.ids, self.distinct_keys = number_keys(self.keys, self.tracked)
        self.half = len(self.ids) // 2

    @property
    def distinct(self) -> int:
        return len(self.distinct_keys)

    @property
    def batch(self) -> int:
        """Samples of a mini-batch: 1024, but at least 16 mini-batches to learn from."""
        return int(np.clip(self.half // 16, 1, 1024))

    def shares(self, hot: np.ndarray) -> tuple[float, float]:
        """Shares of later samples and of their accesses, for hot ``ids``."""
        return self.shares_where(is_hot(self.ids[self.half :], self.distinct, hot))

    def shares_where(self, hot: np.ndarray) -> tuple[float, float]:
        """The same for ``hot`` bool [later samples, accesses], true where nothing is tracked."""
        present = self.present[self.half :]
        return float(hot.all(axis=1).mean()), float((hot & present).sum() / max(1, present.sum()))

    def hot_ids(self, tracker: Tracker) -> np.ndarray:
        """Ids of the keys that ``tracker`` holds."""
        return np.flatnonzero(tracker.lookup(self.distinct_keys) >= 0)

    def learn(self, tracker: Tracker, first: int, last: int) -> None:
        """Shows samples ``first`` to ``last`` - 1 to ``tracker``."""
        tracked = self.tracked[first:last]
        tracker.learn(self.keys[first:last][tracked], np.nonzero(tracked)[0])


def resident_share(trace: Trace, row_bytes: int, share_bytes: int = RESIDENT_SHARE_BYTES) -> int:
    """Bytes that resident tables may take in a study: something is left to track, at least two thirds of all rows."""
    return min(share_bytes, int(trace.table_rows.sum()) * row_bytes // 3)


def key_space(trace: Trace) -> KeySpace:
    """Keys as wide as the large presets', or as the trace needs."""
    usual = PRESETS["alveo"]
    return KeySpace(
        max(usual.table_bits, int(len(trace.table_rows) - 1).bit_length()),
        max(usual.row_bits, int(trace.table_rows.max() - 1).bit_length()),
        seed=1,
    )


def make_tracker(space: KeySpace, policy: str, entries: int, ways: int, shadow: bool = False) -> Tracker:
    """A golden tracker with the configuration's default parameters, compiled."""
    defaults = AcceleratorConfig()
    shape: dict = {
        "arrays": defaults.tracker_arrays,
        "sketch_cells": defaults.sketch_cells,
        "sketch_bits": defaults.sketch_bits,
    }
    return Tracker(
        space, entries // ways, ways, policy, compile=compiled, shadow=shadow, **(shape | POLICIES[policy])
    )


def bits_per_entry(tracker: Tracker) -> int:
    """Valid bit, tag, state, and the entry's part of the sketch."""
    p = tracker.placement
    return 1 + p.tag_bits + tracker.state_max.bit_length() + p.cells * tracker.cell_max.bit_length()


def train(samples: Samples, tracker: Tracker, follow: bool) -> int:
    """Learns the first half. If ``follow``, tells after how many samples 95 % of the final share was reached."""
    bounds = list(range(0, samples.half, samples.batch)) + [samples.half]
    marks = {int(m) for m in np.unique(np.geomspace(1, len(bounds) - 1, 12).round())} if follow else set()
    seen = []
    check = samples.ids[samples.half : samples.half + CHECKPOINT_SAMPLES]
    for n, (first, last) in enumerate(zip(bounds, bounds[1:], strict=False), 1):
        samples.learn(tracker, first, last)
        if n in marks:
            share = is_hot(check, samples.distinct, samples.hot_ids(tracker)).all(axis=1).mean()
            seen.append((last, share))
    return next((last for last, share in seen if share >= 0.95 * seen[-1][1]), 0) if follow else 0


def study(spec: str, resident: bool, sizes: Iterable[int], ways: Iterable[int]) -> Study | None:
    """All points of a trace. Sizes that hold every key, or more, are left out. None where resident tables are
    asked for and none is small enough."""
    trace = open_trace(spec)
    samples = Samples(trace, resident)
    if resident and not samples.resident_tables:
        return None
    learnt, later = samples.ids[: samples.half], samples.ids[samples.half :]
    distinct = samples.distinct
    sizes = [n for n in sizes if n < distinct]
    done = Study(
        spec, resident, trace.samples, float(samples.present.sum() / trace.samples), samples.resident_tables, distinct
    )
    best = best_offline(learnt, distinct, sizes, compiled) if sizes else []
    for entries, offline in zip(sizes, best, strict=True):
        oracle = by_count(learnt, distinct, entries)
        oracle_share = samples.shares(oracle)[0]

        def add(
            policy: str, hot: np.ndarray | None, at: int = MAIN_WAYS, entries=entries, reference=oracle_share, **more
        ):
            share, coverage = samples.shares(hot) if hot is not None else (more.pop("share"), more.pop("coverage"))
            done.points.append(Point(spec, resident, policy, entries, at, share, coverage, reference, **more))

        add("oracle", oracle)
        add("best offline", offline)
        add("fae", by_threshold(learnt, distinct, entries))
        cache = run_cache(later, distinct, entries, samples.batch, looks_ahead(WINDOW), oracle)
        share, fetched = sum(cache.popular) / len(later), sum(cache.fetched) / len(later)
        add("look-ahead", None, share=share, coverage=float("nan"), fetched=fetched)
        for policy in POLICIES:
            for w in ways:
                if entries // w < 8:
                    continue
                tracker = make_tracker(samples.space, policy, entries, w)
                reached = train(samples, tracker, follow=w == MAIN_WAYS)
                bits = bits_per_entry(tracker)
                add(policy, samples.hot_ids(tracker), w, bits=bits, samples_to_95=reached)
                if policy == "sample_aware" and w == MAIN_WAYS:
                    slot_bits = samples.space.key_bits - (entries // 4).bit_length() + 1 + COUNTER_BITS
                    flat = learnt[learnt >= 0]
                    hot = hot_sketch(flat, bits * entries // slot_bits, entries, compiled)
                    add("hotsketch", hot, bits=bits)
    return done


def numbers(studies: list[Study]) -> dict:
    """What ``--json`` holds."""
    return {
        "popular_share": [asdict(p) for s in studies for p in s.points],
        "studies": [{k: v for k, v in asdict(s).items() if k != "points"} for s in studies],
    }


def tables(studies: list[Study]) -> list:
    """For people: shares by size, then what the default policy reaches and costs."""
    from rich.table import Table

    shown = {"oracle": "oracle", "best offline": "offline", "look-ahead": "ahead", "srrip": "SRRIP",
             "frequency": "freq.", "sample_aware": "aware", "hotsketch": "HotSk.", "fae": "FAE"}  # fmt: skip
    found = []
    for s in studies:
        title = (
            f"{short_name(s.trace)}: popular share\n{s.distinct:,} tracked keys, {s.resident_tables} resident tables"
        )
        table = Table("entries", *shown.values(), title=title)
        for entries in s.sizes:
            points = [s.find(name, entries) for name in shown]
            table.add_row(f"{entries:,}", *(f"{p.share:.3f}" if p else "" for p in points))
        if s.sizes:
            found.append(table)
    ratios = Table(
        "trace",
        "res.",
        "entries",
        "SRRIP",
        "w 4",
        "w 8",
        "w 16",
        "cover",
        "bits",
        "95 % at",
        title="sample-aware (by ways) and SRRIP: share / oracle's",
        caption="res.: resident tables; cover: hot accesses; bits: of state an entry; 95 % at: samples learnt "
        "when 95 % of the share was reached",
    )
    for s in studies:
        for entries in s.sizes:
            p, srrip = s.find("sample_aware", entries), s.find("srrip", entries)
            if p is None or srrip is None:
                continue
            by_ways = [s.find("sample_aware", entries, w) for w in WAYS]
            ratios.add_row(
                short_name(s.trace)[:11],
                str(s.resident_tables),
                f"{entries:,}",
                f"{srrip.ratio:.2f}",
                *(f"{q.ratio:.2f}" if q else "" for q in by_ways),
                f"{p.coverage:.0%}",
                f"{p.bits:.0f}",
                f"{p.samples_to_95:,}",
            )
    found.append(ratios)
    return found


def short_name(spec: str) -> str:
    """``criteo-kaggle`` of ``synthetic:criteo-kaggle,samples=1``; a file's name of others."""
    kind, _, rest = spec.partition(":")
    name = rest.split(",")[0]
    return name if kind == "synthetic" else name.rsplit("/", 1)[-1]


def draw(studies: list[Study], path) -> None:
    """Curves of popular share over entries, a panel for each trace, without and with resident tables."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    traces = list(dict.fromkeys(s.trace for s in studies))
    styles = {
        "oracle": ("frequency oracle", "black", "--"), "best offline": ("best offline set", "gray", ":"),
        "look-ahead": (f"look-ahead cache, {WINDOW} mini-batches", "tab:purple", ":"),
        "sample_aware": ("sample-aware (default)", "tab:red", "-"), "frequency": ("frequency", "tab:orange", "-"),
        "srrip": ("SRRIP (paper)", "tab:blue", "-"), "hotsketch": ("HotSketch, equal bits", "tab:green", "-"),
        "fae": ("FAE threshold", "tab:brown", "-"),
    }  # fmt: skip
    figure, axes = pyplot.subplots(len(traces), 2, figsize=(11, 3 * len(traces)), squeeze=False, layout="constrained")
    for s in studies:
        panel = axes[traces.index(s.trace)][int(s.resident)]
        for policy, (label, colour, line) in styles.items():
            points = [p for n in s.sizes if (p := s.find(policy, n))]
            panel.plot(
                [p.entries for p in points], [p.share for p in points], line, color=colour, label=label, marker="."
            )
        panel.set_xscale("log", base=2)
        panel.set_title(f"{short_name(s.trace)}, {s.resident_tables} resident tables", fontsize=9)
        panel.set_xlabel("entries")
        panel.set_ylabel("popular share")
        panel.set_ylim(bottom=0)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
