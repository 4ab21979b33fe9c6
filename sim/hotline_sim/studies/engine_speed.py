"""How fast the software engine is, beside golden: samples split and learnt a second, and rows copied.

Mini-batches lie in memory, and are gone through again and again; the first ones are learnt. Everything that one makes is compared
with what the other makes.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from rich.table import Table

from hotline_golden.layouts import ALL_SLOTS
from hotline_golden.split import learn, split
from hotline_native import NativeEngine
from hotline_native.compiler import default_threads
from hotline_native.copies import copy_from, copy_to
from hotline_native.rows import gather, scatter
from hotline_rtl.config import AcceleratorConfig

from ..run.job import golden_tracker, native_tracker, prepare
from ..traces.trace import Samples, Trace

#: Seconds of each measurement, at least; the fastest of REPEATS counts, for a machine has other things to do.
SECONDS, REPEATS = 1.0, 3
#: Rows of the table that rows are copied from and to, and of one copy.
TABLE_ROWS, COPIED = 1 << 22, 1 << 16


#: What a copy of rows is held against.
LIMITS = {"gather": "copy from random lines", "scatter": "copy to random lines"}


class Different(Exception):
    """The software engine gave something else than golden."""


@dataclass(frozen=True)
class Speeds:
    """Samples a second: ``split`` by engine, ``split_threads`` by the number of threads, ``learn`` by engine; ``rows``: GB/s of
    rows of 64 bytes gathered and scattered, and of a plain copy of as many."""

    split: dict[str, float]
    split_threads: dict[int, float]
    learn: dict[str, float]
    rows: dict[str, float]

    def numbers(self) -> dict:
        """For ``--json``."""
        found = asdict(self)
        return {"samples_per_second": found["split"], "learn_samples_per_second": found["learn"],
                "samples_per_second_by_threads": found["split_threads"], "row_gigabytes_per_second": found["rows"]}  # fmt: skip


def measure(trace: Trace, config: AcceleratorConfig, batch_size: int) -> Speeds:
    """Speeds on ``trace``. Raises Different."""
    job = prepare(trace, config, batch_size=batch_size, fill=False)
    parts = list(trace.parts(batch_size))
    golden, tracker = golden_tracker(config), native_tracker(config)
    engine = NativeEngine(job.model, tracker)
    learnt = parts[: max(1, len(parts) // 10)]
    spent = 0.0
    for part in learnt:
        began = time.perf_counter()
        expected = learn(job.model, golden, part.rows)
        spent += time.perf_counter() - began
        if engine.learn(part.rows) != expected:
            raise Different("LEARN counted other hits than golden")
    if config.shadow:
        golden.swap(ALL_SLOTS)
        tracker.swap(ALL_SLOTS)
    if not np.array_equal(golden.dump(), engine.dump()):
        raise Different("the tracker holds other keys than golden's")
    learn_speed = {"golden": sum(len(p.rows) for p in learnt) / spent}
    learn_speed["native"] = _speed(lambda part: tracker.learn(part.rows, engine.tables, engine.tracked), parts)
    engine.load(golden.dump())

    shape = (batch_size, job.model.record_words)
    out = np.empty(shape, np.uint32), np.empty(shape, np.uint32)
    spent, samples = 0.0, 0
    for part in parts[:8]:
        began = time.perf_counter()
        split_by_golden = split(job.model, golden, part.records)
        spent, samples = spent + time.perf_counter() - began, samples + len(part.rows)
        found = engine.split(*part, out)
        for name in ("popular", "non_popular", "working_keys"):
            if not np.array_equal(getattr(found, name), getattr(split_by_golden, name)):
                raise Different(f"SPLIT gave other {name} than golden")
    by_threads = {}
    for threads in sorted({1, default_threads()}):
        one = NativeEngine(job.model, tracker, threads)
        one.known = False
        by_threads[threads] = _speed(partial(_split_into, one, out), parts)
    return Speeds(
        {"native": by_threads[default_threads()], "golden": samples / spent}, by_threads, learn_speed, _rows()
    )


def tables(found: Speeds, batch_size: int) -> list[Table]:
    """For people."""
    shown = Table(
        "engine", "split", "learn", title=f"samples/s, mini-batches of {batch_size:,}, {default_threads()} threads"
    )
    for name in ("native", "golden"):
        shown.add_row(name, f"{found.split[name]:,.0f}", f"{found.learn[name]:,.0f}")
    for threads, speed in found.split_threads.items():
        shown.add_row(f"native, {threads} thread{'s' * (threads > 1)}", f"{speed:,.0f}", "")
    rows = Table("rows of 64 bytes at random places", "GB/s", "of a plain copy", title="gather and scatter")
    for name, limit in LIMITS.items():
        rows.add_row(name, f"{found.rows[name]:.1f}", f"{found.rows[name] / found.rows[limit]:.2f}")
    return [shown, rows]


def _split_into(engine: NativeEngine, out: tuple[np.ndarray, np.ndarray], part: Samples) -> None:
    engine.split(part.rows, part.payload, out)


def _speed(work: Callable[[Samples], object], parts: list[Samples]) -> float:
    """Samples a second of ``work`` on mini-batches, one after another."""
    work(parts[0])
    best = 0.0
    for _ in range(REPEATS):
        samples, began = 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            for part in parts:
                work(part)
                samples += len(part.rows)
        best = max(best, samples / (time.perf_counter() - began))
    return best


def _rows() -> dict[str, float]:
    """GB/s of rows of 64 bytes at random places, by as many threads as there are cores: gathered and scattered as a training
    does, and copied as whole lines, which is the limit."""
    threads = default_threads()
    random = np.random.default_rng(1)
    table = random.random((TABLE_ROWS, 16)).astype(np.float32)
    places = [random.permutation(TABLE_ROWS)[:COPIED] for _ in range(16)]
    out = np.empty((COPIED, 16), np.float32)
    lines, out_lines = table.view(np.uint64), out.view(np.uint64)

    def rate(copy: Callable[[np.ndarray], object]) -> float:
        copy(places[0])
        best = 0.0
        for _ in range(REPEATS):
            began = time.perf_counter()
            for place in places:
                copy(place)
            best = max(best, len(places) * COPIED * 64 / (time.perf_counter() - began) / 1e9)
        return best

    return {
        "gather": rate(lambda place: gather(table, place, out, threads)),
        "scatter": rate(lambda place: scatter(table, place, out, threads)),
        "copy from random lines": rate(lambda place: copy_from(lines, place, out_lines, threads)),
        "copy to random lines": rate(lambda place: copy_to(lines, place, out_lines, threads)),
    }
