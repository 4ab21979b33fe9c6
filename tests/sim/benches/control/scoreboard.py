"""Which SPLITs can be named."""

import cocotb
from benches.common import rng
from cocotb.triggers import RisingEdge

from hotline_golden.machine import OPEN_SPLITS
from hotline_rtl.control.commands.scoreboard import Scoreboard
from hotline_sim.engine.cocotb_streams import pulse, start


@cocotb.test()
async def the_newest_splits_can_be_named(dut):
    """Against the list that golden keeps; few tags, so that names repeat."""
    for name in ("add", "drop_newest", "close", "new_tag", "new_rows", "after", "by_scatter"):
        getattr(dut, name).value = 0
    await start(dut)
    r, kept = rng(), []
    for _ in range(600):
        tag, scatter = r.randrange(6), r.random() < 0.5
        dut.after.value, dut.by_scatter.value = tag, int(scatter)
        for _ in range(3):
            await RisingEdge(dut.clk)
        named = next((k for k in kept[: OPEN_SPLITS - (not scatter)] if k and k[0] == tag), None)
        assert int(dut.known.value) == (named is not None)
        assert named is None or int(dut.rows.value) == named[1]
        what = r.choice(["add", "add", "drop_newest", "close"])
        new = (r.randrange(6), r.randrange(1 << 21))
        dut.new_tag.value, dut.new_rows.value = new
        await pulse(dut, **{what: 1})
        if what == "add":
            kept = [new, *kept][:OPEN_SPLITS]
        elif what == "drop_newest" and kept:
            kept[0] = None
        elif what == "close" and named:
            kept[kept.index(named)] = None


#: What is tested: what makes it, and the tests, if not all of this file.
BLOCKS = {
    "scoreboard": (lambda c: Scoreboard(), ""),
}
