"""The lanes: from record beats with tracked accesses to record beats with slots and cold accesses.

    packer -> permutation -> sample scorer -> crossbar <-> tracker banks
       |                                         |
       +------------- beats that wait -------> merger ->

Up to ``lanes`` tracked accesses per cycle; where the policy scores samples, half as many while learning.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import beat_layout
from ..interfaces.tracker import BankSignature, LanesSignature
from ..lib.fifo import StreamFifo
from ..lib.fork import fork
from ..lib.keys import Permutation
from ..lib.logic import delayed
from .crossbar import Crossbar
from .merger import Merger
from .packer import Packer
from .sample_scorer import SampleScorer


class Classifier(wiring.Component):
    """Members
    -------
    start : In(1)
        Begins a mini-batch; nothing is inside, but for what came ahead.
    learning : In(1)
        Accesses train the tracker; otherwise it stays as it is.
    i, o : streams of beat_layout
        ``mask``: tracked accesses in, cold accesses out. Beats behind a mini-batch's ``end`` are of the next one, and come out
        after its ``start``.
    hold : In(1)
        Accesses that come are of the next mini-batch, and wait for its ``start``. Begins only while none is ``coming``.
    coming : Out(1)
        Accesses are on their way to the lanes.
    hits : Out(32)
        Tracked accesses that were hot, since ``start``.
    tracker : Out(LanesSignature), banks : Out(BankSignature).array(banks)
    more : In(1)
        Beats of the mini-batch are still to come; of the next one, while ``hold``.
    busy : Out(1)
        Some of what came was still to be learnt a cycle ago.
    filtered, lane_cycles, lane_rows, stall_banks, stall_input, stall_output : Out
        This cycle's numbers, for the performance counters of the same names.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "learning": In(1),
            "i": In(stream.Signature(beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "hold": In(1), "coming": Out(1), "hits": Out(32),
            "tracker": Out(LanesSignature(config)), "banks": Out(BankSignature(config)).array(config.banks),
            "filtered": Out(range(config.lanes + 1)), "more": In(1), "busy": Out(1),
            "lane_cycles": Out(1), "lane_rows": Out(1),
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

        fork(m, self.i, [packer.i, waiting.i, merger.masks])
        m.d.comb += [packer.i.p.eq(self.i.p), waiting.i.p.eq(self.i.p), merger.masks.p.eq(self.i.p.mask)]
        wiring.connect(m, packer.rows, permutation.i)
        rows = stream.Signature(permutation.o.p.shape()).create()
        expected = delayed(m, (self.more | packer.busy | permutation.busy) & ~self.hold)  # rows of this mini-batch
        m.d.comb += [
            rows.p.eq(permutation.o.p),
            rows.valid.eq(permutation.o.valid & ~self.hold),
            permutation.o.ready.eq(rows.ready & ~self.hold),
            self.coming.eq(packer.busy | permutation.busy | crossbar.holds),
        ]
        if config.scores_samples:
            m.submodules.scorer = scorer = SampleScorer(config)
            wiring.connect(m, rows, scorer.i)
            wiring.connect(m, scorer.o, crossbar.rows)
            wiring.connect(m, crossbar.results, scorer.results)
            wiring.connect(m, scorer.r, merger.results)
            m.d.comb += [
                scorer.learning.eq(self.learning),
                scorer.ended.eq(~expected),
                scorer.forget.eq(self.tracker.cleared),
                scorer.halve_pressure.eq(self.tracker.halved),
                self.tracker.halve.eq(scorer.halve),
                self.tracker.number.eq(scorer.number),
                self.busy.eq(scorer.busy),
            ]
        else:
            m.d.comb += [
                crossbar.rows.valid.eq(rows.valid),
                rows.ready.eq(crossbar.rows.ready),
                Cat(crossbar.rows.p.keys).eq(Cat(rows.p.keys)),
                crossbar.rows.p.present.eq(rows.p.extra),
            ]
            wiring.connect(m, crossbar.results, merger.results)
        # Behind the last beat of a mini-batch, the next one's wait.
        open_ = Signal()
        m.d.comb += [
            merger.i.valid.eq(waiting.o.valid & open_),
            merger.i.p.eq(waiting.o.p),
            waiting.o.ready.eq(merger.i.ready & open_),
        ]
        with m.If(merger.i.valid & merger.i.ready):
            m.d.sync += open_.eq(~merger.i.p.end)
        with m.If(self.start):
            m.d.sync += open_.eq(1)
        wiring.connect(m, merger.o, wiring.flipped(self.o))
        m.d.comb += [
            crossbar.start.eq(self.start),
            merger.start.eq(self.start),
            crossbar.learning.eq(self.learning),
            self.tracker.learning.eq(self.learning),
            self.hits.eq(merger.hits),
            self.filtered.eq(crossbar.filtered),
        ]

        for inside, outside in zip(crossbar.banks, self.banks, strict=True):
            wiring.connect(m, inside, wiring.flipped(outside))

        # Where the lanes' cycles go, from a mini-batch's first row to its last. Lanes that have run ahead, and wait for the next
        # one to begin, are between the two.
        within = Signal()
        m.d.sync += within.eq(
            (within | crossbar.holds) & (expected | self.busy | (crossbar.holds & ~crossbar.rows.ready))
        )
        window = (within | crossbar.holds) & (open_ | crossbar.moves | self.busy)
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
