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
        ``address`` (bus-aligned) and number of ``words`` (at least 1); taken when not ``busy``.
    o : Out(stream of words_layout)
        The words, ``offset`` 0; all beats but the last are full.
    abort : In(1)
        Ends the transfer: asks for nothing more, and throws away what still comes.
    busy : Out(1)
        Not all words have been delivered, or thrown away.
    error, error_address : Out
        An error response came since ``start``; the address of the first such beat.
    client : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(stream.Signature(data.StructLayout({
                "address": config.address_bits, "words": WORDS_BITS,
            }))),
            "o": Out(stream.Signature(words_layout(config))),
            "abort": In(1), "busy": Out(1), "error": Out(1), "error_address": Out(config.address_bits),
            "client": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word_shift = ceil_log2(config.bus_words)
        depth = config.read_ahead_beats
        chunk_limit = min(config.burst_limit, depth // 2)
        m.submodules.fifo = fifo = StreamFifo(config.bus_bits, depth)

        address = Signal(config.address_bits)  # of the next request
        to_request = Signal(WORDS_BITS)  # beats
        to_deliver = Signal(WORDS_BITS)  # words
        reserved = Signal(range(depth + 1))  # beats requested and not yet out of the FIFO
        arrive_address = Signal(config.address_bits)
        aborting = Signal()

        chunk = Signal(range(chunk_limit + 1))
        request = self.client.request
        m.d.comb += [
            chunk.eq(Mux(to_request < chunk_limit, to_request, chunk_limit)),
            request.valid.eq((to_request != 0) & (reserved + chunk <= depth)),
            request.p.address.eq(address),
            request.p.words.eq(chunk << word_shift),
            fifo.i.valid.eq(self.client.beat_valid),
            fifo.i.p.eq(self.client.beat_data),
            self.busy.eq(to_deliver != 0),
            self.start.ready.eq(~self.busy),
            self.o.p.data.eq(fifo.o.p),
            self.o.p.count.eq(Mux(to_deliver < config.bus_words, to_deliver, config.bus_words)),
            self.o.valid.eq(fifo.o.valid & ~aborting),
            fifo.o.ready.eq(self.o.ready | aborting),
        ]
        requested = Signal(range(chunk_limit + 1))
        taken = fifo.o.valid & fifo.o.ready
        with m.If(request.valid & request.ready):
            m.d.comb += requested.eq(chunk)
            m.d.sync += [address.eq(address + (chunk << (word_shift + 2))), to_request.eq(to_request - chunk)]
        m.d.sync += reserved.eq(reserved + requested - taken)

        with m.If(self.client.beat_valid):
            m.d.sync += arrive_address.eq(arrive_address + config.bus_bytes)
            with m.If(self.client.beat_error & ~self.error):
                m.d.sync += [self.error.eq(1), self.error_address.eq(arrive_address)]
        with m.If(taken):
            m.d.sync += to_deliver.eq(to_deliver - self.o.p.count)

        # An abort waits for a request that has been offered: an offer must stay until it is taken.
        with m.If(self.abort & self.busy):
            m.d.sync += aborting.eq(1)
        with m.If(aborting & (~request.valid | request.ready)):
            m.d.sync += to_request.eq(0)
            with m.If((to_request == 0) & (reserved == 0)):
                m.d.sync += [to_deliver.eq(0), aborting.eq(0)]

        with m.If(self.start.valid & self.start.ready):
            beats = (self.start.p.words + (config.bus_words - 1)) >> word_shift
            m.d.sync += [
                address.eq(self.start.p.address),
                arrive_address.eq(self.start.p.address),
                to_request.eq(beats),
                to_deliver.eq(self.start.p.words),
                self.error.eq(0),
            ]
        return m
