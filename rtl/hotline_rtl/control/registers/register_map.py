"""Reads ``hotline.rdl``: the one description of the registers, for the RTL and for software."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from systemrdl import RDLCompiler
from systemrdl.node import FieldNode, RegNode

RDL_FILE = Path(__file__).with_name("hotline.rdl")


@dataclass(frozen=True)
class Field:
    """Bits ``low`` to ``low + width - 1`` of a register."""

    name: str
    low: int
    width: int
    reset: int
    software_writes: bool
    hardware_writes: bool
    write_one_clears: bool
    strobe: bool


@dataclass(frozen=True)
class Register:
    """A 32-bit register at a byte address."""

    name: str
    address: int
    fields: tuple[Field, ...]
    #: A register of the model: writes are ignored while a command is under way.
    model: bool = False

    @property
    def strobe(self) -> bool:
        """Hardware is told when software writes it."""
        return any(f.strobe for f in self.fields)

    @property
    def strobe_bytes(self) -> int:
        """Mask of the bytes that fields with a strobe lie in: hardware is told when one of them is written."""
        bits = sum(((1 << f.width) - 1) << f.low for f in self.fields if f.strobe)
        return sum(1 << n for n in range(4) if bits >> 8 * n & 0xFF)


def _field(node: FieldNode) -> Field:
    return Field(
        name=node.inst_name,
        low=node.lsb,
        width=node.width,
        reset=node.get_property("reset") or 0,
        software_writes=node.is_sw_writable,
        hardware_writes=node.is_hw_writable,
        write_one_clears=node.get_property("onwrite") is not None,
        strobe=bool(node.get_property("swmod")),
    )


@cache
def registers() -> dict[str, Register]:
    """All registers by name; those of a register file are FILE_REGISTER."""
    compiler = RDLCompiler()
    compiler.compile_file(str(RDL_FILE))
    root = compiler.elaborate(top_def_name="hotline")
    found = {}
    for node in root.top.descendants(unroll=True):
        if isinstance(node, RegNode):
            name = "_".join(node.get_path_segments()[1:])
            fields = tuple(_field(f) for f in node.fields())
            found[name] = Register(name, node.absolute_address, fields, bool(node.get_property("model")))
    return found
