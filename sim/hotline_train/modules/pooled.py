"""What the module gives: pooled vectors by the name of their feature."""

from collections.abc import Iterator

from torch import Tensor


class Pooled:
    """As TorchRec's ``KeyedTensor``: ``pooled["user"]`` [batch, dim], ``values()`` [batch, sum of dims], ``to_dict()``. All of
    one dim: ``stacked`` [batch, features, dim]."""

    def __init__(self, names: list[str], stacked: Tensor):
        self._names, self.stacked = names, stacked

    def keys(self) -> list[str]:
        return list(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Tensor:
        return self.stacked[:, self._names.index(name)]

    def values(self) -> Tensor:
        return self.stacked.flatten(1)

    def to_dict(self) -> dict[str, Tensor]:
        return dict(zip(self._names, self.stacked.unbind(1), strict=True))
