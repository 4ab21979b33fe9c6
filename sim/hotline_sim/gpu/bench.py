"""``hotline bench train``: Hotline beside what else trains the same model on the same data and device.

    hotline    popular and non-popular micro-batches; hot rows on the device, working rows through pinned memory
    hybrid     tables and their update on the CPU, MLPs on the device: one fused look-up and one fused, sorted update of all
               tables, compiled, with all cores; pinned memory
    gpu_only   everything on the device, where it fits
    fae        like FAE (Adnan et al., VLDB 2021): hot rows by an offline threshold, all cold mini-batches, then all hot ones
    fbgemm     FBGEMM's table-batched embeddings with UVM caching, where it is installed

There is no accelerator here: its records are made beforehand, and lie in device memory as it would write them; the working
rows are gathered and scattered by the CPU, inside the time that is measured. The whole trace is held in memory.
"""

import math
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from rich.table import Table
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hotline_golden.layouts import NO_ACCESS
from hotline_native.bags import ADAGRAD, SGD, Grouped, pool, update
from hotline_native.compiler import default_threads
from hotline_rtl import VERSION

from ..job import Job
from ..traces.trace import in_memory
from .native_source import NativeSource
from .rows import ROW_OPTIMIZERS, RowWiseAdagrad
from .sources import HostTables
from .trainer import Settings, Trainer
from .transfers import Arrived, Arriving, Leaving, Transfers, transfers_for

#: Steps that are made before the clock starts.
WARM_UP = 5
#: Steps that are profiled, to see how long the device had nothing to do.
IDLE_STEPS = 20


class DoesNotFit(Exception):
    """A system needs more device memory than it may have, or software that is not there; the message says what."""


@dataclass(frozen=True)
class Measured:
    """One system: ``samples_per_second`` is the median of ``windows``; ``idle`` the share of the time in which no kernel ran on
    the device (NaN on a CPU), ``popular`` that of popular samples in mini-batches that were not learnt from (NaN if it splits
    none); ``note``: why it was not measured."""

    name: str
    samples_per_second: float = 0.0
    windows: list[float] = field(default_factory=list)
    bus_bytes_per_sample: float = 0.0
    device_bytes: int = 0
    idle: float = float("nan")
    popular: float = float("nan")
    note: str = ""


class System(ABC):
    """Trains step after step; ``bus_bytes`` counts what goes over the bus between host and device, or would if the device
    were not the CPU; ``popular``: the share of popular samples, if it knows it. Raises DoesNotFit."""

    name = ""

    def __init__(self, job: Job, settings: Settings, device: str):
        self.job, self.settings = job, settings
        self.transfers = transfers_for(device)
        self.device = self.transfers.device
        self.bus_bytes = 0
        self.device_bytes = 0
        self.popular = float("nan")

    @property
    def slots(self) -> int:
        """Rows of Hotline's hot table."""
        return self.job.config.tracker_entries + len(self.job.resident_keys())

    @abstractmethod
    def steps(self, count: int) -> int:
        """Makes ``count`` steps, from where the last ones ended; returns how many samples they had."""


class MiniBatches(System):
    """What systems on whole mini-batches have in common: MLPs on the device, and their steps. ``batches`` is for the
    subclass to fill: payload [n, payload words] on the device, and whatever else ``step`` takes."""

    def __init__(self, job: Job, settings: Settings, device: str):
        super().__init__(job, settings, device)
        trace = in_memory(job.trace)
        self.net = settings.model(len(trace.table_rows), trace.payload_words - 1).to(self.device)
        self.dense_optimizer = settings.dense_optimizer(self.net)
        self.payload = torch.from_numpy(trace.payload.view(np.float32)).to(settings.rows.dtype)
        self.batches: list[tuple[Tensor, ...]] = []
        self.number = 0

    def steps(self, count: int) -> int:
        samples = 0
        for number in range(self.number, self.number + count):
            batch = self.batches[number % len(self.batches)]
            self.step(*batch)
            samples += len(batch[0])
        self.number += count
        return samples

    @abstractmethod
    def step(self, payload: Tensor, *rest: Tensor) -> None:
        """One step."""

    def dense_step(self, payload: Tensor, pooled: Tensor) -> None:
        """Forward, backward, and the step of the MLPs; ``pooled`` [n, tables, dim] gets its gradient."""
        loss = binary_cross_entropy_with_logits(self.net(payload[:, 1:], pooled), payload[:, 0])
        self.dense_optimizer.zero_grad()
        loss.backward()
        self.dense_optimizer.step()


