"""What ranks send each other in a step: five collectives, none of them for display.

header       all gather    how many keys go to each rank, hot rows, samples: a step ahead
keys         all to all    working rows' keys, to their owners: a step ahead
rows         all to all    these rows, back
gradients    all reduce    the MLPs', and the loss; beside the sums of rows' gradients
row sums     all to all    hot rows' gradients to all, cold rows' to their owners
hot rows     all reduce    rows that enter the hot set, if there are any, from their owners to all
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from hotline_golden.layouts import NO_ACCESS, WORKING_ROW


@dataclass(frozen=True)
class Share:
    """A rank's samples of a mini-batch, split. ``slots`` int64 [h]: distinct hot rows; ``keys`` int64 [k, 2]: working keys
    by owner, ``to_each`` int64 [ranks] of them; ``numbers`` int64 [k]: which working row each is. ``row_of`` int64 [n *
    accesses]: where each access's gradient is added up: among the slots, then the working rows; ``h + k`` for no access."""

    popular: int
    samples: int
    slots: np.ndarray
    keys: np.ndarray
    to_each: np.ndarray
    numbers: np.ndarray
    row_of: np.ndarray

    @staticmethod
    def of(references: list[np.ndarray], popular: int, keys: np.ndarray, ranks: int) -> "Share":
        """Of ``references`` uint32 [n, accesses] of both micro-batches, and working ``keys`` uint32 [k, 2]."""
        flat = np.concatenate([part.reshape(-1) for part in references])
        none, working = flat == NO_ACCESS, flat >= WORKING_ROW
        slots, place = np.unique(flat[~working], return_inverse=True)
        row_of = np.empty(len(flat), np.int64)
        row_of[~working] = place.reshape(-1)
        row_of[working] = len(slots) + (flat[working] - np.uint32(WORKING_ROW)).astype(np.int64)
        row_of[none] = len(slots) + len(keys)
        owner = keys[:, 1].astype(np.int64) % ranks
        numbers = np.argsort(owner, kind="stable")
        return Share(
            popular,
            sum(len(part) for part in references),
            slots.astype(np.int64),
            keys[numbers].astype(np.int64),
            np.bincount(owner, minlength=ranks).astype(np.int64),
            numbers,
            row_of,
        )

    @property
    def header(self) -> np.ndarray:
        """int64 [ranks + 4]: keys to each rank; slots, working rows, popular samples, samples."""
        return np.concatenate([self.to_each, [len(self.slots), len(self.keys), self.popular, self.samples]])


@dataclass(frozen=True)
class Agreed:
    """What all ranks know of a mini-batch: ``headers`` int64 [ranks, ranks + 4]; and this rank: ``asked`` int64 [n], where
    the rows lie that it is asked for, by asking rank."""

    headers: np.ndarray
    asked: np.ndarray
    rank: int

    @property
    def ranks(self) -> int:
        return len(self.headers)

    @property
    def asked_by(self) -> list[int]:
        """How many rows each rank asks this one for."""
        return self.headers[:, self.rank].tolist()

    @property
    def to_each(self) -> list[int]:
        """How many rows this one asks each rank for."""
        return self.headers[self.rank, : self.ranks].tolist()

    @property
    def slots(self) -> list[int]:
        """How many hot rows each rank has gradients of."""
        return self.headers[:, self.ranks].tolist()

    @property
    def totals(self) -> tuple[int, int, int]:
        """Working rows, popular samples, samples of all ranks."""
        working, popular, samples = self.headers[:, self.ranks + 1 :].sum(axis=0).tolist()
        return working, popular, samples


def all_gather(own: np.ndarray, device: torch.device) -> np.ndarray:
    """[ranks, ...]: ``own`` int64 of each rank, all of one shape."""
    mine = torch.from_numpy(own).to(device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    return torch.stack(every).cpu().numpy()


def all_to_all(sent: Tensor, to_each: list[int], from_each: list[int]) -> Tensor:
    """``to_each`` of ``sent`` [n, ...] go to each rank, in order; returns what came, ``from_each`` of each."""
    received = sent.new_empty(sum(from_each), *sent.shape[1:])
    dist.all_to_all_single(received, sent.contiguous(), from_each, to_each)
    return received
