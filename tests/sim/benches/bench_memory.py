"""Blocks that move data: linear reader and writer, gather, scatter."""

import cocotb
import numpy as np
from amaranth.lib.data import StructLayout
from bench_common import (
    CONFIG,
    STALLS,
    TIMINGS,
    WORDS,
    Memory,
    beats_of,
    drive_model,
    rng,
    small_model,
    words_of,
)
from blocks import READ_TAG_BITS
from cocotb.triggers import RisingEdge

from hotline_rtl.interfaces.control import fault_layout
from hotline_rtl.interfaces.jobs import gather_job_layout
from hotline_rtl.interfaces.keys import listed_key_layout, routed_key_layout
from hotline_rtl.interfaces.layouts import Status, words_layout
from hotline_rtl.interfaces.memory import transfer_layout
from hotline_rtl.lib.word_queue import ended_layout
from hotline_rtl.transfer.frontend.key_list import key_list_job_layout, key_list_result_layout
from hotline_rtl.transfer.frontend.scatter import scatter_job_layout
from hotline_rtl.transfer.midend.row_mover import move_layout
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, background, pulse, start, until, wavering
from hotline_sim.engine.memory_model import HELD, Fault

LAYOUT = words_layout(CONFIG)


@cocotb.test()
async def reader_delivers_the_buffer(dut):
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {"gap": 64 * 61, "buffer": 8192}, timing)
        sink = StreamSink(dut, "o", LAYOUT, STALLS[n % len(STALLS)][1], n)
        dut.abort.value, dut.start_valid.value, dut.go.value = 0, 0, 1
        await start(dut)
        for words in (1, WORDS, WORDS + 1, 33, 700, 2048):
            sink.got.clear()
            dut.start_payload.value = memory.address("buffer") | words << CONFIG.address_bits
            await pulse(dut, start_valid=1)
            await until(dut, lambda: int(dut.busy.value) == 1, "begin")
            await until(dut, lambda: int(dut.busy.value) == 0, "reader")
            got = [w for g in sink.got for w in words_of(g)]
            assert got == memory.words("buffer", words).tolist()
            assert int(dut.error.value) == 0
        # A transfer waits behind the current one, and its words come only after `go`.
        sink.got.clear()
        dut.go.value = 0
        for words in (300, 77):
            await until(dut, lambda: int(dut.start_ready.value) == 1, "requests")
            dut.start_payload.value = memory.address("buffer") | words << CONFIG.address_bits
            await pulse(dut, start_valid=1)
            if words == 300:
                await pulse(dut, go=1)
        await until(dut, lambda: int(dut.busy.value) == 0, "the first of two")
        for _ in range(20):
            await RisingEdge(dut.clk)
        assert [w for g in sink.got for w in words_of(g)] == memory.words("buffer", 300).tolist()
        assert int(dut.waiting.value) == 1
        sink.got.clear()
        await pulse(dut, go=1)
        await until(dut, lambda s=sink: sum(g.count for g in s.got) >= 77, "the second of two")
        assert [w for g in sink.got for w in words_of(g)] == memory.words("buffer", 77).tolist()
        dut.go.value = 1
        # An abort in the middle ends the transfer cleanly, and the next one works.
        dut.start_payload.value = memory.address("buffer") | 2048 << CONFIG.address_bits
        await pulse(dut, start_valid=1)
        for _ in range(15):
            await RisingEdge(dut.clk)
        dut.abort.value = 1
        await until(dut, lambda: int(dut.busy.value) == 0, "abort")
        dut.abort.value = 0
        sink.got.clear()
        dut.start_payload.value = memory.address("buffer") | 100 << CONFIG.address_bits
        await pulse(dut, start_valid=1)
        await until(dut, lambda s=sink: sum(g.count for g in s.got) >= 100, "after an abort")
        assert [w for g in sink.got for w in words_of(g)] == memory.words("buffer", 100).tolist()
        memory.check()


