"""Several streams of transfers into one: in each cycle the first that is valid is offered."""

from amaranth.hdl import Const, Module


def first_of(m: Module, sources: dict, sink) -> None:
    """Connects ``sources``, streams of transfer_layout by number and in order of priority, to ``sink``, an OfferSignature.

    The number becomes the transfer's tag. No payload is stored here: a transfer of higher priority replaces the offered one until
    that is taken.
    """
    taken = Const(0, 1)
    for source in sources.values():
        m.d.comb += source.ready.eq(sink.ready & ~taken)
        taken = taken | source.valid
    for number, source in reversed(sources.items()):
        with m.If(source.valid):
            m.d.comb += [
                sink.valid.eq(1),
                sink.payload.address.eq(source.p.address),
                sink.payload.words.eq(source.p.words),
                sink.payload.tag.eq(number),
            ]
