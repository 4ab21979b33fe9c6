"""Tables for people, and the same numbers for scripts."""

from dataclasses import asdict

import numpy as np
from amaranth.utils import ceil_log2
from rich.table import Table

from hotline_rtl.config import PRESETS, AcceleratorConfig
from hotline_rtl.transfer.backend.lost_bursts import LATE_BITS
from hotline_rtl.transfer.backend.read_master import id_lists
from hotline_rtl.transfer.midend.row_mover import move_layout

from ..traces.shapes import SHAPES
from .job import Job
from .session import Results


def summary(job: Job, results: Results) -> dict:
    """The numbers of :func:`results_table` by name, with the configuration."""
    return {
        "configuration": asdict(job.config),
        "configuration_digest": job.config.digest(),
        "trace": job.trace.name,
        "engine": results.engine,
        "batch_size": job.batch_size,
        "resident_bound_rows": job.resident_rows,
        "resident_tables": sum(t.resident for t in job.model.tables),
        "tables": len(job.model.tables),
        "payload_words": job.model.payload_words,
        "accesses_per_sample": job.model.accesses,
        "dim": job.dim,
        "samples": results.samples,
        "mini_batches": results.batches,
        "learn_mini_batches": results.learn_batches,
        "hot_coverage": results.hot_coverage,
        "popular_share": results.popular_share,
        "popular_samples": results.popular,
        "working_rows": results.working_rows,
        "bus_bytes_per_sample": bus_bytes(job, results),
        "follows": job.follows,
        "look_ahead": job.look_ahead,
        "swaps": [asdict(swap) for swap in results.swaps],
        "swap_cycles": sum(swap.cycles for swap in results.swaps),
        "popular_shares": results.popular_shares,
        "bus_rows_each": results.bus_rows_each,
        "cycles": results.cycles,
        "cycles_per_step": results.loop_cycles / max(1, results.batches),
        "step_cycles": job.step_cycles,
        "prefetch": job.prefetch,
        "split_cycles": results.split_cycles,
        "split_bound_cycles": results.split_bound,
        "cycles_over_bound": results.cycles_over_bound,
        "binding_resource": results.binding,
        "popular_cycles": results.popular_cycles,
        "seconds": results.seconds,
        "cycles_per_second": results.cycles / results.seconds if results.seconds else 0.0,
        "samples_per_second": results.samples / results.seconds if results.seconds else 0.0,
        "counters": results.counters,
        "memory": results.memory,
        "golden_match": not results.difference,
        "difference": results.difference,
    }


def bus_bytes(job: Job, results: Results) -> float:
    """Bytes of rows over the bus for a sample: each working row comes, and goes; so does one that is brought in ahead."""
    return sum(results.bus_rows_each) * job.model.row_bytes / max(1, results.samples)


#: Characters of a sparkline, by height; and how long one is.
HEIGHTS, SPARKS = "▁▂▃▄▅▆▇█", 40


def sparkline(values: list[float]) -> str:
    """How ``values`` from 0 to 1 go, as a line of blocks, each a mean."""
    parts = [part for part in np.array_split(np.array(values), SPARKS) if len(part)]
    return "".join(HEIGHTS[min(len(HEIGHTS) - 1, int(part.mean() * len(HEIGHTS)))] for part in parts)


