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
from ...interfaces.keys import listed_key_layout, numbered_key_layout
from ...interfaces.layouts import key_layout
from ...lib.fork import fork
from ...lib.register_slice import RegisterSlice


class KeyRouter(wiring.Component):
    """Members
    -------
    scatters, gathers_list : In(1)
        Listed keys are a SCATTER's; a GATHER's. Not both. They change only while no listed key is inside.
    passes : In(1)
        The SCATTER passes a SPLIT.
    drop : In(1)
        Forgets the listed key that waits, if any.
    listed : In(stream of listed_key_layout)
        Keys that the key list has read.
    numbered : In(stream of numbered_key_layout)
        Keys of the working set.
    scatter, gather : Out(stream of listed_key_layout)
    lookups : Out(stream of key_layout)
    listed_waits, gather_waits, lookup_waits : Out(1)
        A key is inside, on its way from the list, to the gather engine, to the look-up.
    """

    def __init__(self, config: AcceleratorConfig):
        listed = stream.Signature(listed_key_layout(config))
        super().__init__({
            "scatters": In(1), "gathers_list": In(1), "passes": In(1), "drop": In(1),
            "listed": In(listed), "numbered": In(stream.Signature(numbered_key_layout(config))),
            "scatter": Out(listed), "gather": Out(listed), "lookups": Out(stream.Signature(key_layout(config))),
            "listed_waits": Out(1), "gather_waits": Out(1), "lookup_waits": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.listed = listed = RegisterSlice(self.listed.p.shape())
        m.submodules.to_gather = to_gather = RegisterSlice(self.gather.p.shape())
        m.submodules.to_lookup = to_lookup = RegisterSlice(self.lookups.p.shape())
        wiring.connect(m, wiring.flipped(self.listed), listed.i)
        wiring.connect(m, to_gather.o, wiring.flipped(self.gather))
        wiring.connect(m, to_lookup.o, wiring.flipped(self.lookups))

        scattered, looked_up = stream.Signature(0).create(), stream.Signature(0).create()
        fork(m, scattered, [self.scatter, looked_up])
        m.d.comb += [
            listed.drop.eq(self.drop),
            scattered.valid.eq(listed.o.valid & self.scatters),
            self.scatter.p.eq(listed.o.p),
            looked_up.ready.eq(to_lookup.i.ready | ~self.passes),
            to_lookup.i.valid.eq(looked_up.valid & self.passes),
            to_lookup.i.p.eq(listed.o.p.key),
            to_gather.i.valid.eq(Mux(self.gathers_list, listed.o.valid, self.numbered.valid)),
            to_gather.i.p.eq(listed.o.p),
            listed.o.ready.eq(Mux(self.scatters, scattered.ready, to_gather.i.ready & self.gathers_list)),
            self.numbered.ready.eq(to_gather.i.ready & ~self.gathers_list),
            self.listed_waits.eq(listed.o.valid),
            self.gather_waits.eq(to_gather.o.valid),
            self.lookup_waits.eq(to_lookup.o.valid),
        ]
        with m.If(~self.gathers_list):
            m.d.comb += [
                to_gather.i.p.key.eq(self.numbered.p.key),
                to_gather.i.p.number.eq(self.numbered.p.number),
                to_gather.i.p.outside.eq(0),
            ]
        return m
