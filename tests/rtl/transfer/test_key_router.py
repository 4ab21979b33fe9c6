"""Every key goes where it belongs, once, in order, whoever stalls."""

import random

import pytest

from hotline_rtl.config import preset
from hotline_rtl.transfer.frontend.key_router import KeyRouter

from ..simulated import cycles, simulate

CONFIG = preset("tiny")


@pytest.mark.parametrize("mode", ["scatters", "passes", "gathers_list", "numbered"])
@pytest.mark.parametrize("seed", [1, 2])
def test_keys_arrive_once_in_order_at_all_that_shall_have_them(mode, seed):
    block = KeyRouter(CONFIG)
    r = random.Random(seed)
    keys = [(r.getrandbits(CONFIG.table_bits), r.getrandbits(CONFIG.row_bits), n) for n in range(40)]

    async def bench(ctx):
        ctx.set(block.scatters, mode in ("scatters", "passes"))
        ctx.set(block.passes, mode == "passes")
        ctx.set(block.gathers_list, mode == "gathers_list")
        source = block.numbered if mode == "numbered" else block.listed
        sinks = {"scatter": block.scatter, "gather": block.gather, "lookups": block.lookups}
        got: dict[str, list] = {name: [] for name in sinks}
        sent = 0
        for _ in range(600):
            offers = sent < len(keys) and r.random() < 0.6
            if ctx.get(source.valid) == 0 and offers:
                table, row, number = keys[sent]
                ctx.set(source.p.key.table, table)
                ctx.set(source.p.key.row, row)
                ctx.set(source.p.number, number)
                ctx.set(source.valid, 1)
            for sink in sinks.values():
                ctx.set(sink.ready, r.random() < 0.5)
            for name, sink in sinks.items():
                if ctx.get(sink.valid) and ctx.get(sink.ready):
                    key = sink.p if name == "lookups" else sink.p.key
                    got[name].append((ctx.get(key.table), ctx.get(key.row)))
                    if name != "lookups":
                        assert ctx.get(sink.p.number) == keys[len(got[name]) - 1][2] and not ctx.get(sink.p.outside)
            takes = ctx.get(source.valid) and ctx.get(source.ready)
            await cycles(ctx)
            if takes:
                ctx.set(source.valid, 0)
                sent += 1
        wanted = {"scatters": {"scatter"}, "passes": {"scatter", "lookups"}}.get(mode, {"gather"})
        expected = [key[:2] for key in keys]
        assert got == {name: expected if name in wanted else [] for name in sinks}
        assert not any(ctx.get(waits) for waits in (block.listed_waits, block.gather_waits, block.lookup_waits))

    simulate(block, bench)
