"""One stream reader for two: the sample records of a LEARN or SPLIT, or the hot list of a LOAD.

A LOAD runs alone, so the two never read at the same time. Records of the next mini-batch may be asked for while those of the
current one are still being delivered. One beat per cycle; latency 1 cycle behind the stream reader.
"""

from amaranth.hdl import Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fetch_layout
from ...interfaces.layouts import WORDS_BITS, words_layout
from ...interfaces.memory import ReadClientSignature
from ...lib.logic import delayed, product
from ...lib.register_slice import RegisterSlice
from .stream_reader import StreamReader


class SharedReader(wiring.Component):
    """Members
    -------
    loads : In(1)
        A LOAD is under way. Changes only while nothing is being read.
    fetch : In(stream of fetch_layout), sample_words : In
        Asks for records of so many words each. The payload has been stable for five cycles when it becomes valid.
    begin : In(1)
        The records that were asked for may be delivered.
    end : In(1)
        The rest of the records that are being delivered is thrown away.
    list_start : In(stream)
        Asks for ``words`` of the hot list from ``address`` on.
    records, hot_list : Out(stream of words_layout)
    low_watermark : Out(1)
        As of the stream reader.
    over : Out(1)
        A cycle ago, all words had been delivered and taken.
    error, timeout, error_address : Out
        As of the stream reader.
    client : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        words = stream.Signature(words_layout(config))
        super().__init__({
            "loads": In(1), "fetch": In(stream.Signature(fetch_layout(config))),
            "sample_words": In(range(config.max_record_words + 1)), "begin": In(1), "end": In(1),
            "list_start": In(stream.Signature(data.StructLayout({
                "address": config.address_bits, "words": WORDS_BITS,
            }))),
            "records": Out(words), "hot_list": Out(words), "low_watermark": Out(1), "over": Out(1),
            "error": Out(1), "timeout": Out(1), "error_address": Out(config.address_bits),
            "client": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = StreamReader(self.config)
        m.submodules.read = read = RegisterSlice(reader.o.p.shape())
        wiring.connect(m, reader.o, read.i)
        wiring.connect(m, reader.client, wiring.flipped(self.client))
        words = product(m, delayed(m, self.fetch.p.samples), delayed(m, self.sample_words))
        m.d.comb += [
            reader.start.valid.eq(Mux(self.loads, self.list_start.valid, self.fetch.valid)),
            reader.start.p.address.eq(Mux(self.loads, self.list_start.p.address, self.fetch.p.address)),
            reader.start.p.words.eq(Mux(self.loads, self.list_start.p.words, words)),
            self.list_start.ready.eq(self.loads & reader.start.ready),
            self.fetch.ready.eq(~self.loads & reader.start.ready),
            reader.go.eq(self.loads | self.begin),
            reader.abort.eq(self.end & ~self.loads),
            self.records.p.eq(read.o.p),
            self.hot_list.p.eq(read.o.p),
            self.records.valid.eq(read.o.valid & ~self.loads),
            self.hot_list.valid.eq(read.o.valid & self.loads),
            read.o.ready.eq(Mux(self.loads, self.hot_list.ready, self.records.ready)),
            self.low_watermark.eq(reader.low_watermark),
            self.error.eq(reader.error),
            self.timeout.eq(reader.timeout),
            self.error_address.eq(reader.error_address),
            self.over.eq(delayed(m, ~reader.busy & ~read.o.valid)),
        ]
        return m