def results_table(job: Job, results: Results) -> Table:
    """What a run measured, for a person."""
    table = Table(title=f"{job.trace.name} on configuration {job.config.digest()}", show_header=False)
    n = summary(job, results)
    binding = max(results.binding, key=results.binding.__getitem__) if results.binding else "-"
    bound = "none" if job.resident_rows is None else f"up to {job.resident_rows:,} rows"
    learnt = "" if job.follows else f"; learnt from {n['learn_mini_batches']:,}"
    late = results.popular_shares[-max(1, len(results.popular_shares) // 10) :]
    over_time = f"; {sum(late) / max(1, len(late)):.1%} in the last tenth"
    changes = f"{results.changed:,} slots changed, {results.changed / max(1, len(results.swaps)):,.0f} a mini-batch"
    ahead = f", {job.look_ahead} ahead" if job.look_ahead else ""
    step = f", {job.step_cycles:,} of them the GPU's" if job.step_cycles else ""
    rows = [
        ("samples", f"{n['samples']:,}"),
        ("mini-batches", f"{n['mini_batches']:,} of {job.batch_size:,}{learnt}"),
        ("resident tables", f"{n['resident_tables']} of {n['tables']} ({bound})"),
        *([("hot set", f"follows the data{ahead}: {changes}")] if job.follows else []),
        ("hot coverage", f"{n['hot_coverage']:.1%} of accesses"),
        ("popular share", f"{n['popular_share']:.1%} of samples" + (over_time if job.follows else "")),
        *([("over time", sparkline(results.popular_shares))] if job.follows else []),
        ("working rows", f"{n['working_rows']:,} gathered and scattered"),
        ("rows over the bus", f"{n['bus_bytes_per_sample']:,.0f} bytes a sample"),
        ("cycles", f"{n['cycles']:,}; {n['cycles_per_step']:,.0f} a step" + step),
        *([] if job.prefetch else [("cycles / bound", f"{n['cycles_over_bound']:.2f} (SPLIT; {binding} binds)")]),
        (
            "engine",
            f"{results.engine}: {n['cycles_per_second']:,.0f} cycles/s, {n['samples_per_second']:,.0f} samples/s",
        ),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def engines_table(measured: list[tuple[Job, Results]], clock_alone: float | None = None) -> tuple[Table, dict]:
    """Speeds of the engines, each on its own number of samples; ``clock_alone``: of the model with nothing around it."""
    table = Table(
        "engine",
        "samples",
        "cycles",
        "cycles/s",
        "samples/s",
        "RTL == golden",
        title=f"configuration {measured[0][0].config.digest()}, {measured[0][0].trace.name}",
    )
    numbers: dict = {"samples_per_second": {}, "cycles_per_second": {}}
    for job, results in measured:
        n = summary(job, results)
        table.add_row(
            results.engine,
            f"{n['samples']:,}",
            f"{n['cycles']:,}",
            f"{n['cycles_per_second']:,.0f}",
            f"{n['samples_per_second']:,.0f}",
            "yes" if n["golden_match"] else "no",
        )
        for name in ("samples_per_second", "cycles_per_second"):
            numbers[name][results.engine] = n[name]
    if clock_alone:
        table.add_row("the clock alone", "", "", f"{clock_alone:,.0f}", "", "")
        numbers["cycles_per_second"]["clock alone"] = clock_alone
    return table, numbers


def engine_memory(config: AcceleratorConfig) -> dict[str, int]:
    """Bits of on-chip memory of the gather engine and its read port, by what they are for."""
    slots = config.reorder_entries
    slot_bits = config.entry_bits
    _, ids, _, bursts = id_lists(config, 2, True)
    pointer = ceil_log2(bursts) + 1
    return {
        "rows that land": slots * config.row_beats * config.bus_bits,
        "where they come from and go to": slots * move_layout(config).size,
        "beats landed of each": slots * ceil_log2(config.row_beats + 1) + 2 * slots,
        "free slots, complete rows": 2 * slot_bits << slot_bits,
        "bursts of each ID, in order": (bursts << ceil_log2(ids)) * (slot_bits + 9),
        "state of each ID": ids * (3 * pointer + 8 + LATE_BITS),
    }


def engine_memory_table() -> Table:
    """The same for each preset, in Kibit."""
    table = Table("gather engine, Kibit", *PRESETS, title="On-chip memory of the landing buffers")
    found = [engine_memory(config) for config in PRESETS.values()]
    for name in found[0]:
        table.add_row(name, *(f"{bits[name] / 1024:,.1f}" for bits in found))
    return table


def shapes_table() -> Table:
    """The shapes that the generator knows."""
    table = Table("name", "tables", "accesses a sample", "rows, all tables", "largest table", "pattern")
    for name, shape in SHAPES.items():
        table.add_row(
            name,
            str(len(shape.rows)),
            str(sum(shape.hot)),
            f"{sum(shape.rows):,}",
            f"{max(shape.rows):,}",
            shape.pattern,
        )
    return table
