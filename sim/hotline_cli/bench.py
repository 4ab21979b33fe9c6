"""``hotline bench``: figures, with the command that gives them."""

from enum import StrEnum
from typing import Annotated, Optional

import typer

from hotline_golden.layouts import MAX_COUNT
from hotline_rtl.config import AcceleratorConfig
from hotline_sim.files.json_file import write_json

from .options import (
    DIFFER,
    TRACE_HELP,
    AmpOption,
    BatchSizeOption,
    DeviceOption,
    Engine,
    JsonOption,
    LearnOption,
    ModelOption,
    ModelTraceOption,
    OptimizerOption,
    PlotOption,
    PresetOption,
    ResidentOption,
    SamplesOption,
    ScaleOption,
    SetOption,
    Tf32Option,
    autocast,
    check_outputs,
    configuration,
    counts,
    err,
    hot_set,
    out,
    publish,
    resident_rows,
)
from .requirements import need
from .traces import opened

bench_app = typer.Typer(help="Measure: figures with the command that gives them.", no_args_is_help=True)


class Engines(StrEnum):
    """Which engines are compared."""

    both = "both"
    cosim = "cosim"


EnginesOption = Annotated[
    Engines, typer.Option("--engines", help="Engines whose speed is measured; cosim leaves cocotb out.")
]


def need_engines(command: str, engines: Engines) -> None:
    """Raises ToolError when cocotb is wanted and not there."""
    if engines is Engines.both:
        need(command, "cocotb", "cocotbext.axi", instead="leave that part out: --engines cosim")


def run_engines(
    config: AcceleratorConfig, samples: int, cocotb_samples: int, batch_size: int, engines: Engines
) -> list:
    """(job, results) of the main job on the co-simulation, and in cocotb."""
    from hotline_sim.engine.memory_model import MemoryTiming
    from hotline_sim.run.runner import run_job
    from hotline_sim.traces import open_trace

    timings = (MemoryTiming((100, 100), (50, 50)), MemoryTiming((40, 40), (20, 20)))
    return [
        run_job(
            open_trace(f"synthetic:criteo-kaggle,samples={count}"),
            config,
            batch_size=batch_size,
            learn=0.05,
            resident=-1,
            dim=16,
            engine=engine.value,
            timings=timings,
            directory=None,
            waves=False,
            console=err,
        )
        for engine, count in ((Engine.cosim, samples), (Engine.cocotb, cocotb_samples))
        if engine is Engine.cosim or engines is Engines.both
    ]


@bench_app.command("split")
def bench_split(
    real: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--trace", metavar="SPEC", help="A click log of your own, measured beside the generated one."),
    ] = None,
    only: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--only", metavar="TEXT", help="Only the cases whose name contains TEXT, and no comparison of engines."
        ),
    ] = None,
    engines: EnginesOption = Engines.both,
    json_file: JsonOption = None,
) -> None:
    """Measure classification and whole SPLITs against their bounds, every byte compared.

    Lanes alone (8 and 16, all keys hot), whole SPLITs on the presets with host memory 300 cycles away,
    adversarial traces, and both engines' speed. Takes ten minutes the first time, most of them builds.
    """
    from rich.progress import Progress

    from hotline_sim.run.report import engines_table
    from hotline_sim.studies.throughput import cases, measure, report

    check_outputs(json_file)
    if only is None:
        need_engines("bench split", engines)
    chosen = {kind: [c for c in some if only is None or only in c.name] for kind, some in cases(real).items()}
    names = [c.name for some in cases(real).values() for c in some]
    if not any(chosen.values()):
        raise ValueError(f"--only {only}: no case has this in its name; there are: {'; '.join(names)}")
    measured: dict[str, list] = {kind: [] for kind in chosen}
    with Progress(console=err, transient=True) as bar:
        for kind, some in chosen.items():
            for case in some:
                task = bar.add_task(case.name, total=None)
                measured[kind].append(
                    measure(case, lambda done, total, task=task: bar.update(task, completed=done, total=total))
                )
                bar.remove_task(task)
    tables, numbers = report(measured)
    if only is None:
        table, speeds = engines_table(run_engines(configuration("ecp5", None), 20_000, 200, 256, engines))
        tables.append(table)
        numbers |= speeds
    publish(tables, numbers, json_file)
    different = [m for some in measured.values() for m in some if m.difference]
    for m in different:
        out.print(f"[bold red]RTL differs from golden[/] in {m.case.name}: {m.difference}", soft_wrap=True)
    if different:
        raise typer.Exit(DIFFER)
    out.print("[bold green]RTL == golden[/] in every case")


