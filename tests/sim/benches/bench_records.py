"""The way of a record: aligned, decoded, classified, fragmented, its cold rows numbered."""

import os

import cocotb
import numpy as np
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
from hotline_rtl.classify.packer import row_layout
from hotline_rtl.classify.record_reader import record_beat_layout
from hotline_rtl.classify.sample_splitter import piece_layout
from hotline_rtl.interfaces.keys import numbered_key_layout
from hotline_rtl.interfaces.layouts import beat_layout, words_layout
from hotline_rtl.lib.word_queue import group_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, pulse, start, until
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
            sink = StreamSink(dut, "o", record_beat_layout(CONFIG), b, n)
            dut.start.value = 0
            dut.samples.value, dut.sample_words.value = 9, sample_words
            await start(dut)
            r = rng(n)
            samples = [[r.getrandbits(32) for _ in range(sample_words)] for _ in range(9)]
            for _ in range(3):  # `sample_words` must have been there so long
                await RisingEdge(dut.clk)
            await pulse(dut, start=1)
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
        dut.start.value = dut.fail.value = 0
        await start(dut)
        await drive_model(dut, model)
        for bad in (None, (5, 2), (0, 0), (11, 6)):
            samples = random_samples(model, 12, n)
            if bad is not None:
                samples[bad[0], model.payload_words + bad[1]] = 5000
            sink.got.clear()
            await pulse(dut, start=1)
            await RisingEdge(dut.clk)
            payloads = record_beats(model, samples, np.zeros((12, model.accesses), bool), tables=False)
            for k, p in enumerate(payloads):
                for name in ("tables", "mask", "drop"):
                    del p[name]
                p["beat"], p["sample"] = k % beats_per_record, k // beats_per_record
            source.put(payloads)
            await until(dut, lambda s=source: s.empty and int(dut.ended.value) == 1, "decoder")
            await until(dut, lambda: int(dut.giving.value) == 0, "beats")
            for _ in range(10):
                await RisingEdge(dut.clk)
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
                assert (int(dut.bad_sample.value), int(dut.bad_access.value)) == bad
            else:
                assert next(beats, None) is None
                present = rows != NO_ACCESS
                assert int(dut.accesses.value) == present.sum()
                assert int(dut.resident.value) == present[:, [0, 5]].sum()
            assert int(dut.bad_row.value) == (bad is not None)


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
        dut.start.value = 0
        await start(dut)
        await pulse(dut, start=1)
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
        for _ in range(2):  # hits are counted behind the results
            await RisingEdge(dut.clk)
        answer = iter(answers)
        for got, sent in zip(sink.got, payloads, strict=True):
            for i in range(sent["count"]):
                hit, slot = next(answer) if sent["mask"] >> i & 1 else (0, 0)
                assert got.words[i] == (slot if hit else sent["words"][i])
                assert got.mask >> i & 1 == (sent["mask"] >> i & 1 and not hit)
            assert (got.count, got.last, got.end) == (sent["count"], sent["last"], sent["end"])
        assert int(dut.hits.value) == sum(hit for hit, _ in answers)


