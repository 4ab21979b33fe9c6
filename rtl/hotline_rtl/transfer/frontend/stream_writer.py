"""Writes a stream of words to a contiguous buffer, in full bursts.

One beat per cycle. A burst is offered when all of its data is at hand.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.memory import WriteClientSignature
from ...lib.logic import delayed, without_reset
from ...lib.word_queue import WordQueue, group_layout


class StreamWriter(wiring.Component):
    """Members
    -------
    start : In(1), address : In
        Begins a new buffer at a bus-aligned address; only when ``flushed``, and after ``swap`` if
        not ``idle``.
    i : In(stream of group_layout)
        The words, up to ``in_words`` at a time; with ``whole``, always so many.
    flush : In(1)
        No more words come: what is left is written. Held until ``flushed``.
    has_burst : Out(1)
        A whole burst is at hand, or on its way out (a cycle ago).
    flushed : Out(1)
        All words given so far have been asked to be written.
    swap : In(1)
        The buffer becomes the previous one, whose answers may still come while another is written. Only
        when ``flushed`` and ``previous_drained``.
    previous_drained : Out(1)
        All of the previous buffer is in memory.
    previous_error, previous_timeout, previous_address : Out
        A burst of the previous buffer was answered with an error, or not at all; the address of the first.
    idle : Out(1)
        All words given so far are in memory: every burst has been answered.
    error, timeout, error_address : Out
        The same of this buffer.
    client : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig, in_words: int, whole: bool = False):
        self.config = config
        self.in_words, self.whole = in_words, whole
        super().__init__({
            "has_burst": Out(1), "start": In(1), "address": In(config.address_bits), "flush": In(1), "idle": Out(1),
            "flushed": Out(1), "swap": In(1), "previous_drained": Out(1),
            "previous_error": Out(1), "previous_timeout": Out(1), "previous_address": Out(config.address_bits),
            "error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "i": In(stream.Signature(group_layout(self.in_words))),
            "client": Out(WriteClientSignature(config)),
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
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        beats = self.client.data

        draining = delayed(m, self.flush & ~self.i.valid & ~queue.coming)
        full = queue.level >= config.bus_words
        m.d.comb += [
            queue.take.valid.eq(full | (draining & (queue.level != 0))),
            queue.take.p.count.eq(Mux(full, config.bus_words, queue.level)),
            queue.take.p.extra.eq(queue.take.p.count),
            queue.clear.eq(self.start),
            beats.valid.eq(queue.o.valid),
            queue.o.ready.eq(beats.ready),
            beats.p.data.eq(queue.o.p.data),
        ]
        for i in range(config.bus_words):
            m.d.comb += beats.p.strobe[4 * i : 4 * i + 4].eq((queue.o.p.extra > i).replicate(4))

        address = Signal(config.address_bits, reset_less=True)
        timeout = without_reset(m, self.timeout)
        error_address = without_reset(m, self.error_address)
        previous_timeout = without_reset(m, self.previous_timeout)
        previous_address = without_reset(m, self.previous_address)
        waiting = Signal(range(2 * limit + 3))  # beats at hand that no request covers yet
        asking, asked_beats = Signal(), Signal(range(limit + 1))  # there is a request, and how many it covers
        covers, covered = Signal(), Signal.like(asked_beats)
        flushing = draining & ~delayed(m, queue.forming)
        request = self.client.request
        whole = waiting >= limit
        m.d.comb += [
            covers.eq(~asking & (whole | (flushing & (waiting != 0)))),
            covered.eq(Mux(whole, limit, waiting)),
            request.valid.eq(asking),
            request.p.address.eq(address),
            request.p.words.eq(asked_beats << ceil_log2(config.bus_words)),
            self.flushed.eq(~queue.forming & (waiting == 0) & ~asking),
            self.idle.eq(self.flushed & (queue.out_level == 0) & self.client.idle),
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
        # Transfers without an answer, of this buffer and of the previous one. Answers come in order.
        transfers = Signal(range(limit * 2 + config.outstanding_writes + 16))
        previous = Signal.like(transfers)
        of_previous = previous != 0
        asked = delayed(m, request.valid & request.ready)
        left = Signal.like(transfers)
        m.d.comb += [
            self.previous_drained.eq(~of_previous),
            left.eq(transfers + asked - (self.client.answered & ~of_previous)),
        ]
        m.d.sync += [transfers.eq(left), previous.eq(previous - (self.client.answered & of_previous))]
        with m.If(self.client.error & ~of_previous & ~self.error):
            m.d.sync += [
                self.error.eq(1), timeout.eq(self.client.timeout), error_address.eq(self.client.error_address),
            ]  # fmt: skip
        with m.If(self.client.error & of_previous & ~self.previous_error):
            m.d.sync += [
                self.previous_error.eq(1), previous_timeout.eq(self.client.timeout),
                previous_address.eq(self.client.error_address),
            ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [address.eq(self.address), self.error.eq(0)]
        with m.If(self.swap):
            new_error = self.client.error & ~self.error
            m.d.sync += [
                previous.eq(left), transfers.eq(0), self.error.eq(0),
                self.previous_error.eq(self.error | self.client.error),
                previous_timeout.eq(Mux(new_error, self.client.timeout, timeout)),
                previous_address.eq(Mux(new_error, self.client.error_address, error_address)),
            ]  # fmt: skip
        return m
