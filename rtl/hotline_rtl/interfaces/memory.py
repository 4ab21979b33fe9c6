"""What a memory port offers its clients."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from .layouts import WORDS_BITS


def transfer_layout(config: AcceleratorConfig, tag_bits: int) -> data.StructLayout:
    """``words`` (at least 1) from byte ``address`` (a multiple of 4) on."""
    return data.StructLayout({"address": config.address_bits, "words": WORDS_BITS, "tag": tag_bits})


class OfferSignature(wiring.Signature):
    """Handshakes as a stream's, but the payload may change until it is taken: an arbiter without a memory offers the best that it
    has. ``valid`` stays. The sink must look at the payload only in the cycle in which it takes it.
    """

    def __init__(self, shape):
        super().__init__({"payload": Out(shape), "valid": Out(1), "ready": In(1)})


class ReadClientSignature(wiring.Signature):
    """Seen from the client; a stream does not use ``tag``.

    ``beat_*``: a data beat of transfer ``beat_tag``, the last one if ``beat_last``. ``beat_error``: memory answered with
    an error, or not at all (``beat_timeout``).
    """

    def __init__(self, config: AcceleratorConfig, tag_bits: int = 1):
        super().__init__({
            "request": Out(stream.Signature(transfer_layout(config, tag_bits))),
            "beat_valid": In(1), "beat_data": In(config.bus_bits), "beat_tag": In(tag_bits), "beat_last": In(1),
            "beat_error": In(1), "beat_timeout": In(1),
        })  # fmt: skip


class WriteClientSignature(wiring.Signature):
    """Seen from the client.

    ``idle``: nothing of this client is on its way; every burst has been answered. ``answered`` marks the
    answer to a transfer's last burst, no later than ``idle``; transfers are answered in order. ``error`` marks an answer that was
    an error, or did not come (``timeout``), for the burst at ``error_address``. All last one cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "request": Out(stream.Signature(transfer_layout(config, 1))),
            "data": Out(stream.Signature(data.StructLayout({
                "data": config.bus_bits, "strobe": config.bus_bytes,
            }))),
            "idle": In(1), "answered": In(1), "error": In(1), "timeout": In(1),
            "error_address": In(config.address_bits),
        })  # fmt: skip
