"""Which rows the gather engine fetches for whom, one set after another.

A SPLIT's rows are a set; where a SCATTER has passed the SPLIT, the rows that both working sets have are a second one, fetched
when the first is there. A GATHER's rows are a set. What is asked for comes in command order, and sets are gathered, and end, in
the same order:

    SPLIT A, named     keys, rows ──► there ─┐
    SCATTER passes A   ──────────────────────┴─► rows again ──► A's result
    SPLIT B                                      keys, rows ──► B's result

The golden twin is ``hotline_golden.machine``: a SPLIT's working rows are those that every earlier SCATTER has written.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.control import fault_layout
from ..interfaces.jobs import Ask, gather_ask_layout, gather_job_layout
from ..lib.register_slice import HalfSlice, RegisterSlice
from ..lib.streams import fork


class GatherScheduler(wiring.Component):
    """Members
    -------
    jobs : In(stream of gather_ask_layout)
    gather : Out(stream of gather_job_layout)
        Jobs of the gather engine.
    keys : Out(stream of addresses)
        Jobs of the writer of working keys.
    gather_results, keys_results : In(streams of fault_layout)
        Theirs.
    results : Out(stream of fault_layout)
        All rows, and the keys, of a SPLIT or GATHER are in device memory; what went wrong first, of keys before rows.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        fault = stream.Signature(fault_layout())
        super().__init__({
            "jobs": In(stream.Signature(gather_ask_layout(config))),
            "gather": Out(stream.Signature(gather_job_layout(config))), "keys": Out(stream.Signature(config.address_bits)),
            "gather_results": In(fault), "keys_results": In(fault), "results": Out(fault),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        job = self.jobs.p
        # Sets that have begun and have no result yet: two may be in the gather engine, one waits for it.
        kind = data.StructLayout({"rows": 1, "keys": 1, "more": 1})
        m.submodules.begun = begun = RegisterSlice(kind)
        m.submodules.sets = sets = RegisterSlice(kind)
        wiring.connect(m, begun.o, sets.i)
        first_there = Signal()  # of a SPLIT with more to come, the first set has ended

        # Jobs go to the engine, to the writer, and into the list of sets.
        source = stream.Signature(0).create()
        rows, keys = job.ask != Ask.NO_MORE, job.ask == Ask.SPLIT
        waits = (job.ask == Ask.AGAIN) & ~first_there
        base = Signal.like(job.rows, reset_less=True)  # of the SPLIT before, for an AGAIN
        fork(m, source, [begun.i, self.gather, self.keys], [1, rows, keys])
        m.d.comb += [
            source.valid.eq(self.jobs.valid & ~waits),
            self.jobs.ready.eq(source.ready & ~waits),
            begun.i.p.rows.eq(rows),
            begun.i.p.keys.eq(keys),
            begun.i.p.more.eq(keys & job.more),
            self.gather.p.base.eq(Mux(job.ask == Ask.AGAIN, base, job.rows)),
            self.gather.p.lists.eq(keys),
            self.keys.p.eq(job.keys),
        ]
        with m.If(self.jobs.valid & keys):
            m.d.sync += base.eq(job.rows)

        # Results, a set at a time; that of a SPLIT when its last set has ended.
        m.submodules.result = result = HalfSlice(fault_layout())
        wiring.connect(m, result.o, wiring.flipped(self.results))
        fault = Signal(fault_layout(), reset_less=True)  # of an earlier set of the same SPLIT
        of_set = sets.o.p
        there = (self.gather_results.valid | ~of_set.rows) & (self.keys_results.valid | ~of_set.keys)
        ends = Signal()
        m.d.comb += [
            result.i.valid.eq(sets.o.valid & there & ~of_set.more),
            ends.eq(sets.o.valid & there & (of_set.more | result.i.ready)),
            sets.o.ready.eq(ends),
            self.gather_results.ready.eq(ends & of_set.rows),
            self.keys_results.ready.eq(ends & of_set.keys),
        ]
        with m.If(first_there & fault.valid):
            m.d.comb += result.i.p.eq(fault)
        with m.Elif(of_set.keys & self.keys_results.p.valid):
            m.d.comb += result.i.p.eq(self.keys_results.p)
        with m.Elif(of_set.rows):
            m.d.comb += result.i.p.eq(self.gather_results.p)
        with m.If(ends):
            m.d.sync += [first_there.eq(of_set.more), fault.eq(result.i.p)]
        return m
