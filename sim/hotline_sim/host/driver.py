"""The host driver: rings, doorbell, registers, model set-up, and checks before anything is rung.

It knows the accelerator through a transport only: registers, two memories and an interrupt. The
co-simulation, cocotb and a card differ in the transport.
"""

from typing import Protocol

from hotline_golden.layouts import (
    BUFFER_ALIGNMENT,
    DELTA_WORDS,
    ENTRY_WORDS,
    MAX_COUNT,
    Command,
    Completion,
    Kind,
    ModelError,
    Opcode,
    RingError,
)
from hotline_golden.memory import Buffer, MemoryImage
from hotline_golden.model import Model
from hotline_golden.split import check_rows
from hotline_rtl import VERSION_NUMBER
from hotline_rtl.config import POLICY_NAMES, AcceleratorConfig
from hotline_rtl.control.registers.register_map import registers

from .errors import RING_ADVICE, CommandError, DriverError, NoCompletion
from .limits import RING_ENTRIES, RING_LOG2, check_model

IDENTIFICATION = 0x484F544C
#: Bits of the status register.
RESETTING, MODEL_ERROR = 1 << 3, 1 << 4
#: All interrupts: completion and error.
INTERRUPTS = 0b11
#: Of the control register: commands are fetched, and both interrupts are on.
RUN = 0b111
#: Counts of the rings wrap at this.
COUNT_WRAP = 1 << 32
#: After one of these no completion can come; after the others, only those of commands that had been taken, in so many cycles.
NO_COMPLETIONS = RingError.COMPLETION_WRITE | RingError.COMPLETION_BASE | RingError.COMPLETION_HEAD
GRACE = 20_000


class Transport(Protocol):
    """How the driver reaches an accelerator. ``host`` and ``device`` are memories both see."""

    host: MemoryImage
    device: MemoryImage

    def read32(self, address: int) -> int: ...
    def write32(self, address: int, value: int) -> None: ...
    def wait_interrupt(self, cycles: int) -> bool: ...


