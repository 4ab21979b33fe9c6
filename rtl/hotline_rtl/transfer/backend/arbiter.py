"""Several streams of transfers into one: the first that is valid goes."""

from amaranth.hdl import Const, Module


def first_of(m: Module, sources: dict, sink) -> None:
    """Connects ``sources``, streams of transfer_layout by number and in order of priority, to ``sink``.

    The number becomes the transfer's tag. A transfer that is offered may give way to one of higher priority, so ``sink``
    must take what it is offered in the cycle in which it is ready.
    """
    taken = Const(0, 1)
    for source in sources.values():
        m.d.comb += source.ready.eq(sink.ready & ~taken)
        taken = taken | source.valid
    for number, source in reversed(sources.items()):
        with m.If(source.valid):
            m.d.comb += [
                sink.valid.eq(1),
                sink.p.address.eq(source.p.address),
                sink.p.words.eq(source.p.words),
                sink.p.tag.eq(number),
            ]
