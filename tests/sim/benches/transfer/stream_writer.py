"""Streams into buffers, one behind the other."""

import cocotb
import numpy as np
from benches.common import (
    CONFIG,
    STALLS,
    TIMINGS,
    WORDS,
    Memory,
    beats_of,
    rng,
)
from benches.masters import WithMasters

from hotline_rtl.interfaces.control import fault_layout
from hotline_rtl.interfaces.layouts import Status
from hotline_rtl.lib.word_queue import ended_layout
from hotline_rtl.transfer.frontend.stream_writer import StreamWriter
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until
from hotline_sim.engine.memory_model import Fault


def ended(groups: list[dict], alone: bool) -> list[dict]:
    """The groups of a buffer as ended_layout payloads; ``alone``: the end comes behind the last one."""
    payloads = [{"group": group, "end": 0} for group in groups]
    if alone or not payloads:
        return [*payloads, {"end": 1}]
    payloads[-1]["end"] = 1
    return payloads


@cocotb.test()
async def writer_fills_the_buffers_and_nothing_else(dut):
    for n, timing in enumerate(TIMINGS):
        sizes = [1, 0, WORDS, WORDS + 1, 345, 2000, 150, 150, 150, 2]
        buffers = {f"buffer {k}": max(64, 4 * size) for k, size in enumerate(sizes)}
        memory = Memory(dut, "bus", {"before": 4096 - 64 * 3, **buffers, "after": 64}, timing)
        memory.model.allow(set(buffers))
        source = StreamSource(dut, "i", ended_layout(WORDS), STALLS[n % len(STALLS)][0], n)
        jobs = StreamSource(dut, "jobs", CONFIG.address_bits, "half", n)
        results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
        await start(dut)
        r = rng(n)
        expected = memory.image.data.copy().view(np.uint32)
        for k, size in enumerate(sizes):
            values = [r.getrandbits(32) for _ in range(size)]
            groups = beats_of(values, r)
            for group in groups:  # micro-batch records start at word 0 of a group
                group["data"] >>= 32 * group["offset"]
                group["offset"] = 0
            address = memory.address(f"buffer {k}")
            at = (address - memory.image.base) // 4
            expected[at : at + size] = values
            jobs.put([address])
            source.put(ended(groups, alone=k % 2 == 0))
        for k in range(len(sizes)):
            await until(dut, lambda k=k, r=results: len(r.got) > k, f"buffer {k}")
        assert not any(result.valid for result in results.got)
        assert np.array_equal(memory.image.data.view(np.uint32), expected)
        memory.check()


@cocotb.test()
async def a_buffer_that_cannot_be_written_says_where(dut):
    """Of several buffers one behind the other, of which some fail."""
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {f"buffer {k}": 2048 for k in range(6)}, timing)
        memory.model.allow({f"buffer {k}" for k in range(6)})
        source = StreamSource(dut, "i", ended_layout(WORDS), "always", n)
        jobs = StreamSource(dut, "jobs", CONFIG.address_bits, "always", n)
        results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
        bad = {k: memory.address(f"buffer {k}") + 1024 for k in (1, 2, 5)}
        memory.model.inject([Fault(address, 4, response=2) for address in bad.values()])
        await start(dut)
        for k in range(6):
            jobs.put([memory.address(f"buffer {k}")])
            source.put(ended(beats_of([k] * 512), alone=False))
        await until(dut, lambda r=results: len(r.got) == 6, "results")
        for k, result in enumerate(results.got):
            assert result.valid == (k in bad), k
            if k in bad:
                assert result.status == Status.WRITE_ERROR
                assert result.address <= bad[k] < result.address + CONFIG.burst_limit * CONFIG.bus_bytes


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "stream_writer": (lambda c: WithMasters(c, StreamWriter(c, c.bus_words), {}, {"client": "bus"}), ""),
}