class FlatTables:
    """``rows`` [rows, width] of all tables, or some of them, looked up and updated together, where they lie. Keys are places
    among them, int64 [n, accesses]; -1 for no access."""

    def __init__(self, job: Job, settings: Settings, rows: Tensor):
        self.settings, self.rows = settings, rows
        self.optimizer = ROW_OPTIMIZERS[settings.optimizer](settings.learning_rate)
        self.table_of = torch.from_numpy(job.trace.table_of).to(rows.device)
        self.tables = len(job.trace.table_rows)

    @staticmethod
    def of_all(job: Job, settings: Settings) -> tuple[Tensor, Tensor]:
        """All rows of all tables as they are at first, and the keys of all samples, on the CPU."""
        trace, host = in_memory(job.trace), HostTables(job.trace.table_rows, settings.rows)
        places = torch.from_numpy(trace.rows.astype(np.int64) + host.first[trace.table_of])
        return torch.from_numpy(host.all), torch.where(torch.from_numpy(trace.rows != NO_ACCESS), places, -1)

    def pool(self, keys: Tensor) -> Tensor:
        """[n, tables, dim]."""
        dim = self.settings.rows.dim
        if keys.shape[1] == self.tables and bool((keys >= 0).all()):
            return self.rows.index_select(0, keys.reshape(-1))[:, :dim].view(len(keys), self.tables, dim)
        present = keys >= 0
        found = self.rows[keys.clamp(min=0)][..., :dim] * present[..., None]
        return found.new_zeros(len(keys), self.tables, dim).index_add_(1, self.table_of, found)

    def update(self, keys: Tensor, gradient: Tensor) -> None:
        """One step by ``gradient`` [n, tables, dim] of what ``pool`` gave."""
        dim = self.settings.rows.dim
        present = (keys >= 0).reshape(-1)
        flat = keys.reshape(-1)[present]
        of_rows = gradient[:, self.table_of].reshape(-1, dim)[present]
        distinct, place = torch.unique(flat, return_inverse=True)
        total = of_rows.new_zeros(len(distinct), dim).index_add_(0, place, of_rows)
        self.optimizer.step(self.rows[:, :dim], self.rows[:, dim:], distinct, total)


class HostBags(FlatTables):
    """The same for tables that lie in host memory, in compiled code and with all cores. The order in which a mini-batch's rows
    are updated is made ahead: it depends on keys alone (``hotline_native.bags``)."""

    def __init__(self, job: Job, settings: Settings, rows: Tensor):
        super().__init__(job, settings, rows)
        self.threads = default_threads()
        self.all, self.of = rows.numpy(), job.trace.table_of
        self.kind = ADAGRAD if settings.optimizer == "adagrad" else SGD
        self.grouped: dict[int, Grouped] = {}

    def prepare(self, keys: Tensor) -> None:
        """``keys`` will be those of steps to come."""
        self.grouped[keys.data_ptr()] = Grouped.of(keys.numpy())

    def pool(self, keys: Tensor) -> Tensor:
        return torch.from_numpy(
            pool(self.all, keys.numpy(), self.of, self.tables, self.settings.rows.dim, self.threads)
        )

    def update(self, keys: Tensor, gradient: Tensor) -> None:
        update(self.all, self.grouped[keys.data_ptr()], self.of, gradient.contiguous().numpy(), self.kind,
               self.settings.learning_rate, RowWiseAdagrad.epsilon, self.threads)  # fmt: skip


