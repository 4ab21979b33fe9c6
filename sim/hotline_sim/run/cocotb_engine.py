"""The reference engine: the accelerator in cocotb, with the same driver, job and memory model.

``run_in_cocotb`` starts the simulator; inside it, ``session_in_cocotb`` is the test that runs.
"""

import os
import pickle
import tempfile
from pathlib import Path

from hotline_golden.memory import MemoryImage

from ..engine.cocotb_build import run_cocotb
from ..engine.emission import emitted_verilog
from ..engine.memory_model import MemoryTiming
from .job import Job
from .session import Results


def run_in_cocotb(
    job: Job,
    *,
    timings: tuple[MemoryTiming, MemoryTiming],
    directory: Path | None = None,
    waves: Path | None = None,
    verilog: str | None = None,
) -> Results:
    """Runs ``job`` under cocotb, in a process of its own; both images of ``job`` end as it left them.

    Raises ToolError when the simulation fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder) / "job.pickle", Path(folder) / "results.pickle"
        request.write_bytes(pickle.dumps((job, timings, directory)))
        run_cocotb(
            verilog or emitted_verilog(job.config),
            "hotline",
            "hotline_sim.run.cocotb_session",
            environment={"HOTLINE_JOB": str(request), "HOTLINE_ANSWER": str(answer)},
            waves=waves,
        )
        results, host, device = pickle.loads(answer.read_bytes())
    job.host.data[:] = host
    job.device.data[:] = device
    return results


def load_request() -> tuple[Job, tuple[MemoryTiming, MemoryTiming], Path | None]:
    """What the parent process asks for."""
    return pickle.loads(Path(os.environ["HOTLINE_JOB"]).read_bytes())


def store_answer(results: Results, host: MemoryImage, device: MemoryImage) -> None:
    """What the parent process gets."""
    Path(os.environ["HOTLINE_ANSWER"]).write_bytes(pickle.dumps((results, host.data, device.data)))
