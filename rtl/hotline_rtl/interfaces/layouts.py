"""Words in memory, and the structures that flow between the blocks.

The golden twin of the first part is ``hotline_golden.layouts``; docs/layouts.md is for people.
"""

import enum

from amaranth.lib import data

from ..config import AcceleratorConfig
from ..lib.word_queue import group_layout

NO_ACCESS = 0xFFFF_FFFF
EMPTY_SLOT = 0xFFFF_FFFF
WORKING_ROW_BIT = 31
ENTRY_WORDS = 16
ENTRY_BYTES = 64
#: Number of the first word of each address in a command.
ADDRESS_WORDS = {"source": 4, "popular": 6, "non_popular": 8, "working_keys": 10, "working_rows": 12}
#: Words of an entry of a delta list.
DELTA_WORDS = 6
#: In a delta list: the row is not among those that were gathered last.
NO_WORKING_ROW = 0xFFFF_FFFF
#: Bits of ``flags`` of a command: it names an earlier SPLIT; a SPLIT learns.
AFTER_FLAG, FOLLOW_FLAG = 0, 1
#: Bits of the largest number of samples or working rows in one command, and of a linear transfer.
COUNT_BITS = 20
WORDS_BITS = 30


class Opcode(enum.IntEnum):
    """What a command asks for."""

    CLEAR = 1
    LEARN = 2
    DUMP = 3
    LOAD = 4
    SPLIT = 5
    SCATTER = 6
    SWAP = 7
    GATHER = 8


class Status(enum.IntEnum):
    """How a command ended."""

    OK = 0
    UNKNOWN_OPCODE = 1
    MISALIGNED_ADDRESS = 2
    ROW_OUTSIDE_TABLE = 3
    WORKING_SET_OVERFLOW = 4
    BAD_COUNT = 5
    READ_ERROR = 6
    WRITE_ERROR = 7
    BAD_HOT_LIST = 8
    NO_MODEL = 9
    UNSUPPORTED = 10
    TIMEOUT = 11
    NO_SUCH_SPLIT = 12
    SCATTER_MISSING = 13
    ADDRESS_OUT_OF_RANGE = 14


class Kind(enum.IntEnum):
    """Which of a command's completions this is; a split has two."""

    WHOLE = 0
    POPULAR = 1
    NON_POPULAR = 2


def command_layout() -> data.StructLayout:
    """A command as it lies in the ring, 512 bits."""
    return data.StructLayout({
        "opcode": 8, "flags": 24, "tag": 32, "samples": 32, "working_limit": 32,
        "source": 64, "popular": 64, "non_popular": 64, "working_keys": 64, "working_rows": 64,
        "after": 32, "reserved": 32,
    })  # fmt: skip


def completion_layout() -> data.StructLayout:
    """A completion as it lies in the ring, 512 bits."""
    return data.StructLayout({
        "tag": 32, "status": 8, "kind": 8, "opcode": 8, "reserved0": 8,
        "popular": 32, "non_popular": 32, "working_rows": 32, "accesses": 32, "hot_accesses": 32,
        "cycles": 64, "index": 32, "access": 32, "sequence": 32, "address": 64, "reserved1": 64,
    })  # fmt: skip


def key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key: row in the low bits, table above."""
    return data.StructLayout({"row": config.row_bits, "table": config.table_bits})


def words_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Words of a bus beat."""
    return group_layout(config.bus_words)


#: Bits of the number that tells by how much the weight of an access is shifted down.
SHIFT_BITS = 2


def beat_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A beat of a micro-batch record on its way through classification: ``beat_words`` words.

    ``words`` are record words (sample number, payload, references or rows), ``count`` of them valid
    from word 0. ``mask`` marks accesses: before classification the tracked ones, afterwards the cold
    ones; their words hold rows, and ``tables`` their tables. ``last`` ends a sample, ``end`` the
    command, ``drop`` spoils its sample. ``follow``: accesses are learnt, too.
    """
    return data.StructLayout({
        "words": data.ArrayLayout(32, config.beat_words),
        "tables": data.ArrayLayout(config.table_bits, config.beat_words),
        "mask": config.beat_words,
        "count": range(config.beat_words + 1),
        "last": 1, "end": 1, "drop": 1, **({"follow": 1} if config.shadow else {}),
    })  # fmt: skip
