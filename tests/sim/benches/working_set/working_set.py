"""Cold resolver and working set against golden."""

import cocotb
import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from benches.common import (
    BEAT_WORDS,
    CONFIG,
    KEYS,
    STALLS,
    rng,
    small_model,
    words_of,
)
from benches.samples import BEAT, random_samples, record_beats

from hotline_golden.layouts import NO_ACCESS, WORKING_ROW
from hotline_golden.model import Model, Table
from hotline_golden.split import split
from hotline_golden.working_set import number_in_first_use_order
from hotline_rtl.config import AcceleratorConfig
from hotline_rtl.interfaces.keys import found_key_layout, looked_up_key_layout, numbered_key_layout
from hotline_rtl.interfaces.layouts import key_layout
from hotline_rtl.lib.word_queue import ended_layout
from hotline_rtl.working_set.cold_resolver import ColdResolver
from hotline_rtl.working_set.working_set import WorkingSet, counted_layout, working_set_job_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until
from hotline_sim.run.job import golden_tracker


class ColdPath(wiring.Component):
    """Cold resolver and working set, as they work together."""

    def __init__(self, config: AcceleratorConfig):
        self.cold, self.working_set = ColdResolver(config), WorkingSet(config)
        self.of_set = ["jobs", "lookups", "keys", "results", *(["finds", "found"] if config.shadow else [])]
        super().__init__({
            **{name: self.cold.signature.members[name] for name in ("i", "o")},
            **{name: self.working_set.signature.members[name] for name in self.of_set},
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.cold, m.submodules.working_set = cold, working_set = self.cold, self.working_set
        wiring.connect(m, wiring.flipped(self.i), cold.i)
        wiring.connect(m, cold.probes, working_set.probes)
        wiring.connect(m, working_set.numbers, cold.numbers)
        wiring.connect(m, cold.o, wiring.flipped(self.o))
        for name in self.of_set:
            wiring.connect(m, getattr(working_set, name), wiring.flipped(getattr(self, name)))
        return m


class ColdPathBench:
    """Mini-batches through cold resolver and working set."""

    def __init__(self, dut, stalls: dict[str, str], seed: int):
        self.dut = dut
        self.source = StreamSource(dut, "i", BEAT, stalls["i"], seed)
        self.jobs = StreamSource(dut, "jobs", working_set_job_layout(CONFIG), stalls["i"], seed)
        self.records = StreamSink(dut, "o", ended_layout(BEAT_WORDS), stalls["o"], seed)
        self.keys = StreamSink(dut, "keys", numbered_key_layout(CONFIG), stalls["keys"], seed + 1)
        self.results = StreamSink(dut, "results", counted_layout(CONFIG), stalls["o"], seed)

    async def run(self, model: Model, samples: np.ndarray, cold: np.ndarray, limit: int = CONFIG.working_rows):
        """Returns the words of the records, the keys with their numbers, and the result."""
        for sink in (self.records, self.keys, self.results):
            sink.got.clear()
        beats = record_beats(model, samples, cold)
        self.source.put(beats)
        self.jobs.put([{"limit": limit}])
        await until(self.dut, lambda: self.results.got, "working set")
        await until(self.dut, lambda: self.records.got and self.records.got[-1].end, "records")
        await until(self.dut, lambda: self.keys.got and self.keys.got[-1].end, "keys")
        assert len(self.records.got) == len(beats)
        words = np.array([w for g in self.records.got for w in words_of(g.group)], np.uint32)
        return words.reshape(-1, model.record_words), self.keys.got[:-1], self.results.got[0]


@cocotb.test()
async def working_rows_are_numbered_in_first_use_order(dut):
    """Many mini-batches in a row, so that epochs run out; and one that overflows."""
    model = small_model()
    tracker = golden_tracker(CONFIG)
    tables = np.array(model.table_of)
    for n, (a, b) in enumerate(STALLS):
        bench = ColdPathBench(dut, {"i": a, "o": b, "keys": b}, n)
        await start(dut)
        rounds = 260 if n == 0 else 3
        for round_ in range(rounds):
            samples = random_samples(model, 2 if rounds == 260 else 40, 100 * n + round_, skew=1.0)
            rows = samples[:, model.payload_words :]
            # An empty tracker: every tracked access is cold.
            cold = (rows != NO_ACCESS) & ~model.resident[tables]
            got, keys, result = await bench.run(model, samples, cold)
            expected = split(model, tracker, samples)
            all_keys = KEYS.pack(np.broadcast_to(tables, rows.shape), np.where(cold, rows, 0))[cold]
            numbers, distinct = number_in_first_use_order(all_keys)
            assert len(distinct) == len(expected.working_keys) == result.count
            refs = got[:, 1 + model.payload_words :]
            assert np.array_equal(refs[cold], numbers.astype(np.uint32) | np.uint32(WORKING_ROW))
            assert np.array_equal(refs[~cold], rows[~cold]), "other words stay as they are"
            assert [(k.key.table, k.key.row) for k in keys] == [tuple(x) for x in expected.working_keys.tolist()]
            assert [k.number for k in keys] == list(range(len(distinct)))
            assert not result.overflow
        samples = random_samples(model, 20, n, skew=1.0, padding=0.0)
        rows = samples[:, model.payload_words :]
        cold = np.broadcast_to(~model.resident[tables], rows.shape)
        _, keys, result = await bench.run(model, samples, cold, limit=10)
        refs = split(model, tracker, samples).non_popular[:, 1 + model.payload_words :]
        first = int((refs == (WORKING_ROW | 10)).any(axis=1).argmax())
        assert result.overflow and result.overflow_sample == first
        assert result.count == 10 and len(keys) == 10


async def _set_and_questions(bench: ColdPathBench, model: Model, salt: int, r, count: int):
    """The keys of a random working set with their numbers; ``count`` keys to ask for, about half of them of the set."""
    samples = random_samples(model, 30, salt, skew=1.0)
    cold = (samples[:, model.payload_words :] != NO_ACCESS) & ~model.resident[np.array(model.table_of)]
    _, keys, _ = await bench.run(model, samples, cold)
    numbers = {(k.key.table, k.key.row): k.number for k in keys}
    return numbers, [r.choice(list(numbers)) if r.random() < 0.5 else (2, r.randrange(1000)) for _ in range(count)]


@cocotb.test()
async def keys_of_the_set_are_found(dut):
    """Some keys of the set and some others are looked up, and after them the next set begins as usual."""
    model = small_model()
    for n, (a, b) in enumerate(STALLS):
        bench = ColdPathBench(dut, {"i": a, "o": b, "keys": b}, n)
        lookups = StreamSource(dut, "lookups", looked_up_key_layout(CONFIG), a, n + 3)
        await start(dut)
        r = rng(n)
        for round_ in range(4):
            numbers, asked = await _set_and_questions(bench, model, 100 * n + round_, r, 60)
            bench.keys.got.clear()
            bench.results.got.clear()
            bench.jobs.put([{"looks_up": 1}])
            lookups.put({"key": {"table": table, "row": row}} for table, row in asked)
            lookups.put([{"end": 1}])
            await until(dut, lambda b=bench: b.results.got, "look-ups")
            await until(dut, lambda b=bench: b.keys.got and b.keys.got[-1].end, "keys")
            assert bench.results.got[0].looked_up
            found = [((k.key.table, k.key.row), k.number) for k in bench.keys.got[:-1]]
            assert found == [(key, numbers[key]) for key in asked if key in numbers]


@cocotb.test()
async def a_swap_is_told_where_keys_are(dut):
    """Between jobs, one question at a time."""
    if not CONFIG.shadow:
        return
    model = small_model()
    for n, (a, b) in enumerate(STALLS[:3]):
        bench = ColdPathBench(dut, {"i": a, "o": b, "keys": b}, n)
        finds = StreamSource(dut, "finds", key_layout(CONFIG), a, n + 3)
        found = StreamSink(dut, "found", found_key_layout(CONFIG), b, n + 4)
        await start(dut)
        r = rng(n)
        for round_ in range(4):
            numbers, asked = await _set_and_questions(bench, model, 100 * n + round_, r, 40)
            found.got.clear()
            bench.keys.got.clear()
            finds.put({"table": table, "row": row} for table, row in asked)
            await until(dut, lambda f=found: len(f.got) >= 40, "answers")
            for key, answer in zip(asked, found.got, strict=True):
                assert answer.found == (key in numbers)
                assert not answer.found or answer.number == numbers[key]
            assert not bench.keys.got, "they are not for the gather"


def _distinct_keys(samples: int, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Samples whose tracked accesses are all distinct, and their mask."""
    tables = np.array(model.table_of)
    rows = np.zeros((samples, model.accesses), np.uint32)
    rows[:] = np.arange(samples * model.accesses).reshape(samples, -1) % model.rows[tables]
    payload = np.zeros((samples, model.payload_words), np.uint32)
    # Three accesses belong to the table of 1,000 rows.
    return np.concatenate([payload, rows], axis=1), np.broadcast_to(tables == 2, rows.shape)


@cocotb.test()
async def a_working_set_takes_as_many_keys_as_its_limit_and_no_more(dut):
    """Distinct keys, one in each cycle, so that the last two that find room come one after the other."""
    model = small_model()
    bench = ColdPathBench(dut, {"i": "always", "o": "always", "keys": "always"}, 0)
    await start(dut)
    for limit in range(1, 60):
        samples, cold = _distinct_keys(25, model)
        _, keys, result = await bench.run(model, samples, cold, limit)
        assert result.count == limit and [k.number for k in keys] == list(range(limit))
        assert result.overflow and result.overflow_sample == limit // 3, limit


@cocotb.test()
async def numbers_wait_for_their_records(dut):
    """Nearly every word of every beat is cold, and records are seldom taken: more numbers are found than can wait."""
    tables = tuple(Table(0x10000, 1000, 64) for _ in range(3))
    model = Model(tables, tuple(n % 3 for n in range(12)), 0, 64)
    bench = ColdPathBench(dut, {"i": "always", "o": "seldom", "keys": "always"}, 7)
    await start(dut)
    rows = np.array([[rng(n).randrange(9 + 3 * k) for k in range(12)] for n in range(60)], np.uint32)
    cold = np.ones(rows.shape, bool)
    got, _, _ = await bench.run(model, rows, cold)
    numbers, _ = number_in_first_use_order(
        KEYS.pack(np.broadcast_to(np.array(model.table_of), rows.shape), rows)[cold]
    )
    assert np.array_equal(got[:, 1:].reshape(-1), numbers.astype(np.uint32) | np.uint32(WORKING_ROW))


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "working_set": (ColdPath, ""),
}
