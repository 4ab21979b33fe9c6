"""Reads a contiguous buffer as a stream of words, ahead of use.

Keeps up to ``read_ahead_beats`` on their way, so it runs at one beat per cycle while
latency < read_ahead_beats.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.layouts import WORDS_BITS, words_layout
from ...interfaces.memory import ReadClientSignature
from ...lib.fifo import StreamFifo
from ...lib.logic import delayed, without_reset
from ...lib.register_slice import RegisterSlice


class StreamReader(wiring.Component):
    """Members
    -------
    start : In(stream)
        ``address`` (bus-aligned) and number of ``words`` (at least 1) of a transfer. Taken, and asked
        for, as soon as the one before has been asked for: so one may wait behind the current one.
    go : In(1)
        The transfer that waits may become the current one, when no other is.
    o : Out(stream of words_layout)
        Words of the current transfer, ``offset`` 0; all beats but its last are full.
    abort : In(1)
        Throws away what still comes of the current transfer.
    busy : Out(1)
        There is a current transfer: not all of its words have been delivered, or thrown away.
    waiting : Out(1)
        A transfer waits for ``go``.
    low_watermark : Out(1)
        The current transfer has not been asked for to its end, and less than half of the read-ahead is at hand.
    error, timeout, error_address : Out
        A word of the current transfer came with an error response, or not at all; the address of the first such beat.
        In time for whoever looks a cycle after its beat was taken; stays until the next transfer begins.
    client : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(stream.Signature(data.StructLayout({
                "address": config.address_bits, "words": WORDS_BITS,
            }))),
            "o": Out(stream.Signature(words_layout(config))),
            "go": In(1), "abort": In(1), "busy": Out(1), "waiting": Out(1), "low_watermark": Out(1),
            "error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "client": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word_shift = ceil_log2(config.bus_words)
        depth = config.read_ahead_beats
        asking = Signal()  # the transfer has not been asked for to its end
        chunk_limit = min(config.burst_limit, depth // 2)
        beat_layout = data.StructLayout({"data": config.bus_bits, "error": 1, "timeout": 1})
        m.submodules.fifo = fifo = StreamFifo(beat_layout, depth, reserved=True)
        beat = Signal(beat_layout, reset_less=True)
        m.d.sync += [
            beat.data.eq(self.client.beat_data),
            beat.error.eq(self.client.beat_error),
            beat.timeout.eq(self.client.beat_timeout),
        ]

        # Asking. The next request is put together first; then it waits until there is room for the longest.
        address = Signal(config.address_bits, reset_less=True)  # of the next request
        to_request = Signal(WORDS_BITS)  # beats
        reserved = Signal(range(depth + 1))  # beats requested and not yet out of the FIFO
        chunk = Signal(range(chunk_limit + 1), reset_less=True)
        ready, room = Signal(), Signal()
        m.submodules.request = request_slice = RegisterSlice(self.client.request.p.shape())
        wiring.connect(m, request_slice.o, wiring.flipped(self.client.request))
        request = request_slice.i
        m.d.comb += [
            request.valid.eq(ready & room),
            request.p.address.eq(address),
            request.p.words.eq(chunk << word_shift),
            fifo.i.valid.eq(delayed(m, self.client.beat_valid)),
            fifo.i.p.eq(beat),
            self.start.ready.eq(~asking & ~self.waiting),
        ]
        taken = fifo.o.valid & fifo.o.ready
        asked = request.valid & request.ready
        # What has been asked for counts a cycle later, and another later it is known whether there is more.
        some, begun, was_asked = delayed(m, to_request != 0), Signal(), delayed(m, asked)
        chunk_asked = Signal.like(chunk)
        m.d.comb += chunk_asked.eq(Mux(asked, chunk, 0))
        chunk_asked_before = delayed(m, chunk_asked)
        changes = asked | was_asked | delayed(m, was_asked | begun)
        m.d.sync += [
            room.eq((reserved <= depth - chunk_limit) & ~asked),
            chunk.eq(Mux(to_request < chunk_limit, to_request, chunk_limit)),
            ready.eq(asking & ~changes & some),
            asking.eq(asking & (changes | some)),
            reserved.eq(reserved + chunk_asked - delayed(m, taken)),
            address.eq(address + (chunk_asked_before << (word_shift + 2))),
            to_request.eq(to_request - chunk_asked_before),
        ]

        # Delivering the current transfer.
        beats_left = Signal(WORDS_BITS, reset_less=True)
        last_count = Signal(range(config.bus_words + 1), reset_less=True)  # words of the last beat
        deliver_address = Signal(config.address_bits, reset_less=True)
        aborting = Signal()
        last = Signal(reset_less=True)  # the next beat is
        timeout = without_reset(m, self.timeout)
        error_address = without_reset(m, self.error_address)
        m.d.comb += [
            self.low_watermark.eq(self.busy & ~self.waiting & asking & (fifo.level < depth // 2)),
            self.o.p.data.eq(fifo.o.p.data),
            self.o.p.count.eq(Mux(last, last_count, config.bus_words)),
            self.o.valid.eq(fifo.o.valid & self.busy & ~aborting),
            fifo.o.ready.eq(self.busy & (self.o.ready | aborting)),
        ]
        with m.If(taken):
            m.d.sync += [
                beats_left.eq(beats_left - 1),
                last.eq(beats_left == 2),
                self.busy.eq(~last),
                deliver_address.eq(deliver_address + config.bus_bytes),
            ]
            with m.If(fifo.o.p.error & ~self.error):
                m.d.sync += [
                    self.error.eq(1),
                    timeout.eq(fifo.o.p.timeout),
                    error_address.eq(deliver_address),
                ]
        m.d.sync += aborting.eq(self.busy & ~(taken & last) & (self.abort | aborting))

        # From one to the next.
        next_address = Signal(config.address_bits, reset_less=True)
        next_words = Signal(WORDS_BITS, reset_less=True)
        beats_of = (next_words + (config.bus_words - 1)) >> word_shift
        with m.If(self.waiting & self.go & ~self.busy):
            m.d.sync += [
                beats_left.eq(beats_of),
                last.eq(next_words <= config.bus_words),
                last_count.eq(((next_words - 1)[:word_shift]) + 1),
                self.busy.eq(1),
                deliver_address.eq(next_address),
                self.waiting.eq(0),
                self.error.eq(0),
            ]
        m.d.sync += begun.eq(self.start.valid & self.start.ready)
        with m.If(self.start.valid & self.start.ready):
            m.d.sync += [
                address.eq(self.start.p.address),
                asking.eq(1),
                next_address.eq(self.start.p.address),
                next_words.eq(self.start.p.words),
                self.waiting.eq(1),
            ]
        with m.If(begun):
            m.d.sync += [to_request.eq(beats_of), asking.eq(1)]
        return m
