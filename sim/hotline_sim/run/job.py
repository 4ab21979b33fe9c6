"""From a trace and a configuration to a model in memory: residents, slots, buffers, rows, commands."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from hotline_golden.keys import KeySpace, mix64
from hotline_golden.layouts import BUFFER_ALIGNMENT, DELTA_WORDS, MAX_COUNT, Command, Flag, Opcode
from hotline_golden.machine import Machine
from hotline_golden.memory import Buffer, MemoryImage, MemoryPlan, zeroed
from hotline_golden.model import Model, Table
from hotline_golden.tracker.tracker import Tracker
from hotline_rtl.config import AcceleratorConfig

from ..host.limits import RING_BYTES, check_model
from ..traces.trace import Trace, used_rows

#: Device memory that resident rows may take together, unless a bound is given.
RESIDENT_SHARE_BYTES = 4 << 20
#: Tables larger than this together are initialised only where the trace touches them.
WHOLE_TABLES_BYTES = 256 << 20
DEVICE_BASE = 1 << 31
#: Mini-batches that host memory holds, unless it is asked for more: those in use, and some that come next.
SAMPLE_BUFFERS = 32


def golden_tracker(config: AcceleratorConfig) -> Tracker:
    """An empty golden tracker of ``config``'s shape."""
    return _tracker(Tracker, config)


def native_tracker(config: AcceleratorConfig):
    """The same of the software engine, which needs Numba."""
    from hotline_native import NativeTracker

    return _tracker(NativeTracker, config)


def _tracker(kind, config: AcceleratorConfig):
    return kind(
        KeySpace(config.table_bits, config.row_bits, config.permutation_seed),
        config.tracker_sets,
        config.tracker_ways,
        config.policy,
        config.policy_bits,
        arrays=config.tracker_arrays,
        sketch_cells=config.sketch_cells,
        sketch_bits=config.sketch_bits,
        shadow=bool(config.shadow),
    )


def resident_bound(table_rows: np.ndarray, row_bytes: int, share_bytes: int = RESIDENT_SHARE_BYTES) -> int:
    """The largest table size such that all tables up to it fit ``share_bytes`` together; 0 if none."""
    bound = 0
    for rows in np.unique(table_rows):
        if table_rows[table_rows <= rows].sum() * row_bytes > share_bytes:
            break
        bound = int(rows)
    return bound


def initial_rows(table: int, rows: np.ndarray, dim: int) -> np.ndarray:
    """float32 [n, dim]: the rows' values before training, by a rule that needs no memory.

    Value ``c`` of row ``r`` of table ``t`` is ``(h >> 40) / 2**24 - 0.5`` where ``h`` is SplitMix64 of
    ``t << 48 | r << 12 | c``; all are exact in float32.
    """
    words = (np.uint64(table) << np.uint64(48)) | (np.asarray(rows, np.uint64)[:, None] << np.uint64(12))
    bits = mix64(words | np.arange(dim, dtype=np.uint64)[None, :])
    return ((bits >> np.uint64(40)).astype(np.float64) / 2.0**24 - 0.5).astype(np.float32)


