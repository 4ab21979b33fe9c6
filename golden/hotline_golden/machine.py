"""The whole accelerator as a sequential machine: takes commands, changes memory, gives completions.

A SPLIT that names an earlier one (``flags`` bit 0, ``after``) gives its first completion, and waits for the next
command. If that is the SCATTER of the named SPLIT it is carried out first, so that the rows are gathered as if it had
come before; if it is anything else, the SPLIT ends with SCATTER_MISSING before it.

Faults of the memory itself (AXI error responses) are not modelled here: after one, the contents of
the buffers that the command names are unspecified, and benches compare the rest.
"""

from dataclasses import dataclass

import numpy as np

from .layouts import (
    ADDRESS_WORDS,
    ALL_SLOTS,
    BUFFER_ALIGNMENT,
    DELTA_WORDS,
    MAX_COUNT,
    Command,
    Completion,
    Flag,
    Kind,
    Opcode,
    Status,
)
from .memory import MemoryImage
from .model import Model
from .split import Sampling, SplitResult, first_row_outside, follow, learn, rows_before, split
from .tracker.tracker import HotListError, Tracker

#: SPLITs that may be named: this many of the newest, one less by a SPLIT.
OPEN_SPLITS = 4


@dataclass
class OpenSplit:
    """A SPLIT that went well and has not been scattered."""

    tag: int
    rows: int


@dataclass(frozen=True)
class Waiting:
    """A SPLIT that waits for a SCATTER: what it found, and the counts of its completions."""

    command: Command
    working_keys: np.ndarray
    counts: dict[str, int]


@dataclass(frozen=True)
class Refusal(Exception):
    """Ends a command with a status; the fields go into the completion."""

    status: Status
    index: int = 0
    access: int = 0
    address: int = 0


