"""One stream into several: each sink takes every payload once, at a time of its own."""

from amaranth.hdl import Cat, Module, Signal


def fork(m: Module, source, sinks: list, name: str = "fork") -> None:
    """Connects the handshakes of ``source`` (a stream that is read) and ``sinks`` (streams that are fed).

    Payloads are the caller's. No sink waits for another, and no ``valid`` depends on a ``ready``.
    """
    had = Signal(len(sinks), name=f"{name}_had")  # sinks that have taken this payload already
    takes = Signal(len(sinks), name=f"{name}_takes")
    for n, sink in enumerate(sinks):
        m.d.comb += [sink.valid.eq(source.valid & ~had[n]), takes[n].eq(had[n] | sink.ready)]
    m.d.comb += source.ready.eq(Cat(takes).all())
    with m.If(source.valid):
        for n in range(len(sinks)):
            m.d.sync += had[n].eq(takes[n] & ~source.ready)
