"""Which kernels a device runs."""

import torch

from ..rows import RowFormat
from ..step.records import RecordFormat
from .kernels import Kernels


def kernels_for(device: torch.device, records: RecordFormat, rows: RowFormat, most: int) -> Kernels:
    """PyTorch's on a CPU, Triton's on a GPU, for steps of ``most`` samples. Raises ValueError where Triton is missing."""
    if device.type == "cpu":
        from .torch_kernels import TorchKernels

        return TorchKernels(records, rows)
    try:
        from .triton_kernels import TritonKernels
    except ImportError as e:
        raise ValueError(f"training on {device} needs Triton, which PyTorch for CUDA brings along: {e}") from e
    return TritonKernels(records, rows, device, most)
