"""Rows between host and device memory: the gather of SPLIT and GATHER, and SCATTER.

key list ─┬─► scatter engine          (a SCATTER)
          ├─► look-up                 (of a SCATTER that passes a SPLIT, too)
          └─► gather engine           (a GATHER)
working set ─► gather engine          (a SPLIT)
                 └─► writer of working keys
"""

from amaranth.hdl import DomainRenamer, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..control.gather_scheduler import GatherScheduler
from ..interfaces.control import fault_layout
from ..interfaces.jobs import Ask, gather_ask_layout, scatter_ask_layout
from ..interfaces.keys import looked_up_key_layout, numbered_key_layout
from ..interfaces.memory import ReadClientSignature, WriteClientSignature
from ..interfaces.model import ModelSignature
from ..lib.streams import fork, link
from ..transfer.frontend.gather import Gather
from ..transfer.frontend.key_list import KeyList
from ..transfer.frontend.key_router import KeyRouter
from ..transfer.frontend.scatter import Scatter
from ..transfer.frontend.stream_writer import StreamWriter

#: What the gather engine tells the performance counters, and the counters' names.
GATHER_EVENTS = {
    "active": "gather_cycles", "asks": "gather_asks", "waits": "gather_waits", "stall_keys": "gather_stall_keys",
    "stall_records": "gather_stall_records", "stall_slots": "gather_stall_slots", "stall_port": "gather_stall_port",
}  # fmt: skip


