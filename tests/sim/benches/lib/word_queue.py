"""Words regrouped."""

from collections import deque

import cocotb
from benches.common import BEAT_WORDS, STALLS, WORDS, rng

from hotline_rtl.lib.word_queue import (
    WordQueue,
    group_layout,
    masked_layout,
    masked_take_layout,
    take_layout,
    taken_layout,
)
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, pulse, start, until


async def regroup(dut, in_words: int, out_words: int, masked: bool = False):
    """Words go in and come out in groups of any kind; what is asked for is asked for when it is there."""
    for n, (a, b) in enumerate(STALLS):
        dut.clear.value = 0
        source = StreamSource(dut, "i", (masked_layout if masked else group_layout)(in_words), a, n)
        takes = StreamSource(
            dut, "take", (masked_take_layout if masked else take_layout)(out_words, 10), "always", n + 20
        )
        sink = StreamSink(dut, "o", taken_layout(out_words, 32, 10), b, n + 50)
        await start(dut)
        await pulse(dut, clear=1)
        r = rng(n)
        words = [r.getrandbits(32) for _ in range(700)]

        def grouped(width, r=r, words=words):
            """Places of each group's words: contiguous, or anywhere in order."""
            at = 0
            while at < len(words):
                count = min(len(words) - at, r.randint(1, width))
                first = r.randint(0, width - count)
                places = sorted(r.sample(range(width), count)) if masked else range(first, first + count)
                yield places, words[at : at + count]
                at += count

        def payload(places, some):
            ranks = [sum(p < n for p in places) for n in range(in_words)]
            shape = {"mask": sum(1 << p for p in places), "ranks": ranks} if masked else {"offset": places[0]}
            return shape | {"count": len(places), "data": sum(w << 32 * p for p, w in zip(places, some, strict=True))}

        source.put(payload(*group) for group in grouped(in_words))
        groups = list(grouped(out_words))
        asked: deque[int] = deque()  # words of the takes that may not have been subtracted from the level yet
        under_way = [0, 0]

        def enough(need, dut=dut, takes=takes, asked=asked, under_way=under_way):
            under_way.append(len(takes.queue) + takes.offered)
            while len(asked) > max(under_way[-3:]):
                asked.popleft()
            return int(dut.level.value) - sum(asked) >= need

        for k, (places, some) in enumerate(groups):
            await until(dut, lambda some=some, enough=enough: enough(len(some)), "words")
            takes.put([payload(places, some) | {"extra": k}])
            asked.append(len(some))
        await until(dut, lambda s=sink, g=groups: len(s.got) >= len(g), "word queue")
        for k, (got, (places, some)) in enumerate(zip(sink.got, groups, strict=True)):
            assert got.extra == k
            assert [got.data >> 32 * p & 0xFFFF_FFFF for p in places] == some
        assert int(dut.level.value) == 0 and not dut.busy.value


@cocotb.test()
async def word_queue_widens(dut):
    await regroup(dut, WORDS, BEAT_WORDS)


@cocotb.test()
async def word_queue_narrows(dut):
    await regroup(dut, BEAT_WORDS, WORDS)


@cocotb.test()
async def word_queue_takes_marked_words(dut):
    await regroup(dut, BEAT_WORDS, BEAT_WORDS, masked=True)


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "word_queue": (lambda c: WordQueue(c.bus_words, c.beat_words, extra=10), "word_queue_widens"),
    "word_queue_narrow": (lambda c: WordQueue(c.beat_words, c.bus_words, extra=10), "word_queue_narrows"),
    "word_queue_masked": (
        lambda c: WordQueue(c.beat_words, c.beat_words, extra=10, masked_in=True, masked_out=True),
        "word_queue_takes_marked_words",
    ),
}
