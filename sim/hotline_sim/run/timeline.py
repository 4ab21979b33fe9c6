"""``hotline run --timeline``: what overlaps with what, drawn from the beats that the memories saw."""

from pathlib import Path

import numpy as np

from ..engine.memory_model import sum_of
from .job import Job, output_buffers
from .session import Results

#: Cycles of a point of the curves.
WINDOW = 50
#: Steps that are drawn, from the third on.
FIRST, STEPS = 2, 4
SAMPLES, TABLES = 1, 2


class Timeline:
    """Watches both memories of ``transport`` from now on."""

    def __init__(self, job: Job, transport):
        self.job, self.transport = job, transport
        self.began = transport.cycles
        names = {"samples": SAMPLES, **{f"table {n}": TABLES for n in range(len(job.model.tables))}}
        self.sets = 1 + job.prefetch
        outputs = {name: 1 + 4 * s + k for s in range(self.sets) for k, name in enumerate(output_buffers(s))}
        transport.host_memory.watch(WINDOW, names)
        transport.device_memory.watch(WINDOW, outputs)

    def draw(self, results: Results, path: Path) -> None:
        """Draws STEPS steps: the commands as bars, and beats a cycle of each kind of transfer below them."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        host, device = self.transport.host_memory, self.transport.device_memory
        per_set = [[device.beats(1 + 4 * s + k, written=True) for k in range(4)] for s in range(self.sets)]
        scattered_from = [device.beats(1 + 4 * s + 3, written=False) for s in range(self.sets)]

        curves = [
            ("records read (host)", host.beats(SAMPLES, written=False)),
            ("popular written (device)", sum_of([s[0] for s in per_set])),
            ("non-popular written (device)", sum_of([s[1] for s in per_set])),
            ("rows gathered: read (host)", host.beats(TABLES, written=False)),
            ("rows gathered: written (device)", sum_of([s[3] for s in per_set])),
            ("rows scattered: read (device)", sum_of(scattered_from)),
            ("rows scattered: written (host)", host.beats(TABLES, written=True)),
        ]
        last = min(self.job.batches, FIRST + STEPS) - 1
        first = min(FIRST, last)
        at = {(e.command, e.batch, e.what): e.cycle - self.began for e in results.events}
        start = at["SPLIT", first, "submitted"]
        end = max(at.get((name, last, "done"), start) for name in ("SPLIT", "SCATTER"))
        margin = max(WINDOW, (end - start) // 50)
        figure, panels = pyplot.subplots(
            1 + len(curves),
            1,
            figsize=(13, 9),
            sharex=True,
            layout="constrained",
            gridspec_kw={"height_ratios": [3] + [1] * len(curves)},
        )
        bars = panels[0]
        for batch in range(max(0, first - 1), min(self.job.batches, last + 2)):
            colour = f"C{batch % 10}"
            for y, name in ((1, "SPLIT"), (0, "SCATTER")):
                begin, done = at.get((name, batch, "submitted")), at.get((name, batch, "done"))
                if begin is None or done is None:
                    continue
                row = y + 0.45 * (batch % 2) if name == "SPLIT" else 0.2
                bars.barh(row, done - begin, left=begin, height=0.4, color=colour, alpha=0.55, clip_on=True)
                bars.text(
                    (max(begin, start) + min(done, end)) / 2,
                    row,
                    f"{name}({batch})",
                    ha="center",
                    va="center",
                    fontsize=8,
                    clip_on=True,
                )
                popular = at.get((name, batch, "popular"))
                if popular is not None:
                    bars.plot([popular, popular], [row - 0.2, row + 0.2], color="black", lw=1.5)
        bars.set(yticks=[0.2, 1.2], yticklabels=["SCATTER", "SPLIT"], ylim=(-0.2, 1.8))
        bars.set_title("commands, from doorbell to last completion (black: the popular one)", fontsize=9)
        for panel, (name, beats) in zip(panels[1:], curves, strict=True):
            panel.fill_between(np.arange(len(beats)) * WINDOW, beats / WINDOW, step="post", color="0.35", lw=0)
            panel.set(ylim=(0, 1.05), yticks=[0, 1])
            panel.set_ylabel(
                name.replace(": ", ":\n").replace(" (", "\n("), rotation=0, ha="right", va="center", fontsize=8
            )
        panels[-1].set(xlim=(start - margin, end + margin), xlabel="cycles; curves are beats a cycle")
        title = "with prefetch" if self.job.prefetch else "in strict order"
        figure.suptitle(f"{self.job.trace.name}, mini-batches {first} to {last} of {self.job.batch_size}, {title}")
        figure.savefig(path, dpi=100)
        pyplot.close(figure)
