"""``hotline trace``: making, converting and describing traces; and opening one for the other commands, with progress."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hotline_sim.files.json_file import write_json

from .options import TRACE_HELP, JsonOption, check_outputs, err, out, publish

if TYPE_CHECKING:
    from hotline_sim.traces import Trace
    from hotline_sim.traces.readers.reader import Reader

trace_app = typer.Typer(
    help="Make, convert and describe traces.\n\n"
    "A trace is named by a SPEC, for example:\n\n"
    "  criteo:train.txt.gz\n\n"
    "  csv:clicks.csv,label=click,dense=age+price,sparse=user+item=history,hot=history:20\n\n"
    "  parquet:day_*.parquet,label=label,dense=I1:I13,sparse=C1:C26\n\n"
    "  npy:terabyte/,rule=modulo,rows=mlperf-v2\n\n"
    "  folder:mytrace\n\n"
    "  synthetic:avazu,samples=100000",
    no_args_is_help=True,
)

FirstSamplesOption = Annotated[
    Optional[int],  # noqa: UP045 (typer reads it at run time)
    typer.Option("--samples", min=1, help="Only the first N samples."),
]
SchemaOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--schema",
        metavar="FILE",
        help="JSON or TOML: which columns are what; `hotline trace describe` proposes one.",
    ),
]
#: From so many samples on, a log that is read as text is better converted once.
LONG = 1_000_000
#: Bytes from which on it is said what was held.
MUCH = 50_000_000


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, float], None]]:
    """A bar; yields what is called with samples, and the part that is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=1.0, now="")
        began = time.perf_counter()

        def show(samples: int, part: float) -> None:
            speed = samples / max(1e-9, time.perf_counter() - began)
            bar.update(task, completed=part, now=f"{samples:,} samples, {speed:,.0f}/s")

        yield show


def opened(spec: str, samples: int | None = None, schema: Path | None = None) -> "Trace":
    """The trace that ``spec`` names; a log that can only be read in order is read now. Raises TraceError."""
    from hotline_sim.traces import open_trace
    from hotline_sim.traces.spool import SpooledTrace

    with progress_bar(f"Reading {spec[:60]}") as show:
        trace = open_trace(spec, samples=samples, schema_file=schema, progress=show)
    if isinstance(trace, SpooledTrace) and trace.memory >= MUCH:
        err.print(f"{trace.memory / 1e6:,.0f} MB held the values seen", highlight=False)
    if isinstance(trace, SpooledTrace) and trace.samples >= LONG:
        err.print(
            f"{trace.samples:,} samples were read from text or columns; `hotline trace make` converts them once, into a "
            "folder that opens at once",
            highlight=False,
        )
    return trace


@trace_app.command("make")
def trace_make(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help=TRACE_HELP)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="FOLDER to make; or a file: NAME.npz, or NAME.tsv or NAME.tsv.gz for text in the Criteo format.",
        ),
    ],
    samples: FirstSamplesOption = None,
    schema: SchemaOption = None,
    shuffle: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--shuffle", metavar="SEED", min=0, help="Another order; without it the log's own, which is that of time."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an earlier, stopped run has left.")
    ] = False,
) -> None:
    """Convert a log, or generate one, into a folder that opens at once, whatever its size.

    When it is stopped, by Ctrl-C, a full disk or a crash, the same command goes on where it was. Nobody takes a part for the
    whole: the folder gets its name in the end.
    """
    from hotline_sim.traces.mapped.folder import write_folder
    from hotline_sim.traces.mapped.npz import save_npz
    from hotline_sim.traces.spec import open_source, split_spec

    if shuffle is not None:
        spec += f",shuffle={shuffle}"
    text = output.name.endswith((".tsv", ".tsv.gz", ".txt", ".txt.gz"))
    if text or output.suffix == ".npz":
        check_outputs(output)
        trace = opened(spec, samples, schema)
        with progress_bar(f"Writing {output}") as show:
            if text:
                from hotline_sim.traces.criteo_text import write_criteo

                write_criteo(trace, output, show)
            else:
                save_npz(trace, output)
        out.print(
            f"{output}: {trace.samples:,} samples of {trace.accesses} accesses to {len(trace.table_rows)} tables"
        )
        return
    if not output.name:
        raise ValueError(f"-o {output}: name a folder that is to be made")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"{output}: there is no folder {output.parent}")
    if "shuffle" in split_spec(spec)[2]:
        source: Trace | Reader = opened(spec, samples, schema)
    else:
        source = open_source(spec, samples=samples, schema_file=schema)
    began = time.perf_counter()
    try:
        with progress_bar(f"Writing {output}") as show:
            named = spec + (f" (the first {samples})" if samples else "") + (f" by {schema}" if schema else "")
            done = write_folder(output, named, source, show, restart=restart)
    except KeyboardInterrupt:
        err.print(f"{output}: what has been written stays in {output}.partial; the same command goes on from there")
        raise
    seconds = time.perf_counter() - began
    size = sum(f.stat().st_size for f in output.iterdir())
    rate = (done.samples - done.before) / seconds
    out.print(
        f"{output}: {done.samples:,} samples of {len(source.table_of)} accesses to {len(source.table_rows)} tables, "
        f"{size / 1e6:,.0f} MB; {rate:,.0f} samples/s"
        + (f", {done.before:,} samples were there already" if done.before else "")
        + (f"; {done.memory / 1e6:,.0f} MB held the values seen" if done.memory else ""),
        highlight=False,
    )
    out.print(f"use it as folder:{os.fspath(output)}", highlight=False)


@trace_app.command("describe")
def trace_describe(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC|FILE", help=TRACE_HELP + " Of a FILE alone, a SPEC is proposed.")
    ],
    samples: FirstSamplesOption = None,
    schema: SchemaOption = None,
    proposal_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--propose", metavar="FILE", help="Write the proposed keys to this file, to edit, for --schema."
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Show a trace's tables and skew, and the popular share that hot sets of several sizes would give.

    Of a file that it has never seen, named without a scheme, it says what it looks like, and proposes the SPEC to read it by.
    """
    from hotline_sim.traces.spec import is_unknown
    from hotline_sim.traces.statistics import describe

    check_outputs(json_file)
    check_outputs(proposal_file)
    if is_unknown(spec):
        from hotline_sim.traces.propose import propose

        proposal = propose(Path(spec))
        publish(proposal.tables(), proposal.numbers(), json_file)
        out.print(f"[bold]proposed:[/] hotline trace describe '{proposal.spec}'", highlight=False, soft_wrap=True)
        if proposal_file and not proposal.columns:
            raise ValueError(
                f"--propose {proposal_file}: a {proposal.scheme}: log has no named columns and needs no schema"
            )
        if proposal_file:
            write_json(proposal_file, dict(proposal.keys))
            out.print(f"{proposal_file}: for --schema, with {proposal.scheme}:{proposal.path}", highlight=False)
        return
    if proposal_file:
        raise ValueError(f"--propose is for a file or folder alone, without a scheme; {spec} has one")
    trace = opened(spec, samples, schema)
    with progress_bar("Counting") as show:
        found = describe(trace, lambda done, total: show(done, done / total))
    publish(found.for_people(), found.numbers(), json_file)
    out.print(f"{found.memory / 1e6:,.0f} MB counted the uses of each row", highlight=False)


@trace_app.command("shapes")
def trace_shapes() -> None:
    """List the shapes of synthetic traces."""
    from hotline_sim.run.report import shapes_table

    out.print(shapes_table())
