"""Rows from tables to working rows."""

import cocotb
import numpy as np
from benches.common import (
    CONFIG,
    STALLS,
    TIMINGS,
    Memory,
    drive_model,
    rng,
    small_model,
    words_of,
)
from benches.masters import WithMasters

from hotline_rtl.interfaces.control import fault_layout
from hotline_rtl.interfaces.jobs import gather_job_layout
from hotline_rtl.interfaces.keys import listed_key_layout
from hotline_rtl.interfaces.layouts import Status
from hotline_rtl.lib.word_queue import ended_layout
from hotline_rtl.transfer.frontend.gather import Gather
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until, wavering


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


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "gather": (lambda c: WithMasters(c, Gather(c), {"read": "host"}, {"write": "device"}, "read"), ""),
}
