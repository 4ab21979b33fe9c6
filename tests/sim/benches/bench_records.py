"""The way of a record: aligned, decoded, classified, fragmented, its cold rows numbered."""

import os

import cocotb
import numpy as np
from amaranth.lib.data import StructLayout
from bench_common import (
    BEAT_WORDS,
    CONFIG,
    KEYS,
    LONG_STALLS,
    STALLS,
    beats_of,
    drive_model,
    rng,
    small_model,
    words_of,
)
from cocotb.triggers import RisingEdge

from hotline_golden.layouts import EMPTY_SLOT, NO_ACCESS, WORKING_ROW
from hotline_golden.model import Model, Table
from hotline_golden.split import learn, split
from hotline_golden.tracker.tracker import Tracker
from hotline_golden.working_set import number_in_first_use_order
from hotline_rtl.classify.crossbar import results_layout
from hotline_rtl.classify.fragmenter import fragmented_layout
from hotline_rtl.classify.packer import row_layout
from hotline_rtl.classify.records.access_count import decoded_layout
from hotline_rtl.classify.records.record_reader import record_beat_layout
from hotline_rtl.classify.sample_splitter import piece_layout
from hotline_rtl.interfaces.jobs import list_job_layout, list_result_layout
from hotline_rtl.interfaces.keys import looked_up_key_layout, numbered_key_layout
from hotline_rtl.interfaces.layouts import COUNT_BITS, WORDS_BITS, Opcode, Status, beat_layout, words_layout
from hotline_rtl.lib.word_queue import ended_layout
from hotline_rtl.working_set.working_set import counted_layout, working_set_job_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, background, start, until
from hotline_sim.run.job import golden_tracker

BEAT = beat_layout(CONFIG)


def random_samples(model: Model, count: int, salt: int, *, skew: float = 3.0, padding: float = 0.1) -> np.ndarray:
    """uint32 [count, sample_words]; rows are skewed towards 0."""
    g = np.random.default_rng(salt)
    limits = model.rows[np.array(model.table_of)]
    rows = np.minimum((g.random((count, model.accesses)) ** skew * limits), limits - 1).astype(np.uint32)
    rows[g.random(rows.shape) < padding] = NO_ACCESS
    payload = g.integers(0, 1 << 32, (count, model.payload_words)).astype(np.uint32)
    return np.concatenate([payload, rows], axis=1)


def record_beats(model: Model, samples: np.ndarray, masks: np.ndarray, *, tables: bool = True) -> list[dict]:
    """beat_layout payloads of whole records; ``masks`` bool [samples, accesses]."""
    beats = []
    per_word_table = [0] * (1 + model.payload_words) + list(model.table_of)
    for number, sample in enumerate(samples.tolist()):
        words = [number, *sample]
        mask = [False] * (1 + model.payload_words) + masks[number].tolist()
        for at in range(0, len(words), BEAT_WORDS):
            part = words[at : at + BEAT_WORDS]
            fill = [0] * (BEAT_WORDS - len(part))
            beats.append({
                "words": part + fill,
                "tables": (per_word_table[at : at + BEAT_WORDS] if tables else [0] * len(part)) + fill,
                "mask": sum(bit << i for i, bit in enumerate(mask[at : at + BEAT_WORDS])),
                "count": len(part),
                "last": int(at + BEAT_WORDS >= len(words)),
                "end": int(at + BEAT_WORDS >= len(words) and number == len(samples) - 1),
                "drop": 0,
            })  # fmt: skip
    return beats