class WholeTables(MiniBatches):
    """Tables of ``rows``, on the host or, unless ``on_host``, on the device; ``keys`` of all samples; mini-batches of the
    samples in ``mine``, bool [samples]."""

    def __init__(self, job: Job, settings: Settings, device: str, rows: Tensor, keys: Tensor, *, on_host: bool,
                 mine: Tensor | None = None):  # fmt: skip
        super().__init__(job, settings, device)
        self.on_host = on_host
        self.apart = on_host and self.device.type != "cpu"
        self.tables = HostBags(job, settings, rows) if on_host else FlatTables(job, settings, rows.to(self.device))
        self.device_bytes = 0 if on_host else self.tables.rows.nbytes
        samples = torch.arange(len(keys)) if mine is None else torch.nonzero(mine)[:, 0]
        for part in torch.split(samples, job.batch_size) if len(samples) else ():
            mine_keys = keys[part].to(self.tables.rows.device)
            if isinstance(self.tables, HostBags):
                self.tables.prepare(mine_keys)
            self.batches.append((self.payload[part].to(self.device), mine_keys))

    def step(self, payload: Tensor, *rest: Tensor) -> None:
        (keys,) = rest
        with torch.no_grad():
            pooled = self.tables.pool(keys)
        self.bus_bytes += 2 * pooled.nbytes * self.on_host
        if self.apart:
            pooled = self.transfers.bring(pooled.numpy()).wait()
        pooled = pooled.detach().requires_grad_()
        self.dense_step(payload, pooled)
        assert pooled.grad is not None
        gradient = pooled.grad
        if self.apart:
            arrived = np.empty(gradient.shape, self.settings.rows.numpy)
            self.transfers.take(gradient, arrived).wait()
            gradient = torch.from_numpy(arrived)
        with torch.no_grad():
            self.tables.update(keys, gradient)


class Hybrid(WholeTables):
    name = "hybrid"

    def __init__(self, job: Job, settings: Settings, device: str, cap: int):
        super().__init__(job, settings, device, *FlatTables.of_all(job, settings), on_host=True)


class GpuOnly(WholeTables):
    name = "gpu_only"

    def __init__(self, job: Job, settings: Settings, device: str, cap: int):
        need = int(job.trace.table_rows.sum()) * 4 * settings.rows.words
        if need > cap:
            raise DoesNotFit(f"the tables take {need / 1e6:,.0f} MB of device memory")
        super().__init__(job, settings, device, *FlatTables.of_all(job, settings), on_host=False)


class Fae(System):
    """The rows that are accessed most, as many as Hotline has slots, are copied to the device; mini-batches hold hot samples
    only, which train there, or others, which train as the hybrid does. Between the two, hot rows are copied over."""

    name = "fae"

    def __init__(self, job: Job, settings: Settings, device: str, cap: int):
        super().__init__(job, settings, device)
        rows, keys = FlatTables.of_all(job, settings)
        counts = torch.bincount(keys[keys >= 0], minlength=len(rows))
        self.hot_rows = counts.topk(min(self.slots, len(rows))).indices.sort().values
        place = torch.full((len(rows) + 1,), -1)  # the last one for no access
        place[self.hot_rows] = torch.arange(len(self.hot_rows))
        hot_keys = place[keys]
        is_hot = ((hot_keys >= 0) | (keys < 0)).all(dim=1)
        self.cold = WholeTables(job, settings, device, rows, keys, on_host=True, mine=~is_hot)
        self.hot = WholeTables(job, settings, device, rows[self.hot_rows], hot_keys, on_host=False, mine=is_hot)
        self.hot.net, self.hot.dense_optimizer = self.cold.net, self.cold.dense_optimizer
        self.device_bytes = self.hot.device_bytes
        self.hot_part = float(is_hot.double().mean())

    def steps(self, count: int) -> int:
        hot = round(count * self.hot_part) if self.hot.batches else 0
        before = self.cold.bus_bytes
        samples = self.cold.steps(count - hot) if self.cold.batches else 0
        rows = self.cold.tables.rows[self.hot_rows]
        self.hot.tables.rows.copy_(rows)
        samples += self.hot.steps(hot) if hot else 0
        self.cold.tables.rows[self.hot_rows] = self.hot.tables.rows.cpu()
        self.bus_bytes += self.cold.bus_bytes - before + 2 * rows.nbytes
        return samples


