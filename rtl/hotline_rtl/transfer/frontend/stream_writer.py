"""Writes a stream of words to a contiguous buffer, in full bursts.

One beat per cycle. A burst is offered when all of its data is at hand.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout, write_failed
from ...interfaces.memory import WriteClientSignature
from ...lib.logic import delayed, without_reset
from ...lib.word_queue import WordQueue, ended_layout


class StreamWriter(wiring.Component):
    """Members
    -------
    jobs : In(stream of addresses)
        A buffer to write, from a bus-aligned address on. Taken while answers to the one before may still be missing.
    i : In(stream of ended_layout)
        The buffer's words, up to ``in_words`` at a time; with ``whole``, always so many, but none with ``end``.
    results : Out(stream of fault_layout)
        A buffer is in memory: every burst has been answered. The first that was answered with an error, or not at all. One
        result waits; the buffer behind it is written meanwhile.
    has_burst : Out(1)
        A whole burst is at hand, or on its way out (a cycle ago).
    client : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig, in_words: int, whole: bool = False):
        self.config = config
        self.in_words, self.whole = in_words, whole
        super().__init__({
            "jobs": In(stream.Signature(config.address_bits)),
            "i": In(stream.Signature(ended_layout(in_words))),
            "results": Out(stream.Signature(fault_layout())),
            "has_burst": Out(1), "client": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        limit = config.burst_limit
        count_bits = len(Signal(range(config.bus_words + 1)))
        m.submodules.queue = queue = WordQueue(
            self.in_words,
            config.bus_words,
            extra=count_bits,
            whole_in=self.whole,
            whole_out=True,
            counted=True,
            depth=2 * limit,
        )
        beats, request = self.client.data, self.client.request

        # A buffer is open from its job until all that has come for it has been asked to be written.
        begins, opened, ended = Signal(), Signal(), Signal()
        takes = opened & ~ended
        m.d.comb += [
            self.jobs.ready.eq(~opened),
            begins.eq(self.jobs.valid & self.jobs.ready),
            queue.clear.eq(begins),
            queue.i.valid.eq(self.i.valid & takes),
            queue.i.p.eq(self.i.p.group),
            self.i.ready.eq(queue.i.ready & takes),
        ]

        # Words become beats: full ones, and, when no more words come, one with the rest.
        draining = delayed(m, ended & ~queue.coming)
        full = queue.level >= config.bus_words
        m.d.comb += [
            queue.take.valid.eq(full | (draining & (queue.level != 0))),
            queue.take.p.count.eq(Mux(full, config.bus_words, queue.level)),
            queue.take.p.extra.eq(queue.take.p.count),
            beats.valid.eq(queue.o.valid),
            queue.o.ready.eq(beats.ready),
            beats.p.data.eq(queue.o.p.data),
        ]
        for i in range(config.bus_words):
            m.d.comb += beats.p.strobe[4 * i : 4 * i + 4].eq((queue.o.p.extra > i).replicate(4))

        # Beats become bursts.
        address = Signal(config.address_bits, reset_less=True)
        waiting = Signal(range(2 * limit + 3))  # beats at hand that no request covers yet
        asking, asked_beats = Signal(), Signal(range(limit + 1))  # there is a request, and how many it covers
        covers, covered = Signal(), Signal.like(asked_beats)
        flushing = draining & ~delayed(m, queue.forming)
        whole = waiting >= limit
        m.d.comb += [
            covers.eq(~asking & (whole | (flushing & (waiting != 0)))),
            covered.eq(Mux(whole, limit, waiting)),
            request.valid.eq(asking),
            request.p.address.eq(address),
            request.p.words.eq(asked_beats << ceil_log2(config.bus_words)),
        ]
        m.d.sync += self.has_burst.eq(request.valid | (queue.out_level > waiting))
        with m.If(~asking):
            m.d.sync += asked_beats.eq(covered)
        with m.If(covers):
            m.d.sync += [asking.eq(1), waiting.eq(waiting + queue.arrived - covered)]
        with m.Else():
            m.d.sync += waiting.eq(waiting + queue.arrived)
        with m.If(request.valid & request.ready):
            m.d.sync += [asking.eq(0), address.eq(address + (asked_beats << ceil_log2(config.bus_bytes)))]

        # Bursts without an answer, of the open buffer and of the one before it. Answers come in order.
        closed = Signal()  # the one before has no result yet, or one that has not been taken
        all_asked = delayed(m, ended & ~queue.forming & (waiting == 0) & ~asking)
        swaps = all_asked & ended & ~closed
        bursts = Signal(range(limit * 2 + config.outstanding_writes + 16))
        closed_bursts, left = Signal.like(bursts), Signal.like(bursts)
        of_closed = closed_bursts != 0
        asked = delayed(m, request.valid & request.ready)
        m.d.comb += left.eq(bursts + asked - (self.client.answered & ~of_closed))
        m.d.sync += [bursts.eq(left), closed_bursts.eq(closed_bursts - (self.client.answered & of_closed))]
        result, fault = without_reset(m, self.results.p), Signal(fault_layout(), reset_less=True)
        failure = Signal(fault_layout())
        m.d.comb += [
            failure.valid.eq(self.client.error),
            failure.status.eq(write_failed(self.client.timeout)),
            failure.address.eq(self.client.error_address),
            self.results.valid.eq(closed & ~of_closed),
        ]
        with m.If(self.client.error & ~of_closed & ~fault.valid):
            m.d.sync += fault.eq(failure)
        with m.If(self.client.error & of_closed & ~result.valid):
            m.d.sync += result.eq(failure)
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += closed.eq(0)
        with m.If(self.i.valid & self.i.ready & self.i.p.end):
            m.d.sync += ended.eq(1)
        with m.If(begins):
            m.d.sync += [opened.eq(1), address.eq(self.jobs.p), fault.valid.eq(0)]
        with m.If(swaps):
            m.d.sync += [
                opened.eq(0),
                ended.eq(0),
                closed.eq(1),
                closed_bursts.eq(left),
                bursts.eq(0),
                result.eq(Mux(fault.valid, fault.as_value(), failure.as_value())),
            ]
        return m
