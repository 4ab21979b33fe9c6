"""Reads a contiguous buffer as a stream of words, ahead of use.

Keeps up to ``read_ahead_beats`` on their way, so it runs at one beat per cycle while
latency < read_ahead_beats.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .layouts import WORDS_BITS, words_layout
from .read_master import ReadClientSignature


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
    hungry : Out(1)
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
            "go": In(1), "abort": In(1), "busy": Out(1), "waiting": Out(1), "hungry": Out(1),
            "error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "client": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word_shift = ceil_log2(config.bus_words)
        depth = config.read_ahead_beats
        chunk_limit = min(config.burst_limit, depth // 2)
        beat_layout = data.StructLayout({"data": config.bus_bits, "error": 1, "timeout": 1})
        m.submodules.fifo = fifo = StreamFifo(beat_layout, depth)

        # Asking.
        address = Signal(config.address_bits)  # of the next request
        to_request = Signal(WORDS_BITS)  # beats
        reserved = Signal(range(depth + 1))  # beats requested and not yet out of the FIFO
        chunk = Signal(range(chunk_limit + 1))
        requested = Signal(range(chunk_limit + 1))
        request = self.client.request
        m.d.comb += [
            chunk.eq(Mux(to_request < chunk_limit, to_request, chunk_limit)),
            request.valid.eq((to_request != 0) & (reserved + chunk <= depth)),
            request.p.address.eq(address),
            request.p.words.eq(chunk << word_shift),
            fifo.i.valid.eq(self.client.beat_valid),
            fifo.i.p.data.eq(self.client.beat_data),
            fifo.i.p.error.eq(self.client.beat_error),
            fifo.i.p.timeout.eq(self.client.beat_timeout),
            self.start.ready.eq((to_request == 0) & ~self.waiting),
        ]
        taken = fifo.o.valid & fifo.o.ready
        with m.If(request.valid & request.ready):
            m.d.comb += requested.eq(chunk)
            m.d.sync += [address.eq(address + (chunk << (word_shift + 2))), to_request.eq(to_request - chunk)]
        m.d.sync += reserved.eq(reserved + requested - taken)

        # Delivering the current transfer.
        to_deliver = Signal(WORDS_BITS)  # words
        deliver_address = Signal(config.address_bits)
        aborting = Signal()
        m.d.comb += [
            self.busy.eq(to_deliver != 0),
            self.hungry.eq(self.busy & ~self.waiting & (to_request != 0) & (fifo.level < depth // 2)),
            self.o.p.data.eq(fifo.o.p.data),
            self.o.p.count.eq(Mux(to_deliver < config.bus_words, to_deliver, config.bus_words)),
            self.o.valid.eq(fifo.o.valid & self.busy & ~aborting),
            fifo.o.ready.eq(self.busy & (self.o.ready | aborting)),
        ]
        with m.If(taken):
            m.d.sync += [
                to_deliver.eq(to_deliver - self.o.p.count),
                deliver_address.eq(deliver_address + config.bus_bytes),
            ]
            with m.If(fifo.o.p.error & ~self.error):
                m.d.sync += [
                    self.error.eq(1), self.timeout.eq(fifo.o.p.timeout), self.error_address.eq(deliver_address),
                ]  # fmt: skip
        m.d.sync += aborting.eq(self.busy & (self.abort | aborting))

        # From one to the next.
        next_address = Signal(config.address_bits)
        next_words = Signal(WORDS_BITS)
        with m.If(self.waiting & self.go & ~self.busy):
            m.d.sync += [
                to_deliver.eq(next_words),
                deliver_address.eq(next_address),
                self.waiting.eq(0),
                self.error.eq(0),
            ]
        with m.If(self.start.valid & self.start.ready):
            m.d.sync += [
                address.eq(self.start.p.address),
                to_request.eq((self.start.p.words + (config.bus_words - 1)) >> word_shift),
                next_address.eq(self.start.p.address),
                next_words.eq(self.start.p.words),
                self.waiting.eq(1),
            ]
        return m