class Driver:
    """Drives one accelerator over ``transport``.

    ``rings`` are two buffers in host memory, of RING_BYTES each: commands, completions. Raises
    DriverError when what answers is not an accelerator of this configuration and version.
    ``cycle_limit`` is the number of cycles to wait for a completion, at least; long commands get more.
    """

    def __init__(
        self,
        transport: Transport,
        config: AcceleratorConfig,
        rings: tuple[Buffer, Buffer],
        *,
        cycle_limit: int = 2_000_000,
    ):
        self.transport = transport
        self.config = config
        self.command_ring, self.completion_ring = rings
        self.cycle_limit = cycle_limit
        self.model: Model | None = None
        self.submitted = 0
        self.completed = 0
        self.longest = 0  # cycles that the largest command so far may take
        self._identify()
        self._set_up()

    def _set_up(self) -> None:
        for name, ring in (("command", self.command_ring), ("completion", self.completion_ring)):
            self.write(f"{name}_base_lo", ring.address & 0xFFFF_FFFF)
            self.write(f"{name}_base_hi", ring.address >> 32)
            self.write(f"{name}_ring", RING_LOG2)
        self.write("command_tail", self.submitted)
        self.write("completion_head", self.completed)
        self.write("irq_status", INTERRUPTS)
        self.write("control", RUN)

    def reset(self, cycle_limit: int = 1 << 25) -> None:
        """A soft reset: commands under way are forgotten, whatever they were doing, and the tracker is empty.

        The rings and the model, if there was one, are set up again; LOAD brings back a tracker that was dumped.
        What is under way at the memory ports ends first. Raises DriverError when it does not within ``cycle_limit`` cycles:
        a port takes no addresses or data, so only the memory behind it can help.
        """
        self.write("control", 0)
        self.write("soft_reset", 1)
        waited = 0
        while self.read("status") & RESETTING:
            if waited >= cycle_limit:
                raise DriverError(f"no soft reset within {cycle_limit} cycles: a memory port is stuck")
            self.transport.wait_interrupt(1024)
            waited += 1024
        self.submitted = self.completed = self.longest = 0
        self._set_up()
        if self.model:
            self.load_model(self.model)

    def read(self, register: str) -> int:
        """A register by its name in the SystemRDL file."""
        return self.transport.read32(registers()[register].address)

    def write(self, register: str, value: int) -> None:
        """Sets a register by its name in the SystemRDL file."""
        self.transport.write32(registers()[register].address, value)

    def _identify(self) -> None:
        if (found := self.read("id")) != IDENTIFICATION:
            raise DriverError(f"not a Hotline accelerator: id register {found:#x}, not {IDENTIFICATION:#x}")
        if (version := self.read("version")) != VERSION_NUMBER:
            raise DriverError(f"the accelerator is version {version:#x}, this driver {VERSION_NUMBER:#x}")
        c = self.config
        for register, value in {
            "capability": c.lanes | c.bus_words << 8 | c.tracker_ways << 16 | 1 << 24 | c.shadow << 25,
            "tracker_sets": c.tracker_sets,
            "working_rows": c.working_rows,
            "limits": c.max_record_words | c.max_row_bytes << 16,
            "key_fields": c.table_bits | c.row_bits << 8 | c.state_bits << 16 | c.address_bits << 24,
            "tracker_policy": POLICY_NAMES.index(c.policy)
            | c.tracker_arrays << 8
            | c.has_sketch * (c.sketch_cells << 16 | c.sketch_bits << 24),
            "permutation_seed": c.permutation_seed,
        }.items():
            if (found := self.read(register)) != value:
                raise DriverError(f"the accelerator has another configuration: {register} {found:#x}, not {value:#x}")

    def load_model(self, model: Model) -> None:
        """Loads tables and accesses, while no command is under way.

        Raises ValueError for what this configuration cannot serve, and DriverError when the accelerator refuses it all the
        same.
        """
        check_model(self.config, model)
        self.write("model_reset", 1)
        self.write("payload_words", model.payload_words)
        self.write("accesses", model.accesses)
        self.write("row_bytes", model.row_bytes)
        for number, table in enumerate(model.tables):
            self.write("table_base_lo", table.base & 0xFFFF_FFFF)
            self.write("table_base_hi", table.base >> 32)
            self.write("table_rows", table.rows)
            self.write("table_stride", table.stride)
            self.write("table_first_slot", table.first_slot)
            self.write("table_flags", int(table.resident))
            self.write("table_commit", number)
        for access, number in enumerate(model.table_of):
            self.write("access_commit", access | number << 16)
        if self.read("status") & MODEL_ERROR:
            errors = self.read("model_error")
            raise DriverError(
                f"the accelerator refused the model: {ModelError(errors & 0xFFFF)!r}, table or access {errors >> 16}; "
                "load a model only while no command is under way"
            )
        self.model = model

    def check(self, command: Command) -> None:
        """Raises ValueError for what can be seen to be wrong before the doorbell is rung."""
        host, device = self.transport.host, self.transport.device
        model = self.model
        opcode = Opcode(command.opcode)
        if opcode in (Opcode.LEARN, Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER):
            if model is None:
                raise ValueError(f"{opcode.name}: load a model first")
            if not 1 <= command.samples <= MAX_COUNT:
                raise ValueError(f"{opcode.name}: 1 to {MAX_COUNT} samples or rows, not {command.samples}")
        if opcode is Opcode.SWAP and not self.config.shadow:
            raise ValueError("SWAP: this configuration has no shadow; set shadow=1")
        # Image, field of the command, address, words; whether the accelerator writes there.
        spans: list[tuple[MemoryImage, str, int, int, bool]] = []
        if model and opcode in (Opcode.LEARN, Opcode.SPLIT):
            spans.append((host, "source", command.source, command.samples * model.sample_words, False))
        if opcode in (Opcode.DUMP, Opcode.LOAD):
            spans.append((host, "source", command.source, 2 * self.config.tracker_entries, opcode is Opcode.DUMP))
        if opcode is Opcode.SWAP:
            most = min(command.working_limit, self.config.tracker_entries)
            spans.append((host, "source", command.source, DELTA_WORDS * most, True))
        if model and opcode is Opcode.SPLIT:
            records = command.samples * model.record_words
            spans.append((device, "popular", command.popular, records, True))
            spans.append((device, "non_popular", command.non_popular, records, True))
        if model and opcode in (Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER):
            rows = command.working_limit if opcode is Opcode.SPLIT else command.samples
            if opcode is Opcode.SPLIT and not 1 <= rows <= self.config.working_rows:
                raise ValueError(f"SPLIT: working_limit must be 1 to {self.config.working_rows}, not {rows}")
            spans.append((device, "working_keys", command.working_keys, 2 * rows, opcode is Opcode.SPLIT))
            writes = opcode is not Opcode.SCATTER
            spans.append((device, "working_rows", command.working_rows, rows * model.row_bytes // 4, writes))
        for image, name, address, words, _ in spans:
            if address % BUFFER_ALIGNMENT:
                raise ValueError(f"{opcode.name}: {name} at {address:#x} must be a multiple of {BUFFER_ALIGNMENT}")
            if address + 4 * words > 1 << self.config.address_bits:
                raise ValueError(
                    f"{opcode.name}: {name}, {4 * words} bytes at {address:#x}, does not lie within "
                    f"address_bits={self.config.address_bits}"
                )
            if not any(b.address <= address and address + 4 * words <= b.end for b in image.buffers.values()):
                raise ValueError(f"{opcode.name}: {name}, {4 * words} bytes at {address:#x}, is in no buffer")
        self._check_overlaps(opcode, spans)
        if model and opcode in (Opcode.LEARN, Opcode.SPLIT):
            samples = host.words(command.source, command.samples * model.sample_words)
            check_rows(model, samples.reshape(-1, model.sample_words)[:, model.payload_words :])

    def _check_overlaps(self, opcode: Opcode, spans: list[tuple[MemoryImage, str, int, int, bool]]) -> None:
        """Raises ValueError when a buffer that the accelerator writes overlaps another one of the command, a ring or a
        table."""
        kept = [("the command ring", self.command_ring), ("the completion ring", self.completion_ring)]
        fixed = [(name, ring.address, ring.end) for name, ring in kept]
        for number, table in enumerate(self.model.tables if self.model else ()):
            fixed.append((f"table {number}", table.base, table.base + table.rows * table.stride))
        for n, (image, name, address, words, written) in enumerate(spans):
            end = address + 4 * words
            others = [
                (other, at, at + 4 * size)
                for where, other, at, size, also in spans[n + 1 :]
                if where is image and (written or also)
            ]
            if written and image is self.transport.host:
                others += fixed
            for other, begins, ends in others:
                if address < ends and begins < end:
                    raise ValueError(
                        f"{opcode.name}: {name}, {address:#x} to {end:#x}, overlaps {other}, {begins:#x} to {ends:#x}"
                    )

    def submit(self, command: Command) -> None:
        """Puts a command into the ring and rings the doorbell, without checks."""
        if (self.submitted - self.read("command_head")) % COUNT_WRAP >= RING_ENTRIES:
            self._check_rings()
            raise DriverError(f"the command ring is full: {RING_ENTRIES} commands wait")
        address = self.command_ring.address + self.submitted % RING_ENTRIES * ENTRY_WORDS * 4
        self.transport.host.words(address, ENTRY_WORDS)[:] = command.words()
        self.submitted = (self.submitted + 1) % COUNT_WRAP
        self.longest = max(self.longest, 500 * command.samples * (self.model.record_words if self.model else 1))
        if command.opcode == Opcode.SWAP:
            self.longest = max(self.longest, 100 * self.config.tracker_entries)
        self.write("command_tail", self.submitted)

    def _check_rings(self) -> None:
        """Raises DriverError when the rings have stopped."""
        if errors := self.read("ring_error"):
            reasons = "; ".join(RING_ADVICE[error] for error in RingError if errors & error)
            raise DriverError(f"the rings have stopped (register ring_error {errors:#x}): {reasons}. Use reset()")

    def next_completion(self) -> Completion:
        """Waits for the next completion and frees its place in the ring.

        Raises NoCompletion when none comes within ``cycle_limit`` cycles; DriverError when the rings have stopped, or when
        the ring holds another completion than the next one.
        """
        address = self.completion_ring.address + self.completed % RING_ENTRIES * ENTRY_WORDS * 4
        words = self.transport.host.words(address, ENTRY_WORDS)
        cycle_limit = max(self.cycle_limit, self.longest)
        while self.read("completion_tail") == self.completed:
            # Commands that were taken before the rings stopped still end, unless their completions cannot be written.
            stopped = self.read("ring_error")
            if stopped & NO_COMPLETIONS:
                self._check_rings()
            if not self.transport.wait_interrupt(GRACE if stopped else cycle_limit):
                self._check_rings()
                status = self.read("status")
                raise NoCompletion(
                    f"no completion within {cycle_limit:,} cycles, as long as the driver waits: memory is slower than that, or "
                    f"the accelerator hangs (status register {status:#x}, {self.read('command_head')} commands taken, "
                    f"{self.completed} completed)"
                )
            self.write("irq_status", INTERRUPTS)
        completion = Completion.from_words(words.copy())
        self.completed = (self.completed + 1) % COUNT_WRAP
        if completion.sequence != self.completed:
            raise DriverError(
                f"entry {(self.completed - 1) % RING_ENTRIES} of the completion ring holds number {completion.sequence}, not "
                f"{self.completed}: its write has not arrived in host memory, or something else wrote there"
            )
        self.write("completion_head", self.completed)
        return completion

    def execute(self, command: Command, *, checked: bool = True) -> list[Completion]:
        """Carries out one command; returns its completions, two for a SPLIT.

        Raises ValueError from :meth:`check`, and CommandError when the last completion has a status
        other than OK; with ``checked=False`` neither, for tests.
        """
        if checked:
            self.check(command)
        self.submit(command)
        completions = [self.next_completion()]
        if completions[0].kind == Kind.POPULAR:
            completions.append(self.next_completion())
        for completion in completions if checked else []:
            if completion.status:
                raise CommandError(completion, self.transport.host, self.transport.device)
        return completions

    def counters(self) -> dict[str, int]:
        """All performance counters by name."""
        found = {}
        for name in registers():
            if name.endswith("_lo") and f"{name[:-3]}_hi" in registers() and registers()[name].address >= 0x100:
                found[name[:-3]] = self._counter(name[:-3])
        return found

    def _counter(self, name: str) -> int:
        while True:
            high, low = self.read(f"{name}_hi"), self.read(f"{name}_lo")
            if self.read(f"{name}_hi") == high:
                return high << 32 | low
