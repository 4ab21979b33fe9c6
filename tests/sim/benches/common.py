"""What all benches share: configuration, seed and memories, told by the environment."""

import os
import random
import sys

import numpy as np
from cocotb.triggers import RisingEdge

from hotline_golden.keys import KeySpace
from hotline_golden.memory import MemoryPlan
from hotline_golden.model import Model, Table
from hotline_rtl.config import preset
from hotline_sim.engine.cocotb_memory import CocotbMemory
from hotline_sim.engine.cocotb_streams import PATTERNS, background
from hotline_sim.engine.memory_model import MemoryTiming

CONFIG = preset("tiny").with_settings([s for s in os.environ.get("BENCH_SETTINGS", "").split(",") if s])
SEED = int(os.environ.get("HOTLINE_SEED", "1"))
KEYS = KeySpace(CONFIG.table_bits, CONFIG.row_bits, CONFIG.permutation_seed)
WORDS = CONFIG.bus_words
BEAT_WORDS = CONFIG.beat_words
print(f"bench seed {SEED}, configuration {CONFIG.digest()}", file=sys.stderr)

#: Pairs of source and sink back-pressure.
STALLS = [
    ("always", "always"),
    ("half", "half"),
    ("always", "seldom"),
    ("seldom", "always"),
    ("bursts", "bursts"),
]
assert all(a in PATTERNS and b in PATTERNS for a, b in STALLS)

#: Memories from ideal to hostile.
TIMINGS = [
    MemoryTiming((1, 1), (0, 0)),
    MemoryTiming((500, 500), (100, 100)),
    MemoryTiming((1, 300), (1, 60), True, True, (0.2, 0.2, 0.2, 0.2, 0.2), SEED),
    MemoryTiming((20, 60), (10, 30), True, False, (0.5, 0.0, 0.0, 0.5, 0.0), SEED + 1),
]
#: Those of benches that take long.
LONG_STALLS = STALLS[:3]
if os.environ.get("BENCH_TIMINGS") == "some":  # for one more configuration of a block that has had them all
    STALLS, LONG_STALLS = [("half", "half"), ("bursts", "bursts"), ("always", "seldom")], [("half", "half")]
    TIMINGS = TIMINGS[::2]


def rng(salt: int = 0) -> random.Random:
    """A generator that depends on the bench seed."""
    return random.Random(SEED * 1000 + salt)


class Memory:
    """A memory with named buffers on an AXI port of the block under test."""

    def __init__(self, dut, prefix: str, buffers: dict[str, int], timing: MemoryTiming, base: int = 0x10000):
        plan = MemoryPlan(base)
        for name, size in buffers.items():
            plan.add(name, size, alignment=64 if "table" not in name else 4)
        self.image = plan.image()
        random_bytes = np.random.default_rng(SEED).integers(0, 256, len(self.image.data), np.uint8)
        self.image.data[:] = random_bytes
        self.model = CocotbMemory(dut, prefix, self.image, timing, CONFIG.bus_bytes, CONFIG.burst_limit)
        self.dut = dut
        background(self._run())

    async def _run(self):
        edge = RisingEdge(self.dut.clk)
        while True:
            await edge
            self.model.edge(bool(int(self.dut.rst.value)))

    def address(self, name: str) -> int:
        return self.image.buffers[name].address

    def words(self, name: str, count: int | None = None) -> np.ndarray:
        buffer = self.image.buffers[name]
        return self.image.words(buffer.address, buffer.size // 4 if count is None else count)

    def check(self) -> None:
        """The rules of AXI were kept, and nothing is under way."""
        assert not self.model.violation, self.model.violation
        assert self.model.idle, "memory accesses are still under way"


def words_of(payload) -> list[int]:
    """The valid words of a words_layout payload."""
    data = int(payload.data)
    return [data >> 32 * (payload.offset + i) & 0xFFFF_FFFF for i in range(payload.count)]


def beats_of(words: list[int], random_counts: random.Random | None = None, width: int = WORDS) -> list[dict]:
    """group_layout payloads of ``width`` words: full ones, or any counts and offsets."""
    beats, at = [], 0
    while at < len(words):
        count = min(len(words) - at, random_counts.randint(1, width) if random_counts else width)
        offset = random_counts.randint(0, width - count) if random_counts else 0
        data = sum(w << 32 * (offset + i) for i, w in enumerate(words[at : at + count]))
        beats.append({"data": data, "offset": offset, "count": count})
        at += count
    return beats


def drive_model(dut, model: Model, prefix: str = "model_"):
    """Returns a coroutine that loads ``model`` through a ModelSignature port."""

    async def load():
        def put(name, value):
            getattr(dut, prefix + name).value = value

        for name, value in {
            "payload_words": model.payload_words,
            "accesses": model.accesses,
            "row_bytes": model.row_bytes,
            "sample_words": model.sample_words,
            "valid": 1,
            "table_write": 0,
            "access_write": 0,
            "reset": 1,
        }.items():
            put(name, value)
        await RisingEdge(dut.clk)
        put("reset", 0)
        from hotline_rtl.interfaces.model import descriptor_layout

        for number, table in enumerate(model.tables):
            descriptor = {"base": table.base, "rows": table.rows, "stride": table.stride,
                          "resident": int(table.resident), "first_slot": table.first_slot}  # fmt: skip
            put("descriptor", descriptor_layout(CONFIG).const(descriptor).as_value().value)
            put("table", number)
            put("table_write", 1)
            await RisingEdge(dut.clk)
        put("table_write", 0)
        for access, table in enumerate(model.table_of):
            put("access", access)
            put("table", table)
            put("access_write", 1)
            await RisingEdge(dut.clk)
        put("access_write", 0)
        for _ in range(4):  # blocks write it into their memories some cycles later
            await RisingEdge(dut.clk)

    return load()


def small_model(memory_address: int = 0x10000, row_bytes: int = 64) -> Model:
    """Five tables, one of them resident, one with a single row, one multi-hot."""
    rows = [3, 100, 1000, 1, 77]
    tables, base = [], memory_address
    slot = CONFIG.tracker_entries
    for number, n in enumerate(rows):
        tables.append(Table(base, n, row_bytes, number in (0, 3), slot if number in (0, 3) else 0))
        slot += n if number in (0, 3) else 0
        base += n * row_bytes
    return Model(tuple(tables), (0, 1, 2, 2, 2, 3, 4), 3, row_bytes)
