"""Chooses, of all that may have gone wrong with a command, what its completion reports.

Each part of a command has a list of causes, the most important one first. Latency: 1 cycle.
"""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.control import fault_layout
from ..lib.logic import delayed


class ErrorCollector(wiring.Component):
    """``causes``: how many there are, for each part of a command by name.

    Members
    -------
    PART_causes : In(fault_layout).array(n)
        Levels. The fields beside ``valid`` must not change while ``valid`` is high.
    PART : Out(fault_layout)
        The first of the causes that was ``valid`` in the cycle before; zeros if none was.
    """

    def __init__(self, config: AcceleratorConfig, causes: dict[str, int]):
        self.parts = list(causes)
        fault = fault_layout(config)
        super().__init__({
            **{f"{part}_causes": In(fault).array(count) for part, count in causes.items()},
            **{part: Out(fault) for part in causes},
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        for part in self.parts:
            for cause in reversed(list(getattr(self, f"{part}_causes"))):
                valid = delayed(m, cause.valid)
                with m.If(valid):
                    m.d.comb += [getattr(self, part).eq(cause), getattr(self, part).valid.eq(1)]
        return m
