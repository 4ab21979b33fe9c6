"""What must never happen, for the simulation to report.

Each is an instance of the small module in ``hotline_check.v``, named after what is wrong. It stops a simulation that defines
``HOTLINE_CHECKS``, as the co-simulation and the cocotb benches do; in synthesis nothing of it is left.
"""

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal

#: The module that is instantiated.
CHECK = "hotline_check"


def never(m: Module, name: str, fault) -> None:
    """``fault`` (1 bit) must be low at every edge of ``sync`` at which it is not in reset."""
    m.submodules[name] = Instance(CHECK, i_clk=ClockSignal(), i_rst=ResetSignal(), i_fault=fault)
