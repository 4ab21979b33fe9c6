"""What the registers load about a model, as the blocks see it.

Blocks that need a part of it keep their own copy in a small RAM, written by this broadcast.
"""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from ..config import AcceleratorConfig
from ..lib.logic import delayed, pick

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


class KnownTables:
    """Which tables have been stored since ``reset``: a bit for each, two cycles after. They are looked up in two cycles, too:
    by the low half of a table's number, and then by the high half."""

    def __init__(self, m: Module, model):
        self.low_bits = low_bits = len(model.table) // 2
        self.known = known = Signal(1 << len(model.table))
        low, high = model.table[:low_bits], model.table[low_bits:]
        is_low = [delayed(m, low == n) for n in range(1 << low_bits)]
        is_high = [delayed(m, model.table_write & (high == n)) for n in range(1 << len(high))]
        for n in range(len(known)):
            with m.If(is_low[n % len(is_low)] & is_high[n // len(is_low)]):
                m.d.sync += known[n].eq(1)
        with m.If(model.reset):
            m.d.sync += known.eq(0)

    def by_low(self, table: Value) -> Value:
        """Of each ``high`` half: whether the table of it and of the low half of ``table`` is known."""
        size = 1 << self.low_bits
        groups = (self.known[n : n + size] for n in range(0, len(self.known), size))
        return Cat(pick(list(group), table[: self.low_bits]) for group in groups)

    def by_high(self, found: Value, table: Value) -> Value:
        """Whether ``table`` is known, from what ``by_low`` found."""
        return pick(list(found), table[self.low_bits :])
