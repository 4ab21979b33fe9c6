"""``hotline bench gather``: how much of the bus the gather and scatter engines use.

Rows at random addresses are gathered (GATHER) and scattered (SCATTER) in the co-simulation, and every byte is compared.
Utilisation is data beats / cycles of the data phase, which lasts from the first beat of a row to the last.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hotline_golden.layouts import BUFFER_ALIGNMENT, Command, Completion, Opcode
from hotline_golden.memory import MemoryPlan
from hotline_golden.model import Model, Table
from hotline_rtl.config import AcceleratorConfig, preset

from ..engine.cosim import CosimTransport
from ..engine.memory_model import MemoryTiming, sum_of
from ..host.driver import Driver
from ..host.limits import RING_BYTES
from ..run.job import DEVICE_BASE
from ..run.report import engine_memory_table

#: An accelerator with the widest engine and hardly anything else; the number of reads in flight is set by a register.
ENGINE = (
    "lanes=1",
    "policy=srrip",
    "tracker_arrays=1",
    "tracker_sets=16",
    "read_ahead_beats=1024",
    "max_row_bytes=512",
    "outstanding_writes=1024",
    "working_rows=8192",
    "burst_beats=64",
)
WIDE = (*ENGINE, "bus_bits=512", "id_bits=10", "outstanding_rows=1024")
NARROW = (*ENGINE, "bus_bits=128", "id_bits=10", "outstanding_rows=1024")
LATENCIES = (10, 50, 100, 200, 400, 800)
READS_IN_FLIGHT = (16, 64, 256, 1024)
TABLES, ACCESSES = 3, 26
#: Groups of host memory's buffers.
ROWS, RECORDS = 1, 2
READ, WRITE = "read", "write"


@dataclass(frozen=True)
class Transfer:
    """One measurement: rows of ``row_bytes``, ``stride`` apart, over an engine of ``settings``."""

    case: str
    settings: tuple[str, ...]
    row_bytes: int
    latency: int
    outstanding: int
    stride: int = 0
    jitter: bool = False
    both: bool = False
    #: SPLITs one behind another; 0: GATHER and SCATTER.
    queued: int = 0
    rows: int = 0

    @property
    def config(self) -> AcceleratorConfig:
        return preset("tiny").with_settings(list(self.settings))

    @property
    def timing(self) -> MemoryTiming:
        """Of host memory: ``latency`` to 3 times as much with ``jitter``, and stalls in a tenth of all cycles."""
        if self.jitter:
            return MemoryTiming(
                (self.latency, 3 * self.latency), (self.latency // 2, self.latency), True, True, (0.1,) * 5
            )
        return MemoryTiming((self.latency, self.latency), (self.latency // 2, self.latency // 2), True)

    def model(self, beats: float) -> float:
        """The best read utilisation with so many reads in flight, each of ``beats``: min(1, N b / (L + b)) of what
        memory offers."""
        latency = 2 * self.latency if self.jitter else self.latency
        return (0.9 if self.jitter else 1.0) * min(1.0, self.outstanding * beats / (latency + beats))


@dataclass
class TransferResult:
    """Utilisations of a measurement, by channel, and what the memory and the counters saw of the gathering."""

    transfer: Transfer
    bus_bits: int
    utilisation: dict[str, float]
    model: dict[str, float]
    #: Cycles with so many reads on their way; bursts that took so many cycles.
    occupancy: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    latencies: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    stalls: dict[str, float] = field(default_factory=dict)

    def ratio(self, channel: str) -> float:
        return self.utilisation[channel] / self.model[channel]

    def percentile(self, share: float) -> int:
        """Cycles within which this share of the row bursts had come."""
        return int(np.searchsorted(np.cumsum(self.latencies), share * self.latencies.sum()))


class Mismatch(Exception):
    """Bytes are not where they belong."""


class Rig:
    """An engine between two memories: tables in one, working keys and rows in the other."""

    def __init__(self, transfer: Transfer, rows: int):
        self.transfer, self.config = transfer, transfer.config
        config = self.config
        self.row_words = transfer.row_bytes // 4
        stride = transfer.stride or transfer.row_bytes
        plan = MemoryPlan(0x1000)
        rings = plan.add("command ring", RING_BYTES), plan.add("completion ring", RING_BYTES)
        self.samples = -(-rows // ACCESSES)
        plan.add("samples", max(2, transfer.queued) * (self.samples * ACCESSES * 4 + BUFFER_ALIGNMENT))
        table_rows = max(4 * rows, 20_000)
        self.tables = [f"table {t}" for t in range(TABLES)]
        bases = [plan.add(name, table_rows * stride, alignment=4096).address for name in self.tables]
        self.model = Model(
            tuple(Table(base, table_rows, stride) for base in bases),
            tuple(j % TABLES for j in range(ACCESSES)),
            0,
            transfer.row_bytes,
        )
        self.host = plan.image()
        device = MemoryPlan(DEVICE_BASE)
        records = self.samples * self.model.record_words * 4
        for n in range(2):
            for name, size in (
                ("keys", 8 * rows),
                ("rows", rows * transfer.row_bytes),
                ("popular", records),
                ("non-popular", records),
            ):
                device.add(f"{name} {n}", size, alignment=4096)
        self.device = device.image()
        self.random = np.random.default_rng(1)
        for image in (self.host, self.device):
            image.data[:] = self.random.integers(0, 256, len(image.data), np.uint8)
        self.transport = CosimTransport(
            config,
            self.host,
            self.device,
            host_timing=transfer.timing,
            device_timing=MemoryTiming((20, 20), (10, 10), True),
        )
        self.host_memory = self.transport.host_memory
        self.driver = Driver(self.transport, config, rings)
        self.driver.load_model(self.model)
        self.driver.write("gather_limit", transfer.outstanding)
        self.host_memory.allow({"completion ring", *self.tables})
        self.transport.device_memory.allow(set(self.device.buffers))

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *exc) -> None:
        self.transport.close()

    def random_keys(self, count: int) -> np.ndarray:
        """uint32 [count, 2]: distinct (table, row) pairs."""
        chosen = self.random.choice(TABLES * self.model.tables[0].rows, count, replace=False)
        return np.stack([chosen % TABLES, chosen // TABLES], axis=1).astype(np.uint32)

    def put_keys(self, keys: np.ndarray, n: int) -> None:
        self.device.words(self.device.buffers[f"keys {n}"].address, keys.size)[:] = keys.reshape(-1)

    def working_rows(self, count: int, n: int) -> np.ndarray:
        """uint32 [count, row words] view."""
        words = self.device.words(self.device.buffers[f"rows {n}"].address, count * self.row_words)
        return words.reshape(count, self.row_words)

    def table_rows(self, keys: np.ndarray) -> np.ndarray:
        """uint32 [n, row words]: the rows as they are in host memory."""
        found = np.zeros((len(keys), self.row_words), np.uint32)
        for t, table in enumerate(self.model.tables):
            mine = keys[:, 0] == t
            words = self.host.words(table.base, table.rows * table.stride // 4).reshape(table.rows, -1)
            found[mine] = words[keys[mine, 1], : self.row_words]
        return found

    def command(self, opcode: Opcode, count: int, n: int, **more) -> Command:
        at = {name: self.device.buffers[f"{name} {n}"].address for name in ("keys", "rows", "popular", "non-popular")}
        return Command(
            opcode,
            samples=count,
            working_keys=at["keys"],
            working_rows=at["rows"],
            popular=at["popular"],
            non_popular=at["non-popular"],
            **more,
        )

    def watch(self) -> None:
        """From now on, host memory counts every cycle's beats of rows and of records."""
        self.host_memory.watch(1, {"samples": RECORDS, **dict.fromkeys(self.tables, ROWS)})

    def run(self, command: Command) -> Completion:
        """Carries out the command, watched."""
        self.watch()
        return self.driver.execute(command)[-1]

    def beats(self, channel: str, group: int = ROWS) -> np.ndarray:
        """Beats in each cycle."""
        return self.host_memory.beats(group, written=channel == WRITE)

    def needed_beats(self, keys: np.ndarray) -> float:
        """Mean bus beats of a row."""
        tables, rows = keys[:, 0], keys[:, 1].astype(np.int64)
        bases = np.array([t.base for t in self.model.tables])[tables] + rows * self.model.tables[0].stride
        bus = self.config.bus_bytes
        return float(np.mean((bases + self.transfer.row_bytes - 1) // bus - bases // bus + 1))

    def check_split(self, split: Command, done: list[Completion], what: str) -> None:
        """Raises Mismatch unless all went well, and the rows of ``split``, the last that was done, are where they belong."""
        count = done[-1].working_rows
        keys = self.device.words(split.working_keys, 2 * count).reshape(-1, 2)
        rows = self.device.words(split.working_rows, count * self.row_words).reshape(count, -1)
        self.check(all(c.status == 0 for c in done) and np.array_equal(rows, self.table_rows(keys)), what)

    def check(self, equal: bool, what: str) -> None:
        """Raises Mismatch when the bytes are wrong, or a rule of AXI was broken."""
        violation = self.host_memory.violation or self.transport.device_memory.violation
        if violation or not equal:
            raise Mismatch(f"{self.transfer}: {violation or what + ': the rows are not what they should be'}")


def utilisation(beats: np.ndarray, first: int | None = None, last: int | None = None) -> float:
    """Beats / cycles, from the first beat to the last, or between two cycles."""
    busy = np.nonzero(beats)[0]
    first = busy[0] if first is None else first
    last = busy[-1] if last is None else last
    return float(beats[first : last + 1].sum() / (last + 1 - first))


def measure(transfer: Transfer) -> TransferResult:
    """Raises Mismatch when a byte is wrong."""
    if transfer.queued:
        return _measure_queued(transfer)
    return _measure_both(transfer) if transfer.both else _measure_apart(transfer)


def _measure_apart(transfer: Transfer) -> TransferResult:
    """GATHER, then SCATTER of as many rows."""
    count = transfer.rows or 2048 + 6 * transfer.outstanding
    with Rig(transfer, count) as rig:
        keys = rig.random_keys(count)
        rig.put_keys(keys, 0)
        before = rig.driver.counters()
        rig.run(rig.command(Opcode.GATHER, count, 0))
        after = rig.driver.counters()
        read = utilisation(rig.beats(READ))
        rig.check(np.array_equal(rig.working_rows(count, 0), rig.table_rows(keys)), "GATHER")
        occupancy, latencies = rig.host_memory.occupancy(), rig.host_memory.latencies(ROWS)
        spent = {name: after[name] - before[name] for name in after}
        cycles = max(1, spent["gather_cycles"])
        stalls = {name: spent[f"gather_{name}"] / cycles for name in STALLS}

        rig.working_rows(count, 0)[:] = rig.random.integers(0, 1 << 32, (count, rig.row_words), np.uint64)
        rig.run(rig.command(Opcode.SCATTER, count, 0))
        write = utilisation(rig.beats(WRITE))
        rig.check(np.array_equal(rig.working_rows(count, 0), rig.table_rows(keys)), "SCATTER")
        offered = 0.9 if transfer.jitter else 1.0
        model = {READ: transfer.model(rig.needed_beats(keys)), WRITE: offered}
        return TransferResult(
            transfer, rig.config.bus_bits, {READ: read, WRITE: write}, model, occupancy, latencies, stalls
        )


#: What happens in the cycles of a gather; they add up to all of them.
STALLS = ("asks", "stall_keys", "stall_records", "stall_slots", "stall_port", "waits")


def _splits(rig: Rig, rows: int, count: int = 2) -> list[Command]:
    """SPLITs of mini-batches all of whose rows are cold, and no row twice in one; into the two sets of buffers in turn."""
    source = rig.host.buffers["samples"].address
    stride = -(-rig.samples * ACCESSES * 4 // BUFFER_ALIGNMENT) * BUFFER_ALIGNMENT
    splits = []
    for n in range(count):
        some = rig.random.choice(rig.model.tables[0].rows, (rig.samples, ACCESSES), replace=False)
        rig.host.words(source + n * stride, some.size)[:] = some.reshape(-1)
        at = source + n * stride
        splits.append(rig.command(Opcode.SPLIT, rig.samples, n % 2, source=at, working_limit=rows, tag=n + 1))
    return splits


def _measure_queued(transfer: Transfer) -> TransferResult:
    """SPLITs one behind another: all beats that are read, records too, from the first row to the last."""
    rows = transfer.rows or 5200
    with Rig(transfer, rows) as rig:
        splits = _splits(rig, rows, transfer.queued)
        rig.watch()
        for command in splits:
            rig.driver.submit(command)
        done = [rig.driver.next_completion() for _ in range(2 * len(splits))]
        rig.check_split(splits[-1], done, "SPLITs")
        rows_read = rig.beats(READ)
        busy = np.nonzero(rows_read)[0]
        used = {READ: utilisation(sum_of([rows_read, rig.beats(READ, RECORDS)]), busy[0], busy[-1])}
        return TransferResult(transfer, rig.config.bus_bits, used, {READ: 1.0})


def _measure_both(transfer: Transfer) -> TransferResult:
    """A SPLIT that names an earlier one gathers while that one's SCATTER passes it: reads and writes at once."""
    rows = transfer.rows or 5200
    with Rig(transfer, rows) as rig:
        splits = _splits(rig, rows)
        first = rig.driver.execute(splits[0])[-1]
        rig.working_rows(first.working_rows, 0)[:] = 7
        rig.watch()
        rig.driver.submit(splits[1].naming(1))
        rig.driver.submit(rig.command(Opcode.SCATTER, first.working_rows, 0, tag=3).naming(1))
        done = [rig.driver.next_completion() for _ in range(3)]
        rig.check_split(splits[1], done, "SPLIT and SCATTER together")
        read, write = rig.beats(READ), rig.beats(WRITE)
        # Both are under way from the first write to whatever ends first; rows that are gathered again come later.
        start = int(np.nonzero(write)[0][0])
        size = min(len(read), len(write))
        end = min(int(np.nonzero(write)[0][-1]), int(np.nonzero(read[:size])[0][-1]))
        used = {READ: utilisation(read, start, end), WRITE: utilisation(write, start, end)}
        return TransferResult(transfer, rig.config.bus_bits, used, {READ: 1.0, WRITE: 1.0})


def transfers(quick: bool = False) -> list[Transfer]:
    """All measurements of the bench; ``quick``: a few of each kind."""
    latencies, in_flight = (LATENCIES, READS_IN_FLIGHT) if not quick else ((10, 100), (64, 256))
    rows = (64, 512) if quick else (64, 128, 256, 512)
    found = [Transfer("aligned", WIDE, row, latency, n) for row in rows for n in in_flight for latency in latencies]
    found += [Transfer("aligned", NARROW, 128, latency, n) for n in in_flight for latency in latencies]
    far = 100 if quick else 400
    found += [
        Transfer("unaligned", WIDE, row, far, 1024, stride=stride)
        for row, stride in ((100, 100), (200, 212), (36, 36))
    ]
    found += [Transfer("jittered", WIDE, row, 100, 1024, jitter=True) for row in (64, 256)]
    found += [Transfer("jittered", NARROW, 128, 100, 1024, jitter=True)]
    found += [
        Transfer("together", WIDE, 512, 200, 1024, both=True),
        Transfer("together", NARROW, 128, 200, 1024, both=True),
    ]
    found += [
        Transfer("queued", WIDE, 512, 300, 1024, queued=5, rows=1040),
        Transfer("queued", NARROW, 128, 300, 1024, queued=5, rows=1040),
    ]
    corners = [
        ("bus_bits=512", "id_bits=1", "outstanding_rows=1024", "burst_beats=16"),
        ("bus_bits=128", "id_bits=1", "outstanding_rows=16", "burst_beats=256"),
        ("bus_bits=128", "id_bits=10", "outstanding_rows=1024", "burst_beats=256"),
        ("bus_bits=512", "id_bits=6", "outstanding_rows=256", "burst_beats=16"),
    ]
    for corner in corners if not quick else corners[:1]:
        settings = (*(s for s in ENGINE if not s.startswith("burst_beats")), *corner)
        n = preset("tiny").with_settings(list(settings)).outstanding_rows
        found += [Transfer("corner", settings, 256, 100, n), Transfer("corner", settings, 256, 100, n, jitter=True)]
    return found


def run_study(
    chosen: list[Transfer], progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[TransferResult]:
    """Measures all of ``chosen``; ``progress`` is told what comes next, how many are done, and of how many."""
    found = []
    for n, transfer in enumerate(chosen):
        name = f"{transfer.case}, {transfer.config.bus_bits} bits, {transfer.row_bytes} B, N = {transfer.outstanding}"
        progress(name, n, len(chosen))
        found.append(measure(transfer))
    return found


def numbers(results: list[TransferResult]) -> dict:
    """For scripts."""

    def entry(r: TransferResult, channel: str) -> dict:
        t = r.transfer
        return {
            "bus_bits": r.bus_bits, "row_bytes": t.row_bytes, "latency": t.latency, "outstanding": t.outstanding,
            "case": t.case + (", jittered" if t.jitter and t.case != "jittered" else ""), "stride": t.stride or t.row_bytes,
            "id_bits": t.config.id_bits, "burst_beats": t.config.burst_limit,
            "utilisation": r.utilisation[channel], "model": r.model[channel],
        }  # fmt: skip

    reads = [
        entry(r, READ)
        | ({"stalls": r.stalls, "latency_p50": r.percentile(0.5), "latency_p99": r.percentile(0.99),
            "occupancy": r.occupancy.tolist()} if r.stalls else {})
        for r in results
    ]  # fmt: skip
    return {
        "read_utilisation": reads,
        "write_utilisation": [entry(r, WRITE) for r in results if WRITE in r.utilisation],
    }


def report(results: list[TransferResult]) -> list:
    """Tables for people."""
    from rich.table import Table as Rich

    aligned = [r for r in results if r.transfer.case == "aligned"]
    latencies = sorted({r.transfer.latency for r in aligned})
    grid = Rich(
        "bus",
        "row",
        "N",
        *(f"L={n}" for n in latencies),
        title="Read channel: utilisation, and / model",
        caption="data beats / cycles from a row's first beat to the last; model: min(1, N b / (L + b))",
    )
    by = {(r.bus_bits, r.transfer.row_bytes, r.transfer.outstanding, r.transfer.latency): r for r in aligned}
    for bus, row, n in dict.fromkeys(key[:3] for key in by):
        cells = [by.get((bus, row, n, latency)) for latency in latencies]
        grid.add_row(
            str(bus),
            str(row),
            str(n),
            *(f"{c.utilisation[READ]:.2f} {c.ratio(READ):.2f}" if c else "" for c in cells),
        )
    other = Rich(
        "case",
        "bus",
        "row/stride",
        "IDs",
        "burst",
        "N",
        "read",
        "write",
        title="Other cases",
        caption="utilisation (/ model); L = 100 to 400; jittered: L to 3 L, reordered, interleaved, stalls in a "
        "tenth of all cycles; queued: SPLITs one behind another; corner: of ID width, burst length and N",
    )
    worst_write = min(aligned, key=lambda r: r.utilisation[WRITE]) if aligned else None
    for r in ([worst_write] if worst_write else []) + [r for r in results if r.transfer.case != "aligned"]:
        t = r.transfer
        name = "worst write" if r is worst_write else t.case + (" j." if t.jitter and t.case == "corner" else "")
        other.add_row(
            name,
            str(r.bus_bits),
            f"{t.row_bytes}/{t.stride or t.row_bytes}",
            str(1 << t.config.id_bits),
            str(t.config.burst_limit),
            str(t.outstanding),
            *(
                f"{r.utilisation[channel]:.3f} ({r.ratio(channel):.2f})" if channel in r.model else ""
                for channel in (READ, WRITE)
            ),
        )
    where = Rich(
        "row",
        "N",
        "L",
        "p50",
        "p99",
        "flight",
        "asks",
        "keys",
        "recs",
        "slots",
        "port",
        "end",
        title="Where the cycles of a gather go (512 bits)",
        caption="p50, p99: cycles from a burst's address to its last beat; flight: mean reads on their way; then "
        "the share of cycles in which a row was asked for, or none was: no key, records first, no slot, port, "
        "all asked for",
    )
    for r in aligned:
        t = r.transfer
        if r.bus_bits == 512 and t.row_bytes in (64, 512) and t.latency in (10, 100, 800):
            mean = float((np.arange(len(r.occupancy)) * r.occupancy).sum() / max(1, r.occupancy.sum()))
            where.add_row(
                str(t.row_bytes),
                str(t.outstanding),
                str(t.latency),
                str(r.percentile(0.5)),
                str(r.percentile(0.99)),
                f"{mean:.0f}",
                *(f"{r.stalls[name]:.0%}" for name in STALLS),
            )
    return [grid, other, where, engine_memory_table()]


def draw(results: list[TransferResult], path) -> None:
    """Utilisation over latency, one panel for each row size, beside the model; and reads in flight as a histogram."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    aligned = [r for r in results if r.transfer.case == "aligned"]
    kinds = list(dict.fromkeys((r.bus_bits, r.transfer.row_bytes) for r in aligned))
    figure, panels = pyplot.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    for (bus, row), panel in zip(kinds, panels.flat, strict=False):
        some = [r for r in aligned if (r.bus_bits, r.transfer.row_bytes) == (bus, row)]
        for n, outstanding in enumerate(sorted({r.transfer.outstanding for r in some})):
            line = [r for r in some if r.transfer.outstanding == outstanding]
            at = [r.transfer.latency for r in line]
            panel.plot(at, [r.utilisation[READ] for r in line], "o-", color=f"C{n}", label=f"{outstanding} in flight")
            panel.plot(at, [r.model[READ] for r in line], ":", color=f"C{n}")
        panel.set(
            title=f"{row} B rows, {bus}-bit bus",
            xscale="log",
            ylim=(0, 1.05),
            xlabel="latency L, cycles",
            ylabel="read utilisation",
        )
    panels.flat[0].legend(fontsize=8, title="dotted: min(1, N b / (L + b))", title_fontsize=8)
    last = panels.flat[-1]
    for r in aligned:
        t = r.transfer
        if (r.bus_bits, t.row_bytes, t.latency) == (*kinds[0], 100):
            last.stairs(r.occupancy / r.occupancy.sum(), label=f"N = {t.outstanding}")
    last.set(
        title=f"{kinds[0][1]} B rows, L = 100: reads on their way",
        xlabel="reads",
        ylabel="share of cycles",
        xscale="log",
        yscale="log",
    )
    last.legend(fontsize=8)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
