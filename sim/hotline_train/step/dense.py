"""The dense part of a step: a model forward and backward on a micro-batch, as a CUDA graph where there is CUDA."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .graphs import Graphs
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

    On a GPU each part becomes a CUDA graph (``graphs``). The model must then be one that can be captured.
    """

    def __init__(self, model: nn.Module, loss: Loss, workspace: Workspace, graphs: Graphs, autocast: torch.autocast):
        self.model, self.loss, self.workspace, self.graphs, self.autocast = model, loss, workspace, graphs, autocast
        for parameter in model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # graphs add to it where it lies

    def run(self, part: slice, header: int | None = None) -> None:
        """The samples in ``part`` of the workspace: a whole mini-batch; or, with ``header`` 0 or 1, the popular or the other
        micro-batch of one, as that header tells, padded at the end."""
        self.graphs.run(("dense", part.start, part.stop, header), lambda: self.work(part, header))

    def work(self, part: slice, header: int | None = None) -> None:
        """The same, as it is: to be captured with other work."""
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
