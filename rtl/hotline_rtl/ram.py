"""Memory blocks: a simple dual-port RAM as an instance of ``hotline_ram.v``.

An instance, not ``lib.memory``: large memories stay one line of Verilog, and are left
uninitialised, as block RAM without a bitstream image is. Latency: 1 cycle from ``r_en``.
"""

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class Ram(wiring.Component):
    """``depth`` words of ``width`` bits; one write and one read a cycle.

    Members
    -------
    w_en, w_addr, w_data : In
        Write port.
    r_en, r_addr : In
        Read request; ``r_data`` holds its last value while ``r_en`` is low.
    r_data : Out
        The word, one cycle later. Undefined if the same word was written in the cycle of the request.
    """

    def __init__(self, width: int, depth: int):
        if width < 1 or depth < 2:
            raise ValueError(f"A RAM needs width >= 1 and depth >= 2, not {width!r} x {depth!r}")
        self.width = width
        self.depth = depth
        bits = ceil_log2(depth)
        super().__init__({
            "w_en": In(1), "w_addr": In(bits), "w_data": In(width),
            "r_en": In(1), "r_addr": In(bits), "r_data": Out(width),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = Instance(
            "hotline_ram",
            p_WIDTH=self.width, p_DEPTH=self.depth, p_ADDRESS_BITS=ceil_log2(self.depth),
            i_clk=ClockSignal(),
            i_w_en=self.w_en, i_w_addr=self.w_addr, i_w_data=self.w_data,
            i_r_en=self.r_en, i_r_addr=self.r_addr, o_r_data=self.r_data,
        )  # fmt: skip
        return m
