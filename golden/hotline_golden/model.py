"""What the accelerator is told about a model: its tables, and which access reads which table."""

from dataclasses import dataclass, field

import numpy as np

from .layouts import ModelError


@dataclass(frozen=True)
class Table:
    """A table descriptor. ``base`` and ``stride`` in bytes, multiples of 4, in host memory."""

    base: int
    rows: int
    stride: int
    resident: bool = False
    first_slot: int = 0


#: Bytes from row to row are fewer than this.
STRIDE_LIMIT = 1 << 20
#: Slots are fewer than this: bit 31 of a reference marks a working row.
SLOT_LIMIT = 1 << 31


def table_errors(table: Table, *, row_bytes: int, row_bits: int, address_bits: int) -> ModelError:
    """What is wrong with a descriptor: the accelerator refuses it, and sets these bits of ``model_error``."""
    space = 1 << address_bits
    errors = ModelError(0)
    if table.base % 4 or table.base >= space:
        errors |= ModelError.TABLE_BASE
    if not 1 <= table.rows <= 1 << row_bits:
        errors |= ModelError.TABLE_ROWS
    if table.stride % 4 or not row_bytes <= table.stride < STRIDE_LIMIT:
        errors |= ModelError.TABLE_STRIDE
    if errors:
        return errors
    if table.base + table.rows * table.stride > space:
        errors |= ModelError.TABLE_END
    if table.resident and table.first_slot + table.rows > SLOT_LIMIT:
        errors |= ModelError.FIRST_SLOT
    return errors


@dataclass(frozen=True)
class Model:
    """Tables, ``table_of`` (int [accesses]), payload words and row bytes: fixed for all samples."""

    tables: tuple[Table, ...]
    table_of: tuple[int, ...]
    payload_words: int
    row_bytes: int
    #: Descriptor fields of the tables as arrays, for vectorised look-ups.
    rows: np.ndarray = field(init=False, repr=False, compare=False)
    resident: np.ndarray = field(init=False, repr=False, compare=False)
    first_slot: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.row_bytes % 4 or not 16 <= self.row_bytes <= 1024:
            raise ValueError(f"row_bytes must be a multiple of 4 from 16 to 1024, not {self.row_bytes}")
        for j, table in enumerate(self.table_of):
            if not 0 <= table < len(self.tables):
                raise ValueError(f"access {j} names table {table}; there are {len(self.tables)}")
        object.__setattr__(self, "rows", np.array([t.rows for t in self.tables], np.int64))
        object.__setattr__(self, "resident", np.array([t.resident for t in self.tables], bool))
        object.__setattr__(self, "first_slot", np.array([t.first_slot for t in self.tables], np.int64))

    @property
    def accesses(self) -> int:
        return len(self.table_of)

    @property
    def sample_words(self) -> int:
        """Words of a sample record."""
        return self.payload_words + self.accesses

    @property
    def record_words(self) -> int:
        """Words of a micro-batch record: the sample number goes before."""
        return 1 + self.sample_words

    def row_address(self, table: int, row: int) -> int:
        """Byte address of a row in host memory."""
        return self.tables[table].base + row * self.tables[table].stride
