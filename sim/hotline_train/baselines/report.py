"""What was measured: for people, and as JSON."""

import platform
from dataclasses import asdict

import numpy as np
import torch
from rich.table import Table

from hotline_rtl import VERSION

from .measure import Measured
from .system import Task

#: The hybrid that counts is the faster of these.
HYBRIDS = ("hybrid_tables", "hybrid_fused")


def about(task: Task, model: str, seconds: float, repetitions: int) -> dict:
    """Shapes, sizes and versions, for ``--json``."""
    job, settings = task.job, task.settings
    return {
        "model": model, "settings": asdict(settings), "trace": job.trace.name, "samples": job.trace.samples,
        "batch_size": job.batch_size, "table_rows": job.trace.table_rows.tolist(), "device_memory": task.cap,
        "row_bytes": settings.rows.bytes, "mlp_parameters": task.mlp_parameters,
        "learn_mini_batches": len(job.learn_batches), "resident_bound_rows": job.resident_rows, "threads": task.threads,
        "configuration": asdict(job.config), "window_seconds": seconds, "repetitions": repetitions,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda,
                     "numpy": np.__version__, "hotline": VERSION},
    }  # fmt: skip


def popular_share(measured: list[Measured]) -> float:
    """Of who splits samples; 0 if that could not be measured."""
    return next((m.popular for m in measured if m.popular == m.popular), 0.0)


def hybrid_speed(measured: list[Measured]) -> float:
    """Samples a second of the faster hybrid; 0 if there is none."""
    return max((m.samples_per_second for m in measured if m.name in HYBRIDS), default=0.0)


def numbers(measured: list[Measured], device_name: str) -> dict:
    """What ``--json`` holds."""
    there = [m for m in measured if not m.note]
    speeds = {m.name: m.samples_per_second for m in there}
    if hybrid := hybrid_speed(there):
        speeds["hybrid"] = hybrid
    return {
        "device": device_name,
        "popular_share": popular_share(measured),
        "samples_per_second": speeds,
        "windows": {m.name: m.windows for m in there},
        "bytes_per_sample": {m.name: m.bus_bytes_per_sample for m in there},
        "device_bytes": {m.name: m.device_bytes for m in there},
        "idle": {m.name: m.idle for m in there if m.idle == m.idle},
        "rows_per_mini_batch": next((m.rows_per_mini_batch for m in there if m.name == "hotline"), {}),
        "phase_seconds": {m.name: m.phases for m in there},
        "difference": {m.name: m.difference for m in there if m.difference == m.difference},
        "not_measured": {m.name: m.note for m in measured if m.note},
    }


def table(measured: list[Measured], device_name: str) -> Table:
    """For people."""
    title = f"training on {device_name}; {popular_share(measured):.1%} of the samples are popular that were not learnt from"
    missing = [f"{m.name} was not measured: {m.note}" for m in measured if m.note]
    shown = Table(
        "system",
        "samples/s",
        "spread",
        "of hybrid",
        "idle",
        "MB on the device",
        "bytes over the bus a sample",
        title=title,
        caption="\n".join(missing),
    )
    hybrid = hybrid_speed(measured)
    for m in [m for m in measured if not m.note]:
        idle = f"{m.idle:.0%}" if m.idle == m.idle else "-"
        ratio = f"{m.samples_per_second / hybrid:.2f}" if hybrid else "-"
        spread = f"{(max(m.windows) - min(m.windows)) / m.samples_per_second:.1%}"
        shown.add_row(
            m.name,
            f"{m.samples_per_second:,.0f}",
            spread,
            ratio,
            idle,
            f"{m.device_bytes / 1e6:,.1f}",
            f"{m.bus_bytes_per_sample:,.0f}",
        )
    return shown


def phases_table(measured: list[Measured], batch_size: int) -> Table:
    """Where the time of a step goes, for people."""
    there = [m for m in measured if not m.note]
    phases = list(there[0].phases) if there else []
    shown = Table("ms a step", "in all", *phases, caption="phases overlap: their sum may be more than a step takes")
    for m in there:
        shown.add_row(
            m.name, f"{1e3 * batch_size / m.samples_per_second:.2f}", *(f"{1e3 * m.phases[p]:.2f}" for p in phases)
        )
    return shown


def bus_table(rates: dict[str, float], device_name: str) -> Table:
    """Of ``bus_rates``, for people."""
    shown = Table("bus", "GB/s", title=device_name)
    for what, rate in rates.items():
        shown.add_row(what.replace("_", " "), f"{rate / 1e9:,.1f}")
    return shown


def cases_table(cases: list[tuple[str, list[Measured], str]]) -> Table:
    """Many cases, a line each: samples a second, and Hotline against the hybrid. A case has a note if it could not be
    measured."""
    names = list(dict.fromkeys(m.name for _, measured, _ in cases for m in measured))
    shown = Table("case", *names, "hotline / hybrid", "popular", title="samples/s")
    for case, measured, _ in cases:
        speed = {m.name: m.samples_per_second for m in measured if not m.note}
        hybrid = hybrid_speed(measured)
        ratio = f"{speed['hotline'] / hybrid:.2f}" if "hotline" in speed and hybrid else "-"
        shown.add_row(
            case,
            *(f"{speed[name]:,.0f}" if name in speed else "-" for name in names),
            ratio,
            f"{popular_share(measured):.1%}",
        )
    notes = {f"{case}: {note}" for case, _, note in cases if note}
    notes |= {f"{m.name}: {m.note}" for _, measured, _ in cases for m in measured if m.note}
    shown.caption = "\n".join(sorted(notes)) or None
    return shown
