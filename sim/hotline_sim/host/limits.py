"""What a configuration can serve: the sizes of the rings, and of a model."""

from hotline_golden.layouts import ENTRY_WORDS
from hotline_golden.model import SLOT_LIMIT, STRIDE_LIMIT, Model
from hotline_rtl.config import AcceleratorConfig

#: The driver's rings: entries, and bytes of each.
RING_LOG2 = 4
RING_ENTRIES = 1 << RING_LOG2
RING_BYTES = RING_ENTRIES * ENTRY_WORDS * 4


def check_model(config: AcceleratorConfig, model: Model) -> None:
    """Raises ValueError, naming table and limit, for a model that ``config`` cannot serve."""
    if not 1 <= len(model.tables) <= config.tables:
        raise ValueError(f"{len(model.tables)} tables; this configuration has table_bits={config.table_bits}")
    if not 1 <= model.accesses or model.record_words > config.max_record_words:
        raise ValueError(
            f"micro-batch records of {model.record_words} words (sample number, {model.payload_words} payload, "
            f"{model.accesses} accesses); this configuration has max_record_words={config.max_record_words}"
        )
    if model.row_bytes > config.max_row_bytes:
        raise ValueError(f"rows of {model.row_bytes} bytes; max_row_bytes={config.max_row_bytes}")
    for number, table in enumerate(model.tables):
        if not 1 <= table.rows <= 1 << config.row_bits:
            raise ValueError(
                f"table {number} has {table.rows} rows; this configuration has row_bits={config.row_bits}"
            )
        if table.base % 4 or table.stride % 4 or not model.row_bytes <= table.stride < STRIDE_LIMIT:
            raise ValueError(
                f"table {number}: base {table.base:#x} and stride {table.stride} must be multiples of 4, "
                f"and the stride at least a row ({model.row_bytes} bytes) and below 1 MiB"
            )
        if table.base + table.rows * table.stride > 1 << config.address_bits:
            raise ValueError(f"table {number} ends beyond address_bits={config.address_bits}")
        if table.resident and table.first_slot + table.rows > SLOT_LIMIT:
            raise ValueError(f"table {number}: slots from {table.first_slot} on do not fit 31 bits")
    taken = [(0, config.tracker_entries, "the tracker")]
    for number, table in enumerate(model.tables):
        if table.resident:
            taken.append((table.first_slot, table.first_slot + table.rows, f"table {number}"))
    taken.sort()
    for (_, end, before), (begin, _, name) in zip(taken, taken[1:], strict=False):
        if begin < end:
            raise ValueError(f"{name}: slots from {begin} on are also those of {before}, up to {end - 1}")
