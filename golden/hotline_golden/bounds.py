"""The fewest cycles that any implementation of the same sizes could take (docs/architecture.md)."""

from dataclasses import asdict, dataclass

from .model import Model
from .split import SplitResult


@dataclass(frozen=True)
class Bound:
    """Cycles that each resource needs for one mini-batch; the largest binds."""

    input: float
    lanes: float
    working_set: float
    gather: float
    output: float

    @property
    def cycles(self) -> float:
        return max(asdict(self).values())

    @property
    def binding(self) -> str:
        """The name of the resource that binds."""
        by_name = asdict(self)
        return max(by_name, key=by_name.__getitem__)


def split_bound(model: Model, result: SplitResult, lanes: int, bus_bits: int) -> Bound:
    """Bound of one SPLIT. Output counts everything that crosses the device port: records, keys, rows."""
    bus_words = bus_bits // 32
    samples = len(result.popular) + len(result.non_popular)
    row_words = len(result.working_keys) * model.row_bytes // 4
    output_words = samples * model.record_words + 2 * len(result.working_keys) + row_words
    return Bound(
        input=samples * model.sample_words / bus_words,
        lanes=result.tracked_accesses / lanes,
        working_set=float(result.cold_accesses),
        gather=row_words / bus_words,
        output=output_words / bus_words,
    )
