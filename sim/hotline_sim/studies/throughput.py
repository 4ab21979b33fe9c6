"""``hotline bench split``: how many accesses a cycle are classified, and what a whole SPLIT costs.

Every case runs in the co-simulation with its commands queued back to back, and is compared with
golden, byte for byte, like everything else.
"""

from dataclasses import dataclass, field

import numpy as np

from hotline_golden.bounds import split_bound
from hotline_golden.layouts import Command, Opcode
from hotline_rtl.config import FROZEN, AcceleratorConfig, preset

from ..engine.cosim import CosimTransport
from ..engine.memory_model import MemoryTiming
from ..host.driver import Driver
from ..host.limits import RING_ENTRIES
from ..run.job import Job, output_buffers, prepare, rings
from ..run.session import memory_difference
from ..traces import ArrayTrace, open_trace
from ..traces.trace import in_memory

#: Commands that wait in the ring while one is under way.
QUEUED = RING_ENTRIES // 2
#: SPLITs that are carried out one by one before all are queued.
ALONE = 4

#: A tracker that holds every key of the classification cases, so that nothing but the lanes binds.
LARGE_TRACKER = (
    "banks_per_lane=2",
    "tracker_sets=8192",
    "tracker_ways=8",
    "lane_rows=32",
    "bus_bits=512",
    "burst_beats=64",
    "read_ahead_beats=1024",
    "id_bits=9",
    "outstanding_rows=64",
    "working_rows=65536",
)
#: The paper's replacement policy: learning costs one pass.
PAPER_POLICY = ("policy=srrip", "tracker_arrays=1")


@dataclass(frozen=True)
class Case:
    """One measurement. ``clicks``: how many samples of the trace make one record, payload left out."""

    name: str
    trace: str
    preset: str
    settings: tuple[str, ...] = ()
    samples: int = 16384
    batch_size: int = 1024
    learn: float = 0.05
    resident: int | None = -1
    host_latency: int = 100
    clicks: int = 0

    def config(self) -> AcceleratorConfig:
        """Of an accelerator whose hot set is learnt first, so that LEARN and SPLIT are measured apart."""
        return preset(self.preset).with_settings([*FROZEN, *self.settings])


@dataclass
class Measured:
    """Counter differences of a case's LEARN and queued SPLIT commands, and the bounds of its SPLITs.

    ``alone_*``: of some SPLITs carried out one by one.
    """

    case: Case
    job: Job
    learn: dict[str, int]
    split: dict[str, int]
    learn_cycles: int
    split_cycles: int
    alone_cycles: int
    alone_bound: float
    bound: float
    binding: str
    popular_share: float
    samples_per_second: float
    difference: str
    lanes: int = field(init=False)

    def __post_init__(self):
        self.lanes = self.job.config.lanes

    @staticmethod
    def _rate(counters: dict[str, int], lanes: int) -> float:
        accesses = counters["tracker_requests"] + counters["filtered_accesses"]
        return accesses / (lanes * counters["lane_cycles"]) if counters["lane_cycles"] else 0.0

    @property
    def accesses_per_lane_cycle(self) -> float:
        """While SPLIT classifies: from a mini-batch's first row of keys to its last."""
        return self._rate(self.split, self.lanes)

    @property
    def learn_accesses_per_lane_cycle(self) -> float:
        return self._rate(self.learn, self.lanes)

    @property
    def cycles_over_bound(self) -> float:
        """Of SPLITs alone: from a command's begin to its last completion."""
        return self.alone_cycles / self.alone_bound

    @property
    def queued_over_bound(self) -> float:
        """Of SPLITs one behind another."""
        return self.split_cycles / self.bound

    @property
    def learn_share(self) -> float:
        return self.learn_cycles / (self.learn_cycles + self.split_cycles)

    @property
    def idle_share(self) -> float:
        """Of the cycles of back-to-back SPLITs, those in which the lanes were between two mini-batches."""
        return 1 - self.split["lane_cycles"] / self.split_cycles


