"""Helpers for tests that run the whole accelerator."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from hotline_golden.layouts import NO_ACCESS
from hotline_rtl.config import AcceleratorConfig
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.engine.memory_model import MemoryTiming
from hotline_sim.run.gpu import Gpu
from hotline_sim.run.job import Job, copy_image, prepare
from hotline_sim.run.session import Session
from hotline_sim.traces import ArrayTrace, Trace, open_trace

from ..configurations import MAIN_FROZEN, tiny

HOSTILE = MemoryTiming((1, 500), (1, 100), True, True, (0.2, 0.3, 0.2, 0.3, 0.2))
IDEAL = MemoryTiming((1, 1), (0, 0))
SLOW = MemoryTiming((500, 500), (100, 100))


@lru_cache(maxsize=8)
def _prepared(config: AcceleratorConfig, spec: str, changes: tuple) -> Job:
    return prepare(open_trace(spec), config, **({"batch_size": 37, "learn": 0.3} | dict(changes)))


def small_job(config: AcceleratorConfig, spec: str = "synthetic:samples=150", **changes) -> Job:
    """A job of a few mini-batches; odd sizes on purpose. Its memories are its own."""
    job = _prepared(config, spec, tuple(changes.items()))
    images = {name: copy_image(getattr(job, name)) for name in ("host", "device")}
    return replace(job, loaded=list(job.loaded), **images)


def cold_job(
    config: AcceleratorConfig, *, batches: int, samples: int, accesses: int, seed: int, row_bytes: int = 64
) -> Job:
    """A job whose accesses are nearly all distinct, so that each mini-batch's working set holds most of them."""
    r = np.random.default_rng(seed)
    tables = min(3, config.tables)
    table_rows = np.full(tables, min(1 << config.row_bits, 50_000))
    rows = r.integers(0, table_rows[0], (batches * samples, accesses)).astype(np.uint32)
    rows[r.random(rows.shape) < 0.03] = NO_ACCESS
    payload = r.integers(0, 1 << 32, (len(rows), 2), np.uint64).astype(np.uint32)
    trace = ArrayTrace("cold", rows, np.arange(accesses) % tables, table_rows, payload)
    return prepare(
        trace, config, batch_size=samples, learn=0.01, resident=None, dim=row_bytes // 4, output_sets=batches
    )


def with_payload(trace: Trace, payload: np.ndarray) -> ArrayTrace:
    """``trace``, in memory, with another payload float32 [samples, words]."""
    rows = trace.part().rows
    return ArrayTrace(trace.name, rows, trace.table_of, trace.table_rows, payload.view(np.uint32))


def run_cosim(job: Job, timing: MemoryTiming = IDEAL, **options):
    """Runs the main job; returns its session, whose results tell of any difference."""
    seeds = {"host_timing": timing, "device_timing": timing.with_seed(timing.seed + 7)}
    with CosimTransport(job.config, job.host, job.device, **seeds, **options) as transport:
        session = Session(job, transport)
        session.outputs = list(session.run())
        return session


def learn(session: Session) -> Session:
    """A hot set is learnt from the first mini-batch; each command after that is the test's own."""
    session._learn()
    if session.job.follows:
        session._load(0)
        session._both(session.job.learn(0))
        session._allow({"completion ring", "delta list"}, set())
        session._both(session.job.swap())
    return session


def fresh_golden(session: Session) -> None:
    """Golden begins anew, with memories as the accelerator's are."""
    session.golden = session.job.golden()
    session.golden.host.data[:] = session.transport.host.data
    session.golden.device.data[:] = session.transport.device.data
    session.gpus = [Gpu(session.job, side.host, side.device) for side in (session.transport, session.golden)]


@pytest.fixture(params=[IDEAL, HOSTILE], ids=["ideal", "hostile"])
def session(request):
    """A session of a few mini-batches that has learnt."""
    job = small_job(tiny(MAIN_FROZEN), "synthetic:samples=80")
    timing = request.param
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        yield learn(Session(job, transport))


@pytest.fixture(autouse=True)
def _results_in_scratch(tmp_path, monkeypatch):
    """Nothing that a test writes lands in the checkout."""
    monkeypatch.chdir(tmp_path)
