"""Cuts rows of keys at the samples: pieces, each with keys of one sample only.

A piece a cycle, a row in as many cycles as it has pieces; latency 2 cycles.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.layouts import SHIFT_BITS
from ..lib.logic import first_set
from ..lib.register_slice import RegisterSlice
from .packer import about_layout, row_layout


def piece_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Those ``present`` of the keys of a row. ``firsts``: keys of the row that begin a sample; ``first``: the piece's does.
    ``follow``: keys of samples from which a shadow learns. ``shift``: of its sample.
    """
    return data.StructLayout({
        "keys": data.ArrayLayout(config.key_bits, config.lanes), "firsts": config.lanes, "present": config.lanes,
        "first": 1, "shift": SHIFT_BITS, **({"follow": config.lanes} if config.shadow else {}),
    })  # fmt: skip


class SampleSplitter(wiring.Component):
    """Members
    -------
    cut : In(1)
        Rows are cut; otherwise each is one piece. Changes only while nothing is inside.
    i : In(stream of row_layout), o : Out(stream of piece_layout)
        For a policy that scores samples.
    shift : In
        Of the next sample; its pieces take it along.
    begins : Out(1)
        That sample does: its first piece moves on.
    busy : Out(1)
        Something is inside.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "cut": In(1), "busy": Out(1), "shift": In(SHIFT_BITS), "begins": Out(1),
            "i": In(stream.Signature(row_layout(config))),
            "o": Out(stream.Signature(piece_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        lanes = self.config.lanes
        m.submodules.slice = out = RegisterSlice(self.o.p.shape())
        wiring.connect(m, out.o, wiring.flipped(self.o))
        valid, piece = Signal(), Signal(self.o.p.shape(), reset_less=True)
        # lanes of the row in hand that follow the piece; none does
        rest = Signal(lanes, reset_less=True)
        last = Signal(reset_less=True)
        shift = Signal(SHIFT_BITS, reset_less=True)  # of the sample that has begun

        def next_piece(left, firsts):
            """Of the lanes ``left``: those of the next piece, those after it, whether the piece begins a sample."""
            lowest = first_set(left)
            other = first_set(left & firsts & ~lowest)  # where another sample begins
            present = Mux(self.cut, left & (other - 1), left)
            return present, left & ~present, (lowest & firsts).any()

        new_row = ~valid | last
        about = data.View(about_layout(self.config), self.i.p.extra)
        new = next_piece(about.present, about.firsts)
        present, after, first = (Mux(new_row, a, b) for a, b in zip(new, next_piece(rest, piece.firsts), strict=True))
        m.d.comb += [
            self.i.ready.eq(~valid | (out.i.ready & last)),
            out.i.valid.eq(valid),
            out.i.p.eq(piece),
            out.i.p.shift.eq(Mux(piece.first, self.shift, shift)),
            self.begins.eq(valid & out.i.ready & piece.first),
            self.busy.eq(valid | out.o.valid),
        ]
        with m.If(~valid | out.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid | ~new_row),
                piece.present.eq(present),
                piece.first.eq(first),
                rest.eq(after),
                last.eq(after == 0),
            ]
        with m.If(self.begins):
            m.d.sync += shift.eq(self.shift)
        with m.If(self.i.ready):
            m.d.sync += [piece.keys.eq(self.i.p.keys), piece.firsts.eq(about.firsts)]
            if self.config.shadow:
                m.d.sync += piece.follow.eq(about.follow)
        return m
