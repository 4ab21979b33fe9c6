"""Every size of the accelerator, in one frozen and validated dataclass, with named presets."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar

BUFFER_ALIGNMENT = 64
PAGE_BYTES = 4096


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def partition_bits(index_bits: int) -> int:
    """Low bits of a set number that hashing leaves alone, of ``index_bits``; the bank number is among them."""
    return max(0, min(6, max(index_bits - 5, min(index_bits - 2, 3))))


@dataclass(frozen=True)
class PolicyTraits:
    """What the sizes of an accelerator depend on in a replacement policy.

    ``state_bits``: of each entry, unless ``policy_bits`` says otherwise. ``counts``: state is a counter of accesses.
    ``sketch``: it counts keys that have no entry. ``scores_samples``: accesses are weighted by their sample.
    """

    state_bits: int
    counts: bool
    sketch: bool
    scores_samples: bool


#: The replacement policies of ``hotline_rtl.tracker.policies``. Their order gives the number in register ``tracker_policy``.
POLICY_TRAITS = {
    "srrip": PolicyTraits(state_bits=3, counts=False, sketch=False, scores_samples=False),
    "frequency": PolicyTraits(state_bits=8, counts=True, sketch=True, scores_samples=False),
    "sample_aware": PolicyTraits(state_bits=8, counts=True, sketch=True, scores_samples=True),
}
POLICY_NAMES = tuple(POLICY_TRAITS)


@dataclass(frozen=True)
class AcceleratorConfig:
    """Sizes of one accelerator. Raises ValueError, naming field and value, for a size that cannot be built.

    Results never depend on ``lanes``, ``banks_per_lane``, ``bus_bits`` or any depth; they do depend
    on the tracker's shape, the policy and its sketch, the shadow, the key widths and the permutation's seed.
    """

    #: Tracked accesses that enter the tracker per cycle: 1, 2, 4, 8 or 16.
    lanes: int = 2
    #: Tracker banks for each lane; a power of two.
    banks_per_lane: int = 2
    #: Sets of the tracker, all banks together; a power of two.
    tracker_sets: int = 64
    #: Entries of a set; a power of two.
    tracker_ways: int = 4
    #: Arrays that the sets are divided among: 1, 2 or 4. A key may live in one set of each.
    tracker_arrays: int = 2
    #: Replacement policy, one of ``POLICY_NAMES``.
    policy: str = "frequency"
    #: Bits of replacement state of each entry; 0 for what the policy likes.
    policy_bits: int = 0
    #: 1: the hot set follows the data: learning trains a shadow of it, and SWAP takes it over; 0: there is one set.
    shadow: int = 1
    #: Cells of the sketch for each entry, if the policy has one: 4, 8, 16 or 32.
    sketch_cells: int = 16
    #: Bits of a cell of the sketch.
    sketch_bits: int = 6
    #: Bits of a table number; at most 2**table_bits tables.
    table_bits: int = 5
    #: Bits of a row number; tables have at most 2**row_bits rows.
    row_bits: int = 26
    #: Seed of the key permutation.
    permutation_seed: int = 1
    #: Data width of both AXI4 ports, bits: 64, 128, 256 or 512.
    bus_bits: int = 64
    #: Address width of both AXI4 ports, bits.
    address_bits: int = 40
    #: AXI ID width, bits.
    id_bits: int = 4
    #: AxCACHE of the host port, on AR and AW: memory attributes (IHI 0022 H, A4.4). 3: normal, non-cacheable, bufferable.
    host_axcache: int = 0b0011
    #: AxPROT of the host port (IHI 0022 H, A4.7): bit 0 privileged, bit 1 non-secure, bit 2 instruction.
    host_axprot: int = 0
    #: AxCACHE and AxPROT of the device port.
    device_axcache: int = 0b0011
    device_axprot: int = 0
    #: Longest AXI burst, beats: 8 to 256 (16 for AXI3-like HBM ports), a power of two.
    burst_beats: int = 16
    #: Beats that a linear reader (records, hot list, scattered rows) asks for ahead of use.
    read_ahead_beats: int = 64
    #: Write bursts that each writer may have unanswered; a power of two.
    outstanding_writes: int = 16
    #: Bursts of the gather engine's reads in flight, 1 to 1024; they share what AXI IDs the record reader leaves.
    outstanding_rows: int = 8
    #: Longest row, bytes: 16 to 1024, a multiple of 4.
    max_row_bytes: int = 256
    #: Longest micro-batch record, words (sample number + payload + accesses); a power of two.
    max_record_words: int = 64
    #: Largest working set, rows; a power of two.
    working_rows: int = 512
    #: Rows of keys (one for each lane) between entering the crossbar and leaving it; a power of two.
    lane_rows: int = 16
    #: Recently classified keys that each lane remembers, so that very hot ones do not crowd a bank;
    #: a power of two, or 0 for none.
    lane_filter: int = 0
    #: Not 0: a seed that chooses the streams between blocks, about half of them, that have a register slice more.
    link_slices: int = 0

    #: Arrays of the sketch: every key has a cell in each.
    cell_arrays: ClassVar[int] = 2
    #: Cells of a word of sketch memory.
    word_cells: ClassVar[int] = 8
    #: Rows that may have arrived, or be on their way out, beside those in flight.
    turnaround: ClassVar[int] = 32

    def __post_init__(self):
        def need(ok: bool, name: str, what: str) -> None:
            if not ok:
                raise ValueError(f"{name} must be {what}, not {getattr(self, name)!r}")

        for f in fields(self):
            expected = str if f.type in (str, "str") else int
            if type(getattr(self, f.name)) is not expected:
                raise TypeError(f"{f.name} must be {expected.__name__}, not {getattr(self, f.name)!r}")
        need(self.lanes in (1, 2, 4, 8, 16), "lanes", "1, 2, 4, 8 or 16")
        need(self.banks_per_lane in (1, 2, 4), "banks_per_lane", "1, 2 or 4")
        need(self.tracker_arrays in (1, 2, 4), "tracker_arrays", "1, 2 or 4")
        need(
            self.tracker_ways in (2, 4, 8, 16),
            "tracker_ways",
            "2, 4, 8 or 16",
        )
        need(self.policy in POLICY_NAMES, "policy", f"one of {', '.join(POLICY_NAMES)}")
        need(self.shadow in (0, 1), "shadow", "0 or 1")
        need(
            not self.shadow or self.bank_bits <= self.partition_bits,
            "shadow",
            f"0 with {self.banks} banks for so few sets: a bank must hold whole partitions",
        )
        need(0 <= self.policy_bits <= 16, "policy_bits", "1 to 16, or 0 for what the policy likes")
        need(self.sketch_cells in (4, 8, 16, 32), "sketch_cells", "4, 8, 16 or 32")
        need(3 <= self.sketch_bits <= 16, "sketch_bits", "3 to 16")
        least = next(s for s in (self.tracker_arrays << n for n in range(1, 40)) if self._fits_banks(s))
        need(
            _is_power_of_two(self.tracker_sets) and self._fits_banks(self.tracker_sets),
            "tracker_sets",
            f"a power of two and at least {least} (for {self.banks} banks, "
            f"{self.tracker_arrays} arrays and policy {self.policy})",
        )
        need(1 <= self.table_bits <= 10, "table_bits", "1 to 10")
        need(4 <= self.row_bits <= 31, "row_bits", "4 to 31")
        need(
            2 * self.set_bits <= self.key_bits,
            "tracker_sets",
            f"at most the square root of the number of keys, 2**{self.key_bits}",
        )
        need(0 <= self.permutation_seed < 2**32, "permutation_seed", "0 to 2**32 - 1")
        need(self.bus_bits in (64, 128, 256, 512), "bus_bits", "64, 128, 256 or 512")
        need(32 <= self.address_bits <= 64, "address_bits", "32 to 64")
        need(1 <= self.id_bits <= 10, "id_bits", "1 to 10")
        for port in ("host", "device"):
            cache = getattr(self, f"{port}_axcache")
            # IHI 0022 H, table A4-5: an allocate bit only with the modifiable bit.
            need(
                0 <= cache <= 15 and (cache & 2 or not cache >> 2),
                f"{port}_axcache",
                "0 to 3, 6, 7, 10, 11, 14 or 15",
            )
            need(0 <= getattr(self, f"{port}_axprot") <= 7, f"{port}_axprot", "0 to 7")
        need(
            _is_power_of_two(self.burst_beats) and 8 <= self.burst_beats <= 256,
            "burst_beats",
            "a power of two from 8 to 256",
        )
        need(self.link_slices >= 0, "link_slices", "0 or more")
        need(
            _is_power_of_two(self.read_ahead_beats) and 16 <= self.read_ahead_beats <= 4096,
            "read_ahead_beats",
            "a power of two from 16 to 4096",
        )
        need(
            _is_power_of_two(self.outstanding_writes) and 4 <= self.outstanding_writes <= 1024,
            "outstanding_writes",
            "a power of two from 4 to 1024",
        )
        need(1 <= self.outstanding_rows <= 1024, "outstanding_rows", "1 to 1024")
        need(
            16 <= self.max_row_bytes <= 1024 and self.max_row_bytes % 4 == 0,
            "max_row_bytes",
            "a multiple of 4 from 16 to 1024",
        )
        need(
            _is_power_of_two(self.max_record_words) and 4 * self.bus_words <= self.max_record_words <= 1024,
            "max_record_words",
            f"a power of two from {4 * self.bus_words} (four bus beats) to 1024",
        )
        need(
            _is_power_of_two(self.working_rows) and 16 <= self.working_rows <= 2**20,
            "working_rows",
            "a power of two from 16 to 2**20",
        )
        need(self.lane_rows in (4, 8, 16, 32, 64), "lane_rows", "4, 8, 16, 32 or 64")
        need(self.lane_filter in (0, 8, 16, 32, 64, 128), "lane_filter", "0, 8, 16, 32, 64 or 128")

    def _fits_banks(self, sets: int) -> bool:
        """Whether a tracker of ``sets`` sets can be cut into banks: two sets and sketch words each, and hashing
        leaves the bank number alone."""
        index_bits = (sets // self.tracker_arrays).bit_length() - 1
        if self.tracker_arrays == 1 and not self.has_sketch:
            return index_bits > self.bank_bits
        words = sets * self.tracker_ways * self.sketch_cells // (self.cell_arrays * self.word_cells)
        return self.bank_bits <= partition_bits(index_bits) and words >= 2 * self.banks

    @property
    def banks(self) -> int:
        return self.lanes * self.banks_per_lane

    @property
    def tracker_entries(self) -> int:
        return self.tracker_sets * self.tracker_ways

    @property
    def set_bits(self) -> int:
        return self.tracker_sets.bit_length() - 1

    @property
    def bank_bits(self) -> int:
        return self.banks.bit_length() - 1

    @property
    def key_bits(self) -> int:
        return self.table_bits + self.row_bits

    @property
    def index_bits(self) -> int:
        """Bits of a set number within one array."""
        return (self.tracker_sets // self.tracker_arrays).bit_length() - 1

    @property
    def partition_bits(self) -> int:
        return partition_bits(self.index_bits)

    @property
    def mark_bits(self) -> int:
        """Sets that a word of marks stands for: a power of two, at most half of a partition."""
        return min(self.tracker_sets >> self.partition_bits + 1, 64)

    @property
    def tag_bits(self) -> int:
        return self.key_bits - self.index_bits

    @property
    def has_sketch(self) -> bool:
        return self._policy.sketch

    @property
    def scores_samples(self) -> bool:
        return self._policy.scores_samples

    @property
    def forgets(self) -> bool:
        """Entries that are used no more are forgotten."""
        return bool(self.shadow) and self._policy.counts

    @property
    def state_bits(self) -> int:
        """Bits of replacement state of each entry."""
        return self.policy_bits or self._policy.state_bits

    @property
    def _policy(self) -> PolicyTraits:
        return POLICY_TRAITS[self.policy]

    @property
    def sketch_word_bits(self) -> int:
        """Bits of the number of a word of one array of the sketch."""
        words = self.tracker_entries * self.sketch_cells // (self.cell_arrays * self.word_cells)
        return words.bit_length() - 1

    @property
    def slot_bits(self) -> int:
        """Bits of a tracker slot number."""
        return self.tracker_entries.bit_length() - 1

    @property
    def tables(self) -> int:
        return 1 << self.table_bits

    @property
    def bus_words(self) -> int:
        return self.bus_bits // 32

    @property
    def bus_bytes(self) -> int:
        return self.bus_bits // 8

    @property
    def beat_words(self) -> int:
        """Words of a beat inside the accelerator: twice the bus.

        Each record begins a beat of its own, and a record of r >= bus_words words never takes more
        than r / bus_words beats of this width: so the alignment costs nothing.
        """
        return 2 * self.bus_words

    @property
    def record_beats(self) -> int:
        """Beats, inside the accelerator, of the longest record."""
        return self.max_record_words // self.beat_words

    @property
    def row_beats(self) -> int:
        """Beats that the longest row can touch, at any word alignment."""
        return -(-(self.max_row_bytes - 4) // self.bus_bytes) + 1

    @property
    def reorder_entries(self) -> int:
        """Rows that the gather engine can hold, from being asked for to being written."""
        return self.outstanding_rows + self.turnaround

    @property
    def entry_bits(self) -> int:
        """Bits of the number of a reorder-buffer entry, which is the tag of its row."""
        return (self.reorder_entries - 1).bit_length()

    @property
    def burst_limit(self) -> int:
        """Beats of the longest burst: ``burst_beats``, but never more than 4 KiB."""
        return min(self.burst_beats, PAGE_BYTES // self.bus_bytes)

    def digest(self) -> str:
        """Twelve hexadecimal digits that name this configuration. Attributes of ports and ``link_slices`` count only when they
        are not the default, so that configurations from before there were any keep their names."""
        default = {f.name: f.default for f in fields(self) if f.name.endswith(("_axcache", "_axprot", "_slices"))}
        sizes = {name: value for name, value in asdict(self).items() if default.get(name, None) != value}
        return hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()[:12]

    def with_settings(self, settings: list[str]) -> "AcceleratorConfig":
        """This configuration with ``name=value`` strings applied together.

        Raises ValueError for an unknown name or a value that is not of the field's type or range.
        """
        types = {f.name: f.type for f in fields(self)}
        changes: dict[str, int | str] = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or name not in types:
                raise ValueError(f"--set {setting!r}: use name=value, with one of {', '.join(types)}")
            if types[name] in (str, "str"):
                changes[name] = value
            else:
                try:
                    changes[name] = int(value, 0)
                except ValueError:
                    raise ValueError(f"--set {setting!r}: {value!r} is not a whole number") from None
        return replace(self, **changes)  # type: ignore[arg-type]


#: Settings for the paper's way: the hot set is learnt first, and stays.
FROZEN = ["shadow=0", "policy=sample_aware"]
#: ``tiny`` for tests, ``ecp5`` for an LFE5U-85F, ``alveo`` for the paper's class of card.
PRESETS = {
    "tiny": AcceleratorConfig(),
    "ecp5": AcceleratorConfig(
        lanes=4, banks_per_lane=1, tracker_sets=8192, tracker_ways=2, sketch_cells=8, table_bits=6, bus_bits=64,
        address_bits=32, id_bits=6,
        outstanding_writes=32, outstanding_rows=62, read_ahead_beats=512, max_record_words=256, working_rows=4096,
    ),
    "alveo": AcceleratorConfig(
        lanes=16, tracker_sets=65536, tracker_ways=8, table_bits=6, bus_bits=512, address_bits=64,
        id_bits=9, burst_beats=64, outstanding_writes=256, outstanding_rows=510, read_ahead_beats=1024, max_row_bytes=1024,
        max_record_words=256, working_rows=65536, lane_rows=32, lane_filter=32,
    ),
}  # fmt: skip


def preset(name: str) -> AcceleratorConfig:
    """The preset ``name``. Raises ValueError, listing the presets, for any other."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
