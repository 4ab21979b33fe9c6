"""CUDA graphs: work that comes again and again is given to the device as a whole."""

from collections.abc import Callable, Hashable

import torch

from .device import Device


class Graphs:
    """Runs work of the main stream. On a GPU, work of one ``key`` must always be the same: the same kernels at the same
    addresses, no size and no branch that depends on data. It is run as it is when it first comes (which warms up what it
    uses), captured the second time, and replayed from then on. On a CPU it is always run as it is."""

    def __init__(self, device: Device):
        self.device, self.enabled = device.device, device.device.type == "cuda"
        self.seen: set[Hashable] = set()
        self.captured: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self.pool = None
        self.stream = torch.cuda.Stream(self.device) if self.enabled else None

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """In the current stream."""
        if not self.enabled:
            work()
            return
        if key not in self.seen:
            self.seen.add(key)
            self._run_beside(work)
            return
        if key not in self.captured:
            self.captured[key] = self._capture(work)
        self.captured[key].replay()

    def _run_beside(self, work: Callable[[], None]) -> None:
        """In the stream that captures: autograd adds gradients in the stream in which it has first seen a parameter."""
        assert self.stream
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # Memory is shared by all: they run one after another. Other threads may give the device work meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            work()
        self.pool = self.pool or graph.pool()
        return graph
