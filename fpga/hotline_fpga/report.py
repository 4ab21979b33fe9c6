"""What a synthesis found, as numbers for scripts and as tables for people."""

from dataclasses import asdict
from statistics import median

from rich.table import Table

from hotline_rtl import VERSION
from hotline_rtl.config import AcceleratorConfig

from .netlist import Netlist
from .parts import Part
from .timing import Timing
from .tools import find_tool

#: By nextpnr's names: resources of a part, after placement.
PLACED = {"TRELLIS_COMB": "LUTs", "TRELLIS_FF": "flip-flops", "DP16KD": "block RAMs", "MULT18X18D": "DSPs"}
#: A record of Criteo's shape: 14 payload words and 26 accesses.
RECORD_WORDS, RECORD_ACCESSES = 40, 26


def throughput(config: AcceleratorConfig, mhz: float) -> dict[str, float]:
    """What the configuration can do at most at this clock: accesses and samples of Criteo's shape a second, and bytes a
    second at each memory port and direction (`hotline bench split` measures how near to it runs come)."""
    cycles = max(RECORD_WORDS / config.bus_words, RECORD_ACCESSES / config.lanes)
    return {
        "accesses_per_second": config.lanes * mhz * 1e6,
        "samples_per_second": mhz * 1e6 / cycles,
        "bytes_per_second": config.bus_bytes * mhz * 1e6,
    }


def numbers(
    config: AcceleratorConfig,
    target: str,
    part: Part,
    speed: int,
    netlist: Netlist,
    timings: list[Timing],
    refine: bool = False,
) -> dict:
    """Everything that was found, as ``report.json`` holds it.

    ``used``: [used, available] of each resource; after placement, if that was done. ``fmax_mhz``: over the seeds.
    """
    used = {name: [count, part.resources[name]] for name, count in netlist.used().items() if name in part.resources}
    for timing in timings:
        placed = {PLACED[name]: list(use) for name, use in timing.used.items() if name in PLACED}
        used |= {name: use for name, use in placed.items() if use[0] >= used[name][0] or name == "LUTs"}
    found: dict = {
        "hotline": VERSION, "configuration": asdict(config), "digest": config.digest(), "target": target,
        "part": part.name, "tools": {"yosys": find_tool("yosys").version}, "used": used,
        "blocks": netlist.by_block("dut" if part.routed else ""), "latches": netlist.latches(),
    }  # fmt: skip
    if timings:
        clocks = [timing.fmax_mhz for timing in timings]
        middle = median(clocks)
        found["tools"]["nextpnr"] = find_tool("nextpnr-ecp5").version
        found |= {
            "speed": speed,
            "seeds": len(timings),
            "refined": refine,
            "fmax_mhz": {"best": max(clocks), "median": middle, "worst": min(clocks), "by_seed": clocks},
            "critical_path": [list(step) for step in min(timings, key=lambda t: abs(t.fmax_mhz - middle)).path],
            "at_most": throughput(config, middle),
        }
    return found


def tables(found: dict) -> list[Table]:
    """The same for people."""
    size = Table("", "used", "of", "", title=f"{found['part']}: configuration {found['digest']}")
    for name, (used, available) in found["used"].items():
        size.add_row(name, f"{used:,}", f"{available:,}", f"{used / available:.1%}")
    blocks = Table(
        "block", *found["used"], title="By block", caption="Counted before placement, by the signal driven."
    )
    for name, counts in sorted(found["blocks"].items(), key=lambda item: -item[1]["LUTs"]):
        blocks.add_row(name, *(f"{counts.get(resource, 0):,}" for resource in found["used"]))
    shown = [size, blocks]
    if "fmax_mhz" in found:
        clocks = found["fmax_mhz"]
        clock = Table(
            "best", "median", "worst", title=f"MHz, routed, speed grade {found['speed']}, {found['seeds']} seeds"
        )
        clock.add_row(*(f"{clocks[name]:.1f}" for name in ("best", "median", "worst")))
        path = Table("ns", "signal", title="Critical path, of the median seed")
        for name, time in found["critical_path"]:
            path.add_row(f"{time:.2f}", name)
        most = found["at_most"]
        rates = Table(
            "accesses/s", "samples/s (Criteo's shape)", "GB/s each way and port", title="At the median clock, at most"
        )
        rates.add_row(
            f"{most['accesses_per_second'] / 1e6:.0f} M",
            f"{most['samples_per_second'] / 1e6:.1f} M",
            f"{most['bytes_per_second'] / 1e9:.1f}",
        )
        shown += [clock, path, rates]
    return shown
