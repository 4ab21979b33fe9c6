"""A key's permutation, its sets, tag and cells, one key at a time: the arithmetic of golden's ``keys`` and ``placement``.

A shape is a flat array of the numbers that it takes, so that compiled code can have it: :func:`key_shape`.
"""

import numpy as np

from hotline_golden.keys import KeySpace
from hotline_golden.tracker.placement import CELL_ARRAYS, CELL_HASH, Placement, hash_masks

from .compiler import compiled

ROUNDS = 4
PRODUCT_SHIFT = 8
#: Places in a shape.
ROW_BITS, RIGHT_BITS, LEFT_BITS = 0, 1, 2
MULTIPLIERS, OFFSETS = 3, 7  # of each round
INDEX_BITS, KEEP_BITS, ARRAYS, CELL_WORDS = 11, 12, 13, 14
SHAPE_WORDS = 15
#: Bits of a cell's number within its word of the sketch.
CELL_BITS = 3


def key_shape(keys: KeySpace, placement: Placement) -> np.ndarray:
    """uint64 [SHAPE_WORDS]."""
    shape = np.zeros(SHAPE_WORDS, np.uint64)
    shape[ROW_BITS] = keys.row_bits
    shape[RIGHT_BITS], shape[LEFT_BITS] = keys.halves
    for r, (multiplier, offset) in enumerate(keys.round_keys):
        in_bits = keys.halves[r % 2]
        shape[MULTIPLIERS + r] = multiplier
        shape[OFFSETS + r] = offset & ((1 << in_bits) - 1)
    shape[INDEX_BITS], shape[KEEP_BITS] = placement.index_bits, placement.partition_bits
    shape[ARRAYS], shape[CELL_WORDS] = placement.arrays, placement.words
    return shape


def hash_tables(keys: KeySpace, placement: Placement) -> np.ndarray:
    """uint32 [arrays - 1 + CELL_ARRAYS, bytes, 256]: of each linear hash, what each byte of its input adds by XOR; first those
    that place lines in the arrays from 1 on, then those that place cells."""
    bits = placement.index_bits - placement.partition_bits
    found = [_bytes_of(hash_masks(a, placement.tag_bits, bits)) for a in range(1, placement.arrays)]
    cells = CELL_BITS + max(1, placement.words).bit_length() - 1 - placement.partition_bits
    for a in range(CELL_ARRAYS):
        masks = hash_masks(CELL_HASH + a, keys.key_bits - placement.partition_bits, cells) if placement.words else []
        found.append(_bytes_of(masks))
    return np.stack(found)


def _bytes_of(masks: list[int]) -> np.ndarray:
    """uint32 [8, 256] for output bits that are parities of the input bits in ``masks``."""
    table = np.zeros((8, 256), np.uint32)
    for bit, mask in enumerate(masks):
        for byte in range(8):
            part = mask >> (8 * byte) & 255
            table[byte] |= np.array([(value & part).bit_count() & 1 for value in range(256)], np.uint32) << np.uint32(
                bit
            )
    return table


@compiled
def _after_round(shape, r, left, right):
    """Both halves after round ``r``, which changes one of them by a function of the other: doing it twice undoes it."""
    one = np.uint64(1)
    if r % 2 == 0:
        product = (right ^ shape[OFFSETS + r]) * shape[MULTIPLIERS + r]
        return left ^ ((product >> np.uint64(PRODUCT_SHIFT)) & ((one << shape[LEFT_BITS]) - one)), right
    product = (left ^ shape[OFFSETS + r]) * shape[MULTIPLIERS + r]
    return left, right ^ ((product >> np.uint64(PRODUCT_SHIFT)) & ((one << shape[RIGHT_BITS]) - one))


@compiled
def permuted(shape, key):
    """uint64: the key after the Feistel network."""
    right = key & ((np.uint64(1) << shape[RIGHT_BITS]) - np.uint64(1))
    left = key >> shape[RIGHT_BITS]
    for r in range(ROUNDS):
        left, right = _after_round(shape, r, left, right)
    return (left << shape[RIGHT_BITS]) | right


@compiled
def unpermuted(shape, key):
    """uint64: the key that :func:`permuted` makes ``key`` of."""
    right = key & ((np.uint64(1) << shape[RIGHT_BITS]) - np.uint64(1))
    left = key >> shape[RIGHT_BITS]
    for r in range(ROUNDS):
        left, right = _after_round(shape, ROUNDS - 1 - r, left, right)
    return (left << shape[RIGHT_BITS]) | right


@compiled
def hashed(table, value):
    """int64: the hash of ``value`` whose bytes add what ``table`` uint32 [8, 256] has."""
    found = np.uint32(0)
    byte = 0
    while value:
        found ^= table[byte, value & np.uint64(255)]
        value >>= np.uint64(8)
        byte += 1
    return np.int64(found)


@compiled
def set_of(shape, tables, key, array):
    """int64: the set, numbered through all arrays, in which the permuted ``key`` may live in ``array``."""
    index = shape[INDEX_BITS]
    lines = np.int64(1) << np.int64(index)
    low = np.int64(key & np.uint64(lines - 1))
    if array > 0:
        low ^= hashed(tables[array - 1], key >> index) << np.int64(shape[KEEP_BITS])
    return array * lines + low


@compiled
def cell_of(shape, tables, key, array):
    """int64: the cell of the sketch that counts the permuted ``key`` in ``array``."""
    keep = shape[KEEP_BITS]
    low = np.int64(key & ((np.uint64(1) << keep) - np.uint64(1)))
    found = hashed(tables[np.int64(shape[ARRAYS]) - 1 + array], key >> keep)
    word = low | (found >> CELL_BITS << np.int64(keep))
    return ((array * np.int64(shape[CELL_WORDS]) + word) << CELL_BITS) + (found & ((1 << CELL_BITS) - 1))


@compiled
def key_of_slot(shape, tables, tag, line):
    """uint64: the key, not permuted, whose ``tag`` stands in set ``line``."""
    index = shape[INDEX_BITS]
    lines = np.int64(1) << np.int64(index)
    array, low = line // lines, line % lines
    high = np.uint64(tag)
    if array > 0:
        low ^= hashed(tables[array - 1], high) << np.int64(shape[KEEP_BITS])
    return unpermuted(shape, (high << index) | np.uint64(low))
