"""The ``hotline`` command: the front door of everything."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from hotline_rtl import VERSION
from hotline_sim.files.json_file import write_json
from hotline_sim.files.new_folder import locked_folder
from hotline_sim.files.whole_file import whole_file

from .bench import bench_app
from .last_handler import Group
from .last_handler import run as run_app
from .options import (
    DEFAULT_TRACE,
    DIFFER,
    TRACE_HELP,
    AmpOption,
    BatchSizeOption,
    ColdRowsOption,
    DeviceOption,
    Engine,
    FrozenOption,
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
    TogetherOption,
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
from .traces import FirstSamplesOption, SchemaOption, opened, trace_app

app = typer.Typer(
    cls=Group,
    help="Hotline: an accelerator that fragments recommendation-model training into popular and "
    "non-popular micro-batches.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(trace_app, name="trace")
app.add_typer(bench_app, name="bench")


@app.command()
def verilog(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    preset: PresetOption = "ecp5",
    settings: SetOption = None,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            help="Name of the top module, with which the names of all other modules begin. Two configurations in one design "
            "need two names.",
        ),
    ] = "hotline",
) -> None:
    """Write the Verilog of a configuration: one self-contained file, top module `hotline` or what --name says."""
    from hotline_rtl.emit.verilog import accelerator_verilog

    config = configuration(preset, settings)
    check_outputs(output)
    with err.status("Emitting Verilog..."):
        text = accelerator_verilog(config, name)
    with whole_file(output) as file:
        file.write_text(text)
    out.print(f"{output}: configuration {config.digest()}, {len(text) / 1e6:.1f} MB of Verilog")


@app.command()
def run(
    trace: Annotated[str, typer.Option("--trace", metavar="SPEC", help=TRACE_HELP)] = DEFAULT_TRACE,
    samples: FirstSamplesOption = None,
    schema: SchemaOption = None,
    preset: PresetOption = "ecp5",
    settings: SetOption = None,
    batch_size: BatchSizeOption = 256,
    frozen: FrozenOption = False,
    learn: LearnOption = None,
    resident: ResidentOption = "auto",
    dim: Annotated[int, typer.Option("--dim", min=4, max=256, help="float32 values of an embedding row.")] = 16,
    directory: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Write everything that came out to this new folder; see docs/outputs.md."),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="cosim is fast; cocotb is the reference bench.")
    ] = Engine.cosim,
    host_latency: Annotated[
        int, typer.Option("--host-latency", min=0, help="Cycles from a host read to its data.")
    ] = 100,
    device_latency: Annotated[int, typer.Option("--device-latency", min=0, help="The same of device memory.")] = 40,
    jitter: Annotated[
        bool,
        typer.Option(
            "--jitter/--no-jitter",
            help="Hostile memories: latencies up to 3 times as long, reordering, interleaving, stalls.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the memories' random behaviour; never changes results.")
    ] = 1,
    waves: Annotated[
        bool, typer.Option("--waves", help="Write waves (VCD) into the build folder, or --out.")
    ] = False,
    prefetch: Annotated[
        bool,
        typer.Option(
            "--prefetch", help="Submit the next mini-batch's SPLIT before a step's SCATTER; the bytes are the same."
        ),
    ] = False,
    look_ahead: Annotated[
        int,
        typer.Option(
            "--look-ahead",
            metavar="K",
            min=0,
            help="Learn from the mini-batch that is K ahead, and bring rows in before they are used; see docs/following.md.",
        ),
    ] = 0,
    step_cycles: Annotated[
        int, typer.Option("--step-cycles", min=0, help="Cycles that the GPU takes between a SPLIT and its SCATTER.")
    ] = 0,
    plot: PlotOption = None,
    timeline: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--timeline", metavar="FILE", dir_okay=False, help="Draw what overlaps with what into FILE."),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Run a click log through the emitted Verilog, and compare every byte with the golden model.

    Every mini-batch is split and its cold rows are gathered; the hot set takes over what it has learnt from it; all rows that the
    mini-batch uses are updated by a stated rule, and cold ones scattered back. Everything is compared.
    """
    from hotline_sim.engine.memory_model import MemoryTiming
    from hotline_sim.run.plot import draw
    from hotline_sim.run.report import results_table, summary
    from hotline_sim.run.runner import run_job

    config, share = hot_set(preset, settings, frozen, learn)
    if directory and directory.exists() and any(directory.iterdir()):
        raise ValueError(f"--out {directory}: the folder is not empty")
    check_outputs(json_file, timeline, plot)
    if engine is Engine.cocotb:
        need("--engine cocotb", "cocotb", "cocotbext.axi", instead="leave --engine away")
    if timeline and engine is not Engine.cosim:
        raise ValueError("--timeline needs the co-simulation: leave --engine away")
    bound = resident_rows(resident)

    def timing(latency: int, offset: int) -> MemoryTiming:
        if not jitter:
            return MemoryTiming((latency, latency), (latency // 2, latency // 2), seed=seed + offset)
        return MemoryTiming(
            (latency, 3 * latency), (latency // 2, 2 * latency), True, True, (0.1, 0.1, 0.1, 0.1, 0.1), seed + offset
        )

    job, results = run_job(
        opened(trace, samples, schema),
        config,
        batch_size=batch_size,
        learn=share,
        resident=bound,
        dim=dim,
        engine=engine.value,
        timings=(timing(host_latency, 0), timing(device_latency, 1000)),
        directory=directory,
        waves=waves,
        console=err,
        timeline=timeline,
        prefetch=prefetch,
        look_ahead=look_ahead,
        step_cycles=step_cycles,
    )
    publish([results_table(job, results)], summary(job, results), json_file)
    if plot:
        draw(job, results, plot)
    if results.difference:
        out.print(f"[bold red]RTL differs from golden[/]: {results.difference}", soft_wrap=True)
        raise typer.Exit(DIFFER)
    out.print("[bold green]RTL == golden[/]: every byte of both memories, and every completion")


@app.command()
def advise(
    trace: Annotated[str, typer.Argument(metavar="SPEC", help=TRACE_HELP)],
    samples: FirstSamplesOption = None,
    schema: SchemaOption = None,
    pcie_gbs: Annotated[float, typer.Option("--pcie-gbs", min=0.1, help="What PCIe carries, GB/s.")] = 12.0,
    device_memory: Annotated[
        float, typer.Option("--device-memory", min=0.1, help="For resident tables and hot rows, MiB.")
    ] = 1024.0,
    dim: Annotated[int, typer.Option("--dim", min=4, max=256, help="Floats of an embedding row.")] = 16,
    json_file: JsonOption = None,
) -> None:
    """Is an accelerator worth it for this data? Which tables to make resident, how large a tracker, what to expect.

    Of a long log, the last mini-batches are read, so that the answer takes seconds.
    """
    from dataclasses import asdict

    from rich.table import Table

    from hotline_sim.studies.advise import advise as ask

    check_outputs(json_file)
    need("advise", "numba")
    log = opened(trace, samples, schema)
    with err.status("learning"):
        found = ask(log, device_bytes=int(device_memory * 2**20), row_bytes=4 * dim)
    table = Table(
        "entries",
        "popular",
        "hot accesses",
        "working rows a sample",
        "bytes a sample",
        "PCIe: samples/s",
        title=f"{found.resident_tables} of {found.tables} tables resident ({found.resident_rows:,} rows)",
        caption=f"a hot set that follows the data: {found.batches:,} mini-batches of {found.batch:,}, and as many that judge",
    )
    for n, o in enumerate(found.options):
        table.add_row(
            f"{o.entries:,}",
            f"{o.popular_share:.1%}",
            f"{o.coverage:.1%}",
            f"{o.working_rows:.2f}",
            f"{o.bytes:,.0f}",
            f"{pcie_gbs * 1e9 / o.bytes:,.0f}",
            style="bold" if n == found.chosen else None,
        )
    out.print(table)
    for name, size in (("every access's row", found.plain_bytes), ("each row once a mini-batch", found.merged_bytes)):
        out.print(
            f"plain hybrid, {name}: {size:,.0f} bytes a sample, {pcie_gbs * 1e9 / size:,.0f} samples/s over PCIe"
        )
    out.print(f"the curve bends at {found.best.entries:,} entries", highlight=False)
    colour = {"yes": "green", "maybe": "yellow", "no": "red"}[found.verdict]
    out.print(f"[bold {colour}]worth it: {found.verdict}[/]")
    for reason in found.reasons:
        out.print(f"  {reason}")
    if json_file:
        write_json(json_file, asdict(found) | {"pcie_gbs": pcie_gbs})


@app.command()
def synth(
    target: Annotated[
        str,
        typer.Option(
            "--target", help="ecp5-85k, ecp5-45k or ecp5-25k: placed and routed; xcup or xc7: Yosys' area only."
        ),
    ] = "ecp5-85k",
    preset: PresetOption = "ecp5",
    settings: SetOption = None,
    speed: Annotated[int, typer.Option("--speed", min=6, max=8, help="Speed grade of an ECP5.")] = 8,
    seeds: Annotated[
        int, typer.Option("--seeds", min=0, help="Places and routes, each with another seed; 0: none.")
    ] = 1,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Seeds at a time; each takes 1 to 2 GB.")] = 1,
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Place an ECP5 with our own steps around nextpnr's: faster, and takes longer."),
    ] = False,
    directory: Annotated[
        Path, typer.Option("--out", help="Folder for netlist, logs and report.json; made if it is not there.")
    ] = Path("build/synth"),
    save: Annotated[Path | None, typer.Option("--save", help="Keep the result in this file, as a baseline.")] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Compare with this baseline: exit code 1 if clock or LUTs are 5 % worse."),
    ] = None,
) -> None:
    """Synthesise, place, route and time a configuration with Yosys and nextpnr.

    Prints what it takes of the part, the clock over the seeds, the critical path, and the area of each block. Ports are
    kept behind registers (a timing harness), so only paths inside the accelerator count. Takes some minutes to
    synthesise the `ecp5` preset (`--seeds 0`: no more than that); placing and routing it takes a quarter
    of an hour a seed, and with `--refine` half an hour to an hour.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from hotline_fpga import baseline, flow
    from hotline_fpga.harness import TOP
    from hotline_fpga.netlist import Netlist
    from hotline_fpga.parts import part
    from hotline_fpga.report import numbers, tables
    from hotline_fpga.tools import find_tool

    chip, config = part(target), configuration(preset, settings)
    seeds = seeds if chip.routed else 0
    before = baseline.read(check) if check else None
    if before:
        baseline.check_comparable(before, config.digest(), target, speed, seeds, refine)
    find_tool("yosys")
    if seeds:
        flow.require_placer(refine)
    with (
        locked_folder(directory, "--out"),
        Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err, transient=True
        ) as bar,
    ):
        task = bar.add_task("yosys", total=None)
        path = flow.synthesise(
            config, chip, directory, lambda text: bar.update(task, description=f"yosys: {text}"), refine
        )
        bar.remove_task(task)
        tasks = {seed: bar.add_task(f"seed {seed}", total=None) for seed in range(1, seeds + 1)}
        timings = (
            flow.place_and_route(
                chip,
                speed,
                len(tasks),
                directory,
                jobs,
                lambda seed, text: bar.update(tasks[seed], description=f"seed {seed}: {text or 'done'}"),
                refine,
            )
            if tasks
            else []
        )
    found = numbers(
        config,
        target,
        chip,
        speed,
        Netlist.read(path, TOP if chip.routed else "hotline", chip.family),
        timings,
        refine,
    )
    write_json(directory / "report.json", found)
    publish(tables(found), found)
    out.print(f"{directory / 'report.json'} has all of it")
    if save:
        write_json(save, baseline.kept(found, preset, settings or []))
    if before:
        worse = baseline.worse(found, before)
        out.print("\n".join(worse) if worse else f"no worse than {check}")
        if worse:
            raise typer.Exit(DIFFER)


@app.command()
def bitstream(
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    directory: Annotated[Path, typer.Option("--out", help="Folder for bitstream, logs and report.")] = Path(
        "build/bitstream"
    ),
) -> None:
    """Build the bitstream of a ULX3S board: the accelerator, 64 KiB of memory for each side, and a serial line.

    All of the open flow: Amaranth, Yosys, nextpnr and ecppack. `openFPGALoader -b ulx3s build/bitstream/hotline.bit` loads
    it; `hotline_sim.host.serial_link` talks to it. Takes a quarter of an hour or so, most of it in nextpnr.
    """
    from hotline_fpga import flow
    from hotline_fpga.board.ulx3s import ULX3S
    from hotline_fpga.tools import find_tool

    config = configuration(preset, settings)
    for tool in ("yosys", "ecppack"):
        find_tool(tool)
    flow.require_placer(refine=False)
    with locked_folder(directory, "--out"), err.status("bitstream") as status:
        path, timing = flow.bitstream(config, directory, lambda text: status.update(f"bitstream: {text}"))
    found = {
        "bitstream": str(path), "bytes": path.stat().st_size, "configuration": config.digest(), "board": "ulx3s",
        "fmax_mhz": timing.fmax_mhz, "needed_mhz": ULX3S.mhz, "used": timing.used,
    }  # fmt: skip
    write_json(directory / "report.json", found)
    out.print(
        f"{path}: {found['bytes']:,} bytes; {timing.fmax_mhz:.1f} MHz of {ULX3S.mhz:.0f} MHz that the board needs"
    )


@app.command()
def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="native|golden|live|DIR",
            help="What makes the micro-batches: the software engine (millions of samples a second), the golden model, the "
            "co-simulated accelerator, or a folder that `hotline run --out DIR` wrote.",
        ),
    ] = "native",
    trace: ModelTraceOption = None,
    model: ModelOption = "small",
    scale: ScaleOption = 0.01,
    samples: SamplesOption = None,
    schema: SchemaOption = None,
    preset: PresetOption = "ecp5",
    settings: SetOption = None,
    batch_size: BatchSizeOption = 256,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Mini-batches; 0: all, once.")] = 0,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the samples that is kept for AUC and log loss.")
    ] = 0.1,
    optimizer: OptimizerOption = "rowwise-adagrad",
    learning_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--lr", help="Learning rate; without it 0.05, 0.005 for adam, 0.1 for sgd."),
    ] = None,
    double: Annotated[bool, typer.Option("--double", help="Train in float64.")] = False,
    amp: AmpOption = None,
    tf32: Tf32Option = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the model's initial weights.")] = 1,
    frozen: FrozenOption = False,
    learn: LearnOption = None,
    resident: ResidentOption = "auto",
    cold_rows: ColdRowsOption = "direct",
    together: TogetherOption = None,
    prefetch: Annotated[
        bool,
        typer.Option("--prefetch/--no-prefetch", help="Ask for the next mini-batch before a step's rows are back."),
    ] = True,
    device: DeviceOption = "cpu",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits in every run, on a GPU, too.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Train in float64, unsplit as well; compare.")
    ] = False,
    checkpoint: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--checkpoint", metavar="DIR", help="Folder in which the training is kept, in the end."),
    ] = None,
    every: Annotated[
        int, typer.Option("--every", min=0, help="With --checkpoint: also after every so many steps.")
    ] = 0,
    resume: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--resume", metavar="must|auto", help="Go on from --checkpoint: it must be there, or if it is there."
        ),
    ] = None,
    json_file: JsonOption = None,
    plot: PlotOption = None,
) -> None:
    """Train a DLRM in PyTorch on the micro-batches that the hardware produced.

    One optimizer step for each mini-batch: parameters are those of training without fragmenting (--check).
    """
    need("train", "torch", "numba", *(["sklearn"] if held_out else []))
    from hotline_train.checkpoint import exists
    from hotline_train.distributed.ranks import first_rank, leave
    from hotline_train.experiment import AUTO, MUST, SOURCES, Plan, draw
    from hotline_train.experiment import train as carry_out
    from hotline_train.models.dlrm import dlrm_shape
    from hotline_train.optimizers import LEARNING_RATES
    from hotline_train.settings import Settings

    check_outputs(json_file, plot)
    if checkpoint and not checkpoint.parent.is_dir():
        raise ValueError(f"--checkpoint {checkpoint}: there is no folder {checkpoint.parent}")
    if (resume or every) and not checkpoint:
        raise ValueError("--resume and --every need --checkpoint DIR")
    if resume not in (None, MUST, AUTO):
        raise ValueError(f"--resume {resume[:40]}: there are {MUST} and {AUTO}")
    if checkpoint and checkpoint.is_file():
        raise ValueError(f"--checkpoint {checkpoint}: this is a file; name a folder")
    if resume == MUST and checkpoint and not exists(checkpoint):
        raise ValueError(f"--checkpoint {checkpoint}: there is no such folder to resume from")
    if check and (amp or tf32):
        raise ValueError("--check needs exact products: leave --amp and --tf32 away")
    if resume and check:
        raise ValueError("--check compares a whole training: leave --resume away")
    shape = dlrm_shape(model)
    rate = LEARNING_RATES.get(optimizer, 0.1) if learning_rate is None else learning_rate
    # In float32 rounding may turn a ReLU on or off, and two right trainings are then percents apart.
    wanted = Settings(shape, optimizer, rate, "float64" if double or check else "float32", seed, autocast(amp), tf32)
    plan = Plan(
        source,
        wanted,
        device,
        steps,
        held_out,
        prefetch,
        check,
        deterministic,
        checkpoint,
        every,
        resume or "",
        cold_rows,
        together,
    )
    if source in SOURCES:
        config, share = hot_set(preset, settings, frozen, learn)
        log = opened(trace or f"{shape.trace},samples={samples or 20_000},scale={scale}", samples, schema)
        result = carry_out(plan, log, config, batch_size, err, learn=share, resident=resident_rows(resident))
    else:
        result = carry_out(plan, None, None, batch_size, err)
    if first_rank():
        if plot:
            draw(result, plot)
        publish([result.table()], result.numbers(), json_file)
    leave()
    if not result.agree:
        out.print("[bold red]Training on micro-batches differs from training on whole mini-batches[/]")
        raise typer.Exit(DIFFER)


@app.command()
def estimate(
    bench: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--bench", metavar="FILE", help="What `hotline bench gpu --json` or `bench train --json` wrote."
        ),
    ] = None,
    case: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--case", metavar="NAME", help="Which of its runs; without it, the first."),
    ] = None,
    parts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--parts", metavar="FILE", help="In place of --bench: parts by hand, as JSON; see docs/estimate.md."
        ),
    ] = None,
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--run", metavar="FILE", help="What `hotline run --json` wrote: the accelerator's cycles."),
    ] = None,
    clock: Annotated[float, typer.Option("--clock", metavar="MHZ", min=1, help="Of the accelerator.")] = 250.0,
    engines: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--engines",
            metavar="FILE",
            help="What `hotline bench engines --json` wrote: the software engine's split. "
            "Without it a split takes no time.",
        ),
    ] = None,
    bus: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--bus-gbs", min=0.001, help="GB/s of the bus, each way, if --bench has none."),
    ] = None,
    gpus: Annotated[str, typer.Option("--gpus", metavar="N,N", help="GPUs of a node.")] = "1,2,4,8",
    nodes: Annotated[str, typer.Option("--nodes", metavar="N,N", help="Nodes.")] = "1,2,4,8,16",
    network: Annotated[float, typer.Option("--network-gbs", min=0.001, help="GB/s of each GPU's network.")] = 25.0,
    latency: Annotated[float, typer.Option("--network-latency-us", min=0, help="Of a message there.")] = 10.0,
    plot: PlotOption = None,
    json_file: JsonOption = None,
) -> None:
    """Estimate what training takes with the accelerator, with the software engine and with a hybrid, on one to many GPUs.

    Of measured parts only: cycles of the co-simulation at a stated clock, times of a GPU's phases, rates of its bus. It says
    whether its model of the software engine comes near to what was measured.
    """
    from dataclasses import replace

    need("estimate", "simpy")
    from hotline_sim.studies import parts as p
    from hotline_sim.studies.estimate import draw, make

    check_outputs(json_file, plot)
    if (bench is None) == (parts is None):
        raise ValueError("estimate needs --bench FILE or --parts FILE")
    links = p.Links(bus * 1e9, bus * 1e9, bus * 1e9, bus * 1e9) if bus else None
    rate = p.engine_rate(engines) if engines else 0.0
    if bench:
        made = p.from_bench(bench, case, links, rate)
    else:
        if links is None:
            raise ValueError("--parts needs --bus-gbs")
        assert parts
        made = p.by_hand(parts, links, rate)
    made = p.with_network(made, network, latency)
    if run:
        card = p.accelerator(run, clock)
        made = replace(made, accelerator=card, sources=made.sources | {"accelerator": f"{run} at {clock:g} MHz"})
    found = make(made, counts("--gpus", gpus), counts("--nodes", nodes))
    if plot:
        draw(found, plot)
    publish([found.table()], found.numbers(), json_file)


@app.command()
def config(preset: PresetOption = "ecp5", settings: SetOption = None) -> None:
    """Show every size of a configuration."""
    from rich.table import Table

    chosen = configuration(preset, settings)
    table = Table("name", "value", title=f"configuration {chosen.digest()}")
    for name, value in asdict(chosen).items():
        table.add_row(name, str(value))
    out.print(table)


@app.command()
def version() -> None:
    """Show the version, and the Verilator that would be used."""
    from hotline_sim.engine.toolchain import ToolError, find_verilator

    try:
        tool = find_verilator().description
    except ToolError as e:
        tool = str(e)
    out.print(f"hotline {VERSION}; {tool}")


def main() -> None:
    """Runs the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