@cocotb.test()
async def tracker_equals_golden(dut):
    """Learning, lookups, dump and load; contents compared after each."""
    model = small_model()
    tracker = golden_tracker(CONFIG)
    count = int(os.environ.get("BENCH_SAMPLES", "40"))
    for n, (a, b) in enumerate(LONG_STALLS):
        source, sink = StreamSource(dut, "i", BEAT, a, n), StreamSink(dut, "o", BEAT, b, n)
        list_in = StreamSource(dut, "list_i", words_layout(CONFIG), a, n)
        list_out = StreamSink(dut, "list_o", group_layout(2), b, n)
        for name in ("clear", "dump", "load", "start", "learning", "more", "swap", "halve", "limit", "worth"):
            getattr(dut, name).value = 0
        await start(dut)
        await until(dut, lambda: int(dut.busy.value) == 0, "sweep after reset")
        tracker.clear()

        async def dump(out=list_out):
            out.got.clear()
            await pulse(dut, dump=1)
            expected = 2 * tracker.slots
            await until(dut, lambda: sum(g.count for g in out.got) >= expected, "dump")
            await until(dut, lambda: int(dut.busy.value) == 0, "dump")
            return np.array([w for g in out.got for w in words_of(g)], np.uint32).reshape(-1, 2)

        async def load(hot, words=list_in):
            await pulse(dut, load=1)
            while int(dut.busy.value) == 1 or not words.empty:
                if int(dut.starting.value) == 1:  # the list is read once to check it, and once to take it
                    words.put(beats_of(hot.reshape(-1).tolist()))
                await RisingEdge(dut.clk)

        async def swap(limit, worth, halve, out=list_out):
            out.got.clear()
            dut.limit.value, dut.worth.value, dut.halve.value = limit, worth, int(halve)
            await pulse(dut, swap=1)
            await until(dut, lambda: int(dut.busy.value) == 0, "swap")
            delta, left = tracker.swap(limit, worth, halve)
            await until(dut, lambda: sum(g.count for g in out.got) >= delta.size, "delta list")
            got = np.array([w for g in out.got for w in words_of(g)], np.uint32).reshape(-1, 5)
            assert np.array_equal(got, delta)
            assert (int(dut.changed.value), int(dut.left.value)) == (len(delta), left)
            return len(delta), left

        assert (await dump() == EMPTY_SLOT).all()
        changes = []
        for round_ in range(3):
            samples = random_samples(model, count, 10 * n + round_)
            rows = samples[:, model.payload_words :]
            tables = np.array(model.table_of)
            tracked = (rows != NO_ACCESS) & ~model.resident[tables]
            learning = round_ < 2
            dut.learning.value = int(learning)
            sink.got.clear()
            await pulse(dut, start=1)
            payloads = record_beats(model, samples, tracked)
            dut.more.value = 1
            source.put(payloads)
            await until(dut, lambda s=source: s.empty, "records")
            dut.more.value = 0
            await until(dut, lambda s=sink, p=payloads: len(s.got) >= len(p), "classifier")
            await until(dut, lambda: int(dut.learns.value) == 0, "learning")
            for _ in range(2):  # hits are counted behind the results
                await RisingEdge(dut.clk)
            if learning:
                accesses, hot = learn(model, tracker, rows)
                assert int(dut.hits.value) == hot - (accesses - tracked.sum())
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
            assert int(dut.hits.value) == (slots >= 0).sum()
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
            await load(hot)
            assert int(dut.bad_list.value) == 1 and int(dut.bad_slot.value) == slot, name
            assert np.array_equal(await dump(), contents), name
        await load(good)
        tracker.load(good)
        assert int(dut.bad_list.value) == 0
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
        popular = StreamSink(dut, "popular", group_layout(BEAT_WORDS), b, n)
        non_popular = StreamSink(dut, "non_popular", BEAT, b, n + 1)
        dut.start.value = dut.discard.value = 0
        await start(dut)
        for share, discard in ((0.0, 0), (0.1, 0), (1.0, 0), (0.1, 1)):
            popular.got.clear()
            non_popular.got.clear()
            dut.discard.value = discard
            await pulse(dut, start=1)
            samples = random_samples(model, 30, n)
            masks = np.random.default_rng(n).random((30, model.accesses)) < share
            source.put(record_beats(model, samples, masks))
            await until(dut, lambda: int(dut.classified.value) == 1, "fragmenter")
            for _ in range(3):
                await RisingEdge(dut.clk)
            is_popular = ~masks.any(axis=1)
            records = np.concatenate([np.arange(30, dtype=np.uint32)[:, None], samples], axis=1)
            got = [w for g in popular.got for w in words_of(g)]
            assert got == ([] if discard else records[is_popular].reshape(-1).tolist())
            got = [g.words[i] for g in non_popular.got for i in range(g.count)]
            assert got == ([] if discard else records[~is_popular].reshape(-1).tolist())
            counts = (int(dut.popular_count.value), int(dut.non_popular_count.value))
            assert counts == ((0, 0) if discard else (is_popular.sum(), (~is_popular).sum()))


