"""Micro-batches of the accelerator itself, behind a transport: its device memory is the memory that is trained on."""

from dataclasses import replace

import numpy as np

from hotline_golden.layouts import DELTA_WORDS, EMPTY_SLOT, Command, Completion, Kind, Opcode
from hotline_sim.host.driver import Driver, Transport
from hotline_sim.host.errors import CommandError
from hotline_sim.run.job import Job, initial_parts, output_buffers, rings

from ..rows import RowFormat
from .source import Exchange, NonPopular, OfJob


class LiveSource(OfJob):
    """``job`` must have been prepared with rows of ``rows.words`` words, and two sets of output buffers.

    Raises what the driver raises. ``transport`` is the caller's to close.
    """

    def __init__(self, job: Job, transport: Transport, rows: RowFormat):
        super().__init__(job.trace, job.batch_size, rows)
        if job.dim != rows.words:
            raise ValueError(f"the job has rows of {job.dim} words, training of {rows.words}")
        if output_buffers(1)[0] not in job.device.buffers:
            raise ValueError("the job has one set of output buffers; training needs two")
        self.job, self.transport = job, transport
        self.driver = Driver(transport, job.config, rings(transport.host))
        self.tag = 0
        self.into = 0
        self.asked: list[Command] = []  # SPLITs that have not been given whole
        self.given: list[Command] = []  # SCATTERs that are still to be submitted
        self.named = False  # a SPLIT waits for the oldest of these
        self.scattering: list[Command] = []  # SCATTERs whose completion has not been looked at
        self.completions: dict[tuple[int, int], Completion] = {}
        touched = None if job.whole_tables else job.touched_rows()
        for number, table in enumerate(job.model.tables):
            every = np.arange(table.rows) if touched is None else touched[number]
            for part, values in initial_parts(number, every, rows.dim):
                self._table(number)[part] = rows.initial(values).view(np.uint32)

    def _table(self, number: int) -> np.ndarray:
        """uint32 [rows, row words] view of a table in host memory."""
        table = self.job.model.tables[number]
        words = self.transport.host.words(table.base, table.rows * table.stride // 4)
        return words.reshape(table.rows, -1)[:, : self.rows.words]

    def open(self, hot_list: np.ndarray | None = None, counted: dict[str, np.ndarray] | None = None) -> np.ndarray:
        job, driver = self.job, self.driver
        driver.load_model(job.model)
        buffer = self.transport.host.buffers["hot list"]
        words = self.transport.host.words(buffer.address, buffer.size // 4)
        if hot_list is not None:
            words[:] = hot_list[: len(words) // 2].reshape(-1)
            self._execute(job.hot_list(Opcode.LOAD))
        else:
            self._execute(Command(Opcode.CLEAR))
            words[:] = EMPTY_SLOT
            for batch in job.learn_batches:
                job.load(batch, [self.transport.host])
                self._execute(job.learn(batch))
            if job.learn_batches:
                self._execute(job.hot_list(Opcode.DUMP))
        return np.concatenate([words.reshape(-1, 2), job.resident_keys()])

    def counted(self) -> dict[str, np.ndarray]:
        """What an accelerator has counted cannot be read. So it begins to count anew now, with the hot set as it is: as one does
        that takes up the checkpoint."""
        if self.follows:
            self._settle()
            self._execute(self.job.hot_list(Opcode.DUMP))
            self._execute(self.job.hot_list(Opcode.LOAD))
        return {}

    def begin(self, batch: int, *, ahead: bool = False) -> None:
        self.into ^= 1
        command = self.job.split(batch, into=self.into)
        if ahead and self.given:
            command = command.naming(self.given[0].after)
            self.named = True
        self.job.load(batch, [self.transport.host])
        self.asked.append(self._submit(command))

    def popular(self) -> np.ndarray:
        command = self.asked[0]
        count = self._completion(command, Kind.POPULAR).popular
        return self._device(command.popular, count, self.job.model.record_words)

    def non_popular(self) -> NonPopular:
        command = self.asked.pop(0)
        done = self._completion(command, Kind.NON_POPULAR)
        self._settle()  # any SCATTER before it has ended
        count = done.working_rows
        if count:
            self.given.append(
                Command(
                    Opcode.SCATTER,
                    samples=count,
                    working_keys=command.working_keys,
                    working_rows=command.working_rows,
                    after=command.tag,
                )
            )
        exchange = self._swap()
        keys = self._device(command.working_keys, count, 2)
        keys[:] = exchange.going_home(keys)  # the SCATTER reads them
        return NonPopular(
            self._device(command.non_popular, done.non_popular, self.job.model.record_words),
            self.rows.view(self._device(command.working_rows, count, self.rows.words)),
            exchange,
        )

    def _swap(self) -> Exchange:
        """The hot set takes over what the newest mini-batch has changed, if it follows the data."""
        if not self.follows:
            return Exchange.none()
        done = self._execute(self.job.swap())
        buffer = self.transport.host.buffers["delta list"]
        return Exchange.of(self.transport.host.words(buffer.address, done.working_rows * DELTA_WORDS))

    def scatter(self) -> None:
        if not self.given:  # the mini-batch had no working rows
            return
        command = self.given.pop(0)
        named, self.named = self.named, False
        self.scattering.append(self._submit(command.naming(command.after) if named else replace(command, after=0)))

    def _settle(self) -> None:
        """Waits until all that has been scattered is in host memory."""
        while self.scattering:
            self._completion(self.scattering.pop(0), Kind.WHOLE)

    def read_rows(self, keys: np.ndarray) -> np.ndarray:
        self._settle()
        found = np.zeros((len(keys), self.rows.words), np.uint32)
        for number in np.unique(keys[:, 0]).tolist():
            mine = keys[:, 0] == number
            found[mine] = self._table(number)[keys[mine, 1]]
        return self.rows.view(found)

    def write_rows(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self._settle()
        words = np.ascontiguousarray(rows, self.rows.numpy).view(np.uint32)
        for number in np.unique(keys[:, 0]).tolist():
            mine = keys[:, 0] == number
            self._table(number)[keys[mine, 1]] = words[mine]

    def _device(self, address: int, count: int, words: int) -> np.ndarray:
        return self.transport.device.words(address, count * words).reshape(count, words)

    def _submit(self, command: Command) -> Command:
        self.tag += 1
        command = replace(command, tag=self.tag)
        self.driver.check(command)
        self.driver.submit(command)
        return command

    def _execute(self, command: Command) -> Completion:
        return self._completion(self._submit(command), Kind.WHOLE)

    def _completion(self, command: Command, kind: Kind) -> Completion:
        """Waits for one completion of ``command``; others that come meanwhile are kept. Raises CommandError."""
        while (command.tag, kind) not in self.completions:
            done = self.driver.next_completion()
            if done.status:
                raise CommandError(done, self.transport.host, self.transport.device)
            self.completions[done.tag, done.kind] = done
        return self.completions.pop((command.tag, kind))
