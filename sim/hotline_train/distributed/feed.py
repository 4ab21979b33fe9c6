"""A rank's micro-batches: its own samples of each mini-batch, read and split in a thread, and rows of all ranks' tables."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ..kernels.kernels import Kernels
from ..sources.source import Exchange
from ..step.cold_rows import Pinned
from ..step.device import Device, Event, Phase
from ..step.feed import Feed, Other, RecordRing
from ..step.records import MicroBatch, RecordFormat, write_header
from ..step.store import RowStore
from .exchange import Agreed, Share, all_gather, all_to_all
from .source import RankSource


@dataclass
class Begun:
    """A step that has been asked for; ``agreed`` when the ranks have told each other what they need."""

    step: int
    share: Future[tuple[Share, Exchange]]
    agreed: Agreed | None = None


class RankFeed(Feed):
    """All ranks call the same in the same order. The step's rows come from their owners in :meth:`other`; what is ``given``, the
    share and what is agreed of the step, is for the trainer, which sends gradients to the owners. These update their rows."""

    def __init__(self, source: RankSource, store: RowStore, device: Device, kernels: Kernels, records: RecordFormat):
        super().__init__(store, device)
        self.source, self.kernels, self.records = source, kernels, records
        self.pinned = Pinned(source.tables.all, device)
        self.ring = RecordRing(device, source.batch_size, records.words)
        self.splitter = ThreadPoolExecutor(1, "split")
        self.begun: deque[Begun] = deque()
        self.given: tuple[Share, Agreed] | None = None
        self.sent = torch.empty(0)  # rows that this rank gave to others in this step, on the device

    def begin(self, step: int, batch: int, *, ahead: bool) -> None:
        self.begun.append(Begun(step, self.splitter.submit(self._split, step, batch)))

    def _split(self, step: int, batch: int) -> tuple[Share, Exchange]:
        """In the splitter's thread."""
        first, second = (slot.free() for slot in self.ring.of(step))
        found, exchange = self.source.split(batch, (first[1:].view(np.uint32), second[1:].view(np.uint32)))
        whole = self.source.samples_of(batch)
        parts = [found.popular, found.non_popular]
        for words, part in zip((first, second), parts, strict=True):
            write_header(words, len(part), whole, len(found.working_keys))
        references = [part[:, 1 + self.records.payload_words :] for part in parts]
        return Share.of(references, len(found.popular), found.working_keys, self.source.ranks), exchange

    def _agree(self, begun: Begun) -> Agreed:
        """Headers and keys, once for each step."""
        if begun.agreed is None:
            (share, _), device = begun.share.result(), self.device.device
            headers = all_gather(share.header, device)
            agreed = Agreed(headers, np.zeros(0, np.int64), self.source.rank)
            keys = all_to_all(torch.from_numpy(share.keys).to(device), agreed.to_each, agreed.asked_by)
            asked = self.source.tables.places(keys.cpu().numpy())
            begun.agreed = Agreed(headers, asked, self.source.rank)
        return begun.agreed

    def popular(self) -> MicroBatch:
        begun = self.begun[0]
        return self.ring.of(begun.step)[0].bring(begun.share.result()[0].popular)

    def other(self) -> Other:
        begun = self.begun[0]
        (share, exchange), agreed = begun.share.result(), self._agree(begun)
        records = self.ring.of(begun.step)[1].bring(share.samples - share.popular)
        self.given = share, agreed
        self.device.main.run(lambda: self._bring_rows(begun.step, share, agreed), Phase.TRANSFER)
        self.bus_bytes += (len(agreed.asked) + len(share.keys)) * self.store.rows.bytes
        return Other(records, len(share.keys), None, None, exchange, None)

    def _bring_rows(self, step: int, share: Share, agreed: Agreed) -> None:
        """Rows go to who asks for them."""
        device = self.device.device
        asked = torch.from_numpy(agreed.asked).to(device)
        self.sent = torch.empty(len(asked), self.store.rows.width, dtype=self.store.rows.dtype, device=device)
        every = torch.full((len(asked),), -1, dtype=torch.int32, device=device)
        self.kernels.gather(self.pinned.tensor, asked, every, self.sent)
        rows = all_to_all(self.sent, agreed.asked_by, agreed.to_each)
        numbers = torch.from_numpy(share.numbers).to(device)
        self.store.working(step, len(numbers)).index_copy_(0, numbers, rows)

    def agree_ahead(self) -> None:
        """Headers and keys of the next step, if it has begun: all ranks have begun the same. Beside what the main stream does."""

        def work():
            if len(self.begun) > 1:
                self._agree(self.begun[1])

        self.device.coming.run(work, Phase.TRANSFER)

    def updated(self, done: Event) -> None:
        self.ring.used(self.begun.popleft().step, done)

    def settle(self) -> None:
        """Owners have updated their rows, in the main stream."""
        self.device.synchronise()

    def close(self) -> None:
        self.splitter.shutdown()
        self.pinned.close()
