"""What a synthesis found, kept in the repository: to compare a later one with, and to make the table of the docs from."""

import json
import re
from pathlib import Path
from statistics import median

#: How much less clock, or how many more LUTs, a later synthesis may have.
TOLERANCE = 0.05
KEPT = (
    "hotline",
    "preset",
    "settings",
    "digest",
    "target",
    "part",
    "speed",
    "seeds",
    "refined",
    "tools",
    "used",
    "fmax_mhz",
    "at_most",
)


def kept(found: dict, preset: str, settings: list[str]) -> dict:
    """The part of a report that a baseline holds."""
    tools = {name: _short(version) for name, version in found["tools"].items()}
    everything = {**found, "preset": preset, "settings": settings, "tools": tools}
    return {name: everything[name] for name in KEPT if name in everything}


def _short(version: str) -> str:
    """``Yosys 0.70 (git ...)`` and ``... (Version nextpnr-0.11.1)`` without what is not wanted in a table."""
    named = re.search(r"\(Version ([^)]+)\)", version)
    return named[1] if named else version.split(" (")[0]


def check_comparable(baseline: dict, digest: str, target: str, speed: int, seeds: int, refined: bool) -> None:
    """Raises ValueError when a synthesis of ``seeds`` seeds cannot be compared with ``baseline``: it is of another configuration
    or part, or only one of both is refined, or one of both is not routed, or the baseline has fewer seeds."""
    most = baseline.get("seeds", 0)
    if seeds > most or bool(seeds) != bool(most):
        raise ValueError(
            f"the baseline has {most} seeds, this synthesis {seeds}: only as many, or fewer, can be compared"
        )
    here = {"digest": digest, "target": target} | ({"speed": speed, "refined": refined} if seeds else {})
    for name, value in here.items():
        if value != baseline.get(name):
            raise ValueError(f"the baseline has {name} {baseline.get(name)!r}, this synthesis {value!r}")


def worse(found: dict, baseline: dict) -> list[str]:
    """What is worse than in ``baseline`` by more than TOLERANCE, a line each. The clock is compared over the seeds that were
    routed, which may be the first of the baseline's. Raises ValueError when the two cannot be compared."""
    seeds = found.get("seeds", 0)
    check_comparable(
        baseline, found["digest"], found["target"], found.get("speed", 0), seeds, found.get("refined", False)
    )
    lines = []
    luts, before = found["used"]["LUTs"][0], baseline["used"]["LUTs"][0]
    if luts > before * (1 + TOLERANCE):
        lines.append(f"LUTs: {luts:,}, {luts / before - 1:.1%} more than {before:,}")
    if seeds:
        clock, fastest = found["fmax_mhz"]["median"], median(baseline["fmax_mhz"]["by_seed"][:seeds])
        if clock < fastest * (1 - TOLERANCE):
            lines.append(f"median clock: {clock:.1f} MHz, {1 - clock / fastest:.1%} less than {fastest:.1f} MHz")
    return lines


def read(path: Path) -> dict:
    """A baseline. Raises ValueError, naming the file, for one that is none."""
    try:
        baseline = json.loads(path.read_text())
    except json.JSONDecodeError as e:
        raise ValueError(f"{path}: not JSON ({e})") from None
    if not isinstance(baseline, dict) or {"hotline", "digest", "target", "used"} - set(baseline):
        raise ValueError(f"{path}: not a baseline, as `hotline synth --save` writes it")
    return baseline


def markdown(baselines: list[dict]) -> str:
    """A table of ``baselines``, a row each."""
    lines = [
        "| preset | version | part | LUTs | flip-flops | block RAMs | UltraRAMs | DSPs "
        "| MHz: best, median, worst of seeds | tools |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for b in baselines:
        cells = [
            f"`{b['preset']}`" + "".join(f" `{s}`" for s in b["settings"]),
            b["hotline"],
            b["part"] + (f", speed {b['speed']}" if "speed" in b else "") + (", refined" if b.get("refined") else ""),
        ]
        for name in ("LUTs", "flip-flops", "block RAMs", "UltraRAMs", "DSPs"):
            used = b["used"].get(name)
            cells.append(f"{used[0]:,} ({used[0] / used[1]:.0%})" if used else "")
        clock = b.get("fmax_mhz")
        cells.append(
            f"{clock['best']:.1f}, **{clock['median']:.1f}**, {clock['worst']:.1f} of {b['seeds']}"
            if clock
            else "area only"
        )
        cells.append(", ".join(b["tools"].values()))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
