"""Runs a job on either engine, with progress, and writes its outputs."""

from contextlib import ExitStack, nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hotline_rtl.config import AcceleratorConfig

from ..engine.cosim import CosimTransport
from ..engine.emission import emitted_verilog
from ..engine.memory_model import MemoryTiming
from ..engine.toolchain import build_root, find_verilator
from ..traces.trace import Trace
from .job import Job, prepare
from .outputs import OutputWriter
from .session import Results, Session
from .timeline import Timeline


def run_session(job: Job, transport, *, directory: Path | None = None, progress=None) -> Results:
    """The main job over any transport, its outputs into ``directory``."""
    session = Session(job, transport, progress=progress)
    with OutputWriter(directory) if directory else nullcontext() as writer:
        if writer:
            writer.before(job, emitted_verilog(job.config))
        for output in session.run():
            if writer:
                writer.micro_batch(output)
        if writer:
            writer.after(job, session.results, session.hot_list)
    return session.results


def run_job(
    trace: Trace,
    config: AcceleratorConfig,
    *,
    batch_size: int,
    learn: float,
    resident: int | None,
    dim: int,
    engine: str,
    timings: tuple[MemoryTiming, MemoryTiming],
    directory: Path | None,
    waves: bool,
    console: Console,
    timeline: Path | None = None,
    **options,
) -> tuple[Job, Results]:
    """Builds the engine, runs; ``options`` are more of ``prepare``'s, ``timeline`` a picture to draw.

    Raises what the parts raise, before anything is written.
    """
    with console.status("Laying out the memories..."):
        job = prepare(trace, config, batch_size=batch_size, learn=learn, resident=resident, dim=dim, **options)
    console.print(f"Verilog simulated by {find_verilator().description}", highlight=False)
    waves_file = None
    if waves:
        folder = directory.parent if directory else build_root()
        folder.mkdir(parents=True, exist_ok=True)
        waves_file = folder / f"{directory.name if directory else 'hotline'}.vcd"
        console.print(f"Waves go to {waves_file}")
    if engine == "cocotb":
        from .cocotb_engine import run_in_cocotb

        with console.status("Running in cocotb (slow: thousands of cycles a second)..."):
            return job, run_in_cocotb(job, timings=timings, directory=directory, waves=waves_file)

    with ExitStack() as stack:
        with console.status("Building the co-simulation (once for each configuration)..."):
            transport = stack.enter_context(
                CosimTransport(
                    config, job.host, job.device, host_timing=timings[0], device_timing=timings[1], waves=waves_file
                )
            )
        bar = stack.enter_context(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
        )
        tasks = {what: bar.add_task(what, total=None) for what in ("learn", "split")}

        def progress(what: str, done: int, total: int) -> None:
            bar.update(tasks[what], completed=done, total=total)

        watched = Timeline(job, transport) if timeline else None
        results = run_session(job, transport, directory=directory, progress=progress)
        if watched and timeline:
            watched.draw(results, timeline)
        return job, results
