"""``hotline advise``: is a Hotline accelerator worth it for this click log, and how large should it be?

Hot sets of several sizes follow the trace's mini-batches, one after another, and the second half of these judges them: how many
samples are popular, and how many rows still cross PCIe. Of a long trace the last mini-batches are taken, at most twice MOST, so
that neither time nor memory grows with it.
"""

from dataclasses import dataclass

import numpy as np

from hotline_rtl.config import PRESETS

from ..run.job import native_tracker
from ..traces.trace import ArrayTrace, Trace, in_memory
from .following import study_job
from .tracker_study import Samples

#: Sizes tried: 1,024 entries to what the largest preset has.
LARGEST = PRESETS["alveo"].tracker_entries
#: The curve bends where twice the entries give less than this more of the samples.
BEND = 0.02
#: Mini-batches of each half that are read, at most.
MOST = 128
#: It pays with at least this popular share and this factor of bytes; below the others it does not.
PAYS, PAYS_NOT = (0.2, 1.5), (0.05, 1.2)


@dataclass(frozen=True)
class Option:
    """What a tracker of ``entries`` would do: shares of samples and accesses, working rows a sample, bytes a
    sample over PCIe (working rows both ways, and records)."""

    entries: int
    popular_share: float
    coverage: float
    working_rows: float
    bytes: float


@dataclass(frozen=True)
class Advice:
    """``plain_bytes``: a sample over PCIe without an accelerator, each access's row to the GPU and its gradient
    back; ``merged_bytes``: the same with each row once in a mini-batch. ``chosen``: index into ``options``.
    ``batches`` of ``batch`` samples were followed before, and as many judge. ``verdict``: ``yes``, ``maybe`` or ``no``."""

    resident_tables: int
    tables: int
    resident_rows: int
    batch: int
    batches: int
    accesses: float
    plain_bytes: float
    merged_bytes: float
    options: list[Option]
    chosen: int
    verdict: str
    reasons: list[str]

    @property
    def best(self) -> Option:
        return self.options[self.chosen]


def advise(trace: Trace, *, device_bytes: int, row_bytes: int, batch: int = 1024) -> Advice:
    """Raises ValueError where device memory cannot hold the smallest tracker's rows."""
    batch = min(batch, max(1, trace.samples // 2))
    taken = in_memory(trace.after(max(0, trace.samples // batch - 2 * MOST) * batch))
    samples = Samples(taken, resident=True, share_bytes=device_bytes // 2, row_bytes=row_bytes, whole=True)
    room = (device_bytes - samples.resident_rows * row_bytes) // row_bytes
    if room < 1024:
        raise ValueError(
            f"{device_bytes} bytes of device memory hold {room} hot rows of {row_bytes} bytes: 1024 are the least"
        )
    record = 4 * (trace.payload_words + trace.accesses)
    later = samples.ids[samples.half :]
    batches = [slice(at, at + batch) for at in range(0, len(later), batch)]
    all_rows = [np.unique(samples.keys[samples.half :][b][samples.present[samples.half :][b]]).size for b in batches]
    accesses = samples.present[samples.half :].sum() / len(later)

    options = []
    entries = 1024
    while entries <= min(room, LARGEST):
        share, coverage, working = followed(taken, samples.half, entries, batch, samples.bound)
        options.append(Option(entries, share, coverage, working, 2 * working * row_bytes + 4 + record))
        if entries >= samples.distinct:
            break
        entries *= 2

    chosen = 0
    while chosen + 1 < len(options) and options[chosen + 1].popular_share - options[chosen].popular_share >= BEND:
        chosen += 1
    merged = 2 * sum(all_rows) / len(later) * row_bytes + record
    best = options[chosen]
    verdict, reasons = _verdict(best, merged / best.bytes, samples)
    return Advice(
        samples.resident_tables,
        len(trace.table_rows),
        samples.resident_rows,
        batch,
        -(-samples.half // batch),
        float(accesses),
        float(2 * accesses * row_bytes + 4 * trace.payload_words),
        float(merged),
        options,
        chosen,
        verdict,
        reasons,
    )


def followed(trace: ArrayTrace, half: int, entries: int, batch: int, bound: int) -> tuple[float, float, float]:
    """Of a hot set of ``entries`` that follows ``trace``: popular share, share of hot accesses and working rows a sample, from
    sample ``half`` on. The software engine's, which is the accelerator's."""
    from hotline_native import NativeEngine

    job = study_job(trace, entries, batch, bound)
    engine = NativeEngine(job.model, native_tracker(job.config))
    counts = np.zeros(5, np.int64)  # samples, popular ones, accesses, hot ones, working rows
    for first in [*range(0, half, batch), *range(half, trace.samples, batch)]:
        rows = trace.rows[first : min(first + batch, half if first < half else trace.samples)]
        found = engine.split(rows, np.zeros((len(rows), 0), np.uint32), follow=True)
        engine.swap()
        if first >= half:
            counts += (len(rows), len(found.popular), found.accesses, found.hot_accesses, len(found.working_keys))
    samples, popular, accesses, hot, working = counts.tolist()
    return popular / samples, hot / max(1, accesses), working / samples


def _verdict(best: Option, saved: float, samples: Samples) -> tuple[str, list[str]]:
    tracked = samples.tracked.sum() / len(samples.tracked)
    if not tracked:
        return "no", ["all tables fit into device memory: keep them there, and no row has to cross PCIe"]
    reasons = [
        f"{best.popular_share:.1%} of samples need no row of host memory; the GPU works on them while the others' rows come",
        f"{saved:.1f} times fewer bytes over PCIe than gathering each mini-batch's rows once",
    ]
    if best.popular_share < PAYS_NOT[0] or saved < PAYS_NOT[1]:
        if best.popular_share < PAYS_NOT[0]:
            reasons.append(
                f"with {tracked:.0f} tracked accesses a sample, {best.coverage:.1%} of accesses hot leave hardly a sample popular"
            )
        return "no", reasons
    if best.popular_share >= PAYS[0] and saved >= PAYS[1]:
        return "yes", reasons
    return "maybe", reasons
