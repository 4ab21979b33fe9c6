"""``hotline run --plot``: how the popular share, the rows over the bus and the hot set went, mini-batch by mini-batch."""

from pathlib import Path

import numpy as np

from .job import Job
from .session import Results

#: Points of a curve, at most; each is a mean.
POINTS = 200


def draw(job: Job, results: Results, path: Path) -> None:
    """Draws into ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    samples = [job.samples_of(batch) for batch in range(results.batches)]
    bytes_each = job.model.row_bytes * np.array(results.bus_rows_each) / samples
    curves = [("popular share", np.array(results.popular_shares)), ("bytes over the bus a sample", bytes_each)]
    if job.follows:
        curves.append(("slots changed", np.array([swap.changed for swap in results.swaps])))
    figure, panels = pyplot.subplots(
        len(curves), 1, figsize=(9, 2.5 * len(curves)), sharex=True, layout="constrained"
    )
    for panel, (label, values) in zip(panels, curves, strict=True):
        parts = [part for part in np.array_split(values, POINTS) if len(part)]
        first = np.cumsum([0] + [len(part) for part in parts[:-1]])
        panel.plot(first, [part.mean() for part in parts])
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    panels[-1].set_xlabel(f"mini-batch of {job.batch_size} samples")
    figure.suptitle(f"{job.trace.name}, {job.config.tracker_entries:,} entries")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
