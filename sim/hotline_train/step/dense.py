"""The dense part of a step: a model forward and backward on a micro-batch, as a CUDA graph where there is CUDA."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .device import Device
from .records import Workspace

#: Logits and labels [n] to losses [n].
Loss = Callable[[Tensor, Tensor], Tensor]


def log_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of each sample."""
    return nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")


class DensePart:
    """Runs ``model(dense [n, dense], pooled [n, tables, dim])`` -> logits [n] on a part of what lies in ``workspace``.
    Gradients of its parameters are added to what is there, that of ``pooled`` is put into the workspace, and so is the
    part's share of the mini-batch's mean loss.

    ``graphs``: each part becomes a CUDA graph when it first occurs. The model must then be one that can be
    captured: no size and no branch may depend on data.
    """

    def __init__(self, model: nn.Module, loss: Loss, workspace: Workspace, device: Device, *, autocast: torch.autocast,
                 graphs: bool = False):  # fmt: skip
        self.model, self.loss, self.workspace, self.device = model, loss, workspace, device
        self.autocast, self.graphs = autocast, graphs
        self.captured: dict[tuple[int, int, int | None], torch.cuda.CUDAGraph] = {}
        self.pool = None
        for parameter in model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # graphs add to it where it lies

    def run(self, part: slice, header: int | None = None) -> None:
        """The samples in ``part`` of the workspace: a whole mini-batch; or, with ``header`` 0 or 1, the popular or the other
        micro-batch of one, as that header tells, padded at the end."""
        if not self.graphs:
            self._work(part, header)
            return
        key = part.start, part.stop, header
        if key not in self.captured:
            self.captured[key] = self._capture(part, header)
        self.captured[key].replay()

    def _work(self, part: slice, header: int | None) -> None:
        space = self.workspace
        pooled = space.pooled[part].detach().requires_grad_()
        with torch.enable_grad():
            with self.autocast:
                logits = self.model(space.dense[part], pooled)
            losses = self.loss(logits.to(space.labels.dtype), space.labels[part])
            if header is None:
                loss = losses.sum() / len(losses)
            else:
                count, samples = space.header[header]
                real = torch.arange(len(losses), device=losses.device) < count
                loss = torch.where(real, losses, 0).sum() / samples
            loss.backward()
        assert pooled.grad is not None
        space.gradient[part].copy_(pooled.grad)
        space.losses[header or 0].copy_(loss.detach())

    def _capture(self, part: slice, header: int | None) -> torch.cuda.CUDAGraph:
        """Runs it some times beside, as capturing asks for, and leaves gradients and buffers as they were."""
        kept = [t.clone() for t in self._changed()]
        stream = torch.cuda.Stream(self.device.device)
        stream.wait_stream(torch.cuda.current_stream(self.device.device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._work(part, header)
        torch.cuda.current_stream(self.device.device).wait_stream(stream)
        for tensor, value in zip(self._changed(), kept, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on giving the device work meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
            self._work(part, header)
        self.pool = self.pool or graph.pool()
        return graph

    def _changed(self) -> list[Tensor]:
        space = self.workspace
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return [*gradients, *self.model.buffers(), space.gradient, space.losses]