def several_clicks(trace: ArrayTrace, clicks: int) -> ArrayTrace:
    """``clicks`` consecutive samples make one, without payload: a trace with hardly anything but accesses."""
    n = trace.samples // clicks * clicks
    return ArrayTrace(
        f"{trace.name}, {clicks} clicks a record",
        np.ascontiguousarray(trace.rows[:n].reshape(n // clicks, -1)),
        np.tile(trace.table_of, clicks),
        trace.table_rows,
        np.zeros((n // clicks, 0), np.uint32),
    )


def repeated(trace: ArrayTrace, samples: int) -> ArrayTrace:
    """The first ``samples`` of the trace repeated without end."""
    times = -(-samples // trace.samples)
    return ArrayTrace(
        trace.name if times == 1 else f"{trace.name}, repeated",
        np.tile(trace.rows, (times, 1))[:samples],
        trace.table_of,
        trace.table_rows,
        np.tile(trace.payload, (times, 1))[:samples],
    )


def case_trace(case: Case) -> ArrayTrace:
    """The samples of a case. Raises TraceError for a trace that cannot be read."""
    samples = case.samples * max(1, case.clicks)
    trace = repeated(in_memory(open_trace(case.trace, samples=samples)), samples)
    return several_clicks(trace, case.clicks) if case.clicks else trace


def measure(case: Case, progress=lambda done, total: None) -> Measured:
    """Runs a case: CLEAR, all LEARNs, DUMP, all SPLITs into buffers of their own."""
    import time

    config = case.config()
    trace = case_trace(case)
    batches = -(-trace.samples // case.batch_size)
    job = prepare(
        trace,
        config,
        batch_size=case.batch_size,
        learn=case.learn,
        resident=case.resident,
        output_sets=batches,
        sample_buffers=batches,
    )
    golden = job.golden()
    host_timing = MemoryTiming((case.host_latency,) * 2, (case.host_latency // 2,) * 2)
    with CosimTransport(
        config, job.host, job.device, host_timing=host_timing, device_timing=MemoryTiming((40, 40), (20, 20))
    ) as transport:
        driver = Driver(transport, config, rings(transport.host))
        transport.host_memory.allow({"completion ring", "hot list"})
        transport.device_memory.allow({name for n in range(batches) for name in output_buffers(n)})
        driver.load_model(job.model)
        differences: list[str] = []

        def execute(commands: list[Command]) -> tuple[list, dict[str, int], int]:
            before, started = driver.counters(), transport.cycles
            commands = [Command(**{**c.__dict__, "tag": n + 1}) for n, c in enumerate(commands)]
            expected = sum(2 if c.opcode == Opcode.SPLIT else 1 for c in commands)
            completions: list = []
            sent = 0
            while len(completions) < expected:
                finished = len({c.tag for c in completions if c.kind != 1})
                while sent < len(commands) and sent - finished < QUEUED:
                    driver.submit(commands[sent])
                    sent += 1
                completions.append(driver.next_completion())
            cycles = transport.cycles - started
            after = driver.counters()
            return completions, {name: after[name] - before[name] for name in after}, cycles

        def compare(completions: list, commands: list[Command], each=lambda: None) -> None:
            expected = []
            for n, command in enumerate(commands):
                expected += golden.execute(Command(**{**command.__dict__, "tag": n + 1}))
                each()
            for mine, theirs in zip(completions, expected, strict=True):
                if mine.untimed() != theirs.untimed() and not differences:
                    differences.append(
                        f"completion {theirs.sequence}: RTL {mine.untimed()}, golden {theirs.untimed()}"
                    )

        steps = [[Command(Opcode.CLEAR)], [job.learn(b) for b in job.learn_batches], [job.hot_list(Opcode.DUMP)]]
        learn_counters, learn_cycles = {}, 0
        for commands in steps:
            completions, counters, cycles = execute(commands)
            compare(completions, commands)
            if commands[0].opcode == Opcode.LEARN:
                learn_counters, learn_cycles = counters, cycles
        splits = [job.split(b, into=b) for b in range(batches)]
        alone_cycles, alone_bound = 0, 0.0
        for command in splits[1 : 1 + ALONE]:
            completions, _, _ = execute([command])
            alone_cycles += completions[-1].cycles
            compare(completions, [command])
            assert golden.last_split is not None
            alone_bound += split_bound(job.model, golden.last_split, config.lanes, config.bus_bits).cycles
        began = time.perf_counter()
        completions, split_counters, split_cycles = execute(splits)
        seconds = time.perf_counter() - began
        bound = 0.0
        binding: dict[str, int] = {}

        def add_bound() -> None:
            nonlocal bound
            assert golden.last_split is not None
            one = split_bound(job.model, golden.last_split, config.lanes, config.bus_bits)
            bound += one.cycles
            binding[one.binding] = binding.get(one.binding, 0) + 1
            progress(sum(binding.values()), batches)

        compare(completions, splits, add_bound)
        if difference := memory_difference(transport, golden, rings(transport.host)):
            differences.append(difference)
        for memory in (transport.host_memory, transport.device_memory):
            if memory.violation:
                differences.append(memory.violation)
    popular = sum(c.popular for c in completions if c.kind == 1)
    return Measured(
        case,
        job,
        learn_counters,
        split_counters,
        learn_cycles,
        split_cycles,
        alone_cycles,
        alone_bound,
        bound,
        max(binding, key=binding.__getitem__),
        popular / trace.samples,
        trace.samples / seconds,
        differences[0] if differences else "",
    )


#: Where the wide records of the 16-lane cases come from: 8 clicks make one, so that 16 accesses a
#: cycle can come in and go out over a bus of 16 words.
WIDE_RECORDS = {"clicks": 8, "batch_size": 256, "samples": 2048}
CRITEO_LIKE = "synthetic:criteo-kaggle,samples=100000"


def cases(real: str | None) -> dict[str, list[Case]]:
    """The cases by kind; ``real`` is the SPEC of a click log to measure beside the generated one."""
    logs = {"Criteo-like": CRITEO_LIKE} | ({"real clicks": real} if real else {})
    found: dict[str, list[Case]] = {"lanes": [], "default policy": [], "split": [], "adversarial": []}
    for label, spec in logs.items():
        for lanes, extra in ((8, {}), (16, WIDE_RECORDS)):
            settings = (*LARGE_TRACKER, f"lanes={lanes}", "lane_filter=32")
            found["lanes"].append(
                Case(
                    f"{lanes} lanes, {label}",
                    spec,
                    "ecp5",
                    (*settings, *PAPER_POLICY),
                    learn=1.0,
                    resident=None,
                    **extra,
                )
            )
        found["default policy"].append(
            Case(
                f"8 lanes, sample_aware, {label}",
                spec,
                "ecp5",
                (*LARGE_TRACKER, "lanes=8", "lane_filter=32"),
                learn=1.0,
                resident=None,
            )
        )
    for label, spec in logs.items():
        found["split"].append(Case(f"ecp5, {label}", spec, "ecp5", samples=20 * 1024, host_latency=300))
        found["split"].append(
            Case(f"alveo, {label}", spec, "alveo", samples=20 * 4096, batch_size=4096, host_latency=300)
        )
    for shape in ("single-key", "uniform", "all-distinct"):
        found["adversarial"].append(
            Case(
                f"ecp5, {shape}",
                f"synthetic:{shape},samples=8192",
                "ecp5",
                samples=8192,
                # The working set of 128 samples fits, if all their keys are distinct.
                batch_size=1024 if shape == "single-key" else 128,
                host_latency=300,
                resident=None,
            )
        )
    return found


def report(measured: dict[str, list[Measured]]) -> tuple[list, dict]:
    """Tables for people and the numbers for scripts."""
    from rich.table import Table

    lanes = Table(
        "case",
        "SPLIT",
        "LEARN",
        "filters",
        "banks",
        "input",
        "output",
        title="Classification",
        caption="SPLIT, LEARN: accesses per lane-cycle; filters: accesses that lanes answered themselves; "
        "then lane-cycles of SPLIT lost, by cause",
    )
    for m in [m for ms in measured.values() for m in ms]:
        c, cycles = m.split, max(1, m.split["lane_cycles"])
        total = max(1, c["tracker_requests"] + c["filtered_accesses"])
        lanes.add_row(
            m.case.name,
            f"{m.accesses_per_lane_cycle:.3f}",
            f"{m.learn_accesses_per_lane_cycle:.3f}",
            f"{c['filtered_accesses'] / total:.1%}",
            *(f"{c[f'stall_{name}'] / cycles:.1%}" for name in ("banks", "input", "output")),
        )
    split = Table(
        "case",
        "batch",
        "popular",
        "/ bound",
        "binds",
        "queued",
        "idle",
        "learn",
        title="Whole SPLITs",
        caption="/ bound: cycles / bound of SPLITs one by one; queued: of SPLITs back to back; idle: lanes between "
        "mini-batches; learn: learning's share of all cycles",
    )
    for m in [m for ms in measured.values() for m in ms]:
        split.add_row(
            m.case.name,
            f"{m.case.batch_size:,}",
            f"{m.popular_share:.1%}",
            f"{m.cycles_over_bound:.3f}",
            m.binding,
            f"{m.queued_over_bound:.3f}",
            f"{m.idle_share:.1%}",
            f"{m.learn_share:.1%}",
        )

    def worst(of: list[Measured], key, value, better=min) -> dict:
        out: dict = {}
        for m in of:
            out[key(m)] = better(out[key(m)], value(m)) if key(m) in out else value(m)
        return out

    numbers = {
        "accesses_per_lane_cycle": worst(measured["lanes"], lambda m: m.lanes, lambda m: m.accesses_per_lane_cycle),
        "learn_accesses_per_lane_cycle": worst(
            measured["lanes"], lambda m: m.lanes, lambda m: m.learn_accesses_per_lane_cycle
        ),
        "learn_accesses_per_lane_cycle_default_policy": worst(
            measured["default policy"], lambda m: m.lanes, lambda m: m.learn_accesses_per_lane_cycle
        ),
        "learn_cycle_share": max((m.learn_share for m in measured["split"]), default=None),
        "cycles_over_bound": worst(measured["split"], lambda m: m.case.preset, lambda m: m.cycles_over_bound, max),
        "adversarial_cycles_over_bound": {m.case.name: m.cycles_over_bound for m in measured["adversarial"]},
        "queued_cycles_over_bound": {m.case.name: m.queued_over_bound for m in measured["split"]},
        "lanes_idle_between_mini_batches": {m.case.name: m.idle_share for m in measured["lanes"]},
        "counters": {m.case.name: m.split for ms in measured.values() for m in ms},
    }  # fmt: skip
    return [lanes, split], numbers
