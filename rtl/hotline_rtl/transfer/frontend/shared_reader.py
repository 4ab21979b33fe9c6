"""One stream reader for two: the sample records of a LEARN or SPLIT, or the hot list of a LOAD.

A LOAD runs alone, so the two never read at the same time. Records of the next mini-batch may be asked for while those of the
current one are still being delivered. One beat per cycle; latency 1 cycle behind the stream reader.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout, fetch_layout, read_failed
from ...interfaces.layouts import WORDS_BITS, words_layout
from ...interfaces.memory import ReadClientSignature
from ...lib.logic import PRODUCT_CYCLES, product
from ...lib.register_slice import RegisterSlice
from .stream_reader import StreamReader


class SharedReader(wiring.Component):
    """Members
    -------
    fetches : In(stream of fetch_layout), sample_words : In
        Asks for records of so many words each.
    begins : In(stream)
        The records that were asked for may be delivered, when those before have been.
    lists : In(stream of {address, words})
        Asks for ``words`` of the hot list from ``address`` on. Only while no records have been asked for.
    records, hot_list : Out(stream of words_layout)
    low_watermark : Out(1)
        As of the stream reader.
    fault : Out(fault_layout)
        A word of what is, or was last, delivered came with an error response, or not at all. Says so before the word is
        delivered, and until what comes next begins.
    client : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        words = stream.Signature(words_layout(config))
        super().__init__({
            "fetches": In(stream.Signature(fetch_layout(config))), "begins": In(stream.Signature(0)),
            "sample_words": In(range(config.max_record_words + 1)),
            "lists": In(stream.Signature(data.StructLayout({"address": config.address_bits, "words": WORDS_BITS}))),
            "records": Out(words), "hot_list": Out(words), "low_watermark": Out(1), "fault": Out(fault_layout()),
            "client": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = StreamReader(self.config)
        m.submodules.read = read = RegisterSlice(reader.o.p.shape())
        wiring.connect(m, reader.o, read.i)
        wiring.connect(m, reader.client, wiring.flipped(self.client))

        # A fetch is on its way to the reader when its words have been counted.
        fetch, counting = Signal(fetch_layout(self.config), reset_less=True), Signal(PRODUCT_CYCLES + 1)
        waits, for_list = Signal(), Signal()  # what is read is the hot list
        words = product(m, fetch.samples, self.sample_words)
        m.d.comb += self.fetches.ready.eq(~counting.any() & ~waits)
        m.d.sync += counting.eq(Cat(self.fetches.valid & self.fetches.ready, counting))
        with m.If(self.fetches.ready):
            m.d.sync += fetch.eq(self.fetches.p)
        with m.If(counting[-1]):
            m.d.sync += waits.eq(1)
        with m.If(reader.start.valid & reader.start.ready):
            m.d.sync += [waits.eq(0), for_list.eq(~waits)]
        m.d.comb += [
            reader.start.valid.eq(waits | self.lists.valid),
            self.lists.ready.eq(reader.start.ready & ~waits),
            reader.start.p.address.eq(Mux(waits, fetch.address, self.lists.p.address)),
            reader.start.p.words.eq(Mux(waits, words, self.lists.p.words)),
            self.begins.ready.eq(reader.waiting & ~reader.busy & ~for_list),
            reader.go.eq(for_list | self.begins.valid),
            self.records.p.eq(read.o.p),
            self.hot_list.p.eq(read.o.p),
            self.records.valid.eq(read.o.valid & ~for_list),
            self.hot_list.valid.eq(read.o.valid & for_list),
            read.o.ready.eq(Mux(for_list, self.hot_list.ready, self.records.ready)),
            self.low_watermark.eq(reader.low_watermark),
            self.fault.valid.eq(reader.error),
            self.fault.status.eq(read_failed(reader.timeout)),
            self.fault.address.eq(reader.error_address),
        ]
        return m