class RowUnit(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    gathers : In(stream of gather_ask_layout), gather_results : Out(stream of fault_layout)
        A result for each SPLIT and each GATHER: its rows and keys are in device memory.
    scatters : In(stream of scatter_ask_layout), scatter_results : Out(stream of fault_layout)
        Not while a GATHER is under way.
    looks_up : Out(stream), lookups : Out(stream of looked_up_key_layout)
        Of a SCATTER that passes a SPLIT: keys are to be looked up in the working set; the keys.
    keys : In(stream of numbered_key_layout)
        Keys of the working set, and those that were found.
    pause, hold_writes : In(1)
        As of the gather engine.
    read_keys, read_working_rows : Out(ReadClientSignature), write_rows, write_keys : Out(WriteClientSignature)
        On the device port.
    read_rows : Out(ReadClientSignature), write_scattered_rows : Out(WriteClientSignature)
        On the host port.
    events : Out
        What the performance counters of the same names add in a cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        read, write, fault = ReadClientSignature(config), WriteClientSignature(config), fault_layout()
        super().__init__({
            "model": In(ModelSignature(config)),
            "gathers": In(stream.Signature(gather_ask_layout(config))), "gather_results": Out(stream.Signature(fault)),
            "scatters": In(stream.Signature(scatter_ask_layout(config))), "scatter_results": Out(stream.Signature(fault)),
            "looks_up": Out(stream.Signature(0)), "lookups": Out(stream.Signature(looked_up_key_layout(config))),
            "keys": In(stream.Signature(numbered_key_layout(config))), "pause": In(1), "hold_writes": In(1),
            "read_keys": Out(read), "read_working_rows": Out(read), "write_rows": Out(write), "write_keys": Out(write),
            "read_rows": Out(ReadClientSignature(config, config.entry_bits)), "write_scattered_rows": Out(write),
            "events": Out(data.StructLayout({name: 1 for name in GATHER_EVENTS.values()})),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.scheduler = scheduler = GatherScheduler(config)
        m.submodules.router = router = KeyRouter(config)
        gather, key_list, scatter = Gather(config), KeyList(config), Scatter(config)
        keys_writer = StreamWriter(config, 2, whole=True)
        for name, block in {
            "gather": gather,
            "key_list": key_list,
            "scatter": scatter,
            "keys_writer": keys_writer,
        }.items():
            m.submodules[name] = DomainRenamer("takers")(block)
        for client, port in [
            (gather.read, self.read_rows),
            (gather.write, self.write_rows),
            (keys_writer.client, self.write_keys),
            (key_list.read, self.read_keys),
            (scatter.read, self.read_working_rows),
            (scatter.write, self.write_scattered_rows),
        ]:
            wiring.connect(m, client, wiring.flipped(port))
        for block in (gather, scatter):
            wiring.connect(m, wiring.flipped(self.model), block.model)

        # Keys.
        link(m, config, "listed_keys", key_list.o, router.listed)
        link(m, config, "numbered_keys", wiring.flipped(self.keys), router.numbered)
        link(m, config, "scatter_keys", router.scatter, scatter.keys)
        link(m, config, "gather_keys", router.gather, gather.keys)
        link(m, config, "lookups", router.lookups, wiring.flipped(self.lookups))
        link(m, config, "key_words", gather.key_words, keys_writer.i)

        # Jobs.
        link(m, config, "gather_jobs", scheduler.gather, gather.jobs, rare=True)
        link(m, config, "keys_jobs", scheduler.keys, keys_writer.jobs, rare=True)
        link(m, config, "gathered", gather.results, scheduler.gather_results, rare=True)
        link(m, config, "keys_written", keys_writer.results, scheduler.keys_results, rare=True)
        ask, passing = self.gathers.p, self.scatters.p
        gather_list, scatter_list = stream.Signature(0).create(), stream.Signature(0).create()
        is_list, listing = ask.ask == Ask.GATHER, Signal()  # a GATHER is under way
        fork(m, self.gathers, [scheduler.jobs, gather_list], [1, is_list], "gathers")
        fork(m, self.scatters, [scatter.jobs, scatter_list, self.looks_up], [1, 1, passing.passes], "scatters")
        m.d.comb += [
            scheduler.jobs.p.eq(ask),
            scatter.jobs.p.base.eq(passing.rows),
            scatter.jobs.p.count.eq(passing.count),
            key_list.jobs.valid.eq(gather_list.valid | scatter_list.valid),
            gather_list.ready.eq(key_list.jobs.ready),
            scatter_list.ready.eq(key_list.jobs.ready & ~gather_list.valid),
            key_list.jobs.p.base.eq(Mux(gather_list.valid, ask.keys, passing.keys)),
            key_list.jobs.p.count.eq(Mux(gather_list.valid, ask.count, passing.count)),
            key_list.jobs.p.scatters.eq(~gather_list.valid),
            key_list.jobs.p.looks_up.eq(~gather_list.valid & passing.passes),
        ]
        with m.If(self.gathers.valid & is_list):
            m.d.sync += listing.eq(1)
        with m.If(self.gather_results.valid & self.gather_results.ready):
            m.d.sync += listing.eq(0)

        # Results: of the list, before that of its rows.
        listed, rows = key_list.results, scheduler.results
        of_gather, of_scatter = listed.valid & ~listed.p.scatters, listed.valid & listed.p.scatters
        ends, scatter_ends = Signal(), Signal()
        m.d.comb += [
            self.gather_results.valid.eq(rows.valid & (of_gather | ~listing)),
            self.gather_results.p.eq(Mux(listing & listed.p.fault.valid, listed.p.fault, rows.p)),
            self.scatter_results.valid.eq(scatter.results.valid & of_scatter),
            self.scatter_results.p.eq(Mux(listed.p.fault.valid, listed.p.fault, scatter.results.p)),
            ends.eq(self.gather_results.valid & self.gather_results.ready),
            scatter_ends.eq(self.scatter_results.valid & self.scatter_results.ready),
            rows.ready.eq(ends),
            scatter.results.ready.eq(scatter_ends),
            listed.ready.eq((ends & listing) | scatter_ends),
            gather.pause.eq(self.pause),
            gather.hold_writes.eq(self.hold_writes),
            *(getattr(self.events, counter).eq(getattr(gather, name)) for name, counter in GATHER_EVENTS.items()),
        ]
        return m
