"""Every word of a record, recognised."""

import cocotb
import numpy as np
from benches.common import (
    BEAT_WORDS,
    CONFIG,
    STALLS,
    drive_model,
    small_model,
)
from benches.samples import BEAT, random_samples, record_beats

from hotline_golden.layouts import NO_ACCESS
from hotline_rtl.classify.records.access_count import decoded_layout
from hotline_rtl.classify.records.access_decoder import AccessDecoder
from hotline_rtl.classify.records.record_reader import record_beat_layout
from hotline_rtl.interfaces.layouts import Status
from hotline_sim.engine.cocotb_streams import StreamSink, StreamSource, start, until


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


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "access_decoder": (AccessDecoder, ""),
}
