"""The lanes: from record beats with tracked accesses to record beats with slots and cold accesses.

    packer -> permutation -> sample scorer -> crossbar <-> tracker banks
       |                                         |
       +------------- beats that wait -------> merger ->

Up to ``lanes`` tracked accesses per cycle; where the policy scores samples, half as many while learning.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import beat_layout
from ..interfaces.tracker import BankSignature, LanesSignature
from ..lib.fifo import StreamFifo
from ..lib.keys import Permutation
from ..lib.logic import delayed
from ..lib.streams import fork
from .crossbar import Crossbar
from .merger import Merger
from .packer import Packer, about_layout
from .sample_scorer import SampleScorer


class Classifier(wiring.Component):
    """Members
    -------
    arrivals : In(stream of "waits")
        A mini-batch's beats come next, perhaps ahead of its job. ``waits``: its accesses stay in front of the lanes until then;
        taken when no other access is on its way to them.
    jobs : In(stream of "learns")
        The next mini-batch is the current one. ``learns``: its accesses train the tracker; otherwise that stays as it is.
    i, o : streams of beat_layout
        ``mask``: tracked accesses in, cold accesses out. Each mini-batch's beats are taken when it has arrived, up to their
        ``end``, and come out after its job.
    results : Out(stream of 32 bits)
        All beats of the current mini-batch have come out, and its accesses have been learnt: tracked accesses that were hot.
        The next job waits until this has been taken.
    tracker : Out(LanesSignature), banks : Out(BankSignature).array(banks)
    filtered, lane_cycles, lane_rows, stall_banks, stall_input, stall_output : Out
        This cycle's numbers, for the performance counters of the same names.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "arrivals": In(stream.Signature(1)), "jobs": In(stream.Signature(1)),
            "i": In(stream.Signature(beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "results": Out(stream.Signature(32)),
            "tracker": Out(LanesSignature(config)), "banks": Out(BankSignature(config)).array(config.banks),
            "filtered": Out(range(config.lanes + 1)), "lane_cycles": Out(1), "lane_rows": Out(1),
            "stall_banks": Out(1), "stall_input": Out(1), "stall_output": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.packer = packer = Packer(config)
        row_extra = len(packer.rows.p.extra)
        m.submodules.permutation = permutation = Permutation(config, config.lanes, row_extra)
        m.submodules.crossbar = crossbar = Crossbar(config)
        m.submodules.merger = merger = Merger(config, 4 * config.lane_rows)
        # Deep enough for the beats whose accesses fill packer, permutation, crossbar and banks.
        m.submodules.waiting = waiting = StreamFifo(beat_layout(config), 4 * config.lane_rows)

        # A mini-batch arrives, and a job makes it the current one: usually in this order.
        arriving, ahead, awaited = Signal(), Signal(), Signal()  # ahead: of its job; awaited: by its job
        hold = Signal()
        current, starts, learning = Signal(), Signal(), Signal()
        coming = packer.busy | permutation.busy | crossbar.holds
        arrives, begins = Signal(), Signal()
        m.d.comb += [
            self.arrivals.ready.eq(~arriving & ~ahead & (~self.arrivals.p | ~coming)),
            self.jobs.ready.eq(~current & ~awaited),
            arrives.eq(self.arrivals.valid & self.arrivals.ready),
            begins.eq(self.jobs.valid & self.jobs.ready),
        ]
        m.d.sync += starts.eq(begins)
        with m.If(self.i.valid & self.i.ready & self.i.p.end):
            m.d.sync += arriving.eq(0)
        with m.If(arrives):
            m.d.sync += [arriving.eq(1), hold.eq(self.arrivals.p & ~awaited)]
        with m.If(starts):
            m.d.sync += hold.eq(0)
        m.d.sync += [
            ahead.eq((ahead | (arrives & ~awaited)) & ~begins),
            awaited.eq((awaited | (begins & ~ahead)) & ~arrives),
        ]
        with m.If(begins):
            m.d.sync += [current.eq(1), learning.eq(self.jobs.p)]

        came, beats = self.i, stream.Signature(beat_layout(config)).create()
        m.d.comb += [
            beats.valid.eq(came.valid & arriving),
            beats.p.eq(came.p),
            came.ready.eq(beats.ready & arriving),
        ]
        fork(m, beats, [packer.i, waiting.i, merger.masks])
        m.d.comb += [packer.i.p.eq(beats.p), waiting.i.p.eq(beats.p), merger.masks.p.eq(beats.p.mask)]
        wiring.connect(m, packer.rows, permutation.i)
        rows = stream.Signature(permutation.o.p.shape()).create()
        # Rows of this mini-batch are still to come.
        expected = delayed(m, (arriving | awaited | packer.busy | permutation.busy) & ~hold)
        m.d.comb += [
            rows.p.eq(permutation.o.p),
            rows.valid.eq(permutation.o.valid & ~hold),
            permutation.o.ready.eq(rows.ready & ~hold),
        ]
        busy = Signal()  # a cycle ago some of what has come was still to be learnt
        if config.scores_samples:
            m.submodules.scorer = scorer = SampleScorer(config)
            wiring.connect(m, rows, scorer.i)
            wiring.connect(m, scorer.o, crossbar.rows)
            wiring.connect(m, crossbar.results, scorer.results)
            wiring.connect(m, scorer.r, merger.results)
            m.d.comb += [
                scorer.learning.eq(learning),
                scorer.ended.eq(~expected),
                scorer.forget.eq(self.tracker.cleared),
                self.tracker.halve.eq(scorer.halve),
                self.tracker.number.eq(scorer.number),
                busy.eq(scorer.busy),
            ]
        else:
            about = data.View(about_layout(config), rows.p.extra)
            m.d.comb += [
                crossbar.rows.valid.eq(rows.valid),
                rows.ready.eq(crossbar.rows.ready),
                Cat(crossbar.rows.p.keys).eq(Cat(rows.p.keys)),
                crossbar.rows.p.present.eq(about.present),
            ]
            if config.shadow:
                m.d.comb += crossbar.rows.p.follow.eq(about.follow)
            wiring.connect(m, crossbar.results, merger.results)
        # Behind the last beat of a mini-batch, the next one's wait.
        opened, counted = Signal(), Signal()
        m.d.comb += [
            merger.i.valid.eq(waiting.o.valid & opened),
            merger.i.p.eq(waiting.o.p),
            waiting.o.ready.eq(merger.i.ready & opened),
        ]
        with m.If(merger.i.valid & merger.i.ready & merger.i.p.end):
            m.d.sync += opened.eq(0)
        with m.If(starts):
            m.d.sync += opened.eq(1)
        wiring.connect(m, merger.o, wiring.flipped(self.o))
        with m.If(merger.counted):
            m.d.sync += [counted.eq(1), self.results.p.eq(merger.hits)]
        with m.If(counted & ~(learning & busy)):
            m.d.sync += [counted.eq(0), self.results.valid.eq(1)]
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += [self.results.valid.eq(0), current.eq(0)]
        m.d.comb += [
            crossbar.start.eq(starts),
            crossbar.learning.eq(learning),
            self.tracker.learning.eq(learning),
            self.filtered.eq(crossbar.filtered),
        ]

        for inside, outside in zip(crossbar.banks, self.banks, strict=True):
            wiring.connect(m, inside, wiring.flipped(outside))

        # Where the lanes' cycles go, from a mini-batch's first row to its last. Lanes that have run ahead, and wait for the next
        # one to begin, are between the two.
        within = Signal()
        m.d.sync += within.eq((within | crossbar.holds) & (expected | busy | (crossbar.holds & ~crossbar.rows.ready)))
        window = (within | crossbar.holds) & (opened | crossbar.moves | busy)
        full = crossbar.holds & ~crossbar.moves  # as many rows as there may be are under way
        waits = self.o.valid & ~self.o.ready
        m.d.sync += [
            self.lane_cycles.eq(window),
            self.lane_rows.eq(window & crossbar.moves),
            self.stall_output.eq(window & ~crossbar.moves & waits),
            self.stall_banks.eq(window & full & ~waits),
            self.stall_input.eq(window & ~crossbar.holds & ~waits),
        ]
        return m
