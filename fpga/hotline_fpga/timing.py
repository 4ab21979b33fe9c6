"""What nextpnr says of a placed and routed design: the highest clock, the critical path, and what is used."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

SUFFIX = re.compile(r"(_(LUT4|PFUMX|L6MUX21|CCU2C|TRELLIS_FF|TRELLIS_DPR16X4|MULT18X18D|DP16KD)_.*|\$.*)$")


@dataclass(frozen=True)
class Timing:
    """``path``: signals from the first register to the last, each with its time in ns; ``used``: cells of the part,
    [used, available], by nextpnr's names."""

    fmax_mhz: float
    path: list[tuple[str, float]]
    used: dict[str, list[int]]

    @classmethod
    def read(cls, path: Path) -> "Timing":
        """Reads the file that nextpnr's ``--report`` writes."""
        report = json.loads(path.read_text())
        fmax = min(clock["achieved"] for clock in report["fmax"].values())
        slowest = max(
            (
                p
                for p in report["critical_paths"]
                if p["from"].startswith("posedge") and p["to"].startswith("posedge")
            ),
            key=lambda p: sum(step["delay"] for step in p["path"]),
        )
        used = {name: [use["used"], use["available"]] for name, use in report["utilization"].items()}
        return cls(fmax, _signals(slowest["path"]), used)


def _signals(steps: list[dict]) -> list[tuple[str, float]]:
    """Names that a reader of the Amaranth source knows, with the time when each signal is there."""
    found: list[tuple[str, float]] = []
    time = 0.0
    for step in steps:
        time += step["delay"]
        name = SUFFIX.sub("", step["to"]["cell"]).removeprefix("dut.")
        if name and (not found or found[-1][0] != name):
            found.append((name, round(time, 2)))
        elif found:
            found[-1] = (name, round(time, 2))
    return found
