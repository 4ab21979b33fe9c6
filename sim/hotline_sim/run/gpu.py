"""What stands in for the GPU in a run: the hot table, the update of a mini-batch's rows, and the exchange of rows after a SWAP.

A run trains nothing. But each row that a mini-batch uses is updated once, by a stated rule, wherever it lies: in the hot
table or among the working rows. So what the tables hold in the end is known without any hot set, and a row that is lost on its
way, or comes from the wrong place, is seen.
"""

from collections.abc import Sequence

import numpy as np

from hotline_golden.layouts import EMPTY_SLOT, NO_ACCESS, WORKING_ROW
from hotline_golden.memory import MemoryImage

from .job import COMING, Job, initial_rows, output_buffers, updated_rows


class Gpu:
    """Beside the memories ``host`` and ``device`` of an accelerator. ``hot`` float32 [slots, dim], and ``hot_list`` uint32
    [slots, 2], the keys of its rows: the tracker's slots, then the resident tables'. It begins without tracked rows."""

    def __init__(self, job: Job, host: MemoryImage, device: MemoryImage):
        self.job, self.host, self.device = job, host, device
        self.hot_list = np.full((job.config.tracker_entries, 2), EMPTY_SLOT, np.uint32)
        self.hot_list = np.concatenate([self.hot_list, job.resident_keys()])
        self.hot = np.zeros((len(self.hot_list), job.dim), np.float32)
        self.take(self.hot_list)

    def take(self, hot_list: np.ndarray) -> None:
        """The first slots hold ``hot_list`` uint32 [n, 2] from now on; rows come from the tables in host memory."""
        self.hot_list[: len(hot_list)] = hot_list
        for number, mine, rows in self._by_table():
            self.hot[mine] = self.job.table(self.host, number)[rows]

    def _by_table(self):
        """For each table: its number, the slots that hold a row of it, and these rows."""
        for number in range(len(self.job.model.tables)):
            mine = np.flatnonzero(self.hot_list[:, 0] == number)
            yield number, mine, self.hot_list[mine, 1]

    def step(self, batch: int, into: int, samples: tuple[int, int], working: int) -> None:
        """Updates every row that mini-batch ``batch`` uses: of ``samples`` popular and non-popular records in the buffers
        ``into``, and the first ``working`` rows there."""
        popular, non_popular, _, rows = (self.device.buffers[name].address for name in output_buffers(into))
        words = self.job.model.record_words
        references = [
            self.device.words(address, count * words).reshape(count, words)[:, 1 + self.job.model.payload_words :]
            for address, count in zip((popular, non_popular), samples, strict=True)
        ]
        used = np.unique(np.concatenate(references))
        slots = used[used < WORKING_ROW]
        self.hot[slots] = updated_rows(self.hot[slots], batch)
        self.job.update([self.device], into, working, batch)

    def exchange(self, delta: np.ndarray, into: int) -> None:
        """What a SWAP has changed, by its delta list uint32 [n, DELTA_WORDS]; rows that enter are working rows ``into``."""
        self._exchange(delta, output_buffers(into)[2:])

    def list_coming(self, delta: np.ndarray) -> None:
        """The keys of rows that enter the hot set, and are to be gathered for that."""
        address = self.device.buffers[COMING[0]].address
        self.device.words(address, 2 * len(delta)).reshape(-1, 2)[:] = delta[:, 3:5]

    def exchange_coming(self, delta: np.ndarray) -> None:
        """What a SWAP has changed, whose rows have been gathered in the order of ``delta``."""
        delta = delta.copy()
        delta[:, -1] = np.arange(len(delta))
        self._exchange(delta, COMING)

    def _exchange(self, delta: np.ndarray, names: Sequence[str]) -> None:
        """A row that enters the hot set lies in the buffer of rows, by its number; the one that leaves takes its place there, and
        in the list of keys, too: SCATTER brings it home. Where none leaves, the place stays as it is."""
        if not len(delta):
            return
        keys, rows = (self.device.buffers[name].address for name in names)
        slots, old, new, numbers = delta[:, 0], delta[:, 1:3], delta[:, 3:5], delta[:, 5].astype(np.int64)
        count, dim = int(numbers.max()) + 1, self.job.dim
        listed = self.device.words(keys, 2 * count).reshape(count, 2)
        values = self.device.words(rows, count * dim).view(np.float32).reshape(count, dim)
        had = old[:, 0] != EMPTY_SLOT
        leaving = self.hot[slots[had]]
        self.hot[slots] = values[numbers]
        values[numbers[had]] = leaving
        listed[numbers[had]] = old[had]
        self.hot_list[slots] = new

    def flush(self) -> None:
        """Hot rows go back to their tables, where they are right until the next step."""
        for number, mine, rows in self._by_table():
            self.job.table(self.host, number)[rows] = self.hot[mine]


class PlainTables:
    """The rows that a job's trace uses, updated without a hot set: each once in every mini-batch that uses it."""

    def __init__(self, job: Job):
        self.job = job
        self.rows = job.touched_rows()
        self.values = [initial_rows(number, rows, job.dim) for number, rows in enumerate(self.rows)]

    def step(self, batch: int) -> None:
        """Updates the rows of a mini-batch."""
        job = self.job
        samples = job.trace.part(batch * job.batch_size, (batch + 1) * job.batch_size).rows
        table_of = np.asarray(job.model.table_of)
        for number, (rows, values) in enumerate(zip(self.rows, self.values, strict=True)):
            accessed = samples[:, table_of == number]
            place = np.searchsorted(rows, np.unique(accessed[accessed != NO_ACCESS]))
            values[place] = updated_rows(values[place], batch)

    def difference(self, host: MemoryImage) -> str:
        """Where the tables in ``host`` differ, in words for people; empty when they agree."""
        for number, (rows, values) in enumerate(zip(self.rows, self.values, strict=True)):
            found = self.job.table(host, number)[rows]
            wrong = (found.view(np.uint32) != values.view(np.uint32)).any(axis=1)
            if wrong.any():
                n = int(wrong.argmax())
                return (
                    f"table {number}, row {rows[n]}: begins with {found[n, 0]}, and with {values[n, 0]} where every row is "
                    "updated without a hot set"
                )
        return ""