@bench_app.command("gather")
def bench_gather(
    quick: Annotated[bool, typer.Option("--quick", help="A few measurements of each kind.")] = False,
    json_file: JsonOption = None,
    plot: PlotOption = None,
) -> None:
    """Measure the gather and scatter engines against the limit of the bus, every byte compared.

    Rows of 36 to 512 bytes at random addresses, memory 10 to 800 cycles away, 16 to 1024 reads in flight; unaligned
    rows, jittered and reordered answers, gather and scatter at once, and the corners of the configuration.
    """
    from rich.progress import Progress

    from hotline_sim.studies import transfer_study as study

    check_outputs(json_file, plot)
    chosen = study.transfers(quick)
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("building", total=len(chosen))
        try:
            results = study.run_study(chosen, lambda what, n, total: bar.update(task, description=what, completed=n))
        except study.Mismatch as e:
            out.print(f"[bold red]wrong[/]: {e}", soft_wrap=True)
            raise typer.Exit(DIFFER) from e
    publish(study.report(results), study.numbers(results), json_file)
    if plot:
        study.draw(results, plot)
    out.print("[bold green]every row where it belongs[/] in every case")


@bench_app.command("tracker")
def bench_tracker(
    traces: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--trace", metavar="SPEC", help="A trace to study (may be repeated); without it, nine generated ones."
        ),
    ] = None,
    real: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--also", metavar="SPEC", help="A trace of your own, beside the generated ones."),
    ] = None,
    sizes: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option("--entries", min=256, help="A tracker size (may be repeated); without it, 1,024 to 262,144."),
    ] = None,
    plot: PlotOption = None,
    json_file: JsonOption = None,
) -> None:
    """Compare replacement policies: popular samples, by tracker size, ways, and with or without resident tables.

    Against the frequency oracle, the best set found offline, a cache that looks ahead, and two published
    systems. Half of a trace is learnt, the other half is judged. The default study takes some minutes.
    """
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from rich.progress import Progress

    from hotline_sim.studies import tracker_study as t

    for size in sizes or []:
        if size & (size - 1):
            raise ValueError(f"--entries {size}: must be a power of two")
    check_outputs(json_file, plot)
    need("bench tracker", "numba")
    specs = [*(traces or t.TRACES), *([real] if real else [])]
    cases = [(spec, resident) for spec in specs for resident in (False, True)]
    with Progress(console=err, transient=True) as bar, ProcessPoolExecutor() as pool:
        task = bar.add_task("studies", total=len(cases))
        running = {
            pool.submit(t.study, spec, resident, sizes or t.SIZES, t.WAYS): n
            for n, (spec, resident) in enumerate(cases)
        }
        found: list = [None] * len(cases)
        for future in as_completed(running):
            try:
                found[running[future]] = future.result()
            except Exception:
                pool.shutdown(cancel_futures=True)
                raise
            bar.update(task, advance=1, description=t.short_name(cases[running[future]][0]))
    found = [study for study in found if study]
    publish(t.tables(found), t.numbers(found), json_file)
    if plot:
        t.draw(found, plot)


