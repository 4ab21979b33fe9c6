"""Every key goes where it belongs, once, in order, whoever stalls."""

import random

import pytest

from hotline_rtl.config import preset
from hotline_rtl.transfer.frontend.key_router import KeyRouter

from ..simulated import cycles, simulate

CONFIG = preset("tiny")


@pytest.mark.parametrize("mode", ["scatters", "passes", "gathers", "numbered"])
@pytest.mark.parametrize("seed", [1, 2])
def test_keys_and_their_end_arrive_once_in_order_at_all_that_shall_have_them(mode, seed):
    block = KeyRouter(CONFIG)
    r = random.Random(seed)
    keys = [
        {
            "key": {"table": r.getrandbits(CONFIG.table_bits), "row": r.getrandbits(CONFIG.row_bits)},
            "number": n,
            "end": n == 39,
        }
        for n in range(40)
    ]

    async def bench(ctx):
        source = block.numbered if mode == "numbered" else block.listed
        sinks = {"scatter": block.scatter, "gather": block.gather, "lookups": block.lookups}
        got: dict[str, list] = {name: [] for name in sinks}
        sent = 0
        for _ in range(600):
            offers = sent < len(keys) and r.random() < 0.6
            if ctx.get(source.valid) == 0 and offers:
                route = {
                    "listed": keys[sent],
                    "scatters": mode in ("scatters", "passes"),
                    "looks_up": mode == "passes",
                }
                ctx.set(source.payload, keys[sent] if mode == "numbered" else route)
                ctx.set(source.valid, 1)
            for sink in sinks.values():
                ctx.set(sink.ready, r.random() < 0.5)
            for name, sink in sinks.items():
                if ctx.get(sink.valid) and ctx.get(sink.ready):
                    p = ctx.get(sink.payload)
                    number = len(got[name]) if name == "lookups" else p.number
                    got[name].append(
                        {"key": {"table": p.key.table, "row": p.key.row}, "number": number, "end": p.end}
                    )
            takes = ctx.get(source.valid) and ctx.get(source.ready)
            await cycles(ctx)
            if takes:
                ctx.set(source.valid, 0)
                sent += 1
        wanted = {"scatters": {"scatter"}, "passes": {"scatter", "lookups"}}.get(mode, {"gather"})
        assert got == {name: keys if name in wanted else [] for name in sinks}

    simulate(block, bench)
