"""What the registers load about a model, as the blocks see it.

Blocks that need a part of it keep their own copy in a small RAM, written by this broadcast.
"""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from .config import AcceleratorConfig

#: Bits of a row stride in bytes.
STRIDE_BITS = 20


def descriptor_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A table descriptor. ``rows`` may be 2**row_bits, one more than the largest row."""
    return data.StructLayout({
        "base": config.address_bits, "rows": config.row_bits + 1, "stride": STRIDE_BITS,
        "resident": 1, "first_slot": 31,
    })  # fmt: skip


class ModelSignature(wiring.Signature):
    """Seen from the registers.

    ``table_write`` stores ``descriptor`` as table ``table``; ``access_write`` makes access
    ``access`` belong to ``table``. ``reset`` forgets all tables. The sizes are plain values;
    ``valid`` says that they are ones this configuration can serve.
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "reset": Out(1),
            "table_write": Out(1), "table": Out(config.table_bits), "descriptor": Out(descriptor_layout(config)),
            "access_write": Out(1), "access": Out(range(config.max_record_words)),
            "payload_words": Out(range(config.max_record_words + 1)),
            "accesses": Out(range(config.max_record_words + 1)),
            "valid": Out(1), "sample_words": Out(range(config.max_record_words + 1)),
            "row_bytes": Out(range(config.max_row_bytes + 1)),
        })  # fmt: skip
