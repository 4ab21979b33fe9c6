"""Golden and native engines of one configuration, side by side."""

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the software engine needs Numba: pip install 'hotline-accelerator[study]'")

from hotline_golden.tracker.tracker import Tracker  # noqa: E402
from hotline_native import NativeEngine, NativeTracker  # noqa: E402
from hotline_rtl.config import AcceleratorConfig, preset  # noqa: E402
from hotline_sim.run.job import Job, golden_tracker, native_tracker, prepare  # noqa: E402
from hotline_sim.traces import open_trace  # noqa: E402

REAL = Path(__file__).parents[3] / "shared" / "data" / "criteo_sample.tsv"


def small(*settings: str, name: str = "tiny") -> AcceleratorConfig:
    """A configuration with room for any record and working set."""
    return preset(name).with_settings(["working_rows=65536", "max_record_words=256", "table_bits=6", *settings])


def pair(config: AcceleratorConfig, spec: str, threads: int = 2, **options) -> tuple[Job, Tracker, NativeEngine]:
    """A job without memories, golden's tracker and the engine, both empty."""
    job = prepare(open_trace(spec), config, fill=False, **({"batch_size": 128} | options))
    return job, golden_tracker(config), NativeEngine(job.model, native_tracker(config), threads)


__all__ = ["REAL", "NativeTracker", "pair", "small"]
