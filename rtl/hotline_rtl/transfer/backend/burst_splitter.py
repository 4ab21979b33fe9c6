"""Cuts a transfer into AXI bursts: within the burst limit, and never across a 4 KiB boundary.

IHI 0022 H, A3.4.1: a burst must not cross a 4 KiB address boundary.
Latency 4 cycles. A transfer of one burst takes one cycle, of each further burst four. ``ready`` comes from a register.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import PAGE_BYTES, AcceleratorConfig
from ...interfaces.layouts import WORDS_BITS
from ...interfaces.memory import OfferSignature, transfer_layout
from ...lib.logic import delayed
from ...lib.register_slice import RegisterSlice


def burst_layout(config: AcceleratorConfig, tag_bits: int) -> data.StructLayout:
    """A burst of ``length + 1`` beats from a bus-aligned ``address``; ``last`` of its transfer."""
    return data.StructLayout({"address": config.address_bits, "length": 8, "tag": tag_bits, "last": 1})


class BurstSplitter(wiring.Component):
    """Members: ``i``, a stream of transfers; ``o``, a stream of bursts, in order; ``drop`` forgets what is inside,
    and what comes."""

    def __init__(self, config: AcceleratorConfig, tag_bits: int):
        self.config = config
        self.tag_bits = tag_bits
        super().__init__({
            "i": In(OfferSignature(transfer_layout(config, tag_bits))),
            "o": Out(stream.Signature(burst_layout(config, tag_bits))),
            "drop": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        bus_shift = ceil_log2(self.config.bus_bytes)
        page_bits, limit = ceil_log2(PAGE_BYTES) - bus_shift, self.config.burst_limit
        limit_bits = ceil_log2(limit)
        layout = data.StructLayout({
            "address": self.config.address_bits - bus_shift, "beats": WORDS_BITS, "tag": self.tag_bits,
        })  # fmt: skip

        # Stage 1: a transfer, in beats, and how many may go at once: up to the limit, or to the boundary.
        room = Signal(range(limit + 1), reset_less=True)

        def room_at(address):
            offset = address[:page_bits]
            return Mux(offset[limit_bits:].all(), limit - offset[:limit_bits], limit)

        m.submodules.slice = waiting = RegisterSlice(self.i.payload.shape())
        asked = waiting.o.p
        s1_valid = Signal()
        s1 = Signal(data.StructLayout({"transfer": layout, "room": room.shape()}), reset_less=True)
        # Stage 2: whether it fits. Stage 3: its next burst, and what is left. After one that is not the last, the next one is
        # put together in three cycles: `shorter`, `placed`, `again`.
        whole_valid, whole = Signal(), Signal(data.StructLayout({"cut": s1.shape(), "fits": 1}), reset_less=True)
        s2_valid, s2 = Signal(), Signal(layout, reset_less=True)
        length, last = Signal(range(limit + 1), reset_less=True), Signal(reset_less=True)
        shorter, placed, again = Signal(), Signal(), Signal()
        few = delayed(m, s2.beats <= limit, reset_less=True)
        taken = self.o.valid & self.o.ready
        source, most = Signal(layout), Signal.like(room)
        fits = Signal()
        free = (~s2_valid & ~shorter & ~placed & ~again) | (taken & last)
        goes_on = ~whole_valid | free
        offset_words = asked.address[2:bus_shift]
        m.d.comb += [
            source.as_value().eq(Mux(again, s2.as_value(), whole.cut.transfer.as_value())),
            most.eq(Mux(again, room, whole.cut.room)),
            fits.eq(Mux(again, few & (s2.beats[: len(room)] <= room), whole.fits)),
            self.o.valid.eq(s2_valid),
            self.o.p.address.eq(Cat(Const(0, bus_shift), s2.address)),
            self.o.p.length.eq(length - 1),
            self.o.p.tag.eq(s2.tag),
            self.o.p.last.eq(last),
            waiting.drop.eq(self.drop),
            waiting.o.ready.eq(~s1_valid | goes_on),
        ]
        wiring.connect(m, wiring.flipped(self.i), waiting.i)
        with m.If(waiting.o.ready):
            m.d.sync += [
                s1_valid.eq(waiting.o.valid),
                s1.transfer.address.eq(asked.address[bus_shift:]),
                s1.transfer.beats.eq((asked.words + offset_words + (self.config.bus_words - 1)) >> (bus_shift - 2)),
                s1.transfer.tag.eq(asked.tag),
                s1.room.eq(room_at(asked.address[bus_shift:])),
            ]
        with m.If(goes_on):
            m.d.sync += [whole_valid.eq(s1_valid), whole.cut.eq(s1), whole.fits.eq(s1.transfer.beats <= s1.room)]
        m.d.sync += [placed.eq(shorter), again.eq(placed), room.eq(room_at(s2.address))]
        with m.If(taken):
            m.d.sync += [s2_valid.eq(0), shorter.eq(~last)]
        with m.If(shorter):
            m.d.sync += [s2.address.eq(s2.address + length), s2.beats.eq(s2.beats - length), shorter.eq(0)]
        with m.If(again | (whole_valid & free)):
            m.d.sync += [s2.eq(source), s2_valid.eq(1), last.eq(fits), length.eq(Mux(fits, source.beats, most))]
        with m.If(self.drop):
            m.d.sync += [s1_valid.eq(0), whole_valid.eq(0), s2_valid.eq(0), shorter.eq(0), placed.eq(0), again.eq(0)]
        return m