class Fbgemm(MiniBatches):
    """FBGEMM's table-batched embeddings: tables in host memory, a cache of them on the device, as large as Hotline's hot
    table; the update is fused into the backward pass."""

    name = "fbgemm"

    def __init__(self, job: Job, settings: Settings, device: str, cap: int):
        super().__init__(job, settings, device)
        try:
            from fbgemm_gpu.split_embedding_configs import EmbOptimType
            from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
            from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
                ComputeDevice,
                SplitTableBatchedEmbeddingBagsCodegen,
            )
        except ImportError as e:
            raise DoesNotFit(f"fbgemm_gpu is not installed ({e})") from e
        if self.device.type != "cuda" or settings.dtype != "float32":
            raise DoesNotFit("its cache needs CUDA and float32")
        trace = in_memory(job.trace)
        rows = trace.table_rows.tolist()
        self.embedding = SplitTableBatchedEmbeddingBagsCodegen(
            [(count, settings.rows.dim, EmbeddingLocation.MANAGED_CACHING, ComputeDevice.CUDA) for count in rows],
            optimizer=EmbOptimType.EXACT_SGD if settings.optimizer == "sgd" else EmbOptimType.EXACT_ROWWISE_ADAGRAD,
            learning_rate=settings.learning_rate, pooling_mode=PoolingMode.SUM,
            cache_load_factor=min(1.0, self.slots / sum(rows)), device=self.device,
        )  # fmt: skip
        self.device_bytes = self.slots * 4 * settings.rows.dim
        for first in range(0, trace.samples, job.batch_size):
            part = slice(first, first + job.batch_size)
            lists, lengths = [], []
            for number in range(len(rows)):
                mine = trace.rows[part][:, trace.table_of == number]
                lists.append(mine[mine != NO_ACCESS].astype(np.int64))
                lengths.append((mine != NO_ACCESS).sum(axis=1))
            offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
            found = (self.payload[part], torch.from_numpy(np.concatenate(lists)), torch.from_numpy(offsets))
            self.batches.append(tuple(tensor.to(self.device) for tensor in found))

    def step(self, payload: Tensor, *rest: Tensor) -> None:
        self.dense_step(payload, self.embedding(*rest).view(len(payload), -1, self.settings.rows.dim))


class Resident(Transfers):
    """Records lie in device memory already; all else is moved by ``inner``, and counted."""

    def __init__(self, inner: Transfers):
        self.inner, self.device = inner, inner.device
        self.held: dict[int, tuple[np.ndarray, Tensor]] = {}
        self.bytes = 0

    def hold(self, records: np.ndarray) -> None:
        if len(records):
            tensor = torch.from_numpy(records.view(np.int32)).to(self.device)
            self.held[records.ctypes.data] = (records, tensor)

    def bring(self, array: np.ndarray) -> Arriving:
        if held := self.held.get(array.ctypes.data):
            return Arrived(held[1])
        self.bytes += array.nbytes
        return self.inner.bring(array)

    def take(self, tensor: Tensor, array: np.ndarray) -> Leaving:
        self.bytes += array.nbytes
        return self.inner.take(tensor, array)

    def synchronise(self) -> None:
        self.inner.synchronise()


class _Made(NativeSource):
    """All mini-batches are split beforehand."""

    def _out(self, batch: int) -> None:
        return None  # each has arrays of its own

    def make(self) -> None:
        self.made = [super(_Made, self)._records(batch) for batch in range(self.batches)]

    def _records(self, batch: int):
        return self.made[batch]


class Hotline(System):
    name = "hotline"

    def __init__(self, job: Job, settings: Settings, device: str, cap: int):
        super().__init__(job, settings, device)
        self.device_bytes = self.slots * 4 * settings.rows.words
        if self.device_bytes > cap:
            raise DoesNotFit(f"its hot table takes {self.device_bytes / 1e6:,.0f} MB: choose a smaller one")
        source = _Made(job, settings.rows)
        self.resident = Resident(self.transfers)
        self.trainer = Trainer(settings, source, self.resident, prefetch=True)
        source.make()
        for popular, non_popular, _ in source.made:
            self.resident.hold(popular)
            self.resident.hold(non_popular)
        later = [made for batch, made in enumerate(source.made) if batch not in job.learn_batches] or source.made
        self.popular = sum(len(p) for p, _, _ in later) / sum(len(p) + len(o) for p, o, _ in later)

    def steps(self, count: int) -> int:
        samples = 0

        def after(step):
            nonlocal samples
            samples += step.samples

        self.trainer.run(count, after)
        self.bus_bytes = self.resident.bytes
        return samples


SYSTEMS: list[Callable[..., System]] = [Hotline, Hybrid, GpuOnly, Fae, Fbgemm]


