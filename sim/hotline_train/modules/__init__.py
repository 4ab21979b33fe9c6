"""In people's own models: an embedding module in place of theirs, and their batches, split."""

from .batches import Batch
from .collection import HotlineEmbeddingBagCollection
from .pooled import Pooled
from .tables import Ids, Pooling, TableConfig

__all__ = ["Batch", "HotlineEmbeddingBagCollection", "Ids", "Pooled", "Pooling", "TableConfig"]
