"""Words in memory: commands, completions, references. Little-endian 32-bit words throughout.

The RTL twin is ``hotline_rtl.interfaces.layouts``; docs/layouts.md is the page for people.
"""

from dataclasses import dataclass, fields, replace
from enum import IntEnum, IntFlag

import numpy as np

NO_ACCESS = 0xFFFF_FFFF
EMPTY_SLOT = 0xFFFF_FFFF
#: Bit 31 of a reference: the rest is a working-row number, not a slot.
WORKING_ROW = 0x8000_0000
#: Buffers (not table rows) start at multiples of this many bytes.
BUFFER_ALIGNMENT = 64
ENTRY_WORDS = 16
#: Most samples, or working rows, of one command.
MAX_COUNT = 1 << 20
#: A limit of slots that no SWAP reaches.
ALL_SLOTS = 0xFFFF_FFFF
#: Number of the first word of each address in a command; ``index`` of a completion names an address by it.
ADDRESS_WORDS = {"source": 4, "popular": 6, "non_popular": 8, "working_keys": 10, "working_rows": 12}
#: Words of an entry of a delta list: slot, (table, row) before, (table, row) after, working row of the latter.
DELTA_WORDS = 6
#: In a delta list: the row is not among those that were gathered last.
NO_WORKING_ROW = 0xFFFF_FFFF


class Opcode(IntEnum):
    """What a command asks for."""

    CLEAR = 1
    LEARN = 2
    DUMP = 3
    LOAD = 4
    SPLIT = 5
    SCATTER = 6
    SWAP = 7
    GATHER = 8


class Flag(IntFlag):
    """Bits of ``flags`` of a command.

    ``AFTER``, of a SPLIT or SCATTER: it names an earlier SPLIT by its tag, ``after``: the one whose SCATTER is still to
    come, or whose working rows these are. ``FOLLOW``, of a SPLIT: the shadow learns from what is split.
    """

    AFTER = 1
    FOLLOW = 2


class Status(IntEnum):
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


class RingError(IntFlag):
    """Why the rings stand still: bits of register ``ring_error``."""

    COMPLETION_WRITE = 1
    COMMAND_BASE = 2
    COMPLETION_BASE = 4
    DOORBELL = 8
    COMPLETION_HEAD = 16
    WATCHDOG = 32


class ModelError(IntFlag):
    """What was refused of a model: bits of register ``model_error``."""

    TABLE_NUMBER = 1
    TABLE_BASE = 2
    TABLE_ROWS = 4
    TABLE_STRIDE = 8
    TABLE_END = 16
    FIRST_SLOT = 32
    ACCESS_NUMBER = 64
    SIZES = 128
    BUSY = 256


class Kind(IntEnum):
    """Which of a command's completions this is; a split has two."""

    WHOLE = 0
    POPULAR = 1
    NON_POPULAR = 2


@dataclass(frozen=True)
class Command:
    """One entry of the command ring: 16 words.

    ``samples`` is the number of samples (LEARN, SPLIT) or of working rows (SCATTER).
    ``source`` is in host memory: sample records (LEARN, SPLIT) or the hot list (DUMP writes it
    there, LOAD reads it) or the delta list (SWAP writes it). The other addresses are in device memory.
    ``working_limit`` is the most working rows that the SPLIT's buffers hold, or the most slots that the SWAP
    may change. ``flags``: see :class:`Flag`.
    """

    opcode: int
    tag: int = 0
    samples: int = 0
    source: int = 0
    popular: int = 0
    non_popular: int = 0
    working_keys: int = 0
    working_rows: int = 0
    working_limit: int = 0
    flags: int = 0
    after: int = 0

    def naming(self, tag: int) -> "Command":
        """This command, which names the SPLIT of that tag besides."""
        return replace(self, flags=self.flags | Flag.AFTER, after=tag)

    def words(self) -> np.ndarray:
        """uint32 [16] as they lie in the ring."""
        words = [self.opcode | self.flags << 8, self.tag, self.samples, self.working_limit]
        for address in (self.source, self.popular, self.non_popular, self.working_keys, self.working_rows):
            words += [address & 0xFFFF_FFFF, address >> 32]
        return np.array(words + [self.after, 0], np.uint32)

    @staticmethod
    def from_words(words: np.ndarray) -> "Command":
        """The command that ``words`` (uint32 [16]) hold."""
        w = [int(x) for x in words]
        source, popular, non_popular, keys, rows = (w[i] | w[i + 1] << 32 for i in range(4, 14, 2))
        return Command(w[0] & 0xFF, w[1], w[2], source, popular, non_popular, keys, rows, w[3], w[0] >> 8, w[14])


@dataclass(frozen=True)
class Completion:
    """One entry of the completion ring: 16 words. Counts are 0 unless ``status`` is OK.

    ``index`` is the sample, slot or working row that an error concerns, ``access`` its access,
    ``address`` the address of an AXI error, or of a buffer that is misaligned or beyond the address space; of such a
    buffer ``index`` is its entry in ADDRESS_WORDS. ``cycles`` runs from the
    command's decoding to this completion: the one field that timing may change.
    ``sequence`` counts completions from 1.
    """

    tag: int
    status: int
    kind: int
    opcode: int
    popular: int = 0
    non_popular: int = 0
    working_rows: int = 0
    accesses: int = 0
    hot_accesses: int = 0
    cycles: int = 0
    index: int = 0
    access: int = 0
    address: int = 0
    sequence: int = 0

    @staticmethod
    def from_words(words: np.ndarray) -> "Completion":
        """The completion that ``words`` (uint32 [16]) hold."""
        w = [int(x) for x in words]
        return Completion(
            tag=w[0],
            status=w[1] & 0xFF,
            kind=w[1] >> 8 & 0xFF,
            opcode=w[1] >> 16 & 0xFF,
            popular=w[2],
            non_popular=w[3],
            working_rows=w[4],
            accesses=w[5],
            hot_accesses=w[6],
            cycles=w[7] | w[8] << 32,
            index=w[9],
            access=w[10],
            sequence=w[11],
            address=w[12] | w[13] << 32,
        )

    def untimed(self) -> dict[str, int]:
        """All fields but ``cycles``: what golden and RTL must agree on."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cycles"}
