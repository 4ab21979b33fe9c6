"""Samples to their micro-batches."""

import cocotb
import numpy as np
from benches.common import (
    BEAT_WORDS,
    STALLS,
    small_model,
    words_of,
)
from benches.samples import BEAT, random_samples, record_beats

from hotline_rtl.classify.fragmenter import Fragmenter, fragmented_layout
from hotline_rtl.lib.word_queue import ended_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


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


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "fragmenter": (Fragmenter, ""),
}