@bench_app.command("train")
def bench_train(
    model: ModelOption = "rm2",
    trace: ModelTraceOption = None,
    scale: ScaleOption = 0.01,
    samples: SamplesOption = None,
    preset: PresetOption = "ecp5",
    settings: SetOption = None,
    batch_size: BatchSizeOption = 1024,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, help="Least time of a window.")] = 3.0,
    repetitions: Annotated[int, typer.Option("--repetitions", min=1, help="Windows; the median counts.")] = 3,
    optimizer: OptimizerOption = "sgd",
    amp: AmpOption = None,
    tf32: Tf32Option = False,
    learn: LearnOption = None,
    resident: ResidentOption = "auto",
    device: DeviceOption = "cpu",
    cap: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--device-memory-cap", metavar="MB", min=1, help="Device memory that tables may take; without it, all."
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Time Hotline beside the hybrid CPU-GPU training, and others, on the same model, data and device.

    Each must train what the others train: parameters are compared after 20 steps. `--resident auto` takes half of the device
    memory that the tracker's rows leave. On a CPU the ratios say nothing about GPUs: there is no bus to save. `--json` is written
    after each system.
    """
    need("bench train", "torch", "numba")
    from hotline_native.compiler import default_threads
    from hotline_sim.traces.trace import in_memory
    from hotline_train.baselines import report
    from hotline_train.baselines.measure import Comparison, measure
    from hotline_train.baselines.suite import prepared
    from hotline_train.baselines.systems import SYSTEMS
    from hotline_train.models.dlrm import dlrm_shape
    from hotline_train.settings import Settings
    from hotline_train.step.device import device_for, device_memory, device_name

    check_outputs(json_file)
    shape = dlrm_shape(model)
    plan = Settings(shape, optimizer, 0.01, amp=autocast(amp), tf32=tf32)
    target, name = device_for(device), device_name(device)
    samples = samples or 40_000
    log = in_memory(opened(trace or f"{shape.trace},samples={samples},scale={scale}", samples))
    if cap:
        room = cap * 10**6
    else:
        room = device_memory(device) if device != "cpu" else int(log.table_rows.sum()) * plan.rows.bytes
    config, share = hot_set(preset, settings, frozen=True, learn=learn)
    with err.status("Making the mini-batches...") as status:
        task = prepared(
            log,
            plan,
            config,
            batch_size,
            room,
            target,
            default_threads(),
            learn=share,
            resident=resident_rows(resident),
        )
        about = report.about(task, model, seconds, repetitions)
        comparison, measured = Comparison(task.in_float64()), []
        for system in SYSTEMS:
            status.update(f"{system.name}: {repetitions} windows of {seconds:.3g} s...")
            measured.append(measure(system, task, comparison, seconds=seconds, repetitions=repetitions))
            if json_file:
                write_json(json_file, about | report.numbers(measured, name))
    publish(
        [report.table(measured, name), report.phases_table(measured, batch_size)],
        about | report.numbers(measured, name),
        json_file,
    )


@bench_app.command("gpu")
def bench_gpu(
    device: DeviceOption = "cuda",
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="After which no other system is begun.")] = 6.5,
    samples: Annotated[int, typer.Option("--samples", min=64, help="Of each generated click log.")] = 200_000,
    scale: ScaleOption = 0.1,
    preset: PresetOption = "alveo",
    settings: SetOption = None,
    optimizer: OptimizerOption = "rowwise-adagrad",
    amp: AmpOption = None,
    tf32: Tf32Option = False,
    json_file: JsonOption = None,
) -> None:
    """Time all systems on the shapes RM1 to RM4, at batches of 1024 to 16384, with tables that fit and a tenth that fits.

    First the bus, then RM2 and RM3 with a tenth that fits at 4096 in windows of 3 s; then all others in windows of half a
    second, as many as there is time. `--json` is written after each system.
    """
    need("bench gpu", "torch", "numba")
    from hotline_native.compiler import default_threads
    from hotline_train.baselines import report, suite
    from hotline_train.baselines.bus import bus_rates
    from hotline_train.settings import Settings
    from hotline_train.step.device import device_for, device_memory, device_name, driver_version

    check_outputs(json_file)
    base = Settings(optimizer=optimizer, learning_rate=0.01, amp=autocast(amp), tf32=tf32)
    target, name, wanted = device_for(device), device_name(device), suite.cases()
    driver = driver_version(device)
    memory = device_memory(device)
    with err.status("The bus...") as status:
        rates = bus_rates(target)

        def found(done: list[suite.Ran]) -> dict:
            runs = [
                report.about(ran.task, ran.case.model, ran.case.seconds, 3)
                | report.numbers(ran.measured, name)
                | {"case": ran.case.name}
                for ran in done
                if ran.task
            ]
            missing = [case.name for case in wanted if case not in [ran.case for ran in done]]
            refused = {ran.case.name: ran.note for ran in done if ran.note}
            return {"device": name, "driver": driver, "bus_bytes_per_second": rates, "runs": runs, "not_reached": missing,
                    "refused": refused}  # fmt: skip

        def after(done: list[suite.Ran]) -> None:
            if json_file:
                write_json(json_file, found(done))

        config, _ = hot_set(preset, settings, frozen=True, learn=None)
        made = suite.Suite(base, config, target, memory, default_threads(), samples, scale)
        done = made.run(wanted, minutes, status.update, after)
    publish(
        [
            report.bus_table(rates, name),
            report.cases_table([(ran.case.name, ran.measured, ran.note) for ran in done]),
        ],
        found(done),
        json_file,
    )


@bench_app.command("relearn")
def bench_relearn(
    trace: Annotated[
        str, typer.Option("--trace", metavar="SPEC", help=TRACE_HELP)
    ] = "synthetic:drift,samples=128000",
    entries: Annotated[int, typer.Option("--entries", min=256, help="Of the tracker; a power of two.")] = 16384,
    batch_size: BatchSizeOption = 256,
    sampling: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--sampling", metavar="N,N...", help="Also follow by every Nth sample alone, for each N: powers of two."
        ),
    ] = None,
    look_ahead: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--look-ahead",
            metavar="K,K...",
            help="Also follow by the mini-batch that is K ahead of the one that is split.",
        ),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also caches as embedding libraries have them, and such that look ahead.")
    ] = False,
    plot: PlotOption = None,
    json_file: JsonOption = None,
) -> None:
    """A hot set that follows the data, beside a frozen one and the best fixed one.

    Of each: popular share, slots changed and bytes of rows over the bus, mini-batch by mini-batch. The software engine does it.
    """
    from rich.progress import Progress

    from hotline_sim.studies import following as r

    check_outputs(json_file, plot)
    need("bench relearn", "numba")
    if entries & (entries - 1):
        raise ValueError(f"--entries {entries}: must be a power of two")
    parts = counts("--sampling", sampling) if sampling else []
    if any(part & (part - 1) for part in parts):
        raise ValueError(f"--sampling {sampling}: must be powers of two")
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("mini-batches", total=None)
        found = r.study(
            trace,
            entries,
            batch_size,
            parts,
            counts("--look-ahead", look_ahead) if look_ahead else [],
            peers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    publish([r.table(found)], r.numbers(found), json_file)
    if plot:
        r.draw(found, plot)


@bench_app.command("engines")
def bench_engines(
    samples: Annotated[int, typer.Option("--samples", min=1, help="For the co-simulation.")] = 2_000,
    cocotb_samples: Annotated[int, typer.Option("--cocotb-samples", min=1, help="For cocotb.")] = 2_000,
    native_samples: Annotated[
        int, typer.Option("--native-samples", min=1, help="For the software engine.")
    ] = 131_072,
    native_batch_size: Annotated[
        int, typer.Option("--native-batch-size", min=1, max=MAX_COUNT, help="Mini-batches of the software engine.")
    ] = 4096,
    preset: PresetOption = "ecp5",
    settings: SetOption = None,
    batch_size: BatchSizeOption = 256,
    engines: EnginesOption = Engines.both,
    json_file: JsonOption = None,
) -> None:
    """Print how fast each engine is: the software engine beside golden, then the main job in the co-simulation and in cocotb.

    Everything is compared: the first two with each other, the others with golden, byte for byte. Beside the co-simulation is the
    clock alone on an idle accelerator: no engine on this model can be faster.
    """
    from hotline_sim.engine.cosim import clock_rate
    from hotline_sim.run.report import engines_table
    from hotline_sim.studies.engine_speed import Different, tables
    from hotline_sim.studies.engine_speed import measure as measure_native

    check_outputs(json_file)
    need("bench engines", "numba")
    need_engines("bench engines", engines)
    config = configuration(preset, settings)
    log = opened(f"synthetic:criteo-kaggle,scale=1,samples={native_samples}")
    with err.status("The software engine and golden..."):
        try:
            native = measure_native(log, config, native_batch_size)
        except Different as e:
            out.print(f"[bold red]the software engine differs from golden[/]: {e}")
            raise typer.Exit(DIFFER) from e
    measured = run_engines(config, samples, cocotb_samples, batch_size, engines)
    table, numbers = engines_table(measured, clock_rate(config))
    found = native.numbers()
    numbers["samples_per_second"] |= found.pop("samples_per_second")
    publish([*tables(native, native_batch_size), table], numbers | found, json_file)
    if any(results.difference for _, results in measured):
        out.print("[bold red]RTL differs from golden[/]")
        raise typer.Exit(DIFFER)
    out.print("[bold green]RTL == golden[/] in " + ("both" if engines is Engines.both else "the co-simulation"))
