"""The cocotb test behind ``--engine cocotb``; runs inside the simulator."""

import cocotb
from cocotb.task import bridge

from ..engine.cocotb_transport import start_accelerator
from .cocotb_engine import load_request, store_answer
from .runner import run_session


@cocotb.test()
async def session_in_cocotb(dut):
    """The main job, exactly as in the co-simulation."""
    job, timings, directory = load_request()
    transport = await start_accelerator(dut, job.config, job.host, job.device, timings)
    results = await bridge(run_session)(job, transport, directory=directory)
    store_answer(results, job.host, job.device)
