"""LEARN and SPLIT: from sample records to learnt accesses, or to two micro-batches in device memory and a working set's keys.

    records ─► decoder ─► lanes ◄─► tracker
                            └─► fragmenter ─┬─► popular writer
                                            └─► cold resolver ─► non-popular writer
                                                  └──► working set ─► keys

Every mini-batch runs through as a sequence of its own that ends with an ``end``; no block is told from outside when it is done.
"""

from amaranth.hdl import Cat, DomainRenamer, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..classify.classifier import Classifier
from ..classify.fragmenter import Fragmenter
from ..classify.records.access_decoder import AccessDecoder
from ..classify.records.record_reader import RecordReader
from ..config import AcceleratorConfig
from ..control.record_scheduler import RecordScheduler
from ..interfaces.control import fault_layout, fetch_layout
from ..interfaces.jobs import batch_fetch_layout, batch_job_layout, batch_result_layout, sampling_layout
from ..interfaces.keys import answer_members, found_key_layout, looked_up_key_layout, numbered_key_layout
from ..interfaces.layouts import words_layout
from ..interfaces.memory import WriteClientSignature
from ..interfaces.model import ModelSignature
from ..interfaces.tracker import PortSignature, connect_lanes
from ..lib.register_slice import RegisterSlice
from ..lib.streams import fork, link
from ..tracker.tracker import Tracker
from ..transfer.frontend.stream_writer import StreamWriter
from ..working_set.cold_resolver import ColdResolver
from ..working_set.working_set import WorkingSet