def measure(make: Callable[..., System], job: Job, settings: Settings, device: str, cap: int, *, seconds: float = 3.0,
            repetitions: int = 3) -> Measured:  # fmt: skip
    """Times one system, after the first WARM_UP steps, over ``repetitions`` windows of at least ``seconds``. Whatever a system
    raises is its own note: the others are still to be measured."""
    name = getattr(make, "name", "")
    try:
        system = make(job, settings, device, cap)
        system.steps(WARM_UP)
        system.transfers.synchronise()
        bytes_before, total, speeds = system.bus_bytes, 0, []
        for _ in range(repetitions):
            samples, spent, count = 0, 0.0, WARM_UP
            began = time.perf_counter()
            while spent < seconds:
                samples += system.steps(count)
                system.transfers.synchronise()
                spent = time.perf_counter() - began
                # The rest of the window in one go, so that the device is waited for once or twice.
                done = samples / max(1, job.batch_size)
                count = max(1, int(1.1 * (seconds - spent) / spent * done))
            speeds.append(samples / spent)
            total += samples
        bus_bytes = (system.bus_bytes - bytes_before) / total
        idle = device_idle(system, IDLE_STEPS) if system.device.type == "cuda" else float("nan")
        return Measured(name, float(np.median(speeds)), speeds, bus_bytes, system.device_bytes, idle, system.popular)
    except DoesNotFit as e:
        return Measured(name, note=str(e))
    except Exception as e:
        return Measured(name, note=f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:200]}")


def device_idle(system: System, steps: int) -> float:
    """The share of the time of ``steps`` steps in which no kernel ran on the device, as its own profile has it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        began = time.perf_counter()
        system.steps(steps)
        system.transfers.synchronise()
        seconds = time.perf_counter() - began
    on_device = [e for e in found.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [
        (e.time_range.start, e.time_range.end) for e in on_device if not e.name.lower().startswith(("memcpy", "memset"))
    ]  # fmt: skip
    return max(0.0, 1 - covered(kernels) / 1e6 / seconds) if kernels else float("nan")


def covered(spans: list[tuple[float, float]]) -> float:
    """How much of a line ``spans`` (begin, end) cover together."""
    total, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def about(job: Job, settings: Settings, model: str, room: int, seconds: float, repetitions: int) -> dict:
    """What was measured, for ``--json``: shapes, sizes and versions."""
    return {
        "model": model, "settings": asdict(settings), "trace": job.trace.name, "samples": job.trace.samples,
        "batch_size": job.batch_size, "table_rows": job.trace.table_rows.tolist(), "device_memory": room,
        "learn_mini_batches": len(job.learn_batches), "resident_bound_rows": job.resident_rows,
        "configuration": asdict(job.config), "window_seconds": seconds, "repetitions": repetitions,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda,
                     "numpy": np.__version__, "hotline": VERSION},
    }  # fmt: skip


def popular_share(measured: list[Measured]) -> float:
    """Of who splits samples; 0 if that could not be measured."""
    return next((m.popular for m in measured if m.popular == m.popular), 0.0)


def numbers(measured: list[Measured], device_name: str) -> dict:
    """What ``--json`` holds."""
    return {
        "device": device_name,
        "popular_share": popular_share(measured),
        "samples_per_second": {m.name: m.samples_per_second for m in measured if not m.note},
        "windows": {m.name: m.windows for m in measured if not m.note},
        "bus_bytes_per_sample": {m.name: m.bus_bytes_per_sample for m in measured if not m.note},
        "device_bytes": {m.name: m.device_bytes for m in measured if not m.note},
        "idle": {m.name: m.idle for m in measured if m.idle == m.idle},
        "not_measured": {m.name: m.note for m in measured if m.note},
    }


def table(measured: list[Measured], device_name: str) -> Table:
    """For people."""
    title = f"training on {device_name}; {popular_share(measured):.1%} of the samples are popular that were not learnt from"
    missing = [f"{m.name} was not measured: {m.note}" for m in measured if m.note]
    shown = Table("system", "samples/s", "spread", "of hybrid", "MB on the device", "bytes over the bus a sample", "idle",
                  title=title, caption="\n".join(missing))  # fmt: skip
    hybrid = next((m.samples_per_second for m in measured if m.name == "hybrid"), 0.0)
    for m in [m for m in measured if not m.note]:
        idle = f"{m.idle:.0%}" if m.idle == m.idle else "-"
        ratio = f"{m.samples_per_second / hybrid:.2f}" if hybrid else "-"
        spread = f"{(max(m.windows) - min(m.windows)) / m.samples_per_second:.1%}"
        shown.add_row(m.name, f"{m.samples_per_second:,.0f}", spread, ratio, f"{m.device_bytes / 1e6:,.1f}",
                      f"{m.bus_bytes_per_sample:,.0f}", idle)  # fmt: skip
    return shown
