"""What an estimate is made of: times that somebody measured, or gives by hand."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


class PartsError(ValueError):
    """A part is missing, or is none; the message says which and where it comes from."""


@dataclass(frozen=True)
class Accelerator:
    """Cycles of a mini-batch of ``samples``, from its SPLIT's start to the popular micro-batch in device memory, to the end
    of the SPLIT; and of its SCATTER. ``clock``: hertz."""

    popular_cycles: float
    split_cycles: float
    scatter_cycles: float
    samples: float
    clock: float

    def seconds(self, cycles: float, samples: float) -> float:
        """Of a mini-batch of ``samples``: cycles grow with samples."""
        return cycles / self.clock * samples / self.samples


@dataclass(frozen=True)
class Kernels:
    """Seconds of a mini-batch on one GPU (``look_up``, ``dense``, ``update``), and of a hybrid's, whose look-up and update
    are the host's. ``fixed``: what of ``dense`` a pass takes whatever its size."""

    look_up: float
    dense: float
    update: float
    fixed: float = 0.0
    hybrid_look_up: float = 0.0
    hybrid_dense: float = 0.0
    hybrid_update: float = 0.0
    hybrid_bytes: float = 0.0


@dataclass(frozen=True)
class Links:
    """Bytes a second: large copies to a GPU and back, rows that a GPU reads and writes in host memory, and the ``network``
    of each GPU, in a node and between nodes; ``latency``: seconds of a message there."""

    to_device: float
    from_device: float
    rows_read: float
    rows_written: float
    network: float = 25e9
    latency: float = 10e-6


@dataclass(frozen=True)
class Parts:
    """A mini-batch of ``samples`` on each GPU: ``popular`` share of them, ``working_rows`` and ``distinct_rows`` of
    ``row_bytes``; ``mlp_bytes`` of gradients. ``split_rate``: samples a second of the software engine on a node's host.
    ``measured``: samples a second of the software engine's training on one GPU, with records made beforehand; 0 if nobody
    knows. ``sources``: where each part comes from."""

    samples: float
    popular: float
    working_rows: float
    distinct_rows: float
    row_bytes: float
    mlp_bytes: float
    kernels: Kernels
    links: Links
    split_rate: float
    accelerator: Accelerator | None = None
    measured: float = 0.0
    sources: dict[str, str] = field(default_factory=dict)


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise PartsError(f"{path}: not a JSON file: {e}") from e
    if not isinstance(found, dict):
        raise PartsError(f"{path}: not an object")
    return found


def accelerator(path: Path, clock_mhz: float) -> Accelerator:
    """From what ``hotline run --json`` wrote, without --prefetch and --step-cycles: there a step is its SPLIT and its SCATTER."""
    found = _load(path)
    needed = (
        "popular_cycles",
        "split_cycles",
        "cycles_per_step",
        "mini_batches",
        "samples",
        "prefetch",
        "step_cycles",
    )
    if missing := [name for name in needed if name not in found]:
        raise PartsError(f"{path}: has no {missing[0]}: write it with hotline run --json")
    if found["prefetch"] or found["step_cycles"]:
        raise PartsError(f"{path}: was run with --prefetch or --step-cycles: run it without")
    count = found["mini_batches"]
    split = found["split_cycles"] / count
    return Accelerator(
        found["popular_cycles"] / count,
        split,
        max(0.0, found["cycles_per_step"] - split),
        found["samples"] / count,
        clock_mhz * 1e6,
    )


def runs_of(path: Path) -> list[dict[str, Any]]:
    """The runs in what ``hotline bench gpu --json`` or ``bench train --json`` wrote, with the bus's rates, if they are there."""
    found = _load(path)
    rates = found.get("bus_bytes_per_second", {})
    runs = found.get("runs", [found] if "phase_seconds" in found else [])
    return [run | {"bus_bytes_per_second": rates, "case": run.get("case", run.get("model", "?"))} for run in runs]


def chosen(path: Path, case: str | None) -> dict[str, Any]:
    """One of these runs: that of the name, or the only one, or the first one that Hotline's time is known of."""
    runs = runs_of(path)
    if not runs:
        raise PartsError(f"{path}: has no runs: write it with hotline bench gpu --json or bench train --json")
    names = ", ".join(f"{run['case']!r}" for run in runs)
    if case:
        named = [run for run in runs if run["case"] == case]
        if not named:
            raise PartsError(f"{path}: has no case {case!r}; there are {names}")
        runs = named
    for run in runs:
        if "hotline" in run.get("phase_seconds", {}):
            return run
    raise PartsError(f"{path}: Hotline's step was not measured in {names}")


