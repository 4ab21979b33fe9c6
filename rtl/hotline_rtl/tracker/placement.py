"""Where a key may live: the lines of the tracker it may take, and the cells of the sketch that count it.

The golden twin is ``hotline_golden.tracker.placement``; the two files state the same arithmetic. Combinational:
a hash bit is the parity of about half its input bits.
"""

from functools import cache

from amaranth.hdl import Array, Cat, Const, Value

from ..config import AcceleratorConfig
from ..lib.keys import splitmix64

CELL_HASH = 16


@cache
def hash_masks(function: int, in_bits: int, out_bits: int) -> list[int]:
    """For each output bit of hash ``function``, the input bits whose parity it is."""
    return [splitmix64((function << 32) + bit) & ((1 << in_bits) - 1) for bit in range(out_bits)]


def linear_hash(function: int, value: Value, out_bits: int) -> Value:
    """``out_bits`` bits of hash ``function`` of ``value``."""
    masks = hash_masks(function, len(value), out_bits)
    return Cat((value & Const(mask, len(value))).xor() for mask in masks)


def index_hash(config: AcceleratorConfig, array: int, tag: Value) -> Value:
    """What array ``array`` XORs set numbers of its own (``index_bits`` bits) with."""
    if array == 0:
        return Const(0, config.index_bits)
    keep = config.partition_bits
    return Cat(Const(0, keep), linear_hash(array, tag, config.index_bits - keep))


def cell_place(config: AcceleratorConfig, array: int, index: Value, tag: Value) -> tuple[Value, Value]:
    """Of a key in a bank: word address within the bank, and number of the cell in the word.

    ``index``: the permuted key's bits from the bank number up to the tag.
    """
    keep = config.partition_bits - config.bank_bits  # partition bits that are not the bank's number
    sub_bits = config.word_cells.bit_length() - 1
    out_bits = sub_bits + config.sketch_word_bits - config.partition_bits
    h = linear_hash(CELL_HASH + array, Cat(index[keep:], tag), out_bits)
    return Cat(index[:keep], h[sub_bits:]), h[:sub_bits]


def set_in_array_0(config: AcceleratorConfig, number: Value, tag: Value) -> Value:
    """The set, in array 0, of the key that has ``tag`` in set ``number`` of the whole tracker."""
    index, array = number[: config.index_bits], number[config.index_bits :]
    hashes = [index_hash(config, a, tag) for a in range(config.tracker_arrays)]
    return index ^ (Array(hashes)[array] if len(hashes) > 1 else hashes[0])
