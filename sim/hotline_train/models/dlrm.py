"""DLRM (Naumov et al., arXiv 1906.00091): bottom MLP, embeddings, dot interaction, top MLP."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class DlrmShape:
    """Rows of ``dim`` values; hidden layers of the bottom and of the top MLP. ``trace``: the generated click log of the
    same data set, for who has no log. Raises ValueError for sizes that cannot be built."""

    dim: int = 16
    bottom: tuple[int, ...] = (64,)
    top: tuple[int, ...] = (64,)
    trace: str = "synthetic:criteo-kaggle"

    def __post_init__(self):
        for name in ("bottom", "top"):
            sizes = getattr(self, name)
            if not all(type(size) is int and size >= 1 for size in sizes):
                raise ValueError(f"{name} must be layer sizes of at least 1, not {list(sizes)}")
        if type(self.dim) is not int or self.dim < 1:
            raise ValueError(f"dim must be at least 1, not {self.dim!r}")

    @staticmethod
    def read(path: Path) -> "DlrmShape":
        """From a JSON file: an object with any of the fields. Raises ValueError, naming file and field."""
        try:
            found = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as e:
            raise ValueError(f"{path}: not a JSON file: {e}") from e
        known = {f.name for f in fields(DlrmShape)}
        if not isinstance(found, dict) or (unknown := set(found) - known):
            what = f"unknown {', '.join(sorted(unknown))}" if isinstance(found, dict) else "not an object"
            raise ValueError(f"{path}: {what}; there are {', '.join(sorted(known))}")
        try:
            fields_found: dict = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
            return DlrmShape(**fields_found)
        except (TypeError, ValueError) as e:
            raise ValueError(f"{path}: {e}") from e


#: The paper's models: layer sizes as published with DLRM and TBSM for these data sets.
SHAPES = {
    "rm1": DlrmShape(16, (), (30, 60), "synthetic:taobao"),
    "rm2": DlrmShape(16, (512, 256, 64), (512, 256), "synthetic:criteo-kaggle"),
    "rm3": DlrmShape(64, (512, 256), (512, 512, 256), "synthetic:criteo-terabyte"),
    "rm4": DlrmShape(16, (512, 256, 64), (512, 256), "synthetic:avazu"),
    "small": DlrmShape(),
}


def dlrm_shape(name: str) -> DlrmShape:
    """The shape of that name, or of the JSON file of that name. Raises ValueError for neither."""
    if name in SHAPES:
        return SHAPES[name]
    if Path(name).exists():
        return DlrmShape.read(Path(name))
    raise ValueError(f"unknown model {name!r}: there are {', '.join(SHAPES)}, and JSON files (docs/training.md)")


def mlp(sizes: list[int], *, last_linear: bool) -> nn.Sequential:
    """Linear layers of ``sizes`` with ReLU between; after the last one too, unless ``last_linear``."""
    layers: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers.append(nn.Linear(inputs, outputs))
        if n < len(sizes) - 2 or not last_linear:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class DotInteraction(torch.autograd.Function):
    """The dot products [n, pairs] of pairs of ``vectors`` [n, vectors, dim]; ``pairs`` int64 [pairs] are places in the flat
    matrix of all products, all different. So the backward pass writes each of them once: no sort, no atomic addition."""

    @staticmethod
    def forward(ctx, vectors: Tensor, pairs: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, pairs)
        return torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1).index_select(1, pairs)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        vectors, pairs = ctx.saved_tensors
        count = vectors.shape[1]
        products = gradient.new_zeros(len(gradient), count * count).index_copy_(1, pairs, gradient)
        products = products.view(len(gradient), count, count)
        return torch.bmm(products + products.transpose(1, 2), vectors.to(products.dtype)).to(vectors.dtype), None


class Dlrm(nn.Module):
    """Everything but the embedding tables: these lie where the trainer keeps them.

    ``dense`` features a sample. With none there is no bottom MLP: the sum of the tables' vectors takes its place before the
    top MLP, and only the tables' vectors interact.
    """

    def __init__(self, tables: int, dense: int, shape: DlrmShape):
        super().__init__()
        self.bottom = mlp([dense, *shape.bottom, shape.dim], last_linear=False) if dense else None
        vectors = tables + 1 if dense else tables
        pairs = vectors * (vectors - 1) // 2
        self.top = mlp([shape.dim + pairs, *shape.top, 1], last_linear=True)
        first, second = torch.tril_indices(vectors, vectors, offset=-1)
        self.register_buffer("pairs", first * vectors + second, persistent=False)

    def forward(self, dense: Tensor, pooled: Tensor) -> Tensor:
        """Logits [n] of ``dense`` [n, dense] and ``pooled`` [n, tables, dim]: the sum of each table's rows."""
        if self.bottom is None:
            x, vectors = pooled.sum(dim=1), pooled
        else:
            x = self.bottom(dense)
            vectors = torch.cat([x[:, None, :], pooled], dim=1)
        return self.top(torch.cat([x, DotInteraction.apply(vectors, self.pairs)], dim=1)).squeeze(1)
