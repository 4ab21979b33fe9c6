"""Transfers in, beats out, whoever loses answers."""

import cocotb
from benches.common import (
    CONFIG,
    STALLS,
    TIMINGS,
    WORDS,
    Memory,
    rng,
)
from benches.masters import READ_TAG_BITS
from cocotb.triggers import RisingEdge

from hotline_rtl.interfaces.memory import transfer_layout
from hotline_rtl.transfer.backend.read_master import ReadMaster
from hotline_sim.engine.cocotb_streams import StreamSource, background, start, until
from hotline_sim.engine.memory_model import HELD, Fault


class Transfers:
    """Keeps a tagged read client busy with random transfers, and checks what comes under each tag."""

    def __init__(self, dut, memory: Memory, pattern: str, seed: int):
        self.dut, self.memory, self.random = dut, memory, rng(seed)
        self.layout = transfer_layout(CONFIG, READ_TAG_BITS)
        self.source = StreamSource(dut, "tagged_request", self.layout, pattern, seed)
        self.under_way: dict[int, tuple[int, list]] = {}  # by tag: the first beat's address, and the beats that came
        self.whole = self.lost = self.failed = 0
        background(self._watch())

    def ask(self, words: int) -> None:
        """A transfer of up to ``words`` words, if there is a free tag."""
        free = set(range(1 << READ_TAG_BITS)) - set(self.under_way)
        if not free:
            return
        tag = self.random.choice(sorted(free))
        size = self.memory.image.buffers["buffer"].size // 4
        count = self.random.randint(1, words)
        address = self.memory.address("buffer") + 4 * self.random.randrange(size - count)
        beats = (address + 4 * count - 1) // CONFIG.bus_bytes - address // CONFIG.bus_bytes + 1
        self.under_way[tag] = (address // CONFIG.bus_bytes * CONFIG.bus_bytes, [beats])
        self.source.put([{"address": address, "words": count, "tag": tag}])

    async def _watch(self):
        edge, dut = RisingEdge(self.dut.clk), self.dut
        while True:
            await edge
            if dut.rst.value == 1:
                continue
            assert int(dut.unanswered.value) <= int(dut.limit.value)
            if dut.tagged_beat_valid.value != 1:
                continue
            tag = int(dut.tagged_beat_tag.value)
            first, beats = self.under_way[tag]
            at = first + (len(beats) - 1) * CONFIG.bus_bytes
            if dut.tagged_beat_error.value == 1:
                beats.append("lost" if dut.tagged_beat_timeout.value == 1 else "failed")
            else:
                data = int(dut.tagged_beat_data.value).to_bytes(CONFIG.bus_bytes, "little")
                assert data == self.memory.image.words(at, WORDS).tobytes(), f"tag {tag}, {at:#x}"
                beats.append("good")
            assert int(dut.tagged_beat_last.value) == (len(beats) - 1 == beats[0]), f"tag {tag}: last"
            if len(beats) - 1 == beats[0]:
                self.whole += 1
                self.lost += "lost" in beats
                del self.under_way[tag]


def quiet(dut, limit: int, timeout: int) -> None:
    dut.limit.value, dut.timeout.value, dut.drain.value = limit, timeout, 0
    dut.clients_0_request_valid.value = 0
    dut.clients_0_request_payload.value = 0


@cocotb.test()
async def every_transfer_comes_whole_under_its_tag(dut):
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {"gap": 64 * 61, "buffer": 20_000}, timing)
        transfers = Transfers(dut, memory, STALLS[n % len(STALLS)][0], n)
        quiet(dut, 1 + 3 * n, 0)
        await start(dut)
        while transfers.whole + len(transfers.under_way) < 40:
            transfers.ask(CONFIG.max_row_bytes // 4)
            await RisingEdge(dut.clk)
        await until(dut, lambda t=transfers: not t.under_way, "transfers")
        assert not transfers.lost
        await until(dut, lambda: int(dut.drained.value) == 1, "drained a cycle later", cycles=2)
        memory.check()


@cocotb.test()
async def lost_answers_are_given_up_and_late_ones_dropped(dut):
    for n, timing in enumerate(TIMINGS[::2]):
        memory = Memory(dut, "bus", {"gap": 64 * 61, "buffer": 20_000}, timing)
        transfers = Transfers(dut, memory, "always", n)
        quiet(dut, CONFIG.outstanding_rows, 800)
        await start(dut)
        for round_ in range(3):
            lost = transfers.lost
            memory.model.inject([Fault(memory.address("buffer") + 4000 * round_, 4000, response=HELD)])
            for _ in range(12):
                transfers.ask(CONFIG.max_row_bytes // 4)
            await until(dut, lambda t=transfers: not t.under_way, "giving up")
            memory.model.inject([])  # the answers come now
            for _ in range(12):
                transfers.ask(CONFIG.max_row_bytes // 4)
            before = transfers.lost
            await until(dut, lambda t=transfers: not t.under_way, "transfers")
            assert transfers.lost == before, "the memory answers again"
            assert round_ or before > lost
        await until(dut, lambda: int(dut.drained.value) == 1, "late answers")
        for _ in range(800):
            await RisingEdge(dut.clk)
        memory.check()


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "read_master": (lambda c: ReadMaster(c, 1, READ_TAG_BITS), ""),
}
