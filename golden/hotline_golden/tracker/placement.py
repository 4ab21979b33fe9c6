"""Where a key may live: the lines of the tracker it may take, and the cells of the sketch that count it.

The tracker's sets stand in ``arrays`` arrays; a key may live in one set of each. Array 0 takes the low
bits of the permuted key as they are; the others XOR them with a hash of the rest, so in every array set
and tag together are the key. The lowest ``partition_bits`` stay the same in all arrays: hardware puts
them in the bank number, and contents do not depend on how many banks there are.

The hashes are linear (each bit the parity of some input bits: Carter and Wegman's H3 class, 1979), which
is enough behind the permutation, and a few gates each. The RTL twin is ``hotline_rtl.tracker.placement``.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..keys import splitmix64

#: Arrays of the sketch: every key has a cell in each.
CELL_ARRAYS = 2
#: Cells of a word of sketch memory.
WORD_CELLS = 8
#: Functions ``CELL_HASH`` and up place cells; 1 and up lines.
CELL_HASH = 16


def partition_bits(index_bits: int) -> int:
    """Low bits of a set number that hashing leaves alone, of ``index_bits``: enough for the banks of a tracker
    of this size, few enough that a partition has room for chance."""
    return max(0, min(6, max(index_bits - 5, min(index_bits - 2, 3))))


@cache
def hash_masks(function: int, in_bits: int, out_bits: int) -> list[int]:
    """For each output bit of hash ``function``, the input bits whose parity it is."""
    return [splitmix64((function << 32) + bit) & ((1 << in_bits) - 1) for bit in range(out_bits)]


@cache
def _byte_tables(function: int, in_bits: int, out_bits: int) -> np.ndarray:
    """int64 [bytes, 256]: the hash of each byte of the input alone; they add up by XOR."""
    masks = hash_masks(function, in_bits, out_bits)
    tables = np.zeros((-(-in_bits // 8), 256), np.int64)
    for byte in range(len(tables)):
        value = np.arange(256, dtype=np.uint64) << np.uint64(8 * byte)
        for bit, mask in enumerate(masks):
            parity = np.bitwise_count(value & np.uint64(mask)).astype(np.int64) & 1
            tables[byte] |= parity << bit
    return tables


def linear_hash(function: int, values: np.ndarray, in_bits: int, out_bits: int) -> np.ndarray:
    """int64: ``out_bits`` bits of hash ``function`` of ``values`` uint64 of ``in_bits`` bits."""
    result = np.zeros(values.shape, np.int64)
    for byte, table in enumerate(_byte_tables(function, in_bits, out_bits)):
        result ^= table[((values >> np.uint64(8 * byte)) & np.uint64(255)).astype(np.int64)]
    return result


@dataclass(frozen=True)
class Placement:
    """The shape of a tracker: ``sets`` x ``ways`` entries in ``arrays`` arrays (each a power of two), and
    ``cells`` cells of sketch for each entry (0 for none)."""

    key_bits: int
    sets: int
    ways: int
    arrays: int = 1
    cells: int = 0

    @property
    def lines(self) -> int:
        """Sets of one array."""
        return self.sets // self.arrays

    @property
    def index_bits(self) -> int:
        return self.lines.bit_length() - 1

    @property
    def tag_bits(self) -> int:
        return self.key_bits - self.index_bits

    @property
    def partition_bits(self) -> int:
        return partition_bits(self.index_bits)

    @property
    def words(self) -> int:
        """Words of one array of the sketch."""
        return self.sets * self.ways * self.cells // (CELL_ARRAYS * WORD_CELLS)

    def _twist(self, array: int, tags: np.ndarray) -> np.ndarray:
        """What array ``array`` XORs set numbers with."""
        if array == 0:
            return np.zeros(tags.shape, np.int64)
        bits = self.index_bits - self.partition_bits
        return linear_hash(array, tags, self.tag_bits, bits) << self.partition_bits

    def turn(self, sets: np.ndarray) -> np.ndarray:
        """int64: at which place each of ``sets`` is visited when all are: those of a partition one after another."""
        return (sets & ((1 << self.partition_bits) - 1)) * (self.sets >> self.partition_bits) + (
            sets >> self.partition_bits
        )

    def place(self, permuted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sets int64 [n, arrays] that the ``permuted`` keys uint64 [n] may live in, and their tags int64 [n]."""
        tags = permuted >> np.uint64(self.index_bits)
        low = (permuted & np.uint64(self.lines - 1)).astype(np.int64)
        sets = [a * self.lines + (low ^ self._twist(a, tags)) for a in range(self.arrays)]
        return np.stack(sets, axis=-1), tags.astype(np.int64)

    def unplace(self, sets: np.ndarray, tags: np.ndarray) -> np.ndarray:
        """The permuted keys uint64 that have ``tags`` in ``sets``."""
        tags = np.where(tags < 0, 0, tags).astype(np.uint64)
        low = sets % self.lines
        for a in range(1, self.arrays):
            low = np.where(sets // self.lines == a, low ^ self._twist(a, tags), low)
        return (tags << np.uint64(self.index_bits)) | low.astype(np.uint64)

    def place_cells(self, permuted: np.ndarray) -> np.ndarray:
        """int64 [n, CELL_ARRAYS]: the cells of the ``permuted`` keys uint64 [n], numbered through all arrays."""
        keep = self.partition_bits
        low = (permuted & np.uint64((1 << keep) - 1)).astype(np.int64)
        rest = permuted >> np.uint64(keep)
        sub_bits = WORD_CELLS.bit_length() - 1
        out_bits = sub_bits + self.words.bit_length() - 1 - keep
        cells = []
        for a in range(CELL_ARRAYS):
            h = linear_hash(CELL_HASH + a, rest, self.key_bits - keep, out_bits)
            word = low | (h >> sub_bits << keep)
            cells.append((a * self.words + word) * WORD_CELLS + (h & (WORD_CELLS - 1)))
        return np.stack(cells, axis=-1)
