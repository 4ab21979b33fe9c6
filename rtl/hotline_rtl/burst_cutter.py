"""Cuts a transfer into AXI bursts: within the burst limit, and never across a 4 KiB boundary.

IHI 0022 H, A3.4.1: a burst must not cross a 4 KiB address boundary.
Latency 1 cycle; one burst per cycle, with no gap between transfers.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import PAGE_BYTES, AcceleratorConfig
from .layouts import WORDS_BITS


def transfer_layout(config: AcceleratorConfig, tag_bits: int) -> data.StructLayout:
    """``words`` (at least 1) from byte ``address`` (a multiple of 4) on."""
    return data.StructLayout({"address": config.address_bits, "words": WORDS_BITS, "tag": tag_bits})


def burst_layout(config: AcceleratorConfig, tag_bits: int) -> data.StructLayout:
    """A burst of ``length + 1`` beats from a bus-aligned ``address``; ``last`` of its transfer."""
    return data.StructLayout({"address": config.address_bits, "length": 8, "tag": tag_bits, "last": 1})


class BurstCutter(wiring.Component):
    """Members: ``i``, a stream of transfers; ``o``, a stream of bursts, in order; ``drop`` forgets what is inside,
    and takes nothing."""

    def __init__(self, config: AcceleratorConfig, tag_bits: int):
        self.config = config
        self.tag_bits = tag_bits
        super().__init__({
            "i": In(stream.Signature(transfer_layout(config, tag_bits))),
            "o": Out(stream.Signature(burst_layout(config, tag_bits))),
            "drop": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        bus_shift = ceil_log2(self.config.bus_bytes)
        page_beats = PAGE_BYTES // self.config.bus_bytes
        limit = self.config.burst_limit

        # The transfer in hand, in beats.
        address = Signal(self.config.address_bits - bus_shift)
        beats = Signal(WORDS_BITS)
        tag = Signal(self.tag_bits)

        to_boundary = Signal(range(page_beats + 1))
        room = Signal(range(limit + 1))
        length = Signal(range(limit + 1))
        m.d.comb += [
            to_boundary.eq(page_beats - address[: ceil_log2(page_beats)]),
            room.eq(Mux(to_boundary < limit, to_boundary, limit)),
            length.eq(Mux(beats < room, beats, room)),
            self.o.p.address.eq(Cat(Const(0, bus_shift), address)),
            self.o.p.length.eq(length - 1),
            self.o.p.tag.eq(tag),
            self.o.p.last.eq(beats == length),
            self.i.ready.eq((~self.o.valid | (self.o.ready & self.o.p.last)) & ~self.drop),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                address.eq(address + length),
                beats.eq(beats - length),
                self.o.valid.eq(~self.o.p.last),
            ]
        with m.If(self.i.valid & self.i.ready):
            offset = self.i.p.address[2:bus_shift]
            m.d.sync += [
                address.eq(self.i.p.address[bus_shift:]),
                beats.eq((self.i.p.words + offset + (self.config.bus_words - 1)) >> (bus_shift - 2)),
                tag.eq(self.i.p.tag),
                self.o.valid.eq(1),
            ]
        with m.If(self.drop):
            m.d.sync += self.o.valid.eq(0)
        return m
