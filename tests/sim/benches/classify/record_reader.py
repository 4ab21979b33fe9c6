"""Records, aligned."""

import cocotb
from benches.common import (
    BEAT_WORDS,
    CONFIG,
    STALLS,
    beats_of,
    rng,
)

from hotline_golden.split import Sampling
from hotline_rtl.classify.records.record_reader import RecordReader, record_beat_layout
from hotline_rtl.interfaces.jobs import decode_layout
from hotline_rtl.interfaces.layouts import words_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


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
            jobs = StreamSource(dut, "jobs", decode_layout(), a, n)
            sink = StreamSink(dut, "o", record_beat_layout(CONFIG), b, n)
            dut.sample_words.value = sample_words
            shift, seed, follows = n % 4, 2 * n + sample_words, int(sample_words % 3 != 0)
            if CONFIG.shadow:
                dut.sampling.value = shift | seed << 4
            await start(dut)
            r = rng(n)
            samples = [[r.getrandbits(32) for _ in range(sample_words)] for _ in range(9)]
            jobs.put([{"samples": 9, "follows": follows}])
            learns = follows * Sampling(shift, seed).of(9)
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
                    assert not CONFIG.shadow or beat.follow == learns[number]


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "record_reader": (RecordReader, ""),
}
