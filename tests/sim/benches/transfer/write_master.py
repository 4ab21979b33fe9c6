"""Bursts and the responses that end them."""

import cocotb
from amaranth.lib.data import StructLayout
from benches.common import (
    CONFIG,
)
from cocotb.triggers import RisingEdge

from hotline_rtl.interfaces.memory import transfer_layout
from hotline_rtl.transfer.backend.write_master import WriteMaster
from hotline_sim.engine.cocotb_streams import StreamSource, background, start, until


@cocotb.test()
async def an_answer_at_the_last_moment_ends_one_burst(dut):
    """A write's answer comes just before, just when, or just after it is given up: it ends once, and what follows ends
    by its own answer."""
    limit = 40
    beat = StructLayout({"data": CONFIG.bus_bits, "strobe": CONFIG.bus_bytes})
    dut.drain.value, dut.timeout.value = 0, limit
    dut.bus_awready.value = dut.bus_wready.value = 1
    dut.bus_bvalid.value = dut.bus_bid.value = dut.bus_bresp.value = 0
    given_up = 0
    for delay in range(limit - 10, limit + 15):
        requests = StreamSource(dut, "clients_0_request", transfer_layout(CONFIG, 1), "always", 0)
        beats = StreamSource(dut, "clients_0_data", beat, "always", 0)
        ended: list[int] = []

        async def watch(ended=ended):
            while True:
                await RisingEdge(dut.clk)
                if dut.clients_0_answered.value == 1:
                    late = int(dut.clients_0_timeout.value)
                    assert int(dut.clients_0_error.value) == late
                    ended.append(late)

        async def answer(after: int):
            for _ in range(after):
                await RisingEdge(dut.clk)
            dut.bus_bvalid.value = 1
            await RisingEdge(dut.clk)
            while dut.bus_bready.value != 1:
                await RisingEdge(dut.clk)
            dut.bus_bvalid.value = 0

        background(watch())
        await start(dut)
        for number, after in enumerate((delay, 3, 3)):
            requests.put([{"address": 0x10000 + 64 * number, "words": 2, "tag": 0}])
            beats.put([{"data": number, "strobe": CONFIG.bus_bytes}])
            await until(dut, lambda: int(dut.bus_wvalid.value) == 1, "data")
            answering = cocotb.start_soon(answer(after))
            await until(dut, lambda n=number, e=ended: len(e) > n, f"end of burst {number}, answered after {delay}")
            if number:
                assert ended[number] == 0, f"{delay}: burst {number} was answered in time"
            await answering
        assert len(ended) == 3
        given_up += ended[0]
    assert 5 < given_up < 20


class _Writes:
    """One client of the write manager, on a bus whose answers the bench gives."""

    def __init__(self, dut, timeout: int):
        beat = StructLayout({"data": CONFIG.bus_bits, "strobe": CONFIG.bus_bytes})
        self.dut, self.issued, self.ended = dut, 0, []
        dut.drain.value, dut.timeout.value = 0, timeout
        dut.bus_awready.value = dut.bus_wready.value = 1
        dut.bus_bvalid.value = dut.bus_bid.value = dut.bus_bresp.value = 0
        self.requests = StreamSource(dut, "clients_0_request", transfer_layout(CONFIG, 1), "always", 0)
        self.beats = StreamSource(dut, "clients_0_data", beat, "always", 0)
        background(self._watch())

    def put(self, count: int) -> None:
        """Asks for ``count`` bursts of a beat."""
        self.requests.put({"address": 0x10000 + 64 * n, "words": 2, "tag": 0} for n in range(count))
        self.beats.put({"data": n, "strobe": CONFIG.bus_bytes} for n in range(count))

    async def answer(self, count: int) -> None:
        """Answers ``count`` bursts, one after another."""
        for _ in range(count):
            self.dut.bus_bvalid.value = 1
            await RisingEdge(self.dut.clk)
            while self.dut.bus_bready.value != 1:
                await RisingEdge(self.dut.clk)
            self.dut.bus_bvalid.value = 0
            await RisingEdge(self.dut.clk)

    async def _watch(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value == 1:
                continue
            self.issued += int(self.dut.bus_awvalid.value)
            if self.dut.clients_0_answered.value == 1:
                self.ended.append("lost" if self.dut.clients_0_timeout.value == 1 else "answered")


@cocotb.test()
async def late_answers_end_nothing_however_many_there_are(dut):
    """Of several bursts that were given up, all answers come late: none of them ends what was issued since."""
    for lost in (1, 2, 3):
        writes = _Writes(dut, 60)
        await start(dut)
        writes.put(lost)
        await until(dut, lambda w=writes, n=lost: w.ended == ["lost"] * n, "giving up")
        writes.put(2)
        await until(dut, lambda w=writes, n=lost: w.issued == n + 2, "addresses")
        await writes.answer(lost)
        for _ in range(8):
            await RisingEdge(dut.clk)
        assert writes.ended == ["lost"] * lost, "a late answer has ended another burst"
        await writes.answer(2)
        await until(dut, lambda w=writes, n=lost: w.ended == ["lost"] * n + ["answered"] * 2, "answers in time")


@cocotb.test()
async def no_more_bursts_are_issued_than_can_be_listed(dut):
    """Nothing is answered for long, and addresses and data are always taken: what is issued stays within the list."""
    writes = _Writes(dut, 0)
    await start(dut)
    writes.put(3 * CONFIG.outstanding_writes)
    for _ in range(40 * CONFIG.outstanding_writes):
        await RisingEdge(dut.clk)
    assert CONFIG.outstanding_writes - 3 < writes.issued <= CONFIG.outstanding_writes + 1 and not writes.ended
    answering = cocotb.start_soon(writes.answer(3 * CONFIG.outstanding_writes))
    await until(dut, lambda: len(writes.ended) == 3 * CONFIG.outstanding_writes, "answers")
    await answering
    assert writes.issued == 3 * CONFIG.outstanding_writes


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "write_master": (lambda c: WriteMaster(c, 1), ""),
}