@cocotb.test()
async def records_are_aligned(dut):
    for n, (a, b) in enumerate(STALLS):
        longest = CONFIG.max_record_words - 1
        for sample_words in {
            1,
            BEAT_WORDS - 1,
            BEAT_WORDS,
            BEAT_WORDS + 1,
            min(2 * BEAT_WORDS + 3, longest),
            longest,
        }:
            source = StreamSource(dut, "i", words_layout(CONFIG), a, n)
            jobs = StreamSource(dut, "jobs", COUNT_BITS + 1, a, n)
            sink = StreamSink(dut, "o", record_beat_layout(CONFIG), b, n)
            dut.sample_words.value = sample_words
            await start(dut)
            r = rng(n)
            samples = [[r.getrandbits(32) for _ in range(sample_words)] for _ in range(9)]
            jobs.put([9])
            source.put(beats_of([w for s in samples for w in s]))
            total = 9 * -(-(sample_words + 1) // BEAT_WORDS)
            await until(dut, lambda s=sink, t=total: len(s.got) >= t, "records")
            got = iter(sink.got)
            for number, sample in enumerate(samples):
                words = [number, *sample]
                for at in range(0, len(words), BEAT_WORDS):
                    beat, part = next(got), words[at : at + BEAT_WORDS]
                    assert [beat.words[i] for i in range(len(part))] == part
                    last = at + BEAT_WORDS >= len(words)
                    assert (beat.count, beat.beat, beat.sample) == (len(part), at // BEAT_WORDS, number)
                    assert (beat.last, beat.end) == (last, last and number == 8)


@cocotb.test()
async def every_word_is_recognised(dut):
    model = small_model()
    beats_per_record = -(-model.record_words // BEAT_WORDS)
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", record_beat_layout(CONFIG), a, n)
        sink = StreamSink(dut, "o", BEAT, b, n)
        results = StreamSink(dut, "results", decoded_layout(), b, n + 1)
        dut.read_fault.value = 0
        await start(dut)
        await drive_model(dut, model)
        for bad in (None, (5, 2), (0, 0), (11, 6)):
            samples = random_samples(model, 12, n)
            if bad is not None:
                samples[bad[0], model.payload_words + bad[1]] = 5000
            sink.got.clear()
            results.got.clear()
            payloads = record_beats(model, samples, np.zeros((12, model.accesses), bool), tables=False)
            for k, p in enumerate(payloads):
                for name in ("tables", "mask", "drop"):
                    del p[name]
                p["beat"], p["sample"] = k % beats_per_record, k // beats_per_record
            source.put(payloads)
            await until(dut, lambda r=results: r.got, "decoder")
            await until(dut, lambda s=sink: s.got and s.got[-1].end, "beats")
            result = results.got[0]
            samples_seen = 12 if bad is None else bad[0]
            beats = iter(sink.got)
            rows = samples[:, model.payload_words :]
            for number in range(samples_seen):
                for at in range(0, model.record_words, BEAT_WORDS):
                    beat = next(beats)
                    assert not beat.drop
                    for i in range(min(BEAT_WORDS, model.record_words - at)):
                        j = at + i - 1 - model.payload_words
                        word = [number, *samples[number].tolist()][at + i]
                        tracked = j >= 0 and rows[number, j] != NO_ACCESS and not model.resident[model.table_of[j]]
                        if j >= 0 and word != NO_ACCESS and not tracked:
                            word += int(model.first_slot[model.table_of[j]])
                        assert beat.words[i] == word
                        assert beat.mask >> i & 1 == tracked
                        if tracked:
                            assert beat.tables[i] == model.table_of[j]
            if bad is not None:
                rest = list(beats)
                assert rest and rest[-1].drop and rest[-1].end and rest[-1].last
                tracked = sum(int(beat.mask).bit_count() for beat in rest)
                before = [model.table_of[j] for j in range(bad[1]) if rows[bad[0], j] != NO_ACCESS]
                assert tracked == sum(not model.resident[t] for t in before)
                assert (result.fault.status, result.fault.index, result.fault.access) == (
                    Status.ROW_OUTSIDE_TABLE,
                    *bad,
                )
            else:
                assert next(beats, None) is None
                present = rows != NO_ACCESS
                assert (result.accesses, result.resident) == (present.sum(), present[:, [0, 5]].sum())
            assert result.fault.valid == (bad is not None)


@cocotb.test()
async def keys_are_packed_into_rows_in_trace_order(dut):
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", BEAT, a, n)
        sink = StreamSink(dut, "rows", row_layout(CONFIG), b, n)
        await start(dut)
        model = small_model()
        samples = random_samples(model, 60, n)
        rows = samples[:, model.payload_words :]
        tables = np.broadcast_to(np.array(model.table_of), rows.shape)
        tracked = (rows != NO_ACCESS) & (np.random.default_rng(n).random(rows.shape) < (1.0 if n else 0.3))
        source.put(record_beats(model, samples, tracked))
        of_sample = np.nonzero(tracked)[0]
        first = np.r_[True, of_sample[1:] != of_sample[:-1]]
        expected = list(zip(KEYS.pack(tables[tracked], rows[tracked]).tolist(), first.tolist(), strict=True))
        got = []

        def all_here(sink=sink, got=got, expected=expected):
            while sink.got:
                row = sink.got.pop(0)
                present, first = row.extra & (1 << CONFIG.lanes) - 1, row.extra >> CONFIG.lanes
                count = int(present).bit_count()
                assert present == (1 << count) - 1 and count >= 1, "lanes are filled from 0 on"
                got += [(int(row.keys[lane]), bool(first >> lane & 1)) for lane in range(count)]
            return len(got) >= len(expected)

        await until(dut, all_here, "packer")
        assert got == expected
        assert int(dut.busy.value) == 0


@cocotb.test()
async def pieces_hold_keys_of_one_sample(dut):
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", row_layout(CONFIG), a, n)
        sink = StreamSink(dut, "o", piece_layout(CONFIG), b, n)
        g = np.random.default_rng(n)
        for cut in (1, 0):
            dut.cut.value = cut
            await start(dut)
            rows, expected = [], []
            for _ in range(120):
                keys = g.integers(0, 1 << CONFIG.key_bits, CONFIG.lanes).tolist()
                present = int(g.integers(1, 1 << CONFIG.lanes))
                firsts = int(g.integers(0, 1 << CONFIG.lanes)) & present
                rows.append({"keys": keys, "extra": present | firsts << CONFIG.lanes})
                pieces: list = []
                for lane in (lane for lane in range(CONFIG.lanes) if present >> lane & 1):
                    begins = bool(firsts >> lane & 1)
                    if not pieces or (begins and cut):
                        pieces.append((begins, []))
                    pieces[-1][1].append((lane, keys[lane]))
                expected += pieces
            source.put(rows)
            await until(dut, lambda sink=sink, expected=expected: len(sink.got) >= len(expected), "pieces")
            got = [
                (bool(p.first), [(lane, int(p.keys[lane])) for lane in range(CONFIG.lanes) if p.present >> lane & 1])
                for p in sink.got
            ]
            assert got == expected
            sink.got.clear()


@cocotb.test()
async def results_return_to_their_words(dut):
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", BEAT, a, n)
        masks = StreamSource(dut, "masks", BEAT_WORDS, "always", n + 3)
        results = StreamSource(dut, "results", results_layout(CONFIG), b, n + 5)
        sink = StreamSink(dut, "o", BEAT, b, n)
        hits: list[int] = []

        async def watch(hits=hits):
            while True:
                await RisingEdge(dut.clk)
                if dut.counted.value == 1:
                    hits.append(int(dut.hits.value))

        background(watch())
        await start(dut)
        model = small_model()
        samples = random_samples(model, 40, n)
        tracked = np.random.default_rng(n).random((40, model.accesses)) < 0.6
        payloads = record_beats(model, samples, tracked)
        source.put(payloads)
        masks.put(p["mask"] for p in payloads)
        r = rng(n)
        answers = [(r.randint(0, 1), r.getrandbits(CONFIG.slot_bits)) for _ in range(int(tracked.sum()))]
        at = 0
        while at < len(answers):
            part = answers[at : at + r.randint(1, CONFIG.lanes)]
            offset = r.randint(0, CONFIG.lanes - len(part))
            lanes = [{"hit": 1, "slot": 0}] * CONFIG.lanes
            lanes[offset : offset + len(part)] = [{"hit": hit, "slot": slot} for hit, slot in part]
            results.put([{"lanes": lanes, "offset": offset, "count": len(part)}])
            at += len(part)
        await until(dut, lambda s=sink, p=payloads: len(s.got) >= len(p), "merger")
        await until(dut, lambda h=hits: h, "hits")
        answer = iter(answers)
        for got, sent in zip(sink.got, payloads, strict=True):
            for i in range(sent["count"]):
                hit, slot = next(answer) if sent["mask"] >> i & 1 else (0, 0)
                assert got.words[i] == (slot if hit else sent["words"][i])
                assert got.mask >> i & 1 == (sent["mask"] >> i & 1 and not hit)
            assert (got.count, got.last, got.end) == (sent["count"], sent["last"], sent["end"])
        assert hits == [sum(hit for hit, _ in answers)]


@cocotb.test()
async def tracker_equals_golden(dut):
    """Learning, lookups, dump and load; contents compared after each."""
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

        async def swap(limit, worth, halve, list_job=list_job, listed=listed):
            result = await list_job(Opcode.SWAP, limit=limit, worth=worth, halve=int(halve))
            delta, left = tracker.swap(limit, worth, halve)
            assert np.array_equal(np.array(await listed(), np.uint32).reshape(-1, 5), delta)
            assert (result.changed, result.left) == (len(delta), left)
            return len(delta), left

        assert (await dump() == EMPTY_SLOT).all()
        changes = []
        for round_ in range(3):
            samples = random_samples(model, count, 10 * n + round_)
            rows = samples[:, model.payload_words :]
            tables = np.array(model.table_of)
            tracked = (rows != NO_ACCESS) & ~model.resident[tables]
            learning = round_ < 2
            sink.got.clear()
            results.got.clear()
            jobs.put([int(learning)])
            arrivals.put([1])
            payloads = record_beats(model, samples, tracked)
            source.put(payloads)
            await until(dut, lambda r=results: r.got, "classifier")
            await until(dut, lambda s=sink, p=payloads: len(s.got) >= len(p), "beats")
            hits = results.got[0]
            if learning:
                accesses, hot = learn(model, tracker, rows)
                assert hits == hot - (accesses - tracked.sum())
                assert np.array_equal(await dump(), tracker.dump())
                for limit, worth, halve in ((5, 0, False), (30, 6, True), (1000, 0, False)) if CONFIG.shadow else ():
                    changes.append(await swap(limit, worth, halve))
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
            assert np.array_equal(await dump(), tracker.dump()), "a lookup must change nothing"

        if count > 40 and CONFIG.scores_samples:
            assert tracker.scorer.level >= 2 - CONFIG.shadow, "too few misses for weights to differ"
        if CONFIG.shadow:
            assert changes[0][0] == 5 and changes[0][1] > 0, "the limit kept some back"
            assert any(changed and not left for changed, left in changes)
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


def _bad_lists(good: np.ndarray, tracker: Tracker):
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


@cocotb.test()
async def samples_go_to_the_right_micro_batch(dut):
    model = small_model()
    for n, (a, b) in enumerate(STALLS):
        source = StreamSource(dut, "i", BEAT, a, n)
        jobs = StreamSource(dut, "jobs", 1, b, n)
        results = StreamSink(dut, "results", fragmented_layout(), a, n)
        popular = StreamSink(dut, "popular", ended_layout(BEAT_WORDS), b, n)
        non_popular = StreamSink(dut, "non_popular", BEAT, b, n + 1)
        await start(dut)
        expected, counts = {"popular": [], "non_popular": []}, []
        g = np.random.default_rng(n)
        for share, discard in ((0.0, 0), (0.1, 0), (1.0, 0), (0.1, 1), (0.1, 0)):
            samples = random_samples(model, 30, n)
            masks = g.random((30, model.accesses)) < share
            is_popular = ~masks.any(axis=1)
            records = np.concatenate([np.arange(30, dtype=np.uint32)[:, None], samples], axis=1)
            if not discard:
                expected["popular"].append(records[is_popular].reshape(-1).tolist())
                expected["non_popular"].append(records[~is_popular].reshape(-1).tolist())
            counts.append((0, 0) if discard else (is_popular.sum(), (~is_popular).sum()))
            source.put(record_beats(model, samples, masks))
            jobs.put([discard])
        await until(dut, lambda r=results, c=counts: len(r.got) == len(c), "fragmenter")
        ends = len(expected["popular"])
        await until(dut, lambda p=popular, e=ends: sum(g.end for g in p.got) == e, "popular samples")
        await until(dut, lambda p=non_popular, e=ends: sum(g.end for g in p.got) == e, "other samples")
        got = {
            "popular": [(words_of(g.group), g.end) for g in popular.got],
            "non_popular": [([g.words[i] for i in range(g.count)], g.end) for g in non_popular.got],
        }
        for name, parts in got.items():
            batches: list[list[int]] = [[]]
            for words, end in parts:
                batches[-1] += words
                if end:
                    batches.append([])
            assert batches == [*expected[name], []], name
        assert [(r.popular, r.non_popular) for r in results.got] == counts


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


@cocotb.test()
async def keys_of_the_set_are_found(dut):
    """Some keys of the set and some others are looked up, and after them the next set begins as usual."""
    model = small_model()
    tables = np.array(model.table_of)
    for n, (a, b) in enumerate(STALLS):
        bench = ColdPathBench(dut, {"i": a, "o": b, "keys": b}, n)
        lookups = StreamSource(dut, "lookups", looked_up_key_layout(CONFIG), a, n + 3)
        await start(dut)
        r = rng(n)
        for round_ in range(4):
            samples = random_samples(model, 30, 100 * n + round_, skew=1.0)
            cold = (samples[:, model.payload_words :] != NO_ACCESS) & ~model.resident[tables]
            _, keys, _ = await bench.run(model, samples, cold)
            numbers = {(k.key.table, k.key.row): k.number for k in keys}
            asked = [r.choice(list(numbers)) if r.random() < 0.5 else (2, r.randrange(1000)) for _ in range(60)]
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
