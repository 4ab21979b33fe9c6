"""Keys, and the keyed permutation that spreads them over the tracker's sets.

A key is ``table << row_bits | row``. The permutation is an unbalanced Feistel network of
``ROUNDS`` rounds, so it is a bijection on the key bits: set index and tag together are the key.
The RTL twin is ``hotline_rtl.lib.keys``; the two files state the same arithmetic.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .layouts import NO_ACCESS

ROUNDS = 4
#: Bits of each round's multiplier: one DSP block multiplies a half key by it.
MULTIPLIER_BITS = 16
#: The round function returns the product from this bit on: low and high input bits both reach there.
PRODUCT_SHIFT = 8


def splitmix64(state: int) -> int:
    """The SplitMix64 output function (Steele, Lea, Flood, OOPSLA 2014) of a 64-bit state."""
    mask = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def mix64(z: np.ndarray) -> np.ndarray:
    """:func:`splitmix64` of uint64 arrays."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class KeySpace:
    """The keys of one configuration: field widths in bits, and the permutation's seed."""

    table_bits: int
    row_bits: int
    seed: int

    @property
    def key_bits(self) -> int:
        return self.table_bits + self.row_bits

    @property
    def halves(self) -> tuple[int, int]:
        """Widths of the right (low) and left (high) half."""
        left = self.key_bits // 2
        return self.key_bits - left, left

    @cached_property
    def round_keys(self) -> list[tuple[int, int]]:
        """(multiplier, offset) of each round; multipliers are odd."""
        keys = []
        for r in range(ROUNDS):
            bits = splitmix64((self.seed << 8) + r)
            keys.append(((bits & ((1 << MULTIPLIER_BITS) - 1)) | 1, bits >> 32))
        return keys

    def pack(self, tables, rows) -> np.ndarray:
        """uint64 keys of integer ``tables`` and ``rows`` (same shape)."""
        return (np.asarray(tables, np.uint64) << np.uint64(self.row_bits)) | np.asarray(rows, np.uint64)

    def unpack(self, keys) -> tuple[np.ndarray, np.ndarray]:
        """uint32 tables and rows of ``keys``."""
        keys = np.asarray(keys, np.uint64)
        row_mask = np.uint64((1 << self.row_bits) - 1)
        return (keys >> np.uint64(self.row_bits)).astype(np.uint32), (keys & row_mask).astype(np.uint32)

    def _round(self, r: int, half: np.ndarray, in_bits: int, out_bits: int) -> np.ndarray:
        multiplier, offset = self.round_keys[r]
        product = (half ^ np.uint64(offset & ((1 << in_bits) - 1))) * np.uint64(multiplier)
        return (product >> np.uint64(PRODUCT_SHIFT)) & np.uint64((1 << out_bits) - 1)

    def _network(self, keys, rounds) -> np.ndarray:
        keys = np.asarray(keys, np.uint64)
        right_bits, left_bits = self.halves
        right = keys & np.uint64((1 << right_bits) - 1)
        left = keys >> np.uint64(right_bits)
        for r in rounds:
            if r % 2 == 0:
                left = left ^ self._round(r, right, right_bits, left_bits)
            else:
                right = right ^ self._round(r, left, left_bits, right_bits)
        return (left << np.uint64(right_bits)) | right

    def permute(self, keys) -> np.ndarray:
        """uint64 permuted keys: low bits choose the set, the rest is the tag."""
        return self._network(keys, range(ROUNDS))

    def inverse(self, permuted) -> np.ndarray:
        """The keys that :meth:`permute` maps to ``permuted``."""
        return self._network(permuted, reversed(range(ROUNDS)))

    def is_access(self, rows) -> np.ndarray:
        """False where a row word is the padding ``NO_ACCESS``."""
        return np.asarray(rows) != NO_ACCESS