def ended(groups: list[dict], alone: bool) -> list[dict]:
    """The groups of a buffer as ended_layout payloads; ``alone``: the end comes behind the last one."""
    payloads = [{"group": group, "end": 0} for group in groups]
    if alone or not payloads:
        return [*payloads, {"end": 1}]
    payloads[-1]["end"] = 1
    return payloads


@cocotb.test()
async def writer_fills_the_buffers_and_nothing_else(dut):
    for n, timing in enumerate(TIMINGS):
        sizes = [1, 0, WORDS, WORDS + 1, 345, 2000, 150, 150, 150, 2]
        buffers = {f"buffer {k}": max(64, 4 * size) for k, size in enumerate(sizes)}
        memory = Memory(dut, "bus", {"before": 4096 - 64 * 3, **buffers, "after": 64}, timing)
        memory.model.allow(set(buffers))
        source = StreamSource(dut, "i", ended_layout(WORDS), STALLS[n % len(STALLS)][0], n)
        jobs = StreamSource(dut, "jobs", CONFIG.address_bits, "half", n)
        results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
        await start(dut)
        r = rng(n)
        expected = memory.image.data.copy().view(np.uint32)
        for k, size in enumerate(sizes):
            values = [r.getrandbits(32) for _ in range(size)]
            groups = beats_of(values, r)
            for group in groups:  # micro-batch records start at word 0 of a group
                group["data"] >>= 32 * group["offset"]
                group["offset"] = 0
            address = memory.address(f"buffer {k}")
            at = (address - memory.image.base) // 4
            expected[at : at + size] = values
            jobs.put([address])
            source.put(ended(groups, alone=k % 2 == 0))
        for k in range(len(sizes)):
            await until(dut, lambda k=k, r=results: len(r.got) > k, f"buffer {k}")
        assert not any(result.valid for result in results.got)
        assert np.array_equal(memory.image.data.view(np.uint32), expected)
        memory.check()


@cocotb.test()
async def a_buffer_that_cannot_be_written_says_where(dut):
    """Of several buffers one behind the other, of which some fail."""
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {f"buffer {k}": 2048 for k in range(6)}, timing)
        memory.model.allow({f"buffer {k}" for k in range(6)})
        source = StreamSource(dut, "i", ended_layout(WORDS), "always", n)
        jobs = StreamSource(dut, "jobs", CONFIG.address_bits, "always", n)
        results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
        bad = {k: memory.address(f"buffer {k}") + 1024 for k in (1, 2, 5)}
        memory.model.inject([Fault(address, 4, response=2) for address in bad.values()])
        await start(dut)
        for k in range(6):
            jobs.put([memory.address(f"buffer {k}")])
            source.put(ended(beats_of([k] * 512), alone=False))
        await until(dut, lambda r=results: len(r.got) == 6, "results")
        for k, result in enumerate(results.got):
            assert result.valid == (k in bad), k
            if k in bad:
                assert result.status == Status.WRITE_ERROR
                assert result.address <= bad[k] < result.address + CONFIG.burst_limit * CONFIG.bus_bytes


