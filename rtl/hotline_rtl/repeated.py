"""Blocks of which a design has hundreds: converted once, as a module, and each of them is an instance of that.

Amaranth makes one flat netlist, bit by bit, so a thousand queues take it a thousand times as long as one. But it does not see
through an instance: constants stay at its inputs, and outputs that nobody reads. A small design is better off without.
"""

from collections.abc import Callable

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In


class OneModuleEach:
    """The ``platform`` of a design whose ``Repeated`` blocks are instances.

    Attributes
    ----------
    top : str
        The design's name.
    blocks : dict of str to Component
        The module that there are instances of, by its name: a block.
    """

    def __init__(self, top: str):
        self.top = top
        self.blocks: dict[str, wiring.Component] = {}


class Repeated:
    """Blocks that ``make`` makes all alike, in domain ``sync``: with OneModuleEach as ``platform`` instances of one module,
    named after ``kind``; with any other, blocks as any.

    Not for what ResetInserter or EnableInserter is put around: an instance does not heed them. Raises ValueError when the
    design has repeated blocks of that ``kind`` already.
    """

    def __init__(self, kind: str, make: Callable[[], wiring.Component], platform):
        self._make = make
        self._module = None
        if isinstance(platform, OneModuleEach):
            self._module = f"{platform.top}.{kind}"
            if self._module in platform.blocks:
                raise ValueError(f"repeated blocks need a kind of their own, not {kind!r} a second time")
            block = platform.blocks[self._module] = make()
            self._signature = block.signature

    def add(self, m: Module, name: str):
        """Adds one, as submodule ``name`` of ``m``. Returns it or, of an instance, what has its members."""
        if not self._module:
            block = m.submodules[name] = self._make()
            return block
        interface = self._signature.create(path=(name,))
        m.submodules[name] = Instance(self._module, i_clk=ClockSignal(), i_rst=ResetSignal(), **{
            f"{'i' if member.flow is In else 'o'}_{_port(path)}": value
            for path, member, value in self._signature.flatten(interface)
        })  # fmt: skip
        return interface


def ports(block: wiring.Component) -> dict[str, Value]:
    """The ports of ``block`` as a module: its members, their names joined by single underscores."""
    return {_port(path): Value.cast(value) for path, _, value in block.signature.flatten(block)}


def _port(path: tuple) -> str:
    return "_".join(str(part) for part in path)
