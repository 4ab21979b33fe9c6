"""What ``hotline train`` does: from a source of micro-batches to a trained model, its quality, and a plot."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hotline_rtl.config import AcceleratorConfig
from hotline_sim.run.job import prepare
from hotline_sim.run.run_directory import RunDirectory
from hotline_sim.traces.trace import Trace

from . import checkpoint
from .distributed import ranks as distributed
from .distributed.source import RankSource
from .evaluation import Quality, all_tables, evaluate, parameters, part_of_movement, quality
from .reference import train_plain
from .settings import Settings
from .sources.engine import Engine, GoldenEngine, GoldenSource
from .sources.native import NativeSource, native_engine
from .sources.recorded import RecordedSource
from .sources.source import MicroBatchSource, check_payload
from .step.device import device_for, device_name
from .step.trainer import REMEDY, NotFiniteError, Step, Trainer

#: What makes micro-batches of a trace: the software engine, the golden model, the co-simulated accelerator.
SOURCES = ("native", "golden", "live")
#: How a training goes on from its checkpoint: it must be there; or if it is there.
MUST, AUTO = "must", "auto"
#: Seconds between two lines where there is no terminal.
LINES = 10.0
#: Steps between two looks at the loss: each waits for the device.
SHOWN = 10
#: Two trainings count as equal when they end no further apart than this part of what training has moved, by type. Rounding alone
#: gives 1e-15 to 1e-13 in float64. In float32 it mostly gives 1e-6 to 6e-5, but percents when it turns a ReLU on or off.
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}


@dataclass(frozen=True)
class Plan:
    """What ``hotline train`` is asked for. ``source``: one of SOURCES, or a folder of ``hotline run --out``;
    ``held_out``: the part of the samples that is not trained on; ``steps``: 0 for one pass over the others."""

    source: str
    settings: Settings
    device: str = "cpu"
    steps: int = 0
    held_out: float = 0.1
    prefetch: bool = True
    check: bool = False
    deterministic: bool = False
    checkpoint: Path | None = None
    every: int = 0
    resume: str = ""
    cold_rows: str = "direct"
    together: bool | None = None


@dataclass
class Trained:
    """``steps`` as they went; ``seconds`` of them, and ``bus_bytes`` of rows between host and device, if there is one rank;
    ``difference`` from plain training, if that was asked for, as a part of what that has moved, and how good that is."""

    plan: Plan
    steps: list[Step] = field(default_factory=list)
    first: int = 0
    seconds: float = 0.0
    bus_bytes: int | None = None
    quality: Quality | None = None
    difference: float | None = None
    plain_quality: Quality | None = None
    device_name: str = ""

    @property
    def agree(self) -> bool:
        return self.difference is None or self.difference <= TOLERANCE[self.plan.settings.dtype]

    @property
    def samples(self) -> int:
        return sum(step.samples for step in self.steps)

    @property
    def popular_share(self) -> float:
        return sum(step.popular for step in self.steps) / max(1, self.samples)

    @property
    def bus_bytes_per_sample(self) -> float | None:
        return None if self.bus_bytes is None else self.bus_bytes / max(1, self.samples)

    def numbers(self) -> dict:
        """What ``--json`` holds."""
        plan = self.plan
        found: dict = {
            "source": plan.source, "device": self.device_name, "settings": asdict(plan.settings), "prefetch": plan.prefetch,
            "samples": self.samples, "mini_batches": len(self.steps), "first_step": self.first, "seconds": self.seconds,
            "samples_per_second": self.samples / self.seconds if self.seconds else 0.0,
            "popular_share": self.popular_share, "bus_bytes_per_sample": self.bus_bytes_per_sample,
            "losses": [step.loss for step in self.steps],
        }  # fmt: skip
        if self.quality:
            found |= {"held_out": asdict(self.quality)}
        if self.plain_quality:
            found |= {"plain_held_out": asdict(self.plain_quality)}
        if self.difference is not None:
            found |= {"difference": self.difference, "tolerance": TOLERANCE[plan.settings.dtype], "agree": self.agree}
        return found

    def table(self) -> Table:
        """For people."""
        table = Table(title=f"training from {self.plan.source}", show_header=False)
        table.add_row(
            "samples",
            f"{self.samples:,} in {len(self.steps):,} mini-batches"
            + (f", from step {self.first:,} on" if self.first else ""),
        )
        table.add_row("speed", f"{self.samples / max(self.seconds, 1e-9):,.0f} samples/s ({self.device_name})")
        table.add_row("popular share", f"{self.popular_share:.1%}")
        if (size := self.bus_bytes_per_sample) is not None:
            table.add_row("rows over the bus", f"{size:,.0f} bytes a sample")
        if self.steps:
            tenth = max(1, len(self.steps) // 10)
            first, last = (np.mean([s.loss for s in part]) for part in (self.steps[:tenth], self.steps[-tenth:]))
            table.add_row("loss", f"{first:.4f} in the first tenth, {last:.4f} in the last")
        if q := self.quality:
            table.add_row("held-out samples", f"{q.samples:,}: AUC {q.auc:.4f}, log loss {q.log_loss:.4f}")
        if p := self.plain_quality:
            table.add_row("trained whole", f"AUC {p.auc:.4f}, log loss {p.log_loss:.4f}")
        if self.difference is not None:
            table.add_row(
                "against whole mini-batches",
                f"{self.difference:.1e} of what training moved (at most "
                f"{TOLERANCE[self.plan.settings.dtype]:.0e} is equal, {self.plan.settings.dtype})",
            )
        return table


def divide(trace: Trace, batch_size: int, held_out: float) -> tuple[Trace, Trace | None]:
    """Whole mini-batches to train on, and the samples after them. Raises ValueError for a trace that is too short."""
    if not 0 <= held_out < 1:
        raise ValueError(f"the held-out part must be in [0, 1), not {held_out}")
    if held_out == 0:
        return trace, None
    count = int(trace.samples * (1 - held_out)) // batch_size * batch_size
    if count == 0:
        raise ValueError(
            f"{trace.name}: {trace.samples} samples do not give a mini-batch of {batch_size} beside the held-out part"
        )
    return trace.head(count), trace.after(count)


def train(
    plan: Plan,
    trace: Trace | None,
    config: AcceleratorConfig | None,
    batch_size: int,
    console: Console,
    **job_options,
) -> Trained:
    """Carries out ``plan``. ``trace``, ``config``, ``batch_size`` and more of ``prepare``'s options are for SOURCES; a folder has
    its own. Raises what its parts raise, before anything is written."""
    settings = plan.settings
    if plan.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it; no matter on a CPU
        torch.use_deterministic_algorithms(True)
    device, ranks = plan.device, 1
    if distributed.launched():
        if plan.source not in ("native", "golden"):
            raise ValueError(f"{plan.source}: several ranks train on micro-batches of native or golden only")
        device = distributed.join(device)
        ranks = torch.distributed.get_world_size()
    target = device_for(device)
    result = Trained(plan, device_name=device_name(device) + (f", {ranks} ranks" if ranks > 1 else ""))
    with ExitStack() as stack:
        source: MicroBatchSource
        kind: type[Trainer] = Trainer
        if plan.source in SOURCES:
            assert trace is not None and config is not None
            check_payload(trace)
            part, held_out = divide(trace, batch_size, plan.held_out)
            live = plan.source == "live"
            options = {
                "batch_size": batch_size,
                "dim": settings.rows.words,
                "output_sets": 2,
                "fill": live,
                **job_options,
            }
            job = prepare(part, config, **options)
            if distributed.launched():
                engine: Engine = GoldenEngine(job) if plan.source == "golden" else native_engine(job)
                source = RankSource(job, settings.rows, engine, target.device)
                kind = distributed.DistributedTrainer
            elif plan.source == "native":
                source = NativeSource(job, settings.rows)
            elif plan.source == "golden":
                source = GoldenSource(job, settings.rows)
            else:
                from hotline_sim.engine.cosim import CosimTransport

                from .sources.live import LiveSource

                with console.status("Building the co-simulation (once for each configuration)..."):
                    transport = stack.enter_context(CosimTransport(config, job.host, job.device))
                source = LiveSource(job, transport, settings.rows)
        else:
            run = RunDirectory.open(Path(plan.source))
            check_payload(run.trace)
            part, held_out = divide(run.trace, run.summary["batch_size"], plan.held_out)
            source = RecordedSource(run, settings.rows, part)

        def make(**more) -> Trainer:
            return kind(
                settings,
                source,
                target,
                prefetch=plan.prefetch,
                cold_rows=plan.cold_rows,
                together=plan.together,
                **more,
            )

        kept = plan.checkpoint
        resumes = kept is not None and (plan.resume == MUST or (plan.resume == AUTO and checkpoint.exists(kept)))
        trainer = checkpoint.load(kept, settings, source, make) if kept and resumes else make()
        stack.callback(trainer.close)
        result.first = trainer.number
        total = plan.steps or source.batches
        _run(trainer, total, result, console)
        if plan.checkpoint:
            checkpoint.save(trainer, plan.checkpoint)
        if held_out is not None:
            result.quality = evaluate(trainer, held_out)
        if plan.check:
            with console.status("Training on whole mini-batches, for comparison..."):
                plain = train_plain(part, settings, source.batch_size, total)
            if held_out is not None:
                result.plain_quality = quality(*plain.probabilities(held_out))
            start = train_plain(part, settings, source.batch_size, 0)
            result.difference = part_of_movement(
                [*parameters(trainer.model), *all_tables(trainer)],
                [*parameters(plain.model), *plain.tables],
                [*parameters(start.model), *start.tables],
            )
    return result


def _run(trainer: Trainer, total: int, result: Trained, console: Console) -> None:
    """The steps that are missing to ``total``, with progress, and checkpoints on the way."""
    plan = result.plan
    with progress(console, total, trainer.number) as show:
        started = time.perf_counter()
        samples = checked = 0

        def check() -> None:
            """Raises NotFiniteError for the first step, of those since the last call, whose loss is not finite."""
            nonlocal checked
            new = result.steps[checked:]
            if (
                new and not torch.stack([step.mean_loss for step in new]).isfinite().all()
            ):  # waits once for all of them
                step = next(step for step in new if not math.isfinite(step.loss))
                raise NotFiniteError(f"step {step.number}: the loss is {step.loss}; {REMEDY}")
            checked = len(result.steps)

        def after(step: Step) -> None:
            nonlocal samples
            result.steps.append(step)
            samples += step.samples
            if step.number % SHOWN:
                return
            check()
            speed = samples / (time.perf_counter() - started)
            now = f"loss {step.loss:.4f}, {speed:,.0f} samples/s, {step.popular / step.samples:.0%} popular"
            show(step.number + 1, now)

        while trainer.number < total:
            stretch = total - trainer.number
            if plan.checkpoint and plan.every:
                stretch = min(stretch, plan.every - trainer.number % plan.every)
            trainer.run(stretch, after)
            check()
            trainer.check_finite()
            if plan.checkpoint and trainer.number < total:
                checkpoint.save(trainer, plan.checkpoint)
        trainer.device.synchronise()
        if not distributed.launched():
            result.bus_bytes = trainer.feed.bus_bytes
        result.seconds = time.perf_counter() - started


@contextmanager
def progress(console: Console, total: int, done: int) -> Iterator[Callable[[int, str], None]]:
    """Shows how far a training is: a bar in a terminal, else a line now and then; from one rank."""
    last = time.monotonic()

    def line(completed: int, now: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINES or completed == total:
            last = time.monotonic()
            console.print(f"step {completed:,} of {total:,}: {now}", highlight=False)

    if not distributed.first_rank():
        yield lambda completed, now: None
        return
    if not console.is_terminal:
        yield line
        return
    columns = (
        TextColumn("mini-batches"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, completed=done, now="")
        yield lambda completed, now: bar.update(task, completed=completed, now=now)


def draw(result: Trained, path: Path) -> None:
    """Draws loss and popular share, step by step, into ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 5))
    numbers = [step.number for step in result.steps]
    losses = np.array([step.loss for step in result.steps])
    above.plot(numbers, losses, lw=0.6, color="0.7")
    window = max(1, len(losses) // 50)
    mean = np.convolve(losses, np.ones(window) / window, mode="valid")
    above.plot(numbers[window - 1 :], mean, label=f"mean of {window} steps")
    above.set_ylabel("loss")
    above.legend()
    below.plot(numbers, [step.popular / step.samples for step in result.steps], lw=0.8)
    below.set(xlabel="step", ylabel="popular share", ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
