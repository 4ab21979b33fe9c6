"""Drivers of Amaranth streams for block benches: sources and sinks with back-pressure patterns.

Payloads are dictionaries by the layout's field names, or plain integers. The rules of streams are
checked at every edge: once valid, a payload stays until it is taken.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import cocotb
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

CLOCK_NS = 10

#: Back-pressure patterns by name: given a random generator, an endless sequence of "go on" bits.
PATTERNS: dict[str, Callable[[random.Random], Iterable[bool]]] = {
    "always": lambda r: iter(lambda: True, False),
    "half": lambda r: iter(lambda: r.random() < 0.5, None),
    "seldom": lambda r: iter(lambda: r.random() < 0.1, None),
    "bursts": lambda r: _bursts(r),
}


def _bursts(r: random.Random):
    while True:
        go = r.random() < 0.5
        for _ in range(r.randint(1, 12)):
            yield go


class _Bench:
    """The tasks of the run under way. What is made after :func:`start` belongs to the next run."""

    tasks: list = []
    started = False


def background(coroutine) -> None:
    """Runs a coroutine until the next run begins."""
    if _Bench.started:
        for task in _Bench.tasks:
            task.cancel()
        _Bench.tasks, _Bench.started = [], False
    _Bench.tasks.append(cocotb.start_soon(coroutine))


def pack(layout, payload) -> int:
    """The bits of a payload: a dictionary or list for a layout, nested as the layout is."""
    if isinstance(layout, data.StructLayout):
        return sum(pack(field.shape, payload[name]) << field.offset for name, field in layout if name in payload)
    if isinstance(layout, data.ArrayLayout):
        return sum(pack(field.shape, payload[i]) << field.offset for i, field in layout)
    return int(payload)


def unpack(layout, bits: int):
    """A payload from its bits: attributes for a structure, a list for an array, else an integer."""
    if isinstance(layout, data.StructLayout):
        fields = {name: _field(field, bits) for name, field in layout}
        return SimpleNamespace(**fields, as_bits=lambda: bits)
    if isinstance(layout, data.ArrayLayout):
        return [_field(field, bits) for _, field in layout]
    return bits


def _field(field: data.Field, bits: int):
    return unpack(field.shape, bits >> field.offset & ((1 << field.width) - 1))


async def _until_reset_is_over(reset, edge) -> None:
    """Until the first edge at which ``reset`` is low: nothing is reset again while a bench runs."""
    while True:
        await edge
        if not int(reset.value):
            return


class StreamSource:
    """Drives stream ``name`` of ``dut``; :meth:`put` queues payloads."""

    def __init__(self, dut, name: str, layout, pattern: str, seed: int):
        self.valid, self.ready = getattr(dut, f"{name}_valid"), getattr(dut, f"{name}_ready")
        self.reset = dut.rst
        self.payload = getattr(dut, f"{name}_payload")
        self.layout = layout
        self.queue: deque[int] = deque()
        self.go = iter(PATTERNS[pattern](random.Random(seed)))
        self.offered = False
        self.valid.value = 0
        self.payload.value = 0
        background(self._run(dut.clk))

    def put(self, payloads: Iterable) -> None:
        """Queues payloads."""
        self.queue.extend(pack(self.layout, p) for p in payloads)

    @property
    def empty(self) -> bool:
        return not self.queue and not self.offered

    async def _run(self, clk) -> None:
        edge = RisingEdge(clk)
        await _until_reset_is_over(self.reset, edge)
        while True:
            if self.offered and int(self.ready.value):
                self.offered = False
                self.valid.value = 0
            if not self.offered and self.queue and next(self.go):
                self.payload.value = self.queue.popleft()
                self.valid.value = 1
                self.offered = True
            await edge


class StreamSink:
    """Takes from stream ``name`` of ``dut`` into ``got``."""

    def __init__(self, dut, name: str, layout, pattern: str, seed: int):
        self.name = name
        self.valid, self.ready = getattr(dut, f"{name}_valid"), getattr(dut, f"{name}_ready")
        self.reset = dut.rst
        self.payload = getattr(dut, f"{name}_payload")
        self.layout = layout
        self.got: list = []
        self.go = iter(PATTERNS[pattern](random.Random(seed)))
        self.ready.value = 0
        background(self._run(dut.clk))

    async def _run(self, clk) -> None:
        edge = RisingEdge(clk)
        ready, waiting = False, -1
        await _until_reset_is_over(self.reset, edge)
        while True:
            valid = int(self.valid.value)
            bits = int(self.payload.value) if valid else -1
            if waiting >= 0:
                assert bits == waiting, f"{self.name}: a payload changed, or went away, before it was taken"
            waiting = -1
            if valid and ready:
                self.got.append(unpack(self.layout, bits))
            elif valid:
                waiting = bits
            ready = bool(next(self.go))
            self.ready.value = int(ready)
            await edge


async def start(dut) -> None:
    """Clock and reset."""
    dut.rst.value = 1
    _Bench.tasks.append(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    _Bench.started = True
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


def wavering(dut, pattern: str, seed: int, *names: str) -> None:
    """Sets inputs that only put something off to 0 and 1 by turns, each as ``pattern`` says."""
    for n, name in enumerate(names):
        signal, go = getattr(dut, name), iter(PATTERNS[pattern](random.Random(f"{seed} {n}")))
        signal.value = 0

        async def waver(signal=signal, go=go) -> None:
            edge = RisingEdge(dut.clk)
            while True:
                await edge
                signal.value = int(not next(go))

        background(waver())


async def until(dut, condition: Callable[[], bool], what: str, cycles: int = 100_000) -> None:
    """Waits for ``condition``; fails after ``cycles``."""
    edge = RisingEdge(dut.clk)
    for _ in range(cycles):
        if condition():
            return
        await edge
    raise AssertionError(f"no end within {cycles} cycles: {what}")


async def pulse(dut, **values: int) -> None:
    """Sets signals for one cycle, then back to 0; returns when their effect can be seen."""
    for name, value in values.items():
        getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    for name in values:
        getattr(dut, name).value = 0
    await RisingEdge(dut.clk)
