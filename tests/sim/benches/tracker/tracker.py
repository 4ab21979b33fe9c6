"""Lanes, tracker and hot-list engine against golden."""

import os

import cocotb
import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from benches.common import (
    BEAT_WORDS,
    CONFIG,
    KEYS,
    LONG_STALLS,
    beats_of,
    small_model,
    words_of,
)
from benches.samples import BEAT, random_samples, record_beats
from cocotb.triggers import RisingEdge

from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, NO_ACCESS
from hotline_golden.split import learn
from hotline_golden.tracker.tracker import Tracker as GoldenTracker
from hotline_rtl.classify.classifier import Classifier
from hotline_rtl.config import AcceleratorConfig
from hotline_rtl.interfaces.jobs import list_job_layout, list_result_layout
from hotline_rtl.interfaces.keys import found_key_layout
from hotline_rtl.interfaces.layouts import WORDS_BITS, Opcode, Status, key_layout, words_layout
from hotline_rtl.interfaces.tracker import connect_lanes
from hotline_rtl.lib.word_queue import ended_layout
from hotline_rtl.tracker.lists.hot_list import HotList
from hotline_rtl.tracker.tracker import Tracker
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until
from hotline_sim.run.job import golden_tracker


class LanesAndTracker(wiring.Component):
    """Lanes, tracker and hot-list engine."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.classifier, self.hot_list = Classifier(config), HotList(config)
        lanes, hot_list = self.classifier.signature.members, self.hot_list.signature.members
        super().__init__({
            **{name: lanes[name] for name in ("arrivals", "jobs", "results", "i", "o")},
            **{f"list_{name}": hot_list[name] for name in ("jobs", "results", "i", "o")},
            "lists": hot_list["lists"], "read_fault": hot_list["read_fault"],
            **({name: hot_list[name] for name in ("finds", "found")} if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.classifier, m.submodules.hot_list = classifier, hot_list = self.classifier, self.hot_list
        m.submodules.tracker = tracker = Tracker(self.config)
        wiring.connect(m, hot_list.port, tracker.port)
        connect_lanes(m, classifier, tracker)
        for block, prefix, names in [
            (classifier, "", ("arrivals", "jobs", "results", "i", "o")),
            (hot_list, "list_", ("jobs", "results", "i", "o")),
            (hot_list, "", ("lists", *(("finds", "found") if self.config.shadow else ()))),
        ]:
            for name in names:
                wiring.connect(m, getattr(block, name), wiring.flipped(getattr(self, prefix + name)))
        m.d.comb += hot_list.read_fault.eq(self.read_fault)
        return m


#: What the working set has, as far as a SWAP can see: every third key.
WORKING_KEYS = np.array([(table, row) for row in range(0, 300, 3) for table in range(5)], np.uint32)
NUMBERS = {(table, row): number for number, (table, row) in enumerate(WORKING_KEYS.tolist())}


def answer_finds(dut, a: str, b: str, seed: int) -> None:
    """Tells a SWAP which working row has a key."""
    finds = StreamSink(dut, "finds", key_layout(CONFIG), a, seed)
    found = StreamSource(dut, "found", found_key_layout(CONFIG), b, seed)

    async def answer():
        while True:
            await RisingEdge(dut.clk)
            while finds.got:
                key = finds.got.pop(0)
                number = NUMBERS.get((key.table, key.row))
                found.put([{"found": int(number is not None), "number": number or 0}])

    cocotb.start_soon(answer())


@cocotb.test()
async def tracker_equals_golden(dut):
    """Learning, lookups, dump and load; contents compared after each. With a shadow: lookups that learn, and swaps."""
    model = small_model()
    tracker = golden_tracker(CONFIG)
    count = int(os.environ.get("BENCH_SAMPLES", "40"))
    for n, (a, b) in enumerate(LONG_STALLS):
        source, sink = StreamSource(dut, "i", BEAT, a, n), StreamSink(dut, "o", BEAT, b, n)
        list_in = StreamSource(dut, "list_i", words_layout(CONFIG), a, n)
        list_out = StreamSink(dut, "list_o", ended_layout(2), b, n)
        list_jobs = StreamSource(dut, "list_jobs", list_job_layout(CONFIG), a, n)
        list_results = StreamSink(dut, "list_results", list_result_layout(CONFIG), b, n)
        asked = StreamSink(dut, "lists", StructLayout({"address": CONFIG.address_bits, "words": WORDS_BITS}), b, n)
        jobs, arrivals = StreamSource(dut, "jobs", 1, a, n), StreamSource(dut, "arrivals", 1, b, n)
        results = StreamSink(dut, "results", 32, b, n)
        if CONFIG.shadow:
            answer_finds(dut, a, b, n)
        dut.read_fault.value = 0
        await start(dut)
        tracker.clear()

        async def list_job(opcode, jobs=list_jobs, results=list_results, **fields):
            results.got.clear()
            jobs.put([{"opcode": opcode} | fields])
            await until(dut, lambda: results.got, opcode.name)
            return results.got[0]

        async def listed(out=list_out):
            await until(dut, lambda: out.got and out.got[-1].end, "the end of the list")
            assert not any(g.end for g in out.got[:-1])
            words = [w for g in out.got for w in words_of(g.group)]
            out.got.clear()
            return words

        async def dump(list_job=list_job, listed=listed):
            await list_job(Opcode.DUMP)
            return np.array(await listed(), np.uint32).reshape(-1, 2)

        async def load(hot, words=list_in, asked=asked, list_job=list_job):
            async def give():
                while True:  # the list is read once to check it, and once to take it
                    await RisingEdge(dut.clk)
                    if asked.got:
                        asked.got.clear()
                        words.put(beats_of(hot.reshape(-1).tolist()))

            giving = cocotb.start_soon(give())
            result = await list_job(Opcode.LOAD)
            giving.cancel()
            return result.fault

        async def swap(limit, worth, list_job=list_job, listed=listed):
            result = await list_job(Opcode.SWAP, limit=limit, worth=worth)
            delta, left = tracker.swap(limit, worth, WORKING_KEYS)
            assert np.array_equal(np.array(await listed(), np.uint32).reshape(-1, DELTA_WORDS), delta)
            assert (result.changed, result.left) == (len(delta), left)
            return len(delta), left

        assert (await dump() == EMPTY_SLOT).all()
        changes = []
        for round_ in range(3 + 2 * CONFIG.shadow):
            samples = random_samples(model, count, 10 * n + round_)
            rows = samples[:, model.payload_words :]
            tables = np.array(model.table_of)
            tracked = (rows != NO_ACCESS) & ~model.resident[tables]
            learning = round_ < 2
            sink.got.clear()
            results.got.clear()
            jobs.put([int(learning)])
            arrivals.put([1])
            follow = np.zeros(count, bool)
            if CONFIG.shadow and not learning:
                follow = np.random.default_rng(round_).random(count) < (0.5, 1.0, 0.7)[round_ - 2]
            payloads = record_beats(model, samples, tracked, follow=follow)
            source.put(payloads)
            await until(dut, lambda r=results: r.got, "classifier")
            await until(dut, lambda s=sink, p=payloads: len(s.got) >= len(p), "beats")
            hits = results.got[0]
            if learning:
                accesses, hot = learn(model, tracker, rows)
                assert hits == hot - (accesses - tracked.sum())
                assert np.array_equal(await dump(), tracker.dump())
                for limit, worth in ((5, 0), (30, 2), (1000, 0)) if CONFIG.shadow else ():
                    changes.append(await swap(limit, worth))
                    assert np.array_equal(await dump(), tracker.dump())
                continue
            keys = tracker.keys.pack(np.broadcast_to(tables, rows.shape), np.where(tracked, rows, 0))
            slots = np.where(tracked, tracker.lookup(keys.reshape(-1)).reshape(rows.shape), -1)
            for k, beat in enumerate(sink.got):
                per_record = -(-model.record_words // BEAT_WORDS)
                number, at = k // per_record, k % per_record * BEAT_WORDS
                for i in range(beat.count):
                    j = at + i - 1 - model.payload_words
                    cold = j >= 0 and tracked[number, j] and slots[number, j] < 0
                    assert beat.mask >> i & 1 == cold
                    if j >= 0 and tracked[number, j] and not cold:
                        assert beat.words[i] == slots[number, j]
            assert hits == (slots >= 0).sum()
            assert np.array_equal(await dump(), tracker.dump()), "a lookup must not change the hot set"
            if CONFIG.shadow:
                tracker.follow(keys[tracked & follow[:, None]])
                changes.append(await swap(1000, 0))
                assert np.array_equal(await dump(), tracker.dump())

        if count > 40 and CONFIG.scores_samples:
            assert tracker.scorer.level >= 2 - CONFIG.shadow, "too few misses for weights to differ"
        if CONFIG.shadow:
            assert changes[0][0] == 5 and changes[0][1] > 0, "the limit kept some back"
            assert any(changed and not left for changed, left in changes)
            few = CONFIG.tracker_entries <= 4 * count
            assert not CONFIG.forgets or count <= 40 or not few or tracker.forgetting.span > 1, "epochs have ended"
        # LOAD: a bad list changes nothing, a good one everything.
        good = tracker.place(KEYS.pack(2, np.arange(100)))
        contents = tracker.dump()
        for name, hot, slot in _bad_lists(good, tracker) if n == 0 else []:
            fault = await load(hot)
            assert fault.valid and (fault.status, fault.index) == (Status.BAD_HOT_LIST, slot), name
            assert np.array_equal(await dump(), contents), name
        fault = await load(good)
        tracker.load(good)
        assert not fault.valid
        assert np.array_equal(await dump(), good)


def _bad_lists(good: np.ndarray, tracker: GoldenTracker):
    used = np.flatnonzero(good[:, 0] != EMPTY_SLOT)
    wrong_set = good.copy()
    target = (used[0] + tracker.ways) % tracker.slots
    wrong_set[target] = good[used[0]]
    yield "wrong set", wrong_set, target
    first = next(s for s in used if s % tracker.ways == 0)
    twice = good.copy()
    twice[first + 1] = good[first]
    yield "twice in a set", twice, first + 1
    large = good.copy()
    large[5] = (1 << tracker.keys.table_bits, 0)
    yield "table too large", large, 5


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "tracker": (LanesAndTracker, ""),
}
