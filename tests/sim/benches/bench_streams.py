"""Small stream blocks: FIFO, word queue, permutation, burst splitter."""

from collections import deque

import cocotb
import numpy as np
from bench_common import BEAT_WORDS, CONFIG, KEYS, STALLS, WORDS, rng
from cocotb.triggers import RisingEdge

from hotline_rtl.interfaces.memory import transfer_layout
from hotline_rtl.lib.word_queue import group_layout, masked_layout, masked_take_layout, take_layout, taken_layout
from hotline_rtl.transfer.backend.burst_splitter import burst_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, pulse, start, until


async def passes_payloads(dut):
    """200 payloads go from ``i`` to ``o`` in order, none is lost; yields how back-pressure was, and how many cycles it took."""
    for n, (a, b) in enumerate(STALLS):
        source, sink = StreamSource(dut, "i", 37, a, n), StreamSink(dut, "o", 37, b, n + 50)
        await start(dut)
        expected = [rng(n).getrandbits(37) + k & (1 << 37) - 1 for k in range(200)]
        source.put(expected)
        cycles = 0
        while len(sink.got) < 200:
            await RisingEdge(dut.clk)
            cycles += 1
            assert cycles < 20000, "payloads are missing"
        assert sink.got == expected
        yield (a, b), cycles


@cocotb.test()
async def fifo_keeps_order_and_loses_nothing(dut):
    async for _ in passes_payloads(dut):
        assert int(dut.level.value) == 0


@cocotb.test()
async def register_slice_keeps_order_and_loses_nothing(dut):
    async for _ in passes_payloads(dut):
        pass


@cocotb.test()
async def credit_fifo_pipeline_keeps_order_and_pace(dut):
    async for stalls, cycles in passes_payloads(dut):
        if stalls == ("always", "always"):
            assert cycles < 225, "a payload a cycle"


@cocotb.test()
async def delay_line_gives_what_came_five_cycles_ago(dut):
    dut.i.value = 0
    await start(dut)
    given = [rng().getrandbits(37) + k & (1 << 37) - 1 for k in range(100)]
    got = []
    for value in given:
        dut.i.value = value
        await RisingEdge(dut.clk)
        got.append(int(dut.o.value))
    assert got[5:] == given[:-5]


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


@cocotb.test()
async def permutation_equals_golden(dut):
    from hotline_rtl.lib.keys import Permutation

    layout = Permutation(CONFIG, 2, 5).i.p.shape()
    for n, (a, b) in enumerate(STALLS[:3]):
        source, sink = StreamSource(dut, "i", layout, a, n), StreamSink(dut, "o", layout, b, n + 9)
        await start(dut)
        keys = np.random.default_rng(n).integers(0, 1 << CONFIG.key_bits, (150, 2)).astype(np.uint64)
        keys[0] = 0
        keys[1] = (1 << CONFIG.key_bits) - 1
        source.put({"keys": row.tolist(), "extra": k % 32} for k, row in enumerate(keys))
        await until(dut, lambda s=sink: len(s.got) >= 150, "permutation")
        expected = KEYS.permute(keys)
        for k, got in enumerate(sink.got):
            assert [got.keys[0], got.keys[1]] == expected[k].tolist()
            assert got.extra == k % 32


@cocotb.test()
async def bursts_keep_the_rules_of_axi(dut):
    """Every size at every offset around a 4 KiB boundary, and random long transfers."""
    bus = CONFIG.bus_bytes
    transfers = []
    r = rng()
    for offset in range(-20, 20, 3):
        for words in (1, 2, WORDS - 1, WORDS, WORDS + 1, 3 * WORDS, 256, 1000):
            transfers.append((0x20000 + 4 * offset, max(1, words)))
    transfers += [(r.randrange(0, 1 << 30) & ~3, r.randrange(1, 5000)) for _ in range(40)]
    for n, (a, b) in enumerate(STALLS[:3]):
        source = StreamSource(dut, "i", transfer_layout(CONFIG, 3), a, n)
        sink = StreamSink(dut, "o", burst_layout(CONFIG, 3), b, n)
        await start(dut)
        source.put({"address": x, "words": w, "tag": k % 8} for k, (x, w) in enumerate(transfers))
        expected = []
        for k, (address, words) in enumerate(transfers):
            first, end = address // bus * bus, -(-(address + 4 * words) // bus) * bus
            while first < end:
                boundary = min(end, first // 4096 * 4096 + 4096, first + CONFIG.burst_limit * bus)
                expected.append((first, (boundary - first) // bus - 1, k % 8, int(boundary == end)))
                first = boundary
        await until(dut, lambda s=sink, e=expected: len(s.got) >= len(e), "bursts")
        assert [(g.address, g.length, g.tag, g.last) for g in sink.got] == expected