@cocotb.test()
async def working_rows_are_numbered_in_first_use_order(dut):
    """Many mini-batches in a row, so that epochs run out; and one that overflows."""
    model = small_model()
    tracker = golden_tracker(CONFIG)
    tables = np.array(model.table_of)
    for n, (a, b) in enumerate(STALLS):
        source, sink = StreamSource(dut, "i", BEAT, a, n), StreamSink(dut, "o", group_layout(BEAT_WORDS), b, n)
        keys = StreamSink(dut, "keys", numbered_key_layout(CONFIG), b, n + 1)
        dut.clear.value = 0
        dut.limit.value = CONFIG.working_rows
        await start(dut)
        rounds = 260 if n == 0 else 3
        for round_ in range(rounds):
            await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
            sink.got.clear()
            keys.got.clear()
            await pulse(dut, clear=1)
            await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
            samples = random_samples(model, 2 if rounds == 260 else 40, 100 * n + round_, skew=1.0)
            rows = samples[:, model.payload_words :]
            # An empty tracker: every tracked access is cold.
            cold = (rows != NO_ACCESS) & ~model.resident[tables]
            payloads = record_beats(model, samples, cold)
            source.put(payloads)
            await until(dut, lambda s=sink, p=payloads: len(s.got) >= len(p), "working set")
            expected = split(model, tracker, samples)
            all_keys = KEYS.pack(np.broadcast_to(tables, rows.shape), np.where(cold, rows, 0))[cold]
            numbers, distinct = number_in_first_use_order(all_keys)
            assert len(distinct) == len(expected.working_keys) == int(dut.count.value)
            got = np.array([w for g in sink.got for w in words_of(g)], np.uint32).reshape(-1, model.record_words)
            refs = got[:, 1 + model.payload_words :]
            assert np.array_equal(refs[cold], numbers.astype(np.uint32) | np.uint32(WORKING_ROW))
            assert np.array_equal(refs[~cold], rows[~cold]), "other words stay as they are"
            await until(dut, lambda k=keys, d=distinct: len(k.got) >= len(d), "keys")
            assert [(k.key.table, k.key.row) for k in keys.got] == [tuple(x) for x in expected.working_keys.tolist()]
            assert [k.number for k in keys.got] == list(range(len(distinct)))
            assert int(dut.overflow.value) == 0
        dut.limit.value = 10
        await RisingEdge(dut.clk)
        await pulse(dut, clear=1)
        await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
        sink.got.clear()
        keys.got.clear()
        samples = random_samples(model, 20, n, skew=1.0, padding=0.0)
        rows = samples[:, model.payload_words :]
        cold = np.broadcast_to(~model.resident[tables], rows.shape)
        source.put(record_beats(model, samples, cold))
        await until(dut, lambda s=source: s.empty and int(dut.busy.value) == 0, "overflow")
        refs = split(model, tracker, samples).non_popular[:, 1 + model.payload_words :]
        first = int((refs == (WORKING_ROW | 10)).any(axis=1).argmax())
        assert int(dut.overflow.value) == 1 and int(dut.overflow_sample.value) == first
        assert int(dut.count.value) == 10 and len(keys.got) == 10


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
    source = StreamSource(dut, "i", BEAT, "always", 0)
    sink = StreamSink(dut, "o", group_layout(BEAT_WORDS), "always", 0)
    keys = StreamSink(dut, "keys", numbered_key_layout(CONFIG), "always", 1)
    dut.clear.value = 0
    await start(dut)
    for limit in range(1, 60):
        samples, cold = _distinct_keys(25, model)
        keys.got.clear()
        await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
        dut.limit.value = limit
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        await pulse(dut, clear=1)
        await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
        source.put(record_beats(model, samples, cold))
        await until(dut, lambda: source.empty and int(dut.busy.value) == 0, "probes")
        await until(dut, lambda want=limit: len(keys.got) >= want, "keys")
        assert int(dut.count.value) == limit and [k.number for k in keys.got] == list(range(limit))
        assert int(dut.overflow.value) == 1 and int(dut.overflow_sample.value) == limit // 3, limit
    assert sink.got


@cocotb.test()
async def busy_lasts_until_the_last_record_has_left(dut):
    """Whatever stands still: records that are not taken, so that numbers wait; and working keys that are not."""
    model = small_model()
    for stop in ("o", "keys"):
        source = StreamSource(dut, "i", BEAT, "always", 0)
        patterns = {name: "seldom" if name == stop else "always" for name in ("o", "keys")}
        records = StreamSink(dut, "o", group_layout(BEAT_WORDS), patterns["o"], 5)
        StreamSink(dut, "keys", numbered_key_layout(CONFIG), patterns["keys"], 6)
        dut.clear.value, dut.limit.value = 0, CONFIG.working_rows
        await start(dut)
        await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
        for round_ in range(6):
            before = len(records.got)
            await pulse(dut, clear=1)
            await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
            samples = random_samples(model, 30 + round_, round_, skew=1.0)
            cold = (samples[:, model.payload_words :] != NO_ACCESS) & ~model.resident[np.array(model.table_of)]
            beats = record_beats(model, samples, cold)
            source.put(beats)
            await until(dut, lambda s=source: s.empty, "records")
            while len(records.got) - before < len(beats):
                assert int(dut.busy.value) == 1, "a record is still inside, or waits to be taken"
                await RisingEdge(dut.clk)
            await until(dut, lambda: int(dut.busy.value) == 0, "the end", cycles=20)


@cocotb.test()
async def numbers_wait_for_their_records(dut):
    """Nearly every word of every beat is cold, and records are seldom taken: more numbers are found than can wait."""
    tables = tuple(Table(0x10000, 1000, 64) for _ in range(3))
    model = Model(tables, tuple(n % 3 for n in range(12)), 0, 64)
    source = StreamSource(dut, "i", BEAT, "always", 0)
    sink = StreamSink(dut, "o", group_layout(BEAT_WORDS), "seldom", 7)
    StreamSink(dut, "keys", numbered_key_layout(CONFIG), "always", 1)
    dut.clear.value, dut.limit.value = 0, CONFIG.working_rows
    await start(dut)
    await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
    await pulse(dut, clear=1)
    await until(dut, lambda: int(dut.ready.value) == 1, "sweep")
    rows = np.array([[rng(n).randrange(9 + 3 * k) for k in range(12)] for n in range(60)], np.uint32)
    cold = np.ones(rows.shape, bool)
    beats = record_beats(model, rows, cold)
    source.put(beats)
    await until(dut, lambda: len(sink.got) >= len(beats), "records")
    numbers, _ = number_in_first_use_order(
        KEYS.pack(np.broadcast_to(np.array(model.table_of), rows.shape), rows)[cold]
    )
    got = np.array([w for g in sink.got for w in words_of(g)], np.uint32).reshape(-1, model.record_words)
    assert np.array_equal(got[:, 1:].reshape(-1), numbers.astype(np.uint32) | np.uint32(WORKING_ROW))