class Machine:
    """Golden twin of ``hotline_rtl.accelerator``.

    ``working_rows`` is the configuration's largest working set, ``max_record_words`` its longest micro-batch record,
    ``max_row_bytes`` its longest row, ``address_bits`` the width of an address. ``last_split`` is the result of the
    newest SPLIT, for reports and bounds, ``last_delta`` that of the newest SWAP. ``swap_limit``, ``swap_worth`` and
    ``sampling``: the registers of these names. ``working_keys`` uint32 [n, 2]: the newest working set.
    """

    def __init__(
        self,
        tracker: Tracker,
        model: Model,
        host: MemoryImage,
        device: MemoryImage,
        *,
        working_rows: int,
        max_record_words: int,
        max_row_bytes: int,
        address_bits: int,
    ):
        self.tracker = tracker
        self.model = model
        self.host = host
        self.device = device
        self.working_rows = working_rows
        self.max_record_words = max_record_words
        self.max_row_bytes = max_row_bytes
        self.address_bits = address_bits
        self.sequence = 0
        self.last_split: SplitResult | None = None
        self.last_delta = np.zeros((0, DELTA_WORDS), np.uint32)
        self.swap_limit = ALL_SLOTS
        self.swap_worth = 0
        self.sampling = Sampling()
        self.working_keys = np.zeros((0, 2), np.uint32)
        self.open: list[OpenSplit | None] = []
        self.waiting: Waiting | None = None

    def execute(self, command: Command) -> list[Completion]:
        """Carries out one command; returns the completions that it brings, in order.

        Two for a SPLIT, one of them if it waits for a SCATTER; the missing one comes with the next command.
        """
        waiting, self.waiting = self.waiting, None
        if not waiting:
            return self._carry_out(command)
        if self._is_awaited(command, waiting.command):
            return [*self._carry_out(command), self._finish(waiting)]
        # Its rows have been gathered as they were, without that SCATTER.
        self._gather_rows(waiting.command, waiting.working_keys)
        self.open[0] = None
        missed = self._completion(waiting.command, Kind.NON_POPULAR, Status.SCATTER_MISSING)
        return [missed, *self._carry_out(command)]

    def _carry_out(self, command: Command) -> list[Completion]:
        handlers = {
            Opcode.CLEAR: self._clear,
            Opcode.LEARN: self._learn,
            Opcode.DUMP: self._dump,
            Opcode.LOAD: self._load,
            Opcode.SPLIT: self._split,
            Opcode.SCATTER: self._scatter,
            Opcode.SWAP: self._swap,
            Opcode.GATHER: self._gather,
        }
        kinds = [Kind.POPULAR, Kind.NON_POPULAR] if command.opcode == Opcode.SPLIT else [Kind.WHOLE]
        done: list[Completion] = []
        try:
            self.check(command)
            for counts in handlers[Opcode(command.opcode)](command):
                done.append(self._completion(command, kinds[len(done)], **counts))
        except Refusal as r:
            for kind in kinds[len(done) :]:
                done.append(
                    self._completion(
                        command, kind, status=r.status, index=r.index, access=r.access, address=r.address
                    )
                )
        return done

    def _completion(self, command: Command, kind: Kind, status: int = Status.OK, **counts) -> Completion:
        self.sequence += 1
        return Completion(
            tag=command.tag,
            status=int(status),
            kind=int(kind),
            opcode=command.opcode,
            sequence=self.sequence,
            **counts,
        )

    def check(self, command: Command) -> None:
        """Raises Refusal for what can be seen to be wrong with a command before it begins.

        Each buffer must begin at a multiple of 64 bytes and lie within the address space, as long as it can become.
        """
        if command.opcode not in Opcode._value2member_map_:
            raise Refusal(Status.UNKNOWN_OPCODE)
        opcode = Opcode(command.opcode)
        follows = opcode is Opcode.SWAP or (opcode is Opcode.SPLIT and command.flags & Flag.FOLLOW)
        if follows and not self.tracker.shadow:
            raise Refusal(Status.UNSUPPORTED)
        sizes = self._buffer_bytes(command)
        for name in sizes:
            if (address := getattr(command, name)) % BUFFER_ALIGNMENT:
                raise Refusal(Status.MISALIGNED_ADDRESS, index=ADDRESS_WORDS[name], address=address)
        if opcode in (Opcode.LEARN, Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER):
            model = self.model
            if (
                not model.accesses
                or model.record_words > self.max_record_words
                or model.row_bytes > self.max_row_bytes
            ):
                raise Refusal(Status.NO_MODEL)
            if not 1 <= command.samples <= MAX_COUNT:
                raise Refusal(Status.BAD_COUNT)
        space = 1 << self.address_bits
        for name, size in sizes.items():
            if (address := getattr(command, name)) >= space or address + size > space:
                raise Refusal(Status.ADDRESS_OUT_OF_RANGE, index=ADDRESS_WORDS[name], address=address)

    def _buffer_bytes(self, command: Command) -> dict[str, int]:
        """The buffers that a command uses, in the order of its words, and the most bytes of each that it can touch."""
        model, slots = self.model, self.tracker.slots
        samples = 4 * model.sample_words * command.samples
        match command.opcode:
            case Opcode.LEARN:
                return {"source": samples}
            case Opcode.DUMP | Opcode.LOAD:
                return {"source": 8 * slots}
            case Opcode.SWAP:
                return {"source": 4 * DELTA_WORDS * min(command.working_limit, slots)}
            case Opcode.SPLIT:
                records = 4 * model.record_words * command.samples
                rows = min(self.working_rows, command.working_limit)
                return {"source": samples, "popular": records, "non_popular": records,
                        "working_keys": 8 * rows, "working_rows": model.row_bytes * rows}  # fmt: skip
            case Opcode.SCATTER | Opcode.GATHER:
                return {"working_keys": 8 * command.samples, "working_rows": model.row_bytes * command.samples}
            case _:
                return {}

    def _named(self, command: Command, among: int = OPEN_SPLITS) -> OpenSplit | None:
        """The newest open SPLIT that ``command`` names, if it names one at all."""
        if not command.flags & Flag.AFTER:
            return None
        for split_ in self.open[:among]:
            if split_ and split_.tag == command.after:
                return split_
        raise Refusal(Status.NO_SUCH_SPLIT)

    def _is_awaited(self, command: Command, split_: Command) -> bool:
        """Whether this is the SCATTER that ``split_`` waits for, and one that is carried out."""
        if command.opcode != Opcode.SCATTER or not command.flags & Flag.AFTER or command.after != split_.after:
            return False
        try:
            self.check(command)
            self._check_scatter(command)
        except Refusal:
            return False
        return True

    def _check_scatter(self, command: Command) -> OpenSplit | None:
        named = self._named(command)
        if named and command.samples > named.rows:
            raise Refusal(Status.BAD_COUNT)
        return named

    def _samples(self, command: Command) -> np.ndarray:
        words = self.model.sample_words
        return self.host.words(command.source, command.samples * words).reshape(-1, words)

    def _clear(self, command: Command):
        self.tracker.clear()
        yield {}

    def _learn(self, command: Command):
        rows = self._samples(command)[:, self.model.payload_words :]
        where = first_row_outside(self.model, rows)
        if where is not None:
            learn(self.model, self.tracker, rows_before(rows, *where))
            raise Refusal(Status.ROW_OUTSIDE_TABLE, index=where[0], access=where[1])
        accesses, hot = learn(self.model, self.tracker, rows)
        yield {"accesses": accesses, "hot_accesses": hot}

    def _dump(self, command: Command):
        self.host.words(command.source, 2 * self.tracker.slots)[:] = self.tracker.dump().reshape(-1)
        yield {}

    def _load(self, command: Command):
        try:
            self.tracker.load(self.host.words(command.source, 2 * self.tracker.slots))
        except HotListError as e:
            raise Refusal(Status.BAD_HOT_LIST, index=e.slot) from e
        yield {}

    def _swap(self, command: Command):
        limit = min(self.swap_limit, command.working_limit)
        delta, left = self.tracker.swap(limit, self.swap_worth, self.working_keys)
        self.last_delta = delta
        if delta.size:
            self.host.words(command.source, delta.size)[:] = delta.reshape(-1)
        yield {"working_rows": len(delta), "accesses": left}

    def _split(self, command: Command):
        named = self._named(command, OPEN_SPLITS - 1)
        samples = self._samples(command)
        rows = samples[:, self.model.payload_words :]
        where = first_row_outside(self.model, rows)
        if command.flags & Flag.FOLLOW:
            seen = rows if where is None else rows_before(rows, *where)
            follow(self.model, self.tracker, seen, self.sampling)
        self.working_keys = np.zeros((0, 2), np.uint32)
        if where is not None:
            raise Refusal(Status.ROW_OUTSIDE_TABLE, index=where[0], access=where[1])
        result = self.last_split = split(self.model, self.tracker, samples)
        counts = {
            "popular": len(result.popular),
            "non_popular": len(result.non_popular),
            "accesses": result.accesses,
            "hot_accesses": result.hot_accesses,
        }
        self._store(command.popular, result.popular)
        yield counts

        limit = min(self.working_rows, command.working_limit)
        if len(result.working_keys) > limit:
            # The working set overflows at the first use of the key whose number is the limit.
            refs = result.non_popular[:, 1 + self.model.payload_words :]
            first = (refs == (0x8000_0000 | limit)).any(axis=1).argmax()
            raise Refusal(Status.WORKING_SET_OVERFLOW, index=int(result.non_popular[first, 0]))
        self._store(command.non_popular, result.non_popular)
        self._store(command.working_keys, result.working_keys)
        self.working_keys = result.working_keys
        self.open = [OpenSplit(command.tag, len(result.working_keys)), *self.open][:OPEN_SPLITS]
        counts |= {"working_rows": len(result.working_keys)}
        if named:
            self.waiting = Waiting(command, result.working_keys, counts)
            return
        self._gather_rows(command, result.working_keys)
        yield counts

    def _finish(self, waiting: Waiting) -> Completion:
        """The second completion of a SPLIT, when the SCATTER that it named has been carried out."""
        self._gather_rows(waiting.command, waiting.working_keys)
        return self._completion(waiting.command, Kind.NON_POPULAR, **waiting.counts)

    def _gather_rows(self, command: Command, working_keys: np.ndarray) -> None:
        row_words = self.model.row_bytes // 4
        for k, (table, row) in enumerate(working_keys.tolist()):
            source = self.host.words(self.model.row_address(table, row), row_words)
            self.device.words(command.working_rows + k * self.model.row_bytes, row_words)[:] = source

    def _store(self, address: int, records: np.ndarray) -> None:
        if records.size:
            self.device.words(address, records.size)[:] = records.reshape(-1)

    def _listed_rows(self, command: Command):
        """For each key of the command's list: its row in host memory, and the working row; views, uint32 [row words].

        At a bad key the command ends: rows before it have been moved, nothing after it.
        """
        keys = self.device.words(command.working_keys, 2 * command.samples).reshape(-1, 2)
        row_words = self.model.row_bytes // 4
        for k, (table, row) in enumerate(keys.tolist()):
            if table >= len(self.model.tables) or row >= self.model.tables[table].rows:
                raise Refusal(Status.ROW_OUTSIDE_TABLE, index=k)
            host = self.host.words(self.model.row_address(table, row), row_words)
            yield host, self.device.words(command.working_rows + k * self.model.row_bytes, row_words)

    def _scatter(self, command: Command):
        if named := self._check_scatter(command):
            self.open[self.open.index(named)] = None
        for host, working in self._listed_rows(command):
            host[:] = working
        yield {"working_rows": command.samples}

    def _gather(self, command: Command):
        for host, working in self._listed_rows(command):
            working[:] = host
        yield {"working_rows": command.samples}
