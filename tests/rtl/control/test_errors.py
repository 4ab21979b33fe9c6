"""Of several causes the first of the list is reported."""

import random

from hotline_golden.layouts import Status
from hotline_rtl.config import preset
from hotline_rtl.control.errors import ErrorCollector

from ..simulated import cycles, simulate


def test_the_first_cause_of_each_part_is_reported_a_cycle_later():
    block = ErrorCollector(preset("tiny"), {"issue": 4, "commit": 1})

    async def bench(ctx):
        r = random.Random(2)
        names = ("status", "index", "access", "address")
        faults = [
            {"status": r.choice(list(Status)[1:]), **{name: r.getrandbits(30) for name in names[1:]}}
            for _ in range(4)
        ]
        for cause, fault in zip(block.issue_causes, faults, strict=True):
            for name, value in fault.items():
                ctx.set(getattr(cause, name), value)
        for mask in [*range(16), 0]:
            for n, cause in enumerate(block.issue_causes):
                ctx.set(cause.valid, mask >> n & 1)
            await cycles(ctx)
            first = next((n for n in range(4) if mask >> n & 1), None)
            found = {name: ctx.get(getattr(block.issue, name)) for name in ("valid", *names)}
            assert found == {"valid": int(first is not None)} | (
                dict.fromkeys(names, 0) if first is None else {name: int(v) for name, v in faults[first].items()}
            )
            assert ctx.get(block.commit.valid) == 0, "parts do not know each other"

    simulate(block, bench)
