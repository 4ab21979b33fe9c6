"""The parts that the accelerator is synthesised for, and what they have.

Sources: Lattice FPGA-DS-02012 (ECP5 family data sheet), table 1.1; AMD DS962 (Alveo U250) and DS180 (7 series), and as
many LUTs as nextpnr and Yosys count.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """``resources``: what there is of each kind of cell, by the name that reports use."""

    name: str
    family: str
    resources: dict[str, int]
    #: Options of nextpnr, for parts that it places and routes.
    options: tuple[str, ...] = ()
    #: Where the clock of the timing harness comes in, nextpnr's name: from some pads it finds no way to the clock tree.
    clock_pad: str = ""

    @property
    def routed(self) -> bool:
        return bool(self.options)


#: By the name that the command line uses.
PARTS = {
    "ecp5-85k": Part("LFE5U-85F", "ecp5", {"LUTs": 83640, "flip-flops": 83640, "block RAMs": 208, "DSPs": 156},
                     ("--85k", "--package", "CABGA756"), "X126/Y38/PIOC"),
    "ecp5-45k": Part("LFE5U-45F", "ecp5", {"LUTs": 43848, "flip-flops": 43848, "block RAMs": 108, "DSPs": 72},
                     ("--45k", "--package", "CABGA554"), "X90/Y38/PIOC"),
    "ecp5-25k": Part("LFE5U-25F", "ecp5", {"LUTs": 24288, "flip-flops": 24288, "block RAMs": 56, "DSPs": 28},
                     ("--25k", "--package", "CABGA381"), "X72/Y38/PIOC"),
    "xcup": Part("Alveo U250 (XCU250)", "xcup",
                 {"LUTs": 1728000, "flip-flops": 3456000, "block RAMs": 2688, "UltraRAMs": 1280, "DSPs": 12288}),
    "xc7": Part("XC7K325T", "xc7", {"LUTs": 203800, "flip-flops": 407600, "block RAMs": 445, "DSPs": 840}),
}  # fmt: skip


def part(target: str) -> Part:
    """The part of ``target``. Raises ValueError, listing the targets, for any other."""
    if target not in PARTS:
        raise ValueError(f"unknown target {target!r}; there are {', '.join(PARTS)}")
    return PARTS[target]
