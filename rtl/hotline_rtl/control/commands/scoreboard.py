"""Remembers the newest SPLITs that went well and have not been scattered: those that a later command may name.

A look-up takes two cycles, a change one. The golden twin is ``hotline_golden.machine.OpenSplit``.
"""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...interfaces.layouts import COUNT_BITS
from ...lib.logic import equal, first_set

#: SPLITs that a SCATTER may name. A SPLIT may name one fewer: it takes an entry itself while it waits.
OPEN_SPLITS = 4


class Scoreboard(wiring.Component):
    """Members
    -------
    add : In(1), new_tag, new_rows : In
        A SPLIT has gone well: its tag and the number of its working rows.
    drop_newest : In(1)
        It has failed after all.
    after : In(32), by_scatter : In(1)
        A tag that is looked up, and whether by a SCATTER.
    known : Out(1), rows : Out
        There is a SPLIT of that name, and how many rows the newest such one has.
    close : In(1)
        That one has been scattered.
    """

    def __init__(self):
        super().__init__({
            "add": In(1), "new_tag": In(32), "new_rows": In(COUNT_BITS + 1), "drop_newest": In(1),
            "after": In(32), "by_scatter": In(1), "known": Out(1), "rows": Out(COUNT_BITS + 1), "close": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        layout = data.StructLayout({"tag": 32, "rows": COUNT_BITS + 1})
        entries = [Signal(layout, name=f"open_{n}", reset_less=True) for n in range(OPEN_SPLITS)]  # the newest first
        valid = Signal(OPEN_SPLITS)
        named = [Signal(name=f"named_{n}") for n in range(OPEN_SPLITS)]
        for n, entry in enumerate(entries):
            may_be = self.by_scatter if n == OPEN_SPLITS - 1 else 1
            m.d.sync += named[n].eq(valid[n] & equal(m, entry.tag, self.after) & may_be)
        m.d.comb += self.known.eq(Cat(named).any())
        for entry, hit in reversed(list(zip(entries, named, strict=True))):
            with m.If(hit):
                m.d.comb += self.rows.eq(entry.rows)

        with m.If(self.add):
            m.d.sync += [older.eq(newer) for newer, older in zip(entries, entries[1:], strict=False)]
            m.d.sync += [
                valid.eq(Cat(Const(1, 1), valid)),
                entries[0].tag.eq(self.new_tag),
                entries[0].rows.eq(self.new_rows),
            ]
        with m.Elif(self.drop_newest):
            m.d.sync += valid[0].eq(0)
        with m.Elif(self.close):
            m.d.sync += valid.eq(valid & ~first_set(Cat(named)))
        return m
