"""How streams are connected: one with several sinks; one with another, and perhaps registers between."""

import random
from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring

from ..config import AcceleratorConfig
from .register_slice import HalfSlice, RegisterSlice


def fork(m: Module, source, sinks: list, wanted: Sequence | None = None, name: str = "fork") -> None:
    """Connects the handshakes of ``source`` (a stream that is read) and ``sinks`` (streams that are fed).

    ``wanted``: for each sink whether it shall have this payload; by default all shall. Payloads are the caller's. No sink waits
    for another, and no ``valid`` depends on a ``ready``.
    """
    had = Signal(len(sinks), name=f"{name}_had")  # sinks that have taken this payload already
    takes = Signal(len(sinks), name=f"{name}_takes")
    for n, (sink, want) in enumerate(zip(sinks, wanted or [Const(1)] * len(sinks), strict=True)):
        m.d.comb += [sink.valid.eq(source.valid & want & ~had[n]), takes[n].eq(had[n] | sink.ready | ~want)]
        with m.If(source.valid):
            m.d.sync += had[n].eq(want & takes[n] & ~source.ready)
    m.d.comb += source.ready.eq(Cat(takes).all())


def link(m: Module, config: AcceleratorConfig, name: str, source, sink, *, rare: bool = False) -> None:
    """Connects ``source``, a stream that is read, with ``sink``, one that is fed.

    Whether registers lie between them changes no result. Where ``config.link_slices`` is not 0, it chooses the links, about half
    of all, that have a register slice. ``rare``: payloads are few, and a slice of half the rate lies between them in any case, so
    that no path leads from one block into the other.
    """
    if rare:
        between = HalfSlice(source.p.shape())
    elif config.link_slices and random.Random(f"{config.link_slices} {name}").random() < 0.5:
        between = RegisterSlice(source.p.shape())
    else:
        wiring.connect(m, source, sink)
        return
    m.submodules[f"link_{name}"] = between
    wiring.connect(m, source, between.i)
    wiring.connect(m, between.o, sink)
