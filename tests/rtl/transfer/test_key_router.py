"""Every key goes where it belongs, once, in order, whoever stalls."""

import random

import pytest

from hotline_rtl.config import preset
from hotline_rtl.transfer.frontend.key_router import KeyRouter

from ..simulated import pass_through, simulate

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
        route = {"scatters": mode in ("scatters", "passes"), "looks_up": mode == "passes"}
        payloads = keys if mode == "numbered" else [{"listed": key, **route} for key in keys]
        got = {
            name: [
                {
                    "key": {"table": p.key.table, "row": p.key.row},
                    "number": n if name == "lookups" else p.number,
                    "end": p.end,
                }
                for n, p in enumerate(came)
            ]
            for name, came in (await pass_through(ctx, source, sinks, payloads, r)).items()
        }
        wanted = {"scatters": {"scatter"}, "passes": {"scatter", "lookups"}}.get(mode, {"gather"})
        assert got == {name: keys if name in wanted else [] for name in sinks}

    simulate(block, bench)
