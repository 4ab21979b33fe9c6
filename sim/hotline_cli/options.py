"""What the commands share: options, consoles, exit codes, and how results are published."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from hotline_golden.layouts import MAX_COUNT
from hotline_rtl.config import FROZEN, PRESETS, AcceleratorConfig, preset
from hotline_sim.files.json_file import write_json

from .requirements import need

#: Exit codes: RTL and golden agree; they differ; input or tools that cannot be used; a fault of hotline itself.
AGREE, DIFFER, UNUSABLE, FAULT = 0, 1, 2, 3
#: Those of a program that SIGINT or SIGTERM has ended.
INTERRUPTED, TERMINATED = 130, 143

#: Share of the mini-batches that a hot set is learnt from, if it is not to follow the data.
LEARNT = 0.05

out = Console()
err = Console(stderr=True)


class Engine(StrEnum):
    """What runs the Verilog."""

    cosim = "cosim"
    cocotb = "cocotb"


PresetOption = Annotated[str, typer.Option("--preset", help=f"Sizes to start from: {', '.join(PRESETS)}.")]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045 (typer reads it at run time)
    typer.Option("--set", metavar="NAME=VALUE", help="Changes one size; may be repeated. See docs/configuration.md."),
]
TRACE_HELP = (
    "A click log, as SCHEME:PATH[,key=value...]; SCHEME: criteo, csv, parquet, arrow, npy, libsvm, npz, folder or synthetic. "
    "See docs/traces.md."
)
DEFAULT_TRACE = "synthetic:criteo-kaggle,samples=20000"
JsonOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--json", help="Also write the numbers of the table to this file."),
]
ResidentOption = Annotated[
    str,
    typer.Option(
        "--resident",
        metavar="ROWS|none|auto",
        help="Tables of up to ROWS rows stay whole on the GPU. `auto`: the largest bound whose rows fit 4 MiB.",
    ),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, max=MAX_COUNT, help="Samples of a mini-batch.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="rm1 to rm4 (the paper's), small, or a JSON file; see docs/training.md.")
]
ModelTraceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--trace", metavar="SPEC", help=TRACE_HELP + " Without it, one like the model's data set."),
]
ScaleOption = Annotated[float, typer.Option("--scale", help="Of the generated trace's large tables.")]
SamplesOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--samples", min=1, help="Use the first N samples, or generate N."),
]
OptimizerOption = Annotated[
    str, typer.Option("--optimizer", help="rowwise-adagrad (Adagrad for the MLPs), adagrad, adam or sgd.")
]
AmpOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--amp", metavar="bf16", help="The MLPs compute in bfloat16 where autocast says so."),
]
Tf32Option = Annotated[bool, typer.Option("--tf32", help="Matrix products may round their inputs to TF32.")]
TogetherOption = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--together/--apart",
        help="Whether both micro-batches go through the MLPs at once. By default where working "
        "rows come a step ahead: from native, with --prefetch.",
    ),
]
ColdRowsOption = Annotated[
    str,
    typer.Option(
        "--cold-rows",
        metavar="direct|copied",
        help="Whether the device reads and writes cold rows in the tables itself, or threads of the host copy them.",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
FrozenOption = Annotated[
    bool,
    typer.Option(
        "--frozen",
        help="The paper's way: the hot set is learnt from a share of the mini-batches first, and stays. Without it, it follows "
        "the data.",
    ),
]
LearnOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--learn", help="With --frozen: share of the mini-batches that the hot set is learnt from; without it, 0.05."
    ),
]
PICTURES = (".png", ".svg", ".pdf")
PlotOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--plot", metavar="FILE", dir_okay=False, help="Draw the curves into FILE (.png, .svg or .pdf)."),
]


def configuration(name: str, settings: list[str] | None) -> AcceleratorConfig:
    """The configuration of ``--preset`` and ``--set``."""
    return preset(name).with_settings(settings or [])


def hot_set(
    name: str, settings: list[str] | None, frozen: bool, learn: float | None
) -> tuple[AcceleratorConfig, float]:
    """The configuration of ``--preset``, ``--set`` and ``--frozen``, and what ``--learn`` comes to.

    Raises ValueError for ``--frozen`` with a shadow, and for ``--learn`` where nothing is learnt first."""
    config = configuration(name, [*(FROZEN if frozen else []), *(settings or [])])
    if frozen and config.shadow:
        raise ValueError("--frozen --set shadow=1: a hot set that stays has no shadow; leave one of them away")
    if learn is not None and config.shadow:
        raise ValueError(f"--learn {learn}: a hot set that follows the data is not learnt first; add --frozen")
    return config, LEARNT if learn is None else learn


def resident_rows(text: str) -> int | None:
    """The bound of ``--resident``, as ``prepare`` takes it."""
    if text in ("auto", "none"):
        return -1 if text == "auto" else None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise ValueError(f"--resident {text[:40]}: use a number of rows, none or auto")
    return int(text)


def autocast(text: str | None) -> bool:
    """Whether ``--amp`` asks for bfloat16."""
    if text not in (None, "bf16"):
        raise ValueError(f"--amp {text[:40]}: there is bf16")
    return text is not None


def counts(option: str, text: str) -> list[int]:
    """Numbers of at least 1, separated by commas."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 1 << 16 for part in parts):
        raise ValueError(f"{option} {text[:40]}: use numbers of at least 1, as in 1,2,4")
    return [int(part) for part in parts]


def check_outputs(file: Path | None, *pictures: Path | None) -> None:
    """Raises, before anything is run, for a file that cannot be written in the end."""
    for path in (file, *pictures):
        if path and not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}")
        if path and path.is_dir():
            raise ValueError(f"{path}: this is a folder; name a file in it")
    for picture in filter(None, pictures):
        if picture.suffix not in PICTURES:
            raise ValueError(f"{picture}: pictures are written as {', '.join(PICTURES)}")
        need("a picture", "matplotlib")


def publish(tables: Iterable, numbers: dict, json_file: Path | None = None) -> None:
    """Prints tables for people, and writes their numbers for scripts."""
    for table in tables:
        out.print(table)
    if json_file:
        write_json(json_file, numbers)
