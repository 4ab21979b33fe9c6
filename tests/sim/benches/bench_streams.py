"""Small stream blocks: FIFO, word queue, permutation, burst cutter."""

import cocotb
import numpy as np
from bench_common import BEAT_WORDS, CONFIG, KEYS, STALLS, WORDS, beats_of, rng

from hotline_rtl.burst_cutter import burst_layout, transfer_layout
from hotline_rtl.layouts import group_layout
from hotline_rtl.word_queue import take_layout
from hotline_sim.cocotb_streams import StreamSink, StreamSource, pulse, start, until


@cocotb.test()
async def fifo_keeps_order_and_loses_nothing(dut):
    for n, (a, b) in enumerate(STALLS):
        source, sink = StreamSource(dut, "i", 37, a, n), StreamSink(dut, "o", 37, b, n + 50)
        await start(dut)
        expected = [rng(n).getrandbits(37) + k & (1 << 37) - 1 for k in range(200)]
        source.put(expected)
        await until(dut, lambda s=sink: len(s.got) >= 200, "fifo")
        assert sink.got == expected
        assert int(dut.level.value) == 0


@cocotb.test()
async def register_slice_keeps_order_and_loses_nothing(dut):
    for n, (a, b) in enumerate(STALLS):
        source, sink = StreamSource(dut, "i", 37, a, n), StreamSink(dut, "o", 37, b, n + 50)
        await start(dut)
        expected = [rng(n).getrandbits(37) + k & (1 << 37) - 1 for k in range(200)]
        source.put(expected)
        await until(dut, lambda s=sink: len(s.got) >= 200, "register slice")
        assert sink.got == expected


async def regroup(dut, in_words: int, out_words: int):
    for n, (a, b) in enumerate(STALLS):
        dut.clear.value = 0
        source = StreamSource(dut, "i", group_layout(in_words), a, n)
        takes = StreamSource(dut, "take", take_layout(out_words), "always", n + 20)
        sink = StreamSink(dut, "o", group_layout(out_words), b, n + 50)
        await start(dut)
        await pulse(dut, clear=1)
        r = rng(n)
        words = [r.getrandbits(32) for _ in range(700)]
        source.put(beats_of(words, r, in_words))
        groups = beats_of(words, r, out_words)
        takes.put({"offset": g["offset"], "count": g["count"]} for g in groups)
        await until(dut, lambda s=sink, g=groups: len(s.got) >= len(g), "word queue")
        for got, group in zip(sink.got, groups, strict=True):
            assert (got.offset, got.count) == (group["offset"], group["count"])
            assert got.data == group["data"], "words outside the group must be 0"
        assert int(dut.level.value) == 0


@cocotb.test()
async def word_queue_widens(dut):
    await regroup(dut, WORDS, BEAT_WORDS)


@cocotb.test()
async def word_queue_narrows(dut):
    await regroup(dut, BEAT_WORDS, WORDS)


@cocotb.test()
async def permutation_equals_golden(dut):
    from hotline_rtl.keys import Permutation

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
