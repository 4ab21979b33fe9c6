"""DLRM (Naumov et al., arXiv 1906.00091): bottom MLP, embeddings, dot interaction, top MLP."""

import torch
from torch import Tensor, nn


def mlp(sizes: list[int], *, last_linear: bool) -> nn.Sequential:
    """Linear layers of ``sizes`` with ReLU between; after the last one too, unless ``last_linear``."""
    layers: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers.append(nn.Linear(inputs, outputs))
        if n < len(sizes) - 2 or not last_linear:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Dlrm(nn.Module):
    """Everything but the embedding tables: they lie where the trainer keeps them.

    ``table_of`` gives the table of each access; accesses of one table are pooled by sum. ``dense``
    features per sample, rows of ``dim`` values.
    """

    def __init__(self, table_of: list[int], dense: int, dim: int, *, bottom: int = 64, top: int = 64):
        super().__init__()
        self.tables = max(table_of) + 1
        self.register_buffer("table_of", torch.tensor(table_of), persistent=False)
        self.bottom = mlp([dense, bottom, dim], last_linear=False)
        vectors = self.tables + 1
        pairs = vectors * (vectors - 1) // 2
        self.top = mlp([dim + pairs, top, 1], last_linear=True)
        lower = torch.tril_indices(vectors, vectors, offset=-1)
        self.register_buffer("lower", lower, persistent=False)

    def forward(self, dense: Tensor, rows: Tensor) -> Tensor:
        """Logits [samples] of ``dense`` [samples, dense] and ``rows`` [samples, accesses, dim]."""
        x = self.bottom(dense)
        pooled = rows.new_zeros(rows.shape[0], self.tables, rows.shape[2])
        pooled = pooled.index_add(1, self.table_of, rows)
        vectors = torch.cat([x[:, None, :], pooled], dim=1)
        products = vectors @ vectors.transpose(1, 2)
        interactions = products[:, self.lower[0], self.lower[1]]
        return self.top(torch.cat([x, interactions], dim=1)).squeeze(1)
