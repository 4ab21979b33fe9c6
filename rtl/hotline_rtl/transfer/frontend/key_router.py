"""Whose keys go where: of a list to the scatter or the gather engine, of a working set to the gather engine.

    key list ─┬─► scatter engine           (a SCATTER; if it passes a SPLIT, each key is also looked up in that one's working set)
              └─► gather engine            (a GATHER)
    working set ─► gather engine           (a SPLIT)

One key per cycle; latency 2 cycles to the gather engine and to the look-up, 1 to the scatter engine.
"""

from amaranth.hdl import Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.keys import listed_key_layout, looked_up_key_layout, numbered_key_layout, routed_key_layout
from ...lib.register_slice import RegisterSlice
from ...lib.streams import fork


class KeyRouter(wiring.Component):
    """Members
    -------
    listed : In(stream of routed_key_layout)
        Keys that the key list has read.
    numbered : In(stream of numbered_key_layout)
        Keys of the working set. Not while a list goes to the gather engine: a GATHER runs alone.
    scatter, gather : Out(stream of listed_key_layout)
    lookups : Out(stream of looked_up_key_layout)
    """

    def __init__(self, config: AcceleratorConfig):
        listed = stream.Signature(listed_key_layout(config))
        super().__init__({
            "listed": In(stream.Signature(routed_key_layout(config))),
            "numbered": In(stream.Signature(numbered_key_layout(config))),
            "scatter": Out(listed), "gather": Out(listed),
            "lookups": Out(stream.Signature(looked_up_key_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.listed = listed = RegisterSlice(self.listed.p.shape())
        m.submodules.to_gather = to_gather = RegisterSlice(self.gather.p.shape())
        m.submodules.to_lookup = to_lookup = RegisterSlice(self.lookups.p.shape())
        wiring.connect(m, wiring.flipped(self.listed), listed.i)
        wiring.connect(m, to_gather.o, wiring.flipped(self.gather))
        wiring.connect(m, to_lookup.o, wiring.flipped(self.lookups))

        key, scatters, looks_up = listed.o.p.listed, listed.o.p.scatters, listed.o.p.looks_up
        scattered = stream.Signature(0).create()
        fork(m, scattered, [self.scatter, to_lookup.i], [1, looks_up])
        gathers = listed.o.valid & ~scatters
        m.d.comb += [
            scattered.valid.eq(listed.o.valid & scatters),
            self.scatter.p.eq(key),
            to_lookup.i.p.key.eq(key.key),
            to_lookup.i.p.end.eq(key.end),
            to_gather.i.valid.eq(gathers | self.numbered.valid),
            listed.o.ready.eq(Mux(scatters, scattered.ready, to_gather.i.ready)),
            self.numbered.ready.eq(to_gather.i.ready & ~gathers),
        ]
        with m.If(gathers):
            m.d.comb += to_gather.i.p.eq(key)
        with m.Else():
            m.d.comb += [
                getattr(to_gather.i.p, name).eq(getattr(self.numbered.p, name)) for name, _ in self.numbered.p.shape()
            ]
        return m