@cocotb.test()
async def each_row_lands_in_its_place(dut):
    for n, timing in enumerate(TIMINGS):
        for row_bytes in (16, 64, 100, CONFIG.max_row_bytes):
            host = Memory(dut, "host", {f"table {t}": 1200 * row_bytes for t in range(2)}, timing)
            device = Memory(dut, "device", {f"rows {k}": 70 * row_bytes for k in range(4)}, timing.with_seed(9))
            model = small_model(host.image.base + 4, row_bytes)
            device.model.allow({f"rows {k}" for k in range(4)})
            source = StreamSource(dut, "keys", listed_key_layout(CONFIG), STALLS[n % len(STALLS)][0], n)
            jobs = StreamSource(dut, "jobs", gather_job_layout(CONFIG), STALLS[n % len(STALLS)][1], n)
            results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
            words = StreamSink(dut, "key_words", ended_layout(2), "half", n)
            wavering(dut, STALLS[n % len(STALLS)][1], n, "pause", "hold_writes")
            await start(dut)
            await drive_model(dut, model)
            r = rng(n)
            sets = []
            for count in (1, 60, 0, 33):
                keys = [(t, r.randrange(model.tables[t].rows)) for t in r.choices([1, 2, 4], k=count)]
                sets.append(keys)
                jobs.put([{"base": device.address(f"rows {len(sets) - 1}"), "lists": int(len(sets) != 2)}])
                source.put({"key": {"table": t, "row": row}, "number": k} for k, (t, row) in enumerate(keys))
                source.put([{"end": 1}])
            for s, keys in enumerate(sets):
                await until(dut, lambda s=s, r=results: len(r.got) > s, f"set {s}")
                assert not results.got[s].valid
                for k, (t, row) in enumerate(keys):
                    expected = host.image.words(model.row_address(t, row), row_bytes // 4)
                    got = device.image.words(device.address(f"rows {s}") + k * row_bytes, row_bytes // 4)
                    assert np.array_equal(got, expected), f"row {k} of set {s}, {row_bytes} bytes"
            await until(dut, lambda w=words: sum(g.end for g in w.got) == 3, "lists of keys")
            listed = [None if g.end else tuple(words_of(g.group)) for g in words.got]
            assert listed == [key for s, keys in enumerate(sets) if s != 1 for key in [*keys, None]]
            host.check()
            device.check()


@cocotb.test()
async def a_list_ends_at_a_key_that_names_no_row(dut):
    for n, timing in enumerate(TIMINGS):
        host = Memory(dut, "host", {f"table {t}": 1200 * 64 for t in range(2)}, timing)
        device = Memory(dut, "device", {"rows": 70 * 64}, timing.with_seed(9))
        model = small_model(host.image.base + 4, 64)
        device.model.allow({"rows"})
        source = StreamSource(dut, "keys", listed_key_layout(CONFIG), STALLS[n % len(STALLS)][0], n)
        jobs = StreamSource(dut, "jobs", gather_job_layout(CONFIG), "half", n)
        results = StreamSink(dut, "results", fault_layout(), "half", n)
        StreamSink(dut, "key_words", ended_layout(2), "half", n)
        dut.pause.value = dut.hold_writes.value = 0
        await start(dut)
        await drive_model(dut, model)
        before = device.image.data.copy()
        for bad, key in ((None, None), (30, {"key": {"table": 1, "row": 500}}), (0, {"outside": 1}), (None, None)):
            results.got.clear()
            keys: list[dict] = [{"key": {"table": 2, "row": 3 * k}, "number": k} for k in range(60)]
            if bad is not None:
                keys[bad] = {"number": bad} | key
            device.image.data[:] = before
            jobs.put([{"base": device.address("rows"), "lists": 0}])
            source.put([*keys, {"end": 1}])
            await until(dut, lambda r=results: r.got, "gather")
            fault = results.got[0]
            assert fault.valid == (bad is not None)
            if bad is not None:
                assert (fault.status, fault.index) == (Status.ROW_OUTSIDE_TABLE, bad)
            for k in range(60):
                row = device.image.words(device.address("rows") + k * 64, 16)
                written = bad is None or k < bad
                expected = (
                    host.image.words(model.row_address(2, 3 * k), 16)
                    if written
                    else before.view(np.uint32)[k * 16 :][:16]
                )
                assert np.array_equal(row, expected), k


@cocotb.test()
async def each_row_goes_back_to_its_table(dut):
    for n, timing in enumerate(TIMINGS):
        for row_bytes in (16, 100, CONFIG.max_row_bytes):
            host = Memory(dut, "host", {"tables": 1200 * row_bytes}, timing)
            device = Memory(dut, "device", {"rows": 64 * row_bytes}, timing.with_seed(4))
            model = small_model(host.image.base + 4, row_bytes)
            host.model.allow({"tables"})
            source = StreamSource(dut, "keys", listed_key_layout(CONFIG), STALLS[n % len(STALLS)][0], n)
            jobs = StreamSource(dut, "jobs", scatter_job_layout(CONFIG), STALLS[n % len(STALLS)][1], n)
            results = StreamSink(dut, "results", fault_layout(), STALLS[n % len(STALLS)][1], n)
            await start(dut)
            await drive_model(dut, model)
            r = rng(n)
            every = [(t, row) for t in (1, 2, 4) for row in range(model.tables[t].rows)]
            for count, bad in ((1, None), (50, None), (40, 17), (3, None)):
                results.got.clear()
                keys = r.sample(every, count)
                if bad is not None:
                    keys[bad] = (2, 5000)
                expected = host.image.data.copy()
                for k, (t, row) in enumerate(keys[:bad]):
                    at = model.row_address(t, row) - host.image.base
                    words = device.image.words(device.address("rows") + k * row_bytes, row_bytes // 4)
                    expected[at : at + row_bytes] = words.view(np.uint8)
                jobs.put([{"count": count, "base": device.address("rows")}])
                source.put({"key": {"table": t, "row": row}, "number": k} for k, (t, row) in enumerate(keys))
                source.put([{"end": 1}])
                await until(dut, lambda r=results: r.got, "scatter")
                assert np.array_equal(host.image.data, expected), f"{count} rows of {row_bytes} bytes"
                fault = results.got[0]
                assert fault.valid == (bad is not None)
                if bad is not None:
                    assert (fault.status, fault.index) == (Status.ROW_OUTSIDE_TABLE, bad)
            host.check()
            device.check()


class Transfers:
    """Keeps a tagged read client busy with random transfers, and checks what comes under each tag."""

    def __init__(self, dut, memory: Memory, pattern: str, seed: int):
        self.dut, self.memory, self.random = dut, memory, rng(seed)
        self.layout = transfer_layout(CONFIG, READ_TAG_BITS)
        self.source = StreamSource(dut, "tagged_request", self.layout, pattern, seed)
        self.under_way: dict[int, tuple[int, list]] = {}  # by tag: the first beat's address, and the beats that came
        self.whole = self.lost = self.failed = 0
        background(self._watch())

    def ask(self, words: int) -> None:
        """A transfer of up to ``words`` words, if there is a free tag."""
        free = set(range(1 << READ_TAG_BITS)) - set(self.under_way)
        if not free:
            return
        tag = self.random.choice(sorted(free))
        size = self.memory.image.buffers["buffer"].size // 4
        count = self.random.randint(1, words)
        address = self.memory.address("buffer") + 4 * self.random.randrange(size - count)
        beats = (address + 4 * count - 1) // CONFIG.bus_bytes - address // CONFIG.bus_bytes + 1
        self.under_way[tag] = (address // CONFIG.bus_bytes * CONFIG.bus_bytes, [beats])
        self.source.put([{"address": address, "words": count, "tag": tag}])

    async def _watch(self):
        edge, dut = RisingEdge(self.dut.clk), self.dut
        while True:
            await edge
            if dut.rst.value == 1:
                continue
            assert int(dut.unanswered.value) <= int(dut.limit.value)
            if dut.tagged_beat_valid.value != 1:
                continue
            tag = int(dut.tagged_beat_tag.value)
            first, beats = self.under_way[tag]
            at = first + (len(beats) - 1) * CONFIG.bus_bytes
            if dut.tagged_beat_error.value == 1:
                beats.append("lost" if dut.tagged_beat_timeout.value == 1 else "failed")
            else:
                data = int(dut.tagged_beat_data.value).to_bytes(CONFIG.bus_bytes, "little")
                assert data == self.memory.image.words(at, WORDS).tobytes(), f"tag {tag}, {at:#x}"
                beats.append("good")
            assert int(dut.tagged_beat_last.value) == (len(beats) - 1 == beats[0]), f"tag {tag}: last"
            if len(beats) - 1 == beats[0]:
                self.whole += 1
                self.lost += "lost" in beats
                del self.under_way[tag]


def quiet(dut, limit: int, timeout: int) -> None:
    dut.limit.value, dut.timeout.value, dut.drain.value = limit, timeout, 0
    dut.clients_0_request_valid.value = 0
    dut.clients_0_request_payload.value = 0


@cocotb.test()
async def every_transfer_comes_whole_under_its_tag(dut):
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {"gap": 64 * 61, "buffer": 20_000}, timing)
        transfers = Transfers(dut, memory, STALLS[n % len(STALLS)][0], n)
        quiet(dut, 1 + 3 * n, 0)
        await start(dut)
        while transfers.whole + len(transfers.under_way) < 40:
            transfers.ask(CONFIG.max_row_bytes // 4)
            await RisingEdge(dut.clk)
        await until(dut, lambda t=transfers: not t.under_way, "transfers")
        assert not transfers.lost
        await until(dut, lambda: int(dut.drained.value) == 1, "drained a cycle later", cycles=2)
        memory.check()


@cocotb.test()
async def lost_answers_are_given_up_and_late_ones_dropped(dut):
    for n, timing in enumerate(TIMINGS[::2]):
        memory = Memory(dut, "bus", {"gap": 64 * 61, "buffer": 20_000}, timing)
        transfers = Transfers(dut, memory, "always", n)
        quiet(dut, CONFIG.outstanding_rows, 800)
        await start(dut)
        for round_ in range(3):
            lost = transfers.lost
            memory.model.inject([Fault(memory.address("buffer") + 4000 * round_, 4000, response=HELD)])
            for _ in range(12):
                transfers.ask(CONFIG.max_row_bytes // 4)
            await until(dut, lambda t=transfers: not t.under_way, "giving up")
            memory.model.inject([])  # the answers come now
            for _ in range(12):
                transfers.ask(CONFIG.max_row_bytes // 4)
            before = transfers.lost
            await until(dut, lambda t=transfers: not t.under_way, "transfers")
            assert transfers.lost == before, "the memory answers again"
            assert round_ or before > lost
        await until(dut, lambda: int(dut.drained.value) == 1, "late answers")
        for _ in range(800):
            await RisingEdge(dut.clk)
        memory.check()


@cocotb.test()
async def an_answer_at_the_last_moment_ends_one_burst(dut):
    """A write's answer comes just before, just when, or just after it is given up: it ends once, and what follows ends
    by its own answer."""
    limit = 40
    beat = StructLayout({"data": CONFIG.bus_bits, "strobe": CONFIG.bus_bytes})
    dut.drain.value, dut.timeout.value = 0, limit
    dut.bus_awready.value = dut.bus_wready.value = 1
    dut.bus_bvalid.value = dut.bus_bid.value = dut.bus_bresp.value = 0
    given_up = 0
    for delay in range(limit - 10, limit + 15):
        requests = StreamSource(dut, "clients_0_request", transfer_layout(CONFIG, 1), "always", 0)
        beats = StreamSource(dut, "clients_0_data", beat, "always", 0)
        ended: list[int] = []

        async def watch(ended=ended):
            while True:
                await RisingEdge(dut.clk)
                if dut.clients_0_answered.value == 1:
                    late = int(dut.clients_0_timeout.value)
                    assert int(dut.clients_0_error.value) == late
                    ended.append(late)

        async def answer(after: int):
            for _ in range(after):
                await RisingEdge(dut.clk)
            dut.bus_bvalid.value = 1
            await RisingEdge(dut.clk)
            while dut.bus_bready.value != 1:
                await RisingEdge(dut.clk)
            dut.bus_bvalid.value = 0

        background(watch())
        await start(dut)
        for number, after in enumerate((delay, 3, 3)):
            requests.put([{"address": 0x10000 + 64 * number, "words": 2, "tag": 0}])
            beats.put([{"data": number, "strobe": CONFIG.bus_bytes}])
            await until(dut, lambda: int(dut.bus_wvalid.value) == 1, "data")
            answering = cocotb.start_soon(answer(after))
            await until(dut, lambda n=number, e=ended: len(e) > n, f"end of burst {number}, answered after {delay}")
            if number:
                assert ended[number] == 0, f"{delay}: burst {number} was answered in time"
            await answering
        assert len(ended) == 3
        given_up += ended[0]
    assert 5 < given_up < 20


class _Writes:
    """One client of the write manager, on a bus whose answers the bench gives."""

    def __init__(self, dut, timeout: int):
        beat = StructLayout({"data": CONFIG.bus_bits, "strobe": CONFIG.bus_bytes})
        self.dut, self.issued, self.ended = dut, 0, []
        dut.drain.value, dut.timeout.value = 0, timeout
        dut.bus_awready.value = dut.bus_wready.value = 1
        dut.bus_bvalid.value = dut.bus_bid.value = dut.bus_bresp.value = 0
        self.requests = StreamSource(dut, "clients_0_request", transfer_layout(CONFIG, 1), "always", 0)
        self.beats = StreamSource(dut, "clients_0_data", beat, "always", 0)
        background(self._watch())

    def put(self, count: int) -> None:
        """Asks for ``count`` bursts of a beat."""
        self.requests.put({"address": 0x10000 + 64 * n, "words": 2, "tag": 0} for n in range(count))
        self.beats.put({"data": n, "strobe": CONFIG.bus_bytes} for n in range(count))

    async def answer(self, count: int) -> None:
        """Answers ``count`` bursts, one after another."""
        for _ in range(count):
            self.dut.bus_bvalid.value = 1
            await RisingEdge(self.dut.clk)
            while self.dut.bus_bready.value != 1:
                await RisingEdge(self.dut.clk)
            self.dut.bus_bvalid.value = 0
            await RisingEdge(self.dut.clk)

    async def _watch(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value == 1:
                continue
            self.issued += int(self.dut.bus_awvalid.value)
            if self.dut.clients_0_answered.value == 1:
                self.ended.append("lost" if self.dut.clients_0_timeout.value == 1 else "answered")


@cocotb.test()
async def late_answers_end_nothing_however_many_there_are(dut):
    """Of several bursts that were given up, all answers come late: none of them ends what was issued since."""
    for lost in (1, 2, 3):
        writes = _Writes(dut, 60)
        await start(dut)
        writes.put(lost)
        await until(dut, lambda w=writes, n=lost: w.ended == ["lost"] * n, "giving up")
        writes.put(2)
        await until(dut, lambda w=writes, n=lost: w.issued == n + 2, "addresses")
        await writes.answer(lost)
        for _ in range(8):
            await RisingEdge(dut.clk)
        assert writes.ended == ["lost"] * lost, "a late answer has ended another burst"
        await writes.answer(2)
        await until(dut, lambda w=writes, n=lost: w.ended == ["lost"] * n + ["answered"] * 2, "answers in time")


@cocotb.test()
async def no_more_bursts_are_issued_than_can_be_listed(dut):
    """Nothing is answered for long, and addresses and data are always taken: what is issued stays within the list."""
    writes = _Writes(dut, 0)
    await start(dut)
    writes.put(3 * CONFIG.outstanding_writes)
    for _ in range(40 * CONFIG.outstanding_writes):
        await RisingEdge(dut.clk)
    assert CONFIG.outstanding_writes - 3 < writes.issued <= CONFIG.outstanding_writes + 1 and not writes.ended
    answering = cocotb.start_soon(writes.answer(3 * CONFIG.outstanding_writes))
    await until(dut, lambda: len(writes.ended) == 3 * CONFIG.outstanding_writes, "answers")
    await answering
    assert writes.issued == 3 * CONFIG.outstanding_writes


@cocotb.test()
async def rows_are_moved_to_where_they_belong(dut):
    for n, timing in enumerate(TIMINGS):
        for row_bytes in (16, 52, CONFIG.max_row_bytes):
            host = Memory(dut, "host", {"table": 100 * row_bytes + 4}, timing)
            device = Memory(dut, "device", {"rows": 100 * row_bytes}, timing.with_seed(9))
            device.model.allow({"rows"})
            source = StreamSource(dut, "i", move_layout(CONFIG), STALLS[n % len(STALLS)][0], n)
            wavering(dut, STALLS[n % len(STALLS)][1], n, "hold_writes")
            dut.row_bytes.value = row_bytes
            done = {0: 0, 1: 0}

            async def count_rows(done=done):
                edge = RisingEdge(dut.clk)
                while True:
                    await edge
                    if dut.rst.value == 1:
                        continue
                    assert int(dut.read_failed.value) == int(dut.write_failed.value) == 0
                    if dut.done.value == 1:
                        done[int(dut.done_set.value)] += 1

            background(count_rows())
            await start(dut)
            order = rng(n).sample(range(100), 60)
            expected = device.image.data.copy()
            for k, row in enumerate(order):
                at = device.address("rows") - device.image.base + k * row_bytes
                words = host.image.words(host.address("table") + 4 + row * row_bytes, row_bytes // 4)
                expected[at : at + row_bytes] = words.view(np.uint8)
            source.put(
                {"source": host.address("table") + 4 + row * row_bytes, "destination": device.address("rows") + k * row_bytes,
                 "tag": k, "set": k % 3 == 0} for k, row in enumerate(order)
            )  # fmt: skip
            await until(dut, lambda d=done: sum(d.values()) == 60, "rows")
            assert np.array_equal(device.image.data, expected), f"{row_bytes} bytes"
            assert done == {1: 20, 0: 40}
            host.check()
            device.check()


@cocotb.test()
async def keys_come_with_their_numbers(dut):
    for n, timing in enumerate(TIMINGS):
        memory = Memory(dut, "bus", {"keys": 8 * 300}, timing)
        sink = StreamSink(dut, "o", routed_key_layout(CONFIG), STALLS[n % len(STALLS)][1], n)
        jobs = StreamSource(dut, "jobs", key_list_job_layout(CONFIG), "half", n)
        results = StreamSink(dut, "results", key_list_result_layout(CONFIG), "half", n)
        await start(dut)
        for count in (1, 2, 123):
            sink.got.clear()
            results.got.clear()
            r = rng(count)
            keys = [(r.randrange(1 << CONFIG.table_bits), r.randrange(1 << CONFIG.row_bits)) for _ in range(count)]
            if count > 2:
                keys[40], keys[50] = (1 << CONFIG.table_bits, 5), (3, 1 << CONFIG.row_bits)
            memory.words("keys", 2 * count)[:] = np.array(keys, np.uint32).reshape(-1)
            scatters = count % 2
            jobs.put([{"base": memory.address("keys"), "count": count, "scatters": scatters, "looks_up": 1}])
            await until(dut, lambda r=results: r.got, "the end of the list")
            assert not results.got[0].fault.valid and results.got[0].scatters == scatters
            assert all((g.scatters, g.looks_up) == (scatters, 1) for g in sink.got)
            *listed, end = [g.listed for g in sink.got]
            assert end.end and not any(g.end for g in listed)
            assert [g.number for g in listed] == list(range(count))
            for g, (table, row) in zip(listed, keys, strict=True):
                inside = table < 1 << CONFIG.table_bits and row < 1 << CONFIG.row_bits
                assert g.outside != inside and (not inside or (g.key.table, g.key.row) == (table, row))
        memory.check()
