"""Named tables, as TorchRec's ``EmbeddingBagConfig`` names them, and how their ids become rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hotline_sim.traces.readers.values import AsIs, FirstSeen, Hash, Rule, ValueFault


class Pooling(StrEnum):
    """How the rows of a feature become one vector."""

    SUM = "sum"
    MEAN = "mean"


class Ids(StrEnum):
    """What the ids of a table are.

    ``rows``: rows, 0 to ``num_embeddings`` - 1. ``hash``: any 64 bits; row ``mix(mix(id ^ table << 40)) mod num_embeddings`` with
    ``mix`` of SplitMix64, so different ids may share a row. ``dictionary``: any 64 bits; an id gets the next free row when it is
    first seen, and there is an error when none is left.
    """

    ROWS = "rows"
    HASH = "hash"
    DICTIONARY = "dictionary"


@dataclass(frozen=True)
class TableConfig:
    """A table ``name`` of ``num_embeddings`` rows of ``embedding_dim`` values, read by the features ``feature_names``.
    ``length``: the most ids that a sample has of a feature. Raises ValueError for sizes that cannot be."""

    name: str
    num_embeddings: int
    embedding_dim: int
    feature_names: Sequence[str]
    pooling: Pooling = Pooling.SUM
    length: int = 1
    ids: Ids = Ids.ROWS

    def __post_init__(self):
        for field in ("num_embeddings", "embedding_dim", "length"):
            if getattr(self, field) < 1:
                raise ValueError(f"table {self.name}: {field} must be at least 1, not {getattr(self, field)}")
        if not self.feature_names:
            raise ValueError(f"table {self.name}: no feature reads it")


class RowNumbers:
    """The rows of ids of one table; ``number`` counts tables."""

    def __init__(self, table: TableConfig, number: int):
        self.table = table
        kinds = {Ids.ROWS: lambda: AsIs(table.num_embeddings), Ids.HASH: lambda: Hash(table.num_embeddings, number, 0),
                 Ids.DICTIONARY: lambda: FirstSeen("skip")}  # fmt: skip
        self.rule: Rule = kinds[Ids(table.ids)]()

    def rows(self, feature: str, ids: np.ndarray) -> np.ndarray:
        """uint32 [n] of ``ids`` int64 [n]. Raises ValueError that names feature, place and id."""
        try:
            rows = self.rule.rows(ids.view(np.uint64), None)
        except ValueFault as e:
            raise ValueError(
                f"feature {feature}, value {e.place}: id {ids[e.place]} is not a row of table {self.table.name}, which "
                f"has {self.table.num_embeddings}; ids='hash' or ids='dictionary' take any"
            ) from e
        if self.rule.table_rows() > self.table.num_embeddings:
            raise ValueError(
                f"feature {feature}: more than {self.table.num_embeddings} different ids for table {self.table.name}: make "
                "it larger, or use ids='hash'"
            )
        return rows

    def seen(self) -> np.ndarray:
        """int64: the ids of a dictionary, in the order of their rows."""
        assert isinstance(self.rule, FirstSeen)
        return self.rule.values().view(np.int64)

    def see(self, ids: np.ndarray) -> None:
        """Takes what :meth:`seen` gave, in place of what there is."""
        self.rule = FirstSeen("skip")
        self.rows(self.table.feature_names[0], np.ascontiguousarray(ids, np.int64))
