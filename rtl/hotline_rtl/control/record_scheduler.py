"""When the records of the next mini-batch are decoded: ahead, while the command before is still in the issue slot.

Decoding begins when all records of the mini-batch before have been decoded, and well. A SPLIT leaves the tracker as it is, so
one SPLIT's accesses follow another's into the lanes. Those of a LEARN, and those behind it, wait until the lanes are empty.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.control import fetch_layout
from ..interfaces.jobs import batch_fetch_layout, decode_layout
from ..lib.streams import fork


class RecordScheduler(wiring.Component):
    """Members
    -------
    fetches : In(stream of batch_fetch_layout)
        The next mini-batch, as early as it is known. One at a time: the next one when this one is the current one.
    jobs : In(stream)
        The next mini-batch becomes the current one. Taken when its records are being decoded.
    reads : Out(stream of fetch_layout)
        To the reader: its records.
    begins : Out(stream)
        To the reader: they may be delivered.
    arrivals : Out(stream of "waits")
        To the lanes: its beats come next; ``waits``: but must not enter the lanes before it is the current one.
    decodes : Out(stream of decode_layout)
        To the record reader: it is decoded.
    decoded : In(1), over : In(1)
        All records of the current mini-batch have been decoded, and well: a level, until ``over``. The current mini-batch is no
        longer one.
    ahead : Out(1)
        The records that are being decoded are the next mini-batch's.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "fetches": In(stream.Signature(batch_fetch_layout(config))), "jobs": In(stream.Signature(0)),
            "reads": Out(stream.Signature(fetch_layout(config))), "begins": Out(stream.Signature(0)),
            "arrivals": Out(stream.Signature(1)), "decodes": Out(stream.Signature(decode_layout())),
            "decoded": In(1), "over": In(1), "ahead": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        fetch = Signal(batch_fetch_layout(self.config), reset_less=True)
        current, current_splits = Signal(), Signal(reset_less=True)  # there is a current mini-batch, of a SPLIT
        waits = Signal(reset_less=True)
        decoding = stream.Signature(0).create()
        fork(m, decoding, [self.begins, self.decodes])
        m.d.comb += [
            self.reads.p.eq(fetch.records),
            self.arrivals.p.eq(waits),
            self.decodes.p.samples.eq(fetch.records.samples),
            self.decodes.p.follows.eq(fetch.follows),
        ]
        with m.If(self.over):
            m.d.sync += current.eq(0)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.fetches.ready.eq(1)
                m.d.sync += fetch.eq(self.fetches.p)
                with m.If(self.fetches.valid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.reads.valid.eq(1)
                with m.If(self.reads.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += waits.eq(~(current & current_splits & fetch.splits))
                with m.If(~current | self.decoded):
                    m.next = "ARRIVE"
            with m.State("ARRIVE"):
                m.d.comb += self.arrivals.valid.eq(1)
                with m.If(self.arrivals.ready):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.comb += decoding.valid.eq(1)
                with m.If(decoding.ready):
                    m.next = "AHEAD"
            with m.State("AHEAD"):
                m.d.comb += self.jobs.ready.eq(~current)
                with m.If(self.jobs.valid & ~current):
                    m.d.sync += [current.eq(1), current_splits.eq(fetch.splits)]
                    m.next = "IDLE"
        m.d.comb += self.ahead.eq(fsm.ongoing("AHEAD"))
        return m
