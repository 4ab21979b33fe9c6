"""The kernels of a step: PyTorch's against a row-by-row reading, Triton's against PyTorch's."""

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

from hotline_train.kernels.torch_kernels import TorchKernels  # noqa: E402
from hotline_train.optimizers import DENSE_OPTIMIZERS, ROW_OPTIMIZERS  # noqa: E402
from hotline_train.rows import RowFormat  # noqa: E402
from hotline_train.step.records import RecordFormat, write_header  # noqa: E402

CUDA = torch.cuda.is_available()
if not CUDA:
    os.environ["TRITON_INTERPRET"] = "1"  # Triton's interpreter runs kernels on the CPU; it is asked for at import
DEVICE = torch.device("cuda" if CUDA else "cpu")
HOT, WORKING = 30, 12
NO_ACCESS = 0xFFFF_FFFF


def triton_kernels(records, rows):
    pytest.importorskip("triton", reason="Triton is not installed: it is for Linux only")
    from hotline_train.kernels.triton_kernels import TritonKernels

    return TritonKernels(records, rows, DEVICE, 128)


class Case:
    """A micro-batch of ``count`` samples padded to ``size``; a store of hot and working rows."""

    def __init__(
        self, dtype, optimizer="sgd", table_of=(0, 1, 1, 2, 1), dim=5, count=11, size=16, seed=1, payload=4, cut=None
    ):
        r = np.random.default_rng(seed)
        self.records = RecordFormat(payload, tuple(table_of), 3)
        self.rows = RowFormat(dim, ROW_OPTIMIZERS[optimizer].state(dim), dtype)
        self.count, self.size, self.cut = count, size, count if cut is None else cut
        self.store = torch.from_numpy(r.random((HOT + WORKING + 1, self.rows.width))).to(dtype)
        self.store[-1] = 0
        words = r.integers(0, 1 << 31, (1 + size + 3, self.records.words)).astype(np.uint32)
        references = words[1:, 1 + payload :]
        references[:] = r.integers(0, HOT // 3, references.shape)
        working = r.random(references.shape) < 0.3
        references[working] = r.integers(0, WORKING, working.sum()) | 0x8000_0000
        references[r.random(references.shape) < 0.2] = NO_ACCESS
        words[1:, 1 : 1 + payload] = r.random((size + 3, payload)).astype(np.float32).view(np.uint32)
        self.words = words.view(np.int32)
        write_header(self.words, count, 29, 4)
        self.gradient = torch.from_numpy(r.standard_normal((size, 3, dim))).to(dtype)

    def halves(self, words):
        """The records, those from ``cut`` on in a second tensor."""
        first, second = words.clone(), torch.zeros_like(words)
        first[0, 0], second[0, 0] = self.cut, self.count - self.cut
        second[1 : 1 + self.count - self.cut] = words[1 + self.cut : 1 + self.count]
        return first, second

    def place(self, reference: int) -> int:
        if reference == NO_ACCESS:
            return len(self.store) - 1
        return HOT + (reference & 0x7FFF_FFFF) if reference >> 31 else reference

    def references(self):
        return self.words.view(np.uint32)[1 : 1 + self.count, 1 + self.records.payload_words :]

    def looked_up(self, kernels):
        r, new = (
            self.records,
            lambda *shape: torch.full(shape, 7.0, dtype=self.rows.dtype, device=DEVICE_OF[type(kernels)]),
        )
        header = torch.zeros(2, dtype=torch.int32, device=new(1).device)
        dense, labels, pooled = new(self.size, r.dense), new(self.size), new(self.size, r.tables, self.rows.dim)
        store, words = self.store.to(new(1).device), torch.from_numpy(self.words).to(new(1).device)
        kernels.look_up(store, *self.halves(words), HOT, header, dense, labels, pooled)
        return [found.cpu() for found in (header, dense, labels, pooled)]

    def placed(self, kernels):
        device = DEVICE_OF[type(kernels)]
        out = torch.zeros(self.size, self.records.accesses, dtype=torch.int32, device=device)
        kernels.places(*self.halves(torch.from_numpy(self.words).to(device)), HOT, len(self.store) - 1, out)
        return out

    def updated(self, kernels, optimizer, steps=3):
        device = DEVICE_OF[type(kernels)]
        store = self.store.clone().to(device)
        made = ROW_OPTIMIZERS[optimizer](0.1, self.rows.dtype, device)
        flat = self.placed(kernels).reshape(-1)
        places, order = torch.empty_like(flat), torch.empty(len(flat), dtype=torch.int64, device=device)
        kernels.sort(flat, (places, order))
        for _ in range(steps):
            made.advance()
            kernels.update(store, places, order, self.gradient.to(device), made)
        return store.cpu()


class Devices(dict):
    def __missing__(self, kind):
        return DEVICE if kind.__name__ == "TritonKernels" else torch.device("cpu")


DEVICE_OF = Devices()
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_look_up_is_the_sum_of_the_rows_by_table(dtype):
    case = Case(dtype)
    header, dense, labels, pooled = case.looked_up(TorchKernels(case.records, case.rows))
    assert header.tolist() == [case.count, 29]
    payload = case.words[1 : 1 + case.count, 1:5].copy().view(np.float32)
    assert np.array_equal(labels[: case.count], payload[:, 0].astype(labels.numpy().dtype))
    assert np.array_equal(dense[: case.count], payload[:, 1:].astype(labels.numpy().dtype))
    expected = torch.zeros_like(pooled)
    for s, references in enumerate(case.references().tolist()):
        for access, reference in enumerate(references):
            expected[s, case.records.table_of[access]] += case.store[case.place(reference), : case.rows.dim]
    assert torch.equal(pooled, expected), "in the order of accesses; padded samples get zeros"
    assert not labels[case.count :].any() and not dense[case.count :].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", ROW_OPTIMIZERS)
def test_an_update_is_that_of_pytorchs_optimizers(dtype, optimizer):
    """A dense parameter with PyTorch's own optimizer; row-wise Adagrad, which PyTorch has not, by its formula."""
    case = Case(dtype, optimizer)
    case.store[:, case.rows.dim :] = 0
    found = case.updated(TorchKernels(case.records, case.rows), optimizer, steps=3)
    gradient = torch.zeros(len(case.store), case.rows.dim, dtype=dtype)
    used = set()
    for s, references in enumerate(case.references().tolist()):
        for access, reference in enumerate(references):
            if reference != NO_ACCESS:
                gradient[case.place(reference)] += case.gradient[s, case.records.table_of[access]]
                used.add(case.place(reference))
    rest = [row for row in range(len(case.store)) if row not in used]
    assert torch.equal(found[rest], case.store[rest]), "other rows stay"
    values = torch.nn.Parameter(case.store[:, : case.rows.dim].clone())
    if optimizer == "rowwise-adagrad":
        for n in range(1, 4):
            total = n * gradient.square().mean(dim=1, keepdim=True)
            values.data -= 0.1 * gradient / (total.sqrt() + 1e-10)
    else:
        kind = torch.optim.SparseAdam if optimizer == "adam" else DENSE_OPTIMIZERS[optimizer]
        made = kind([values], lr=0.1)
        for _ in range(3):
            index = torch.tensor(sorted(used))
            values.grad = (
                torch.sparse_coo_tensor(index[None], gradient[index], values.shape)
                if optimizer == "adam"
                else gradient.clone()
            )
            made.step()
    assert torch.allclose(
        found[:, : case.rows.dim], values.detach(), rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-6
    )


CASES = [
    {}, {"table_of": range(3), "count": 16}, {"count": 1, "size": 1}, {"count": 0, "size": 3},
    {"dim": 16, "count": 33, "size": 40},
    {"payload": 1}, {"cut": 4}, {"cut": 0}, {"table_of": (2, 0, 0, 1), "seed": 3, "count": 7, "size": 8},
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", CASES, ids=str)
def test_triton_looks_up_as_pytorch_does(dtype, options):
    case = Case(dtype, **options)
    ours, theirs = triton_kernels(case.records, case.rows), TorchKernels(case.records, case.rows)
    for a, b in zip(case.looked_up(ours), case.looked_up(theirs), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(case.placed(ours).cpu(), case.placed(theirs))


@pytest.mark.parametrize(
    "optimizer, dtype, long",
    [
        *((optimizer, dtype, False) for optimizer in ROW_OPTIMIZERS for dtype in DTYPES),
        ("sgd", torch.float64, True),
        ("adam", torch.float32, True),
    ],
)
def test_triton_updates_as_pytorch_does(dtype, optimizer, long):
    """Rows with one access, and ``long``: with more than a chunk of them."""
    case = Case(dtype, optimizer, **({"count": 90, "size": 96, "table_of": (0, 1, 2, 2)} if long else {}))
    if long:
        case.words.view(np.uint32)[1:90, 5] = 3  # row 3 has 89 accesses: over several chunks
    found = case.updated(triton_kernels(case.records, case.rows), optimizer)
    expected = case.updated(TorchKernels(case.records, case.rows), optimizer)
    assert torch.allclose(
        found,
        expected,
        rtol=1e-5 if dtype == torch.float32 else 1e-13,
        atol=1e-6 if dtype == torch.float32 else 1e-13,
    )
    assert torch.equal(found, case.updated(triton_kernels(case.records, case.rows), optimizer)), "the same bits again"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernels", [lambda *a: TorchKernels(*a), triton_kernels], ids=["torch", "triton"])
def test_rows_are_moved(dtype, kernels):
    case = Case(dtype, "rowwise-adagrad")
    made = kernels(case.records, case.rows)
    device = DEVICE_OF[type(made)]
    r = np.random.default_rng(5)
    table = torch.from_numpy(r.random((200, case.rows.width))).to(dtype)
    if device.type == "cuda":
        table = table.pin_memory()
    rows = torch.from_numpy(r.permutation(200)[:70])
    carried = torch.from_numpy(r.integers(-1, 2, 70).astype(np.int32))
    out = torch.zeros(70, case.rows.width, dtype=dtype, device=device)
    made.gather(table, rows.to(device), carried.to(device), out)
    assert torch.equal(out.cpu(), torch.where((carried < 0)[:, None], table[rows], 0))

    expected = table.clone()
    expected[rows] = case.store[:1].expand(70, -1)
    made.scatter(table, rows.to(device), case.store[:1].expand(70, -1).contiguous().to(device))
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert torch.equal(table, expected)

    store = case.store.clone().to(device)
    carried = torch.tensor([2, -1, 0, 5], dtype=torch.int32)
    words = torch.from_numpy(case.words).to(device)  # four working rows, as its header says
    made.carry(store, 20, 6, torch.cat([carried, torch.full((70,), 3, dtype=torch.int32)]).to(device), words)
    expected = case.store.clone()
    expected[[20, 22, 23]] = case.store[[8, 6, 11]]
    assert torch.equal(store.cpu(), expected)


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from hotline_train.kernels import triton_kernels as k

def compiled(kernel, pointers, **constants):
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else pointers.get(n, "i32") for n in names}
    places = {(names.index(n),): value for n, value in constants.items()}
    made = triton.compile(ASTSource(kernel, signature, places), target=GPUTarget("cuda", CAPABILITY, 32))
    assert made.asm["cubin"]

for t in ("fp32", "fp64"):
    rows = {n: f"*{t}" for n in ("store", "dense", "labels", "pooled", "gradient", "pieces", "constants", "table", "out")}
    index = {n: "*i32" for n in ("words", "first", "second", "starts", "by_table", "header", "places", "table_of", "carried")}
    long = {"order": "*i64", "rows": "*i64"}
    p = rows | index | long
    compiled(k._look_up, p, WIDTH=17, WORDS=41, PAYLOAD=14, TABLES=26, DIM=16, DIMS=16, PAYLOADS=16, SAMPLES=32)
    compiled(k._places, p | {"out": "*i32"}, WORDS=41, PAYLOAD=14, ACCESSES=26, BLOCK=256)
    compiled(k._add_up, p, TABLES=26, ACCESSES=26, DIM=16, DIMS=16, CHUNK=32, TOGETHER=8)
    for kind in range(4):
        compiled(k._step, p, KIND=kind, WIDTH=48, DIM=16, DIMS=16, CHUNK=32, TOGETHER=8)
    compiled(k._carry, p, WIDTH=17, WIDTHS=32, MOVED=64)
    compiled(k._gather, p, WIDTH=17, WIDTHS=32, MOVED=64)
    compiled(k._scatter, p | {"source": f"*{t}"}, WIDTH=17, WIDTHS=32, MOVED=64)
"""


@pytest.mark.parametrize("capability", [80, 90])
def test_triton_makes_code_for_gpus(capability, tmp_path):
    """Without a GPU: down to the machine code of an A100 and of an H100."""
    pytest.importorskip("triton", reason="Triton is not installed: it is for Linux only")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = COMPILE.replace("CAPABILITY", str(capability))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