def initial_parts(table: int, rows: np.ndarray, dim: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``rows`` in parts, each with its :func:`initial_rows`: large tables are never made as a whole."""
    for start in range(0, len(rows), 1 << 16):
        part = rows[start : start + (1 << 16)]
        yield part, initial_rows(table, part, dim)


def updated_rows(rows: np.ndarray, batch: int) -> np.ndarray:
    """The stated deterministic update of float32 working rows: ``0.875 * row + (batch mod 7) / 64``."""
    return rows * np.float32(0.875) + np.float32((batch % 7) / 64)


def rings(host: MemoryImage) -> tuple[Buffer, Buffer]:
    """The command ring and the completion ring of a host memory that :func:`prepare` laid out, as the driver takes them."""
    return host.buffers["command ring"], host.buffers["completion ring"]


@dataclass
class Job:
    """A trace cut into mini-batches, and both memories as they are before the first command."""

    trace: Trace
    config: AcceleratorConfig
    model: Model
    batch_size: int
    learn_batches: list[int]
    resident_rows: int | None
    host: MemoryImage
    device: MemoryImage
    whole_tables: bool
    #: The next mini-batch's SPLIT is submitted before this one's SCATTER, and names its SPLIT.
    prefetch: bool = False
    #: Cycles that the GPU takes for a step.
    step_cycles: int = 0
    #: Mini-batches that learning runs ahead of splitting; 0: a mini-batch is learnt from while it is split.
    look_ahead: int = 0
    #: The mini-batch that each buffer of samples in host memory holds.
    loaded: list[int] = field(default_factory=list)

    @property
    def dim(self) -> int:
        """float32 values of a row."""
        return self.model.row_bytes // 4

    @property
    def follows(self) -> bool:
        """The hot set follows the data: there is a shadow, which learns from each mini-batch that is split, and is taken over
        after it. If not, the hot set is learnt first, and stays as it is."""
        return bool(self.config.shadow)

    @property
    def batches(self) -> int:
        return -(-self.trace.samples // self.batch_size)

    @property
    def working_limit(self) -> int:
        """Working rows that the device buffers hold."""
        return self.device.buffers["working keys"].size // 8

    def samples_of(self, batch: int) -> int:
        """Samples of a mini-batch; only the last may be shorter."""
        return min(self.batch_size, self.trace.samples - batch * self.batch_size)

    def source(self, batch: int) -> int:
        """Address of a mini-batch's sample records, where :meth:`load` puts them."""
        place = batch % len(self.loaded)
        return self.host.buffers["samples"].address + place * _batch_stride(self.batch_size, self.model)

    def load(self, batch: int, images: Iterable[MemoryImage]) -> None:
        """Brings a mini-batch's samples into the host memories ``images``, unless they are there, in place of those of an earlier
        one, which no command may be using any more."""
        place = batch % len(self.loaded)
        if self.loaded[place] == batch:
            return
        records = self.trace.part(batch * self.batch_size, (batch + 1) * self.batch_size).records
        for image in images:
            image.words(self.source(batch), records.size)[:] = records.reshape(-1)
        self.loaded[place] = batch

    def learn(self, batch: int, tag: int = 0) -> Command:
        """LEARN of a mini-batch."""
        return Command(Opcode.LEARN, tag, self.samples_of(batch), self.source(batch))

    def split(self, batch: int, tag: int = 0, into: int = 0) -> Command:
        """SPLIT of a mini-batch into the device buffers, of set ``into``; the shadow, if there is one, learns from it, unless it
        has before."""
        popular, non_popular, keys, rows = (self.device.buffers[name].address for name in output_buffers(into))
        return Command(
            Opcode.SPLIT,
            tag,
            self.samples_of(batch),
            self.source(batch),
            popular,
            non_popular,
            keys,
            rows,
            self.working_limit,
            Flag.FOLLOW if self.follows and not self.look_ahead else 0,
        )

    def scatter(self, rows: int, tag: int = 0, into: int = 0) -> Command:
        """SCATTER of the first ``rows`` working rows of a set of device buffers."""
        _, _, keys, working = (self.device.buffers[name].address for name in output_buffers(into))
        return Command(Opcode.SCATTER, tag, rows, working_keys=keys, working_rows=working)

    def coming(self, opcode: Opcode, rows: int) -> Command:
        """GATHER of the first ``rows`` rows that enter the hot set without being working rows, or SCATTER of what lies there."""
        keys, values = (self.device.buffers[name].address for name in COMING)
        return Command(opcode, samples=rows, working_keys=keys, working_rows=values)

    def update(self, images: Iterable[MemoryImage], into: int, rows: int, batch: int) -> None:
        """The stated update of the first ``rows`` working rows of a set of device buffers, in every image."""
        address = self.device.buffers[output_buffers(into)[3]].address
        for image in images:
            values = image.words(address, rows * self.dim).view(np.float32)
            values[:] = updated_rows(values, batch)

    def hot_list(self, opcode: Opcode, tag: int = 0) -> Command:
        """DUMP or LOAD of the hot list buffer."""
        return Command(opcode, tag, source=self.host.buffers["hot list"].address)

    def swap(self, tag: int = 0) -> Command:
        """SWAP with room for all slots."""
        buffer = self.host.buffers["delta list"]
        return Command(Opcode.SWAP, tag, source=buffer.address, working_limit=buffer.size // (4 * DELTA_WORDS))

    def golden(self) -> Machine:
        """A golden machine on copies of both memories."""
        return Machine(
            golden_tracker(self.config),
            self.model,
            copy_image(self.host),
            copy_image(self.device),
            working_rows=self.config.working_rows,
            max_record_words=self.config.max_record_words,
            max_row_bytes=self.config.max_row_bytes,
            address_bits=self.config.address_bits,
        )

    def table(self, image: MemoryImage, number: int) -> np.ndarray:
        """float32 [rows, dim] view of a table in a host image."""
        table = self.model.tables[number]
        words = image.words(table.base, table.rows * table.stride // 4).reshape(table.rows, -1)
        return words[:, : self.dim].view(np.float32)

    def resident_keys(self) -> np.ndarray:
        """uint32 [n, 2]: (table, row) of the slots behind the tracker's, the rows of the resident tables."""
        return resident_keys(self.model)

    def touched_rows(self) -> list[np.ndarray]:
        """Per table, the rows that the trace uses, ascending. Reads the trace once."""
        return used_rows(self.trace)


def resident_keys(model: Model) -> np.ndarray:
    """uint32 [n, 2]: (table, row) of the rows of ``model``'s resident tables, in the order of their slots."""
    parts = [np.zeros((0, 2), np.uint32)]
    for number, table in enumerate(model.tables):
        if table.resident:
            rows = np.arange(table.rows, dtype=np.uint32)
            parts.append(np.stack([np.full_like(rows, number), rows], axis=1))
    return np.concatenate(parts)


#: Device buffers for rows that enter the hot set without being working rows, where learning looks ahead.
COMING = "coming keys", "coming rows"


def output_buffers(number: int = 0) -> list[str]:
    """Names of the device buffers of a SPLIT: one set of them, or several numbered from 0."""
    names = ["popular", "non-popular", "working keys", "working rows"]
    return [f"{name} {number}" for name in names] if number else names


def copy_image(image: MemoryImage) -> MemoryImage:
    """A copy; pages of zeros stay without memory."""
    copy = MemoryImage(image.base, zeroed(len(image.data)), image.buffers)
    step, page = 1 << 22, 1 << 12
    for start in range(0, len(image.data), step):
        part = image.data[start : start + step].reshape(-1, page)
        written = np.flatnonzero(part.view(np.uint64).max(axis=1))
        copy.data[start : start + step].reshape(-1, page)[written] = part[written]
    return copy


def _batch_stride(batch_size: int, model: Model) -> int:
    return -(-batch_size * model.sample_words * 4 // BUFFER_ALIGNMENT) * BUFFER_ALIGNMENT


def choose_learn_batches(batches: int, fraction: float) -> list[int]:
    """Evenly spaced mini-batches, at least one, about ``fraction`` of them."""
    if not 0 < fraction <= 1:
        raise ValueError(f"the learning fraction must be in (0, 1], not {fraction}")
    count = max(1, round(batches * fraction))
    return [i * batches // count for i in range(count)]


def prepare(
    trace: Trace,
    config: AcceleratorConfig,
    *,
    batch_size: int,
    learn: float = 0.05,
    resident: int | None = -1,
    dim: int = 16,
    padding: int = 0,
    output_sets: int = 1,
    prefetch: bool = False,
    step_cycles: int = 0,
    look_ahead: int = 0,
    fill: bool = True,
    sample_buffers: int = SAMPLE_BUFFERS,
) -> Job:
    """Lays everything out, with ``output_sets`` sets of buffers for what comes out of a SPLIT, two with ``prefetch``.

    ``learn``: the part of the mini-batches from which a hot set is learnt that does not follow the data; ``look_ahead``:
    mini-batches that one which does learns ahead, not with ``prefetch``. ``resident`` is a bound in rows, None for no resident
    tables, or -1 for the largest bound whose rows fit RESIDENT_SHARE_BYTES; ``padding`` bytes lie between rows. Host memory has
    room for ``sample_buffers`` mini-batches, and holds the first ones; :meth:`Job.load` brings others. Without ``fill`` samples
    and tables are not written into host memory, which then takes none: for whoever keeps them elsewhere.

    Raises ValueError for what ``config`` cannot serve.
    """
    if batch_size < 1:
        raise ValueError(f"the mini-batch size must be at least 1, not {batch_size}")
    if batch_size > MAX_COUNT:
        raise ValueError(f"the mini-batch size must be at most {MAX_COUNT}, not {batch_size}")
    if look_ahead and (prefetch or not config.shadow):
        raise ValueError(
            "a hot set that looks ahead needs shadow=1, and the mini-batches in strict order: leave prefetch away"
        )
    if not 0 <= look_ahead < sample_buffers:
        raise ValueError(f"look_ahead must be 0 to {sample_buffers - 1} mini-batches, not {look_ahead}")
    row_bytes = 4 * dim
    bound = resident_bound(trace.table_rows, row_bytes) if resident == -1 else resident
    plan = MemoryPlan(base=0x1000)
    plan.add("command ring", RING_BYTES)
    plan.add("completion ring", RING_BYTES)
    plan.add("hot list", 8 * config.tracker_entries)
    if config.shadow:
        plan.add("delta list", 4 * DELTA_WORDS * config.tracker_entries)
    tables = []
    slot = config.tracker_entries
    for number, rows in enumerate(trace.table_rows.tolist()):
        is_resident = bound is not None and rows <= bound
        buffer = plan.add(f"table {number}", rows * (row_bytes + padding), alignment=4)
        tables.append(Table(buffer.address, rows, row_bytes + padding, is_resident, slot if is_resident else 0))
        slot += rows if is_resident else 0
    model = Model(tuple(tables), tuple(trace.table_of.tolist()), trace.payload_words, row_bytes)

    check_model(config, model)
    batches = -(-trace.samples // batch_size)
    stride = _batch_stride(batch_size, model)
    buffers = min(batches, sample_buffers)
    plan.add("samples", buffers * stride)
    host = plan.image()
    table_bytes = int(trace.table_rows.sum()) * (row_bytes + padding)
    whole = table_bytes <= WHOLE_TABLES_BYTES

    device_plan = MemoryPlan(base=DEVICE_BASE)
    most_working = min(config.working_rows, batch_size * trace.accesses)
    records = batch_size * model.record_words * 4
    for number in range(max(output_sets, 1 + prefetch)):
        for name, size in zip(
            output_buffers(number), (records, records, most_working * 8, most_working * row_bytes), strict=True
        ):
            device_plan.add(name, size)
    if look_ahead:
        for name, size in zip(COMING, (8, row_bytes), strict=True):
            device_plan.add(name, size * config.tracker_entries)
    job = Job(
        trace,
        config,
        model,
        batch_size,
        [] if config.shadow else choose_learn_batches(batches, learn),
        bound,
        host,
        device_plan.image(),
        whole,
        prefetch,
        step_cycles,
        look_ahead,
        [-1] * buffers,
    )
    if not fill:
        return job
    for batch in range(buffers):
        job.load(batch, [host])
    touched = None if whole else job.touched_rows()
    for number, table in enumerate(tables):
        rows = np.arange(table.rows) if touched is None else touched[number]
        words = host.words(table.base, table.rows * table.stride // 4).reshape(table.rows, -1)
        for part, values in initial_parts(number, rows, dim):
            words[part, :dim] = values.view(np.uint32)
    return job
