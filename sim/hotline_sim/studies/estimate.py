"""``hotline estimate``: what a training would take with the accelerator, of measured parts only."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from .parts import Parts
from .pipeline import Estimate, Span, estimate

#: The model of the software engine counts as calibrated when it comes so near to what was measured.
NEAR = 0.15
#: The first mini-batch that is drawn: the pipeline has been filled.
SHOWN_FROM = 30


@dataclass(frozen=True)
class Estimates:
    """``all`` systems on all numbers of GPUs and nodes; ``calibration``: the software engine's estimate over what was measured of
    it, on one GPU with records made beforehand; 0 if nothing was measured."""

    parts: Parts
    all: list[Estimate]
    calibration: float

    @property
    def calibrated(self) -> bool:
        return abs(self.calibration - 1) <= NEAR

    @property
    def verdict(self) -> str:
        """For people."""
        if not self.calibration:
            return "not calibrated: no time of the software engine was measured (--bench)"
        found = f"the software engine's step is estimated at {1 / self.calibration:.2f} of what was measured"
        return f"calibrated: {found}" if self.calibrated else f"not calibrated: {found}, further than {NEAR:.0%} away"

    def numbers(self) -> dict:
        """What ``--json`` holds."""
        return {
            "calibrated": self.calibrated, "calibration": self.calibration, "sources": self.parts.sources,
            "estimates": [
                {"system": e.system, "gpus": e.gpus, "nodes": e.nodes, "step_seconds": e.seconds,
                 "samples_per_second": e.samples_per_second, "binding": e.binding, "use": e.use} for e in self.all
            ],
        }  # fmt: skip

    def table(self) -> Table:
        """For people."""
        shown = Table(
            "nodes",
            "GPUs a node",
            "system",
            "ms a step",
            "samples/s",
            "of hybrid",
            "busy most",
            title="estimated, not measured",
            caption=self.verdict,
        )
        hybrid = {(e.gpus, e.nodes): e.samples_per_second for e in self.all if e.system == "hybrid"}
        for e in self.all:
            against = hybrid.get((e.gpus, e.nodes))
            ratio = f"{e.samples_per_second / against:.2f}" if against else "-"
            shown.add_row(
                str(e.nodes),
                str(e.gpus),
                e.system,
                f"{1e3 * e.seconds:.3f}",
                f"{e.samples_per_second:,.0f}",
                ratio,
                f"{e.binding} ({e.use[e.binding]:.0%})",
            )
        return shown


def make(parts: Parts, gpus: list[int], nodes: list[int]) -> Estimates:
    """Estimates of every system that ``parts`` tell enough of."""
    systems = ["accelerator"] if parts.accelerator else []
    systems += ["software", *(["hybrid"] if parts.kernels.hybrid_dense else [])]
    found = [estimate(parts, system, g, n) for n in nodes for g in gpus for system in systems]
    calibration = 0.0
    if parts.measured:
        alone = estimate(replace(parts, split_rate=0.0), "software")
        calibration = alone.samples_per_second / parts.measured
    return Estimates(parts, found, calibration)


def draw(found: Estimates, path: Path, steps: int = 4) -> None:
    """Some steps of each system on one GPU, and samples a second against the number of GPUs, into ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    least = min((e.gpus * e.nodes for e in found.all), default=1)
    single = [e for e in found.all if e.gpus * e.nodes == least]
    figure, axes = plt.subplots(len(single) + 1, 1, figsize=(9, 1.9 * len(single) + 3.2), layout="constrained")
    longest = steps * max(e.seconds for e in single)
    for axis, e in zip(axes, single, strict=False):
        _draw_steps(axis, e.spans, min(s.begin for s in e.spans if s.batch == SHOWN_FROM), longest)
        axis.set_title(f"{e.system}: {1e3 * e.seconds:.3f} ms a step", loc="left", fontsize=10)
    axes[-2].set_xlabel("ms; one colour for each mini-batch")
    styles = ("o-", "s--", "^:")
    for style, system in zip(styles, dict.fromkeys(e.system for e in found.all), strict=False):
        mine = sorted((e.gpus * e.nodes, e.samples_per_second) for e in found.all if e.system == system)
        axes[-1].plot(*zip(*mine, strict=True), style, label=system)
    axes[-1].set(xlabel="GPUs", ylabel="samples/s", ylim=(0, None))
    axes[-1].legend()
    figure.suptitle("estimated from measured parts: " + ("calibrated" if found.calibrated else "not calibrated"))
    figure.savefig(path)
    plt.close(figure)


def _draw_steps(axis, spans: list[Span], begin: float, length: float) -> None:
    resources = [name for name in ("host", "accelerator", "bus", "gpu") if any(s.resource == name for s in spans)]
    colours = ["tab:blue", "tab:orange", "tab:green", "tab:red"]
    for span in spans:
        left, right = max(span.begin, begin), min(span.end, begin + length)
        if left < right:
            axis.barh(
                resources.index(span.resource),
                1e3 * (right - left),
                left=1e3 * (left - begin),
                height=0.7,
                color=colours[span.batch % len(colours)],
            )
    axis.set_xlim(0, 1e3 * length)
    axis.set_yticks(range(len(resources)), resources)
    axis.invert_yaxis()
