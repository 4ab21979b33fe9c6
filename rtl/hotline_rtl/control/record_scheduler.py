"""When the records of the next mini-batch are decoded: ahead, while the command before is still in the issue slot.

Decoding begins when all records of the command before have been decoded, and well. A SPLIT leaves the tracker as it is, so
one SPLIT's accesses follow another's into the lanes. Those of a LEARN, and those behind it, wait until the lanes are empty.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..lib.logic import delayed


class RecordScheduler(wiring.Component):
    """Members
    -------
    asked : In(1)
        The next command's records have been asked for.
    active : In(1)
        A command is in the issue slot.
    split, next_split : In(1)
        The command in the issue slot is a SPLIT; the next one is.
    read_over : In(1)
        All words of the records have been read and taken.
    decoded : In(1)
        All of the records have been decoded, without an error.
    coming : In(1)
        Accesses are on their way to the lanes.
    batch_begins : In(1)
        The next LEARN or SPLIT enters the issue slot: the records are its own now.
    begin : Out(1)
        Decoding begins.
    ahead : Out(1)
        The records in the decoder are the next command's.
    hold : Out(1)
        Accesses must wait in front of the lanes.
    """

    def __init__(self):
        super().__init__({
            "asked": In(1), "active": In(1), "split": In(1), "next_split": In(1), "read_over": In(1), "decoded": In(1),
            "coming": In(1), "batch_begins": In(1), "begin": Out(1), "ahead": Out(1), "hold": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        splits = delayed(m, self.active & self.split & self.next_split)
        decoded, coming = delayed(m, self.decoded), delayed(m, self.coming)
        free = Signal()
        m.d.sync += [
            free.eq(~self.active | (decoded & self.read_over & (splits | ~coming))),
            self.begin.eq(self.asked & free & ~self.ahead & ~self.begin),
        ]
        with m.If(self.batch_begins):
            m.d.sync += [self.ahead.eq(0), self.hold.eq(0)]
        with m.If(self.begin):
            m.d.sync += [self.ahead.eq(1), self.hold.eq(~splits)]
        return m
