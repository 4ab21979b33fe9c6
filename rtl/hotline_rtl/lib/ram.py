"""Memory blocks: a simple dual-port RAM as an instance of ``hotline_ram.v``.

An instance, not ``lib.memory``: large memories stay one line of Verilog, and are left
uninitialised, as block RAM without a bitstream image is. Latency: 1 cycle from ``r_en``.
"""

from amaranth.hdl import ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .logic import delayed, pick, without_reset

#: Words of a piece of a deep memory: a block RAM's, where it is widest.
PIECE = 512


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
            p_WIDTH=self.width,
            p_DEPTH=self.depth,
            p_ADDRESS_BITS=ceil_log2(self.depth),
            i_clk=ClockSignal(),
            i_w_en=self.w_en,
            i_w_addr=self.w_addr,
            i_w_data=self.w_data,
            i_r_en=self.r_en,
            i_r_addr=self.r_addr,
            o_r_data=self.r_data,
        )
        return m


class DeepRam(wiring.Component):
    """A ``Ram`` of more words than a block RAM has, in pieces of PIECE words. Which piece a word comes from is chosen when
    the words of all are in the registers behind them. Latency: 3 cycles from ``r_addr``; a word every cycle.

    Members: as of ``Ram``, without ``r_en``.
    """

    def __init__(self, width: int, depth: int):
        self.width, self.depth = width, depth
        bits = ceil_log2(depth)
        super().__init__({
            "w_en": In(1), "w_addr": In(bits), "w_data": In(width), "r_addr": In(bits), "r_data": Out(width),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        bits = ceil_log2(PIECE)
        words = []
        for n in range(-(-self.depth // PIECE)):
            m.submodules[f"piece_{n}"] = ram = Ram(self.width, max(2, min(PIECE, self.depth - n * PIECE)))
            m.d.comb += [
                ram.w_en.eq(self.w_en & (self.w_addr >> bits == n)),
                ram.w_addr.eq(self.w_addr),
                ram.w_data.eq(self.w_data),
                ram.r_en.eq(1),
                ram.r_addr.eq(self.r_addr),
            ]
            words.append(delayed(m, ram.r_data, reset_less=True))
        place = Signal.like(self.r_addr, reset_less=True)
        arriving = Signal.like(self.r_addr, reset_less=True)
        r_data = without_reset(m, self.r_data)
        m.d.sync += [arriving.eq(self.r_addr), place.eq(arriving), r_data.eq(pick(words, place[bits:]))]
        return m
