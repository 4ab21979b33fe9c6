"""Carries out commands in ring order, up to three at a time, and says how each ended.

    ring ─► admission: checked, ─┬─► issue slot: records decoded, samples classified ─► commit slot: waits for memory, completes
            records asked        └─► scatter slot: rows written back, completes

A LEARN or a SPLIT may be in the issue slot while another is in the commit slot. So the lanes work on one mini-batch while
the rows of the one before are still being gathered. A SCATTER may be in the scatter slot at the same time; the gather
waits for its writes. A SPLIT that names an earlier SPLIT waits in the commit slot for that one's SCATTER, which is the
next command and passes it. Every other command runs alone.

Completions are written in ring order, but for a SCATTER that passes.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.jobs import JOBS, RESULTS
from ...interfaces.layouts import completion_layout
from ..rings import fetched_layout
from .admission import Admission
from .commit_slot import CommitSlot
from .issue_slot import IssueSlot
from .scatter_slot import ScatterSlot


class CommandProcessor(wiring.Component):
    """Members
    -------
    i : In(stream of fetched_layout)
    o : Out(stream of completion_layout), acknowledged : In(stream)
        ``acknowledged``: the completion is in memory.
    fetches, batches, lists, gathers, scatters : Out(streams)
        JOBS.
    batch_results, popular_results, non_popular_results, list_results, gather_results, scatter_results, looked_up : In(streams)
        RESULTS; ``looked_up``: all keys of a SCATTER that passes a SPLIT have been looked up.
    expired : In(1)
        Commands no longer make progress. All that have begun end with TIMEOUT; none begins. Stays until reset.
    model_valid : In(1), sample_words, row_bytes : In
        Of the model.
    scatter_timeout : In(32)
        Cycles that a SPLIT waits in the commit slot for the next command to come; 0: for ever.
    swap_limit : In(32), swap_worth : In(16)
        Of a SWAP, from the registers.
    busy : Out(1)
    working : Out(1)
        As ``busy``, but for a command whose last completion is with the completion ring.
    waits_for_host : Out(1)
        For the SCATTER that a SPLIT in the commit slot has named.
    gathers_own : Out(1)
        The gather serves the SPLIT in the issue slot.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(fetched_layout(config))),
            "o": Out(stream.Signature(completion_layout())), "acknowledged": In(stream.Signature(0)),
            **{name: Out(stream.Signature(layout(config))) for name, layout in JOBS.items()},
            **{name: In(stream.Signature(layout(config))) for name, layout in RESULTS.items()},
            "expired": In(1), "model_valid": In(1), "sample_words": In(range(config.max_record_words + 1)),
            "row_bytes": In(range(config.max_row_bytes + 1)), "scatter_timeout": In(32), "swap_limit": In(32),
            "swap_worth": In(16), "busy": Out(1), "working": Out(1), "waits_for_host": Out(1), "gathers_own": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.admission = admission = Admission(self.config)
        m.submodules.issue = issue = IssueSlot(self.config)
        m.submodules.commit = commit = CommitSlot(self.config)
        m.submodules.scatter = scatter = ScatterSlot(self.config)
        wiring.connect(m, wiring.flipped(self.i), admission.i)
        wiring.connect(m, admission.issue, issue.i)
        wiring.connect(m, admission.scatter, scatter.i)
        wiring.connect(m, issue.o, commit.i)
        for inner, name in [
            (admission.fetches, "fetches"),
            (issue.batches, "batches"),
            (issue.lists, "lists"),
            (scatter.jobs, "scatters"),
        ]:
            wiring.connect(m, inner, wiring.flipped(getattr(self, name)))
        for name, inner in [
            ("batch_results", issue.batch_results),
            ("list_results", issue.list_results),
            ("popular_results", commit.popular_results),
            ("non_popular_results", commit.non_popular_results),
            ("gather_results", commit.gather_results),
            ("scatter_results", scatter.results),
            ("looked_up", scatter.looked_up),
        ]:
            wiring.connect(m, wiring.flipped(getattr(self, name)), inner)
        for name in ("model_valid", "sample_words", "row_bytes", "scatter_timeout"):
            m.d.comb += getattr(admission, name).eq(getattr(self, name))
        now = Signal(64, reset_less=True)
        m.d.sync += now.eq(now + 1)
        passes = admission.scatter.valid & admission.scatter.p.passes
        m.d.comb += [
            admission.stop.eq(self.expired),
            admission.issue_free.eq(issue.free),
            admission.commit_free.eq(commit.free),
            admission.scatter_free.eq(scatter.free),
            admission.alone.eq(issue.alone | commit.alone),
            admission.looked_up.eq(~scatter.needs_working_set),
            admission.named.eq(commit.named),
            admission.name.eq(commit.name),
            *(getattr(admission, name).eq(getattr(commit, name)) for name in ("add", "new_tag", "new_rows")),
            commit.abandon.eq(admission.abandon),
            commit.passes.eq(passes),
            commit.scattered.eq(scatter.scattered),
            issue.may_gather.eq(scatter.free & ~commit.owes),
            issue.swap_limit.eq(self.swap_limit),
            issue.swap_worth.eq(self.swap_worth),
            self.gathers_own.eq(issue.gathers_own),
        ]
        for slot in (issue, commit, scatter):
            m.d.comb += [slot.now.eq(now), slot.expired.eq(self.expired)]

        # What follows for a SPLIT in the commit slot goes before what the one in the issue slot asks, which waits for that.
        m.d.comb += [
            self.gathers.valid.eq(commit.gathers.valid | issue.gathers.valid),
            self.gathers.p.eq(Mux(commit.gathers.valid, commit.gathers.p, issue.gathers.p)),
            commit.gathers.ready.eq(self.gathers.ready),
            issue.gathers.ready.eq(self.gathers.ready & ~commit.gathers.valid),
        ]

        # A SCATTER is older than what is in the commit slot, unless it passes that; then only the first completion is.
        scatter_first, serving_scatter = Signal(), Signal()
        commit_may = scatter.free | (scatter.passes & ~commit.second)
        scatter_may = ~scatter.passes | commit.second
        completion = Signal(completion_layout(), reset_less=True)
        m.d.comb += [
            scatter_first.eq(scatter.o.valid & scatter_may),
            self.o.p.eq(completion),
        ]
        with m.FSM():
            with m.State("CHOOSE"):
                m.d.comb += [scatter.o.ready.eq(scatter_first), commit.o.ready.eq(~scatter_first & commit_may)]
                m.d.sync += [
                    completion.eq(Mux(scatter_first, scatter.o.p, commit.o.p)),
                    serving_scatter.eq(scatter_first),
                ]
                with m.If(scatter_first | (commit.o.valid & commit_may)):
                    m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                # The completion is in memory before the next one's data counts as complete.
                m.d.comb += self.acknowledged.ready.eq(1)
                with m.If(self.acknowledged.valid):
                    m.d.comb += [scatter.ended.eq(serving_scatter), commit.ended.eq(~serving_scatter)]
                    m.next = "CHOOSE"
        m.d.comb += [
            self.busy.eq(admission.has_command | ~issue.free | ~commit.free | ~scatter.free),
            self.working.eq(
                admission.has_command
                | ~issue.free
                | (~commit.free & ~commit.completed)
                | (~scatter.free & ~scatter.completed)
                | self.o.valid
            ),
            self.waits_for_host.eq(commit.named & ~admission.has_command),
        ]
        return m
