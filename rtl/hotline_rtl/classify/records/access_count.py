"""The last stage of the access decoder: counts the accesses of each mini-batch, and says what is wrong with it.

A beat per cycle; latency 3 cycles from a mini-batch's last beat to its result.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.layouts import COUNT_BITS, Status
from ...lib.logic import count_ones, delayed, never
from ...lib.register_slice import RegisterSlice


def decoded_layout() -> data.StructLayout:
    """Accesses of a mini-batch, and accesses to resident tables, padding not counted; ``fault``: what is wrong with it."""
    return data.StructLayout({"accesses": 32, "resident": 32, "fault": fault_layout()})


class AccessCount(wiring.Component):
    """Members
    -------
    payload_words : In
        Of the model.
    valid : In(1), counts : In(1)
        A beat; it counts.
    present, resident : In(beat_words)
        Its accesses, and those to resident tables.
    beat, sample, end : In
        Its number within the record, the record's number, whether it is the mini-batch's last.
    bad : In(1), before_bad : In(beat_words)
        One of its rows is outside its table; the words before the first such one.
    read_fault : In(fault_layout)
        The records could not be read.
    results : Out(stream of decoded_layout)
        Two may wait.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        words = config.beat_words
        super().__init__({
            "payload_words": In(range(config.max_record_words + 1)), "valid": In(1), "counts": In(1),
            "present": In(words), "resident": In(words), "beat": In(range(config.record_beats)), "sample": In(COUNT_BITS),
            "end": In(1), "bad": In(1), "before_bad": In(words), "read_fault": In(fault_layout()),
            "results": Out(stream.Signature(decoded_layout())),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = config.beat_words
        m.submodules.results = results = RegisterSlice(self.results.p.shape())
        wiring.connect(m, results.o, wiring.flipped(self.results))
        present, resident = Signal(words), Signal(words)  # of the beat that has just been accepted
        new_accesses, new_resident = Signal(range(words + 1)), Signal(range(words + 1))
        seen = Signal(data.StructLayout({"accesses": 32, "resident": 32}), reset_less=True)
        total = Signal.like(seen)
        bad, bad_before = Signal(), Signal(words, reset_less=True)
        bad_beat = Signal(range(config.record_beats), reset_less=True)
        bad_row, bad_sample = Signal(), Signal(COUNT_BITS, reset_less=True)
        bad_access = Signal(range(config.max_record_words), reset_less=True)
        ends = delayed(m, delayed(m, self.valid & self.end))
        ended, first = delayed(m, ends), Signal(init=1)
        m.d.sync += [
            present.eq(Mux(self.counts, self.present, 0)),
            resident.eq(Mux(self.counts, self.resident, 0)),
            new_accesses.eq(count_ones(present)),
            new_resident.eq(count_ones(resident)),
            seen.eq(total),
            first.eq(ends),
            bad.eq(self.counts & self.bad & ~self.read_fault.valid),
        ]
        m.d.comb += [
            total.accesses.eq(Mux(first, 0, seen.accesses) + new_accesses),
            total.resident.eq(Mux(first, 0, seen.resident) + new_resident),
            results.i.valid.eq(ended),
            results.i.p.accesses.eq(seen.accesses),
            results.i.p.resident.eq(seen.resident),
        ]
        never(m, "third_result", ended & ~results.i.ready)
        with m.If(self.counts):
            m.d.sync += [
                bad_before.eq(self.before_bad),
                bad_beat.eq(self.beat),
                bad_sample.eq(self.sample),
            ]
        with m.If(ended):
            m.d.sync += bad_row.eq(0)
        # Where the first bad row was is found a cycle later.
        with m.If(bad):
            place = bad_beat * words + count_ones(bad_before)
            m.d.sync += [bad_row.eq(1), bad_access.eq(place - 1 - self.payload_words)]
        fault = results.i.p.fault
        with m.If(self.read_fault.valid):
            m.d.comb += fault.eq(self.read_fault)
        with m.Else():
            m.d.comb += [
                fault.valid.eq(bad_row),
                fault.status.eq(Status.ROW_OUTSIDE_TABLE),
                fault.index.eq(bad_sample),
                fault.access.eq(bad_access),
            ]
        return m
