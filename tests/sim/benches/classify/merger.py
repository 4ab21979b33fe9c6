"""Results back at their words."""

import cocotb
import numpy as np
from benches.common import (
    BEAT_WORDS,
    CONFIG,
    STALLS,
    rng,
    small_model,
)
from benches.samples import BEAT, random_samples, record_beats
from cocotb.triggers import RisingEdge

from hotline_rtl.classify.crossbar import results_layout
from hotline_rtl.classify.merger import Merger
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, background, start, until


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


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "merger": (lambda c: Merger(c, 64), ""),
}
