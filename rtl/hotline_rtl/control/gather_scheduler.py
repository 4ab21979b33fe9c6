"""Whose rows the gather engine fetches, and when.

The engine and the list of working keys serve one SPLIT from its begin in the issue slot to its end in the commit slot. The next
SPLIT's keys wait in the working set until all keys of the SPLIT before have been taken; its gather begins then, or when the
SCATTER before it has ended, whichever is later. When a SCATTER has passed the SPLIT in the commit slot, the rows that both
working sets have are fetched once more.

    SPLIT A  issue ──► commit: first rows ──► SCATTER passes ──► rows again ──► done
    SPLIT B            issue: keys wait ···················· gather begins ──►
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..interfaces.layouts import COUNT_BITS
from ..lib.logic import delayed


class GatherScheduler(wiring.Component):
    """Members
    -------
    split_begins, gather_begins : In(1)
        A SPLIT, a GATHER has entered the issue slot.
    split_active : In(1)
        A SPLIT is in the issue slot.
    gathers_list : In(1)
        A GATHER is.
    commit_split, commit_names, scattered, missed : In(1)
        Of the command processor: a SPLIT is in the commit slot; it names an earlier one, whose SCATTER has passed; or will
        not come.
    swaps : In(1)
        The SPLIT goes from the issue slot to the commit slot.
    scatters : In(1)
        A SCATTER is under way.
    count : In, found : In(1)
        Rows of the working set so far; one of them has been found by a look-up, and is fetched again.
    list_count : In
        Rows of the GATHER.
    keys_done, idle, earlier_idle : In(1)
        Of the gather engine.
    keys_flushed, keys_drained, keys_idle : In(1)
        Of the writer of working keys.
    start : Out(1)
        The gather engine begins with the SPLIT or GATHER in the issue slot.
    waits : Out(1)
        The SPLIT in the issue slot has not got the engine yet.
    hold : Out(1)
        ... and no SPLIT in the commit slot has it either, so keys must wait.
    own : Out(1)
        The engine serves the SPLIT in the commit slot.
    refetches : Out(1)
        It fetches rows a second time.
    moved_on : Out(1)
        It serves the SPLIT in the issue slot, while rows of the one in the commit slot may still come.
    total : Out
        Rows that it is to fetch for whom it serves.
    active, complete : Out(1)
        For the counters: it has something to do; all of its keys are counted.
    flush_keys : Out(1)
        No more keys come for the list of the SPLIT in the commit slot.
    done : Out(1)
        All rows and keys of the SPLIT in the commit slot are in device memory.
    """

    def __init__(self):
        count = COUNT_BITS + 1
        super().__init__({
            "split_begins": In(1), "gather_begins": In(1), "split_active": In(1), "gathers_list": In(1),
            "commit_split": In(1), "commit_names": In(1), "scattered": In(1), "missed": In(1), "swaps": In(1),
            "scatters": In(1), "count": In(count), "found": In(1), "list_count": In(count),
            "keys_done": In(1), "idle": In(1), "earlier_idle": In(1),
            "keys_flushed": In(1), "keys_drained": In(1), "keys_idle": In(1),
            "start": Out(1), "waits": Out(1), "hold": Out(1), "own": Out(1), "refetches": Out(1), "moved_on": Out(1),
            "total": Out(count), "active": Out(1), "complete": Out(1), "flush_keys": Out(1), "done": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        again = Signal()  # rows are to be fetched again
        commit_count, again_count = Signal.like(self.count), Signal.like(self.count)
        # The engine counts keys a few cycles late: by then it knows that there are more.
        none_again = ~self.commit_names | self.missed | delayed(m, delayed(m, delayed(m, again)))
        keys_covered = delayed(m, self.keys_flushed & self.keys_drained)
        all_begun = delayed(m, self.own & self.keys_done & none_again)
        free = delayed(m, ~self.commit_split | (all_begun & keys_covered))
        keys_written = delayed(m, self.keys_idle)
        first_rows_are_there = delayed(m, self.own & self.idle & self.keys_done) & keys_written
        m.d.comb += [
            self.own.eq(self.commit_split & ~self.moved_on),
            self.refetches.eq(again & self.own),
            self.hold.eq(self.waits & ~self.commit_split),
            self.flush_keys.eq(self.own & self.keys_done),
        ]
        # Once the gather may begin nothing revokes that, so it may be told a cycle later.
        m.d.sync += self.start.eq((self.waits & free & ~self.scatters & ~self.start) | self.gather_begins)
        with m.If(self.found):
            m.d.sync += again_count.eq(again_count + 1)
        with m.If(self.scattered & self.own & first_rows_are_there):
            m.d.sync += again.eq(1)
        with m.If(~self.commit_split):
            m.d.sync += [again.eq(0), again_count.eq(0), self.moved_on.eq(0)]
        with m.If(self.start):
            m.d.sync += [self.waits.eq(0), self.moved_on.eq(self.commit_split)]
        with m.If(self.split_begins):
            m.d.sync += self.waits.eq(1)
        with m.If(self.swaps):
            m.d.sync += commit_count.eq(self.count)

        counted = delayed(m, Mux(self.own, commit_count, self.count))
        counted_again = delayed(m, Mux(self.refetches, again_count, 0))
        m.d.sync += [
            self.total.eq(Mux(self.gathers_list, self.list_count, counted + counted_again)),
            self.active.eq(self.gathers_list | Mux(self.own, ~self.idle, self.split_active & ~self.waits)),
            self.complete.eq(self.gathers_list | self.own),
        ]
        earlier_over = delayed(m, self.keys_drained & self.earlier_idle & ~self.start)
        rows_are_there = delayed(m, self.keys_done & self.idle & none_again) & keys_written
        m.d.comb += self.done.eq(Mux(self.moved_on, earlier_over, rows_are_there))
        return m
