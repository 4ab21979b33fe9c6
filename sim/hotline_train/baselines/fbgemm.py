"""FBGEMM's table-batched embeddings with UVM caching: tables in host memory, a cache of them on the device, as large as Hotline's
hot table; the update is fused into the backward pass. With LRU the next mini-batch's rows are prefetched beside the step; with
LFU it knows no such way.
"""

import numpy as np
import torch
from torch import Tensor

from ..optimizers import EPSILON
from ..step.device import Event, Phase, Wait
from .system import DoesNotFit, MiniBatches, Task


class FbgemmLru(MiniBatches):
    name = "fbgemm_lru"
    has_float64 = False
    algorithm, prefetches = "LRU", True

    def __init__(self, task: Task):
        try:
            from fbgemm_gpu.split_embedding_configs import EmbOptimType
            from fbgemm_gpu.split_table_batched_embeddings_ops_common import (
                CacheAlgorithm,
                EmbeddingLocation,
                PoolingMode,
            )
            from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
                ComputeDevice,
                SplitTableBatchedEmbeddingBagsCodegen,
            )
        except ImportError as e:
            raise DoesNotFit(f"fbgemm_gpu is not installed ({e})") from e
        if task.device.device.type != "cuda" or task.settings.dtype != "float32":
            raise DoesNotFit("its cache needs CUDA and float32")
        super().__init__(task)
        rows = task.trace.table_rows.tolist()
        dim = task.settings.rows.dim
        kinds = {
            "sgd": EmbOptimType.EXACT_SGD, "rowwise-adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
            "adagrad": EmbOptimType.EXACT_ADAGRAD,
        }  # fmt: skip
        if task.settings.optimizer not in kinds:
            raise DoesNotFit(f"it is timed with {', '.join(kinds)}, not {task.settings.optimizer}")
        self.embedding = SplitTableBatchedEmbeddingBagsCodegen(
            [(count, dim, EmbeddingLocation.MANAGED_CACHING, ComputeDevice.CUDA) for count in rows],
            optimizer=kinds[task.settings.optimizer],
            learning_rate=task.settings.learning_rate,
            eps=EPSILON,
            pooling_mode=PoolingMode.SUM,
            cache_load_factor=min(1.0, task.slots / sum(rows)),
            cache_algorithm=getattr(CacheAlgorithm, self.algorithm),
            prefetch_pipeline=self.prefetches,
            device=self.device.device,
        )
        for weights, part in zip(
            self.embedding.split_embedding_weights(), np.split(task.tables[:, :dim], task.first[1:]), strict=True
        ):
            weights.copy_(torch.from_numpy(np.ascontiguousarray(part)))
        self.device_bytes = task.slots * task.settings.rows.bytes
        self.lists = []
        for batch in range(task.job.batches):
            lists, lengths = zip(*task.bags(batch), strict=True)
            offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
            found = torch.from_numpy(np.concatenate(lists)), torch.from_numpy(offsets)
            self.lists.append(tuple(tensor.to(self.device.device) for tensor in found))
        self.prefetched: dict[int, Event] = {}

    def _prefetch(self, number: int) -> None:
        """The rows of a step's mini-batch come into the cache, beside what the main stream does."""
        rows, main = self.device.rows, torch.cuda.current_stream(self.device.device)
        lists = self.lists[number % len(self.lists)]
        rows.run(lambda: self.embedding.prefetch(*lists, forward_stream=main), Phase.TRANSFER)
        self.prefetched[number] = rows.event()

    def step(self, batch: int) -> None:
        main = self.device.main
        rows, offsets = self.lists[batch]
        count = len(self.payload[batch])
        if self.prefetches:
            if self.number not in self.prefetched:
                self._prefetch(self.number)
            main.after(self.prefetched.pop(self.number), Wait.WORKING_ROWS)
        pooled: list[Tensor] = []

        def look_up():
            part = self.set_inputs(batch)
            pooled.append(self.embedding(rows, offsets).view(count, -1, self.settings.rows.dim))
            self.space.pooled[part].copy_(pooled[0].detach())

        main.run(look_up, Phase.LOOK_UP)
        if self.prefetches:
            self._prefetch(self.number + 1)
        main.run(lambda: self.dense.run(slice(0, count)), Phase.DENSE)
        main.run(lambda: pooled[0].backward(self.space.gradient[:count]), Phase.UPDATE)
        main.run(self.dense_step, Phase.DENSE)

    def rows(self, places: np.ndarray) -> Tensor:
        self.embedding.flush()
        return self.task.rows_of(self.embedding.split_embedding_weights(), places)


class FbgemmLfu(FbgemmLru):
    name = "fbgemm_lfu"
    algorithm, prefetches = "LFU", False