def batch_events_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What the performance counters of the same names add in a cycle."""
    return data.StructLayout({
        "accesses_seen": 32, "hot_accesses": 32, "gathered_rows": range(config.working_rows + 1),
        "tracker_requests": range(config.banks + 1), "filtered_accesses": range(config.lanes + 1),
        "evictions": range(config.banks + 1), "lane_cycles": 1, "lane_rows": 1, "stall_banks": 1, "stall_input": 1,
        "stall_output": 1,
    })  # fmt: skip


class MiniBatchUnit(wiring.Component):
    """Members
    -------
    model : In(ModelSignature)
    fetches : In(stream of batch_fetch_layout), jobs : In(stream of batch_job_layout)
        A mini-batch, first as early as it is known, so that its records are read and decoded ahead; then in its turn.
    results : Out(stream of batch_result_layout)
    popular_results, non_popular_results : Out(streams of fault_layout)
        A SPLIT's micro-batch is in device memory.
    reads : Out(stream of fetch_layout), begins : Out(stream), words : In(stream of words_layout)
        Asks for records; they may be delivered; the records.
    read_fault : In(fault_layout)
        They could not be read.
    looks_up : In(stream), lookups : In(stream of looked_up_key_layout), looked_up : Out(stream)
        Keys are looked up in the working set; the keys; all have been. Not between a SPLIT's job and its result.
    keys : Out(stream of numbered_key_layout)
        Keys of working sets, and those that have been found.
    tracker : In(PortSignature)
        The tracker's contents. Only while no access is inside.
    finds : In(stream of key_layout), found : Out(stream of found_key_layout)
        With a shadow: which working row of the newest SPLIT has a key? Only between mini-batches.
    sampling : In(sampling_layout)
        Samples that a SPLIT learns from; stays while there is one.
    write_popular, write_non_popular : Out(WriteClientSignature)
    ahead : Out(1)
        Records of the next mini-batch are being delivered.
    has_burst : Out(1)
        A micro-batch waits to be written.
    ready : Out(1)
        The working set is not being swept.
    progress : Out(1), events : Out(batch_events_layout)
        For the watchdog, and for the performance counters.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        empty, fault = stream.Signature(0), stream.Signature(fault_layout())
        super().__init__({
            "model": In(ModelSignature(config)),
            "fetches": In(stream.Signature(batch_fetch_layout(config))),
            "jobs": In(stream.Signature(batch_job_layout(config))),
            "results": Out(stream.Signature(batch_result_layout(config))),
            "popular_results": Out(fault), "non_popular_results": Out(fault),
            "reads": Out(stream.Signature(fetch_layout(config))), "begins": Out(empty),
            "words": In(stream.Signature(words_layout(config))), "read_fault": In(fault_layout()),
            "looks_up": In(empty), "lookups": In(stream.Signature(looked_up_key_layout(config))), "looked_up": Out(empty),
            "keys": Out(stream.Signature(numbered_key_layout(config))),
            "tracker": In(PortSignature(config)),
            "write_popular": Out(WriteClientSignature(config)), "write_non_popular": Out(WriteClientSignature(config)),
            "ahead": Out(1), "has_burst": Out(1), "ready": Out(1), "progress": Out(1), "events": Out(batch_events_layout(config)),
            **({"sampling": In(sampling_layout()), **answer_members(config)} if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.scheduler = scheduler = RecordScheduler(config)
        m.submodules.records = records = RecordReader(config)
        m.submodules.decoder = decoder = AccessDecoder(config)
        classifier, tracker, fragmenter = Classifier(config), Tracker(config), Fragmenter(config)
        cold, working_set = ColdResolver(config), WorkingSet(config)
        popular, non_popular = (StreamWriter(config, config.beat_words) for _ in range(2))
        domains: dict[str, dict] = {
            "lanes": {"classifier": classifier, "tracker": tracker, "fragmenter": fragmenter},
            "misses": {"cold": cold, "working_set": working_set},
            "takers": {"popular": popular, "non_popular": non_popular},
        }  # fmt: skip
        for domain, blocks in domains.items():
            for name, block in blocks.items():
                m.submodules[name] = DomainRenamer(domain)(block)

        # The way of a record.
        link(m, config, "fetches", wiring.flipped(self.fetches), scheduler.fetches)
        link(m, config, "words", wiring.flipped(self.words), records.i)
        link(m, config, "decodes", scheduler.decodes, records.jobs)
        link(m, config, "arrivals", scheduler.arrivals, classifier.arrivals)
        link(m, config, "records", records.o, decoder.i)
        link(m, config, "decoded", decoder.o, classifier.i)
        link(m, config, "classified", classifier.o, fragmenter.i)
        link(m, config, "popular_samples", fragmenter.popular, popular.i)
        link(m, config, "non_popular_samples", fragmenter.non_popular, cold.i)
        link(m, config, "probes", cold.probes, working_set.probes)
        link(m, config, "numbers", working_set.numbers, cold.numbers)
        link(m, config, "resolved", cold.o, non_popular.i)
        wiring.connect(m, scheduler.reads, wiring.flipped(self.reads))
        wiring.connect(m, scheduler.begins, wiring.flipped(self.begins))
        wiring.connect(m, wiring.flipped(self.lookups), working_set.lookups)
        wiring.connect(m, working_set.keys, wiring.flipped(self.keys))
        wiring.connect(m, popular.results, wiring.flipped(self.popular_results))
        wiring.connect(m, non_popular.results, wiring.flipped(self.non_popular_results))
        wiring.connect(m, popular.client, wiring.flipped(self.write_popular))
        wiring.connect(m, non_popular.client, wiring.flipped(self.write_non_popular))
        wiring.connect(m, wiring.flipped(self.tracker), tracker.port)
        connect_lanes(m, classifier, tracker)
        wiring.connect(m, wiring.flipped(self.model), decoder.model)
        m.d.comb += [records.sample_words.eq(self.model.sample_words), decoder.read_fault.eq(self.read_fault)]
        if config.shadow:
            m.d.comb += records.sampling.eq(self.sampling)
            link(m, config, "finds", wiring.flipped(self.finds), working_set.finds)

        # A job goes to all that take part in it.
        job, splits = self.jobs.p, Signal(reset_less=True)
        new_set = stream.Signature(0).create()
        fork(
            m,
            self.jobs,
            [scheduler.jobs, classifier.jobs, fragmenter.jobs, new_set, popular.jobs, non_popular.jobs],
            [1, 1, 1, *([job.splits] * 3)],
        )
        with m.If(self.jobs.valid):
            m.d.sync += splits.eq(job.splits)
        m.d.comb += [
            classifier.jobs.p.eq(~job.splits),
            fragmenter.jobs.p.eq(~job.splits),
            popular.jobs.p.eq(job.popular),
            non_popular.jobs.p.eq(job.non_popular),
            working_set.jobs.valid.eq(new_set.valid | self.looks_up.valid),
            working_set.jobs.p.looks_up.eq(self.looks_up.valid),
            working_set.jobs.p.limit.eq(job.limit),
            new_set.ready.eq(working_set.jobs.ready & ~self.looks_up.valid),
            self.looks_up.ready.eq(working_set.jobs.ready),
        ]

        # It is over when all have said so. They may lie far apart: a register is between each of them and this.
        def held(name: str, block: str, results) -> stream.Interface:
            near = stream.Signature(results.p.shape()).create(path=(name,))
            link(m, config, f"{block}_result", results, wiring.flipped(near), rare=True)
            return near

        decoded = held("decoded", "decoded", decoder.results)
        classified = held("classified", "classified", classifier.results)
        fragmented = held("fragmented", "fragmented", fragmenter.results)
        of_set = held("of_set", "working_set", working_set.results)
        m.submodules.result = result = RegisterSlice(batch_result_layout(config))
        wiring.connect(m, result.o, wiring.flipped(self.results))
        counted = of_set.valid & ~of_set.p.looked_up
        parts = [decoded, classified, fragmented]
        over = Signal()
        m.d.comb += [
            result.i.valid.eq(Cat(*(part.valid for part in parts), counted | ~splits).all()),
            over.eq(result.i.valid & result.i.ready),
            *(part.ready.eq(over) for part in parts),
            self.looked_up.valid.eq(of_set.valid & of_set.p.looked_up),
            of_set.ready.eq(Mux(of_set.p.looked_up, self.looked_up.ready, over & splits)),
            result.i.p.fault.eq(decoded.p.fault),
            result.i.p.popular.eq(fragmented.p.popular),
            result.i.p.non_popular.eq(fragmented.p.non_popular),
            result.i.p.working_rows.eq(Mux(splits, of_set.p.count, 0)),
            result.i.p.accesses.eq(decoded.p.accesses),
            result.i.p.hot_accesses.eq(decoded.p.resident + classified.p),
            result.i.p.overflow.eq(splits & of_set.p.overflow),
            result.i.p.overflow_sample.eq(of_set.p.overflow_sample),
            scheduler.decoded.eq(decoded.valid & ~decoded.p.fault.valid),
            scheduler.over.eq(over),
        ]

        if config.shadow:
            # A SPLIT that did not go well has no working rows.
            has_rows, found = Signal(), stream.Signature(found_key_layout(config)).create()
            with m.If(over & splits):
                m.d.sync += has_rows.eq(~decoded.p.fault.valid & ~of_set.p.overflow)
            m.d.comb += [
                found.valid.eq(working_set.found.valid),
                working_set.found.ready.eq(found.ready),
                found.p.found.eq(working_set.found.p.found & has_rows),
                found.p.number.eq(working_set.found.p.number),
            ]
            link(m, config, "found", found, wiring.flipped(self.found))
        with m.If(self.results.valid & self.results.ready):
            m.d.comb += [
                self.events.accesses_seen.eq(self.results.p.accesses),
                self.events.hot_accesses.eq(self.results.p.hot_accesses),
                self.events.gathered_rows.eq(self.results.p.working_rows),
            ]
        m.d.comb += [
            self.events.tracker_requests.eq(tracker.requests),
            self.events.filtered_accesses.eq(classifier.filtered),
            self.events.evictions.eq(tracker.evictions),
            *(
                getattr(self.events, name).eq(getattr(classifier, name))
                for name in ("lane_cycles", "lane_rows", "stall_banks", "stall_input", "stall_output")
            ),
            self.ahead.eq(scheduler.ahead),
            self.has_burst.eq(popular.has_burst | non_popular.has_burst),
            self.ready.eq(working_set.ready),
            self.progress.eq(tracker.requests.any() | classifier.filtered.any() | ~working_set.ready),
        ]
        return m
