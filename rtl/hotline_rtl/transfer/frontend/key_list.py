"""Reads a list of keys from device memory: (table, row) pairs, as a SPLIT writes its working keys.

One key per cycle (buses of 64 bits and more).
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout, read_failed
from ...interfaces.keys import routed_key_layout
from ...interfaces.layouts import COUNT_BITS
from ...interfaces.memory import ReadClientSignature
from ...lib.word_queue import WordQueue
from .stream_reader import StreamReader


def key_list_job_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A list of ``count`` keys (at least 1) from ``base`` on, and where they go (``routed_key_layout``)."""
    return data.StructLayout({"base": config.address_bits, "count": COUNT_BITS + 1, "scatters": 1, "looks_up": 1})


def key_list_result_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What went wrong with the list; and whose it was."""
    return data.StructLayout({"fault": fault_layout(), "scatters": 1})


class KeyList(wiring.Component):
    """Members
    -------
    jobs : In(stream of key_list_job_layout)
    o : Out(stream of routed_key_layout)
        The keys, and behind them an ``end``. Those behind a word that could not be read are ``outside``.
    results : Out(stream of key_list_result_layout)
        The list has been read. The next job waits until this has been taken.
    read : Out(ReadClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(key_list_job_layout(config))),
            "o": Out(stream.Signature(routed_key_layout(config))),
            "results": Out(stream.Signature(key_list_result_layout(config))),
            "read": Out(ReadClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.reader = reader = StreamReader(config)
        m.submodules.pairs = pairs = WordQueue(config.bus_words, 2, whole_in=True, whole_out=True)
        wiring.connect(m, reader.client, wiring.flipped(self.read))
        wiring.connect(m, reader.o, pairs.i)
        job = Signal(key_list_job_layout(config), reset_less=True)
        number, last = Signal(COUNT_BITS, reset_less=True), Signal(reset_less=True)  # of the next key; it is the last
        table, row = pairs.o.p.data[:32], pairs.o.p.data[32:]
        key = self.o.p.listed
        begins, given = Signal(), Signal()
        m.d.comb += [
            reader.go.eq(1),
            reader.start.p.address.eq(job.base),
            reader.start.p.words.eq(job.count << 1),
            pairs.clear.eq(begins),
            pairs.drop.eq(begins),
            pairs.take.valid.eq(1),
            pairs.take.p.count.eq(2),
            key.key.table.eq(table),
            key.key.row.eq(row),
            key.number.eq(number),
            key.outside.eq((table >> config.table_bits).any() | (row >> config.row_bits).any() | reader.error),
            self.o.p.scatters.eq(job.scatters),
            self.o.p.looks_up.eq(job.looks_up),
            given.eq(self.o.valid & self.o.ready),
            self.results.p.fault.valid.eq(reader.error),
            self.results.p.fault.status.eq(read_failed(reader.timeout)),
            self.results.p.fault.address.eq(reader.error_address),
            self.results.p.scatters.eq(job.scatters),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.jobs.ready.eq(1), begins.eq(self.jobs.valid)]
                m.d.sync += [job.eq(self.jobs.p), number.eq(0), last.eq(self.jobs.p.count == 1)]
                with m.If(self.jobs.valid):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += reader.start.valid.eq(1)
                with m.If(reader.start.ready):
                    m.next = "KEYS"
            with m.State("KEYS"):
                m.d.comb += [self.o.valid.eq(pairs.o.valid), pairs.o.ready.eq(self.o.ready)]
                with m.If(given):
                    m.d.sync += [number.eq(number + 1), last.eq(number + 2 == job.count)]
                    with m.If(last):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), key.end.eq(1)]
                with m.If(given):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"
        return m
