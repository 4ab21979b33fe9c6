"""An engine on each rank, which learns from all samples and splits its own: the hot set is the same on all ranks."""

import numpy as np
import torch
import torch.distributed as dist

from hotline_sim.run.job import Job
from hotline_sim.traces.trace import Samples

from ..rows import RowFormat
from ..sources.engine import Engine, EngineSource
from ..sources.tables import HostTables


class RankSource(EngineSource):
    """Row ``r`` of each table lies with rank ``r mod ranks``. ``read_rows`` is called on all ranks together, with the same
    keys."""

    def __init__(self, job: Job, rows: RowFormat, engine: Engine, device: torch.device):
        self.rank, self.ranks, self.device = dist.get_rank(), dist.get_world_size(), device
        super().__init__(job, rows, engine, HostTables(job.trace.table_rows, rows, self.rank, self.ranks))

    def _part(self, batch: int) -> Samples:
        first, samples = batch * self.batch_size, self.samples_of(batch)
        begin, end = (samples * n // self.ranks for n in (self.rank, self.rank + 1))
        return self.trace.part(first + begin, first + end)

    def _learnt(self, batch: int, part: Samples) -> np.ndarray:
        return super()._part(batch).rows

    def owns(self, keys: np.ndarray) -> np.ndarray:
        return keys[:, 1] % self.ranks == self.rank

    def read_own(self, keys: np.ndarray) -> np.ndarray:
        return self.tables.read(keys)

    def read_rows(self, keys: np.ndarray) -> np.ndarray:
        mine = self.owns(keys)
        rows = np.zeros((len(keys), self.rows.width), self.rows.numpy)
        rows[mine] = self.tables.read(keys[mine])
        total = torch.from_numpy(rows).to(self.device)
        dist.all_reduce(total)
        return total.cpu().numpy()

    def write_rows(self, keys: np.ndarray, rows: np.ndarray) -> None:
        mine = self.owns(keys)
        self.tables.write(keys[mine], rows[mine])
