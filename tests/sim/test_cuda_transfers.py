"""Transfers on a GPU, under delays injected into copies and into computing. Skipped, and listed, where there is no CUDA."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

from hotline_sim.gpu.transfers import CudaTransfers, transfers_for  # noqa: E402

CUDA = torch.cuda.is_available()
needs_cuda = pytest.mark.skipif(not CUDA, reason="no CUDA device here")
#: Clock cycles of a GPU that are some milliseconds.
LONG = 20_000_000


def delayed(device: torch.device, stream=None, cycles: int = LONG) -> None:
    """Keeps a stream of the device busy."""
    with torch.cuda.device(device), torch.cuda.stream(stream or torch.cuda.current_stream(device)):
        torch.cuda._sleep(cycles)


@pytest.fixture(params=["cuda:0", "cuda:1"])
def transfers(request):
    """On each of two devices, while the other is the current one."""
    device = torch.device(request.param)
    if torch.cuda.device_count() <= (device.index or 0):
        pytest.skip(f"no {request.param} here")
    other = 0 if device.index or torch.cuda.device_count() == 1 else 1
    with torch.cuda.device(other):
        yield CudaTransfers(device)


@needs_cuda
@pytest.mark.parametrize("slow", ["copies", "computing", "both"])
def test_what_comes_is_whole_before_it_is_used(transfers, slow):
    for n in range(20):
        array = np.full((1 << 20,), n, np.float32)
        if slow in ("copies", "both"):
            delayed(transfers.device, transfers.stream)
        if slow in ("computing", "both"):
            delayed(transfers.device)
        coming = transfers.bring(array)
        array[:] = -1  # it may change once it is pinned
        assert float(coming.wait().sum()) == n * (1 << 20)


@needs_cuda
@pytest.mark.parametrize("slow", ["copies", "computing", "both"])
def test_what_goes_is_what_was_computed(transfers, slow):
    for n in range(20):
        tensor = torch.zeros(1 << 20, device=transfers.device)
        if slow in ("computing", "both"):
            delayed(transfers.device)
        tensor += n
        if slow in ("copies", "both"):
            delayed(transfers.device, transfers.stream)
        out = np.full((1 << 20,), -1, np.float32)
        going = transfers.take(tensor, out)
        del tensor  # its memory must not be given away before the copy
        torch.full((1 << 20,), 7.0, device=transfers.device)
        going.wait()
        assert (out == n).all()


@needs_cuda
def test_memory_is_not_given_away_while_another_stream_uses_it(transfers):
    for n in range(20):
        tensor = transfers.bring(np.full((1 << 20,), n, np.float32)).wait()
        delayed(transfers.device)
        total = tensor.sum()
        del tensor
        transfers.bring(np.full((1 << 20,), -5, np.float32))  # would take that memory
        assert float(total) == n * (1 << 20)


@needs_cuda
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="--device cuda:99: there (is|are) .* here, numbered from 0"):
        transfers_for("cuda:99")


@pytest.mark.skipif(CUDA, reason="there is a CUDA device here")
def test_without_cuda_the_message_says_so():
    with pytest.raises(ValueError, match="--device cuda: PyTorch finds no CUDA device here; use --device cpu"):
        transfers_for("cuda")
