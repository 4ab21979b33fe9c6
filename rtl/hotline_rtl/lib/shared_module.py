"""Shared-module emission: a block of which a design has hundreds becomes one Verilog module with hundreds of instances.

Amaranth converts each block by itself, so a thousand queues take a thousand times as long as one. Here it converts one. But it
cannot optimise across an instance: constants stay at inputs, and outputs that nobody reads stay, too. So only a large design
uses it.
"""

from collections.abc import Callable

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In


class SharedModulePlatform:
    """The ``platform`` of a design whose ``SharedModule`` blocks are instances.

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


class SharedModule:
    """Blocks of one ``kind``, all made by ``make``, in domain ``sync``. With SharedModulePlatform as ``platform`` each is an
    instance of one module, named after ``kind``; with any other platform each is a block like any other.

    Not for what ResetInserter or EnableInserter is put around: an instance does not heed them. Raises ValueError when the
    design has repeated blocks of that ``kind`` already.
    """

    def __init__(self, kind: str, make: Callable[[], wiring.Component], platform):
        self._make = make
        self._module = None
        if isinstance(platform, SharedModulePlatform):
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
        m.submodules[name] = Instance(
            self._module,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            **{
                f"{'i' if member.flow is In else 'o'}_{_port(path)}": value
                for path, member, value in self._signature.flatten(interface)
            },
        )
        return interface


def ports(block: wiring.Component) -> dict[str, Value]:
    """The ports of ``block`` as a module: its members, their names joined by single underscores."""
    return {_port(path): Value.cast(value) for path, _, value in block.signature.flatten(block)}


def _port(path: tuple) -> str:
    return "_".join(str(part) for part in path)