def from_bench(path: Path, case: str | None, links: Links | None, split_rate: float) -> Parts:
    """Parts of a run there. ``links``: the bus's rates, if the file has none, or others are wanted."""
    run = chosen(path, case)
    rows, batch, width = run.get("rows_per_mini_batch"), run["batch_size"], run.get("row_bytes")
    if not rows or not width:
        raise PartsError(f"{path}: has no rows_per_mini_batch: measure it anew")
    phases, rates = run["phase_seconds"], run["bus_bytes_per_second"]
    if links is None:
        if not rates:
            raise PartsError(f"{path}: has no rates of the bus: use hotline bench gpu, or give --bus-gbs")
        links = Links(rates["to_device"], rates["from_device"], rates["rows_read"], rates["rows_written"])
    ours = phases["hotline"]
    hybrids = [name for name in ("hybrid_fused", "hybrid_tables") if name in phases]
    best = max(hybrids, key=lambda name: run["samples_per_second"][name], default=None)
    theirs = phases.get(best, {"look-up": 0.0, "dense": 0.0, "update": 0.0})
    where = f"{path}, {run['case']}, {run['device']}"
    kernels = Kernels(
        ours["look-up"],
        ours["dense"],
        ours["update"],
        _fixed(path, run),
        theirs["look-up"],
        theirs["dense"],
        theirs["update"],
        run["bytes_per_sample"].get(best, 0.0) * batch,
    )
    return Parts(
        batch,
        run["popular_share"],
        rows["working"],
        rows["distinct"],
        width,
        4 * run["mlp_parameters"],
        kernels,
        links,
        split_rate,
        measured=run["samples_per_second"]["hotline"],
        sources={"kernels": where, "bus": where if rates else "by hand"},
    )


def _fixed(path: Path, run: dict[str, Any]) -> float:
    """What ``dense`` takes at no samples at all: of the line through the runs of the same model and memory at other batch
    sizes; 0 if there is no other."""
    sizes = sorted(
        {
            other["batch_size"]: other["phase_seconds"]["hotline"]["dense"]
            for other in runs_of(path)
            if _kind(other) == _kind(run) and "hotline" in other.get("phase_seconds", {})
        }.items()
    )
    if len(sizes) < 2:
        return 0.0
    (small, low), (large, high) = sizes[0], sizes[-1]
    return max(0.0, low - (high - low) / (large - small) * small)


def _kind(run: dict[str, Any]) -> tuple[str, str]:
    """Its model, and what of the tables fits: of the case's name, "MODEL batch SIZE WHAT"."""
    words = run["case"].split(" ", 3)
    return run.get("model", ""), words[3] if len(words) == 4 else ""


#: What a file of parts by hand holds, and what of it may be left out.
HAND = (
    "samples",
    "popular",
    "working_rows",
    "distinct_rows",
    "row_bytes",
    "mlp_parameters",
    "look_up_ms",
    "dense_ms",
    "update_ms",
)
HAND_OPTIONAL = ("fixed_ms", "hybrid_look_up_ms", "hybrid_dense_ms", "hybrid_update_ms", "hybrid_bytes")


def by_hand(path: Path, links: Links, split_rate: float) -> Parts:
    """Parts that somebody has written down: an object with HAND, and HAND_OPTIONAL, all numbers of at least 0."""
    found = _load(path)
    if missing := [name for name in HAND if name not in found]:
        raise PartsError(f"{path}: has no {missing[0]}; there are to be {', '.join(HAND)}")
    if unknown := [name for name in found if name not in HAND + HAND_OPTIONAL]:
        raise PartsError(f"{path}: unknown {unknown[0]}; there are {', '.join(HAND + HAND_OPTIONAL)}")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise PartsError(f"{path}: {name} must be a number of at least 0, not {value!r}")
    ms = {
        name: found.get(f"{name}_ms", 0.0) / 1e3
        for name in ("look_up", "dense", "update", "fixed", "hybrid_look_up", "hybrid_dense", "hybrid_update")
    }
    if found["samples"] < 1 or found["popular"] > 1:
        raise PartsError(f"{path}: samples must be at least 1, and popular at most 1")
    return Parts(
        found["samples"],
        found["popular"],
        found["working_rows"],
        found["distinct_rows"],
        found["row_bytes"],
        4 * found["mlp_parameters"],
        Kernels(**ms, hybrid_bytes=found.get("hybrid_bytes", 0.0)),
        links,
        split_rate,
        sources={"kernels": f"{path}, by hand", "bus": "by hand"},
    )


def engine_rate(path: Path) -> float:
    """Samples a second of the software engine's split, from what ``hotline bench engines --json`` wrote."""
    found = _load(path).get("samples_per_second", {})
    if not isinstance(found, dict) or not isinstance(found.get("native"), int | float):
        raise PartsError(f"{path}: has no samples_per_second of native: write it with hotline bench engines --json")
    return float(found["native"])


def with_network(parts: Parts, gigabytes: float, latency_us: float) -> Parts:
    """The same with another network."""
    return replace(parts, links=replace(parts.links, network=gigabytes * 1e9, latency=latency_us * 1e-6))
