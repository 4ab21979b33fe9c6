"""Training as a discrete-event pipeline: who waits for whom, in time that was measured.

    accelerator   SPLIT, popular part first; SCATTER     one card a node: mini-batches of its GPUs one after another
    host          the software engine's split; the hybrid's look-up and update     one a node, as that work takes all cores
    bus, gpu      one of each for every GPU

A mini-batch of the same size is on every GPU, and all step together: gradients of the MLPs are added up by a ring all-reduce, hot
rows' exchanged, cold rows fetched from the nodes' host memories.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

import simpy

from .parts import Parts

#: Steps that are simulated, and those of them at the beginning that do not count.
STEPS, FILLING = 60, 20
SYSTEMS = ("accelerator", "software", "hybrid")


@dataclass(frozen=True)
class Span:
    """``what`` was done in mini-batch ``batch`` by ``resource``, from ``begin`` to ``end`` in seconds."""

    resource: str
    what: str
    batch: int
    begin: float
    end: float


@dataclass
class Estimate:
    """``seconds`` of a step on ``gpus`` of each of ``nodes``; ``use``: the share of the time that each resource is busy;
    ``spans`` of the first GPU."""

    system: str
    gpus: int
    nodes: int
    samples: float
    seconds: float = 0.0
    use: dict[str, float] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    @property
    def samples_per_second(self) -> float:
        return self.samples * self.gpus * self.nodes / self.seconds

    @property
    def binding(self) -> str:
        """The resource that is busy most."""
        return max(self.use, key=lambda name: self.use[name])


class Simulation:
    """One node of several, whose ``gpus`` go in step."""

    def __init__(self, parts: Parts, system: str, gpus: int, nodes: int):
        self.parts, self.system, self.gpus, self.nodes = parts, system, gpus, nodes
        self.world = simpy.Environment()
        self.shared = {name: simpy.PriorityResource(self.world) for name in ("accelerator", "host")}
        self.own = [{name: simpy.PriorityResource(self.world) for name in ("bus", "gpu")} for _ in range(gpus)]
        self.spans: list[Span] = []
        self.busy: dict[str, float] = {}
        self.ended: list[float] = []  # of each step, when all GPUs have made it
        self.arrived: dict[int, list] = {}

    def run(self) -> Estimate:
        for gpu in range(self.gpus):
            getattr(self, f"_{self.system}")(gpu)
        self.world.run()
        ends, first = self.ended, self.ended[FILLING - 1]
        span = ends[-1] - first
        use = {name: busy / span for name, busy in self.busy.items()}
        return Estimate(
            self.system, self.gpus, self.nodes, self.parts.samples, span / (STEPS - FILLING), use, self.spans
        )

    # Work on resources.

    def _use(self, gpu: int, name: str, what: str, batch: int, seconds: float, urgent: bool = False) -> Generator:
        """Takes ``seconds`` of a resource, after whoever has it."""
        resource = self.shared.get(name) or self.own[gpu][name]
        with resource.request(priority=0 if urgent else 1) as turn:
            yield turn
            yield from self._spend(gpu, name, what, batch, seconds)

    def _spend(self, gpu: int, name: str, what: str, batch: int, seconds: float) -> Generator:
        began = self.world.now
        yield self.world.timeout(seconds)
        if gpu == 0:
            self.spans.append(Span(name, what, batch, began, self.world.now))
        if batch >= FILLING and (gpu == 0 or name in self.shared):
            self.busy[name] = self.busy.get(name, 0.0) + seconds

    def _events(self) -> list[simpy.Event]:
        return [self.world.event() for _ in range(STEPS + 2)]

    # What goes between GPUs.

    def _exchange_seconds(self, hot: bool) -> float:
        """Of a step: the all-reduce of the MLPs' gradients; with ``hot``, hot rows' gradients of all others come to each."""
        parts, count = self.parts, self.gpus * self.nodes
        if count == 1:
            return 0.0
        reduced = (
            2 * (count - 1) / count * parts.mlp_bytes / parts.links.network + 2 * (count - 1) * parts.links.latency
        )
        hot_rows = max(0.0, parts.distinct_rows - parts.working_rows)
        gathered = (count - 1) * hot_rows * parts.row_bytes / parts.links.network + parts.links.latency
        return reduced + gathered * hot

    def _remote_seconds(self) -> float:
        """Cold rows of a mini-batch that lie with other nodes: there and back."""
        parts = self.parts
        if self.nodes == 1:
            return 0.0
        remote = (self.nodes - 1) / self.nodes * parts.working_rows * parts.row_bytes
        return remote / parts.links.network + parts.links.latency

    def _together(self, batch: int) -> Generator:
        """Waits until all GPUs have come to this step."""
        waiting = self.arrived.setdefault(batch, [])
        event = self.world.event()
        waiting.append(event)
        if len(waiting) == self.gpus:
            for each in waiting:
                each.succeed()
        yield event

    def _end(self, batch: int) -> None:
        """A GPU has made a step."""
        if len(self.ended) == batch:
            self.ended.append(self.world.now)
        self.ended[batch] = self.world.now

    # The systems.

    def _accelerator(self, gpu: int) -> None:
        """Popular at once, the other one when its rows are there; the SPLIT of the next one is on its way meanwhile. Rows
        that two mini-batches share are fetched after the SCATTER of the first."""
        parts, card = self.parts, self.parts.accelerator
        assert card
        popular, other, scattered, done = (self._events() for _ in range(4))
        first, whole, back = (
            card.seconds(cycles, parts.samples)
            for cycles in (card.popular_cycles, card.split_cycles, card.scatter_cycles)
        )
        kernels = parts.kernels

        def split() -> Generator:
            for batch in range(STEPS):
                if batch >= 2:
                    yield done[batch - 2]
                with self.shared["accelerator"].request(priority=1) as turn:
                    yield turn
                    yield from self._spend(gpu, "accelerator", "split: popular", batch, first)
                    popular[batch].succeed()
                    yield from self._spend(gpu, "accelerator", "split: rows", batch, whole - first)
                if batch:
                    yield scattered[batch - 1]
                yield self.world.timeout(self._remote_seconds())
                other[batch].succeed()

        def train() -> Generator:
            for batch in range(STEPS):
                share = parts.popular
                for event, part, what in ((popular, share, "popular"), (other, 1 - share, "non-popular")):
                    yield event[batch]
                    spent = kernels.look_up * part + kernels.fixed + (kernels.dense - kernels.fixed) * part
                    yield from self._use(gpu, "gpu", what, batch, spent if part else 0.0)
                yield from self._together(batch)
                yield self.world.timeout(self._exchange_seconds(hot=True))
                yield from self._use(gpu, "gpu", "update", batch, kernels.update)
                done[batch].succeed()
                self._end(batch)
                self.world.process(scatter(batch))

        def scatter(batch: int) -> Generator:
            yield self.world.timeout(self._remote_seconds())
            yield from self._use(gpu, "accelerator", "scatter", batch, back, urgent=True)
            scattered[batch].succeed()

        self.world.process(split())
        self.world.process(train())

    def _software(self, gpu: int) -> None:
        """Split by the host two steps ahead, rows one step ahead over the bus; both micro-batches at once."""
        parts, kernels, links = self.parts, self.parts.kernels, self.parts.links
        split_events, rows, returned, done = (self._events() for _ in range(4))
        moved = parts.working_rows * parts.row_bytes

        def split() -> Generator:
            for batch in range(STEPS):
                if batch >= 3:
                    yield done[batch - 3]
                seconds = parts.samples / parts.split_rate if parts.split_rate else 0.0
                yield from self._use(gpu, "host", "split", batch, seconds)
                split_events[batch].succeed()

        def fetch() -> Generator:
            for batch in range(STEPS):
                yield split_events[batch]
                if batch >= 2:
                    yield returned[batch - 2]
                yield self.world.timeout(self._remote_seconds())
                yield from self._use(gpu, "bus", "rows come", batch, moved / links.rows_read)
                rows[batch].succeed()

        def train() -> Generator:
            for batch in range(STEPS):
                yield rows[batch]
                yield from self._use(gpu, "gpu", "look-up and MLPs", batch, kernels.look_up + kernels.dense)
                yield from self._together(batch)
                yield self.world.timeout(self._exchange_seconds(hot=True))
                yield from self._use(gpu, "gpu", "update", batch, kernels.update)
                done[batch].succeed()
                self._end(batch)
                self.world.process(give_back(batch))

        def give_back(batch: int) -> Generator:
            yield from self._use(gpu, "bus", "rows go", batch, moved / links.rows_written)
            yield self.world.timeout(self._remote_seconds())
            returned[batch].succeed()

        for process in (split, fetch, train):
            self.world.process(process())

    def _hybrid(self, gpu: int) -> None:
        """Look-up on the host, MLPs on the GPU, update on the host: one after another, as the next look-up needs the update."""
        kernels, links = self.parts.kernels, self.parts.links

        def train() -> Generator:
            for batch in range(STEPS):
                yield from self._use(gpu, "host", "look-up", batch, kernels.hybrid_look_up)
                yield self.world.timeout(self._remote_seconds())
                yield from self._use(gpu, "bus", "vectors", batch, kernels.hybrid_bytes / 2 / links.to_device)
                yield from self._use(gpu, "gpu", "MLPs", batch, kernels.hybrid_dense)
                yield from self._use(gpu, "bus", "gradients", batch, kernels.hybrid_bytes / 2 / links.from_device)
                yield from self._together(batch)
                yield self.world.timeout(self._exchange_seconds(hot=False))
                yield from self._use(gpu, "host", "update", batch, kernels.hybrid_update)
                self._end(batch)

        self.world.process(train())


def estimate(parts: Parts, system: str, gpus: int = 1, nodes: int = 1) -> Estimate:
    """A step of ``system``, one of SYSTEMS, on ``gpus`` GPUs of each of ``nodes`` nodes."""
    return Simulation(parts, system, gpus, nodes).run()
