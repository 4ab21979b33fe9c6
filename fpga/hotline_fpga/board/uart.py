"""A serial line, 8 bits, no parity, one stop bit: bytes in and out as streams."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out


class UartReceiver(wiring.Component):
    """``divisor`` cycles a bit, at least 4.

    Members
    -------
    line : In(1)
    o : Out(stream of 8 bits), ``valid`` for one cycle
        A byte; it must be taken at once. A byte without a stop bit is dropped.
    """

    def __init__(self, divisor: int):
        if divisor < 4:
            raise ValueError(f"a serial line needs at least 4 cycles a bit, not {divisor}")
        self.divisor = divisor
        super().__init__({"line": In(1, init=1), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.line, line, init=1)
        timer, bit = Signal(range(2 * self.divisor)), Signal(range(10))
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(~line):
                    m.d.sync += [timer.eq(self.divisor + self.divisor // 2 - 2), bit.eq(0)]
                    m.next = "BITS"
            with m.State("BITS"):
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), bit.eq(bit + 1)]
                    with m.If(bit == 8):
                        m.d.sync += self.o.valid.eq(line)
                        m.next = "STOP"
                    with m.Else():
                        m.d.sync += self.o.p.eq(Cat(self.o.p[1:], line))
            with m.State("STOP"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """``divisor`` cycles a bit.

    Members
    -------
    i : In(stream of 8 bits)
    line : Out(1)
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"line": Out(1, init=1), "i": In(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        timer, bits, left = Signal(range(self.divisor)), Signal(9, init=0x1FF), Signal(range(11))
        m.d.comb += [self.i.ready.eq(left == 0)]
        with m.If(left == 0):
            m.d.sync += self.line.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [self.line.eq(0), bits.eq(Cat(self.i.p, 1)), left.eq(10), timer.eq(self.divisor - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [
                self.line.eq(bits[0]),
                bits.eq(Cat(bits[1:], 1)),
                left.eq(left - 1),
                timer.eq(self.divisor - 1),
            ]
        return m
