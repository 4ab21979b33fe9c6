"""The project's archive of arrays: rows, table_of, table_rows, payload (docs/traces.md)."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hotline_golden.layouts import NO_ACCESS

from ...files.whole_file import whole_file
from ..trace import Samples, Trace, TraceError, whole_numbers
from .file_array import npz_arrays

NAMES = ("rows", "table_of", "table_rows", "payload")
HOW = "numpy.savez(FILE, rows=..., table_of=..., table_rows=..., payload=...) writes one; see docs/traces.md"


class NpzTrace(Trace):
    """An archive; its rows and payload stay in the file. Raises TraceError, which says what would be right."""

    def __init__(self, path: Path):
        self.path = path
        arrays = npz_arrays(path, NAMES, HOW)
        self.rows, self.payload = arrays["rows"], arrays["payload"]
        if len(self.rows.shape) != 2 or self.rows.dtype.kind not in "iu":
            raise TraceError(
                f"{path}: `rows` must hold integers [samples, accesses], not {self.rows.dtype} {list(self.rows.shape)}"
            )
        samples, accesses = self.rows.shape
        table_of = self._integers("table_of", arrays)
        table_rows = self._integers("table_rows", arrays)
        if len(table_of) != accesses:
            raise TraceError(
                f"{path}: `table_of` must have {accesses} entries, one for each access, not {len(table_of)}"
            )
        if self.payload.dtype not in (np.float32, np.uint32):
            raise TraceError(f"{path}: `payload` must be float32 or uint32, not {self.payload.dtype}")
        if len(self.payload.shape) != 2 or len(self.payload) != samples:
            raise TraceError(f"{path}: `payload` must be 32-bit [{samples}, words], not {list(self.payload.shape)}")
        super().__init__(str(path), samples, table_of, table_rows, self.payload.shape[1], self.payload.dtype.name)

    def _integers(self, name: str, arrays: dict) -> np.ndarray:
        array = arrays[name]
        if len(array.shape) != 1:
            raise TraceError(f"{self.path}: `{name}` must be a list, not {list(array.shape)}")
        return whole_numbers(self.path, name, array[:], NO_ACCESS).astype(np.int64)

    def _read(self, first: int, last: int) -> Samples:
        rows = whole_numbers(self.path, "rows", self.rows[first:last], NO_ACCESS, first)
        return Samples(rows.astype(np.uint32, copy=False), self.payload[first:last].view(np.uint32))


def save_npz(trace: Trace, path: Path) -> None:
    """Writes ``trace`` as an archive, compressed; nothing is left behind when it fails."""
    arrays: dict[str, tuple[np.dtype, tuple[int, ...], Iterator[np.ndarray]]] = {
        "rows": (np.dtype(np.uint32), (trace.samples, trace.accesses), (part.rows for part in trace.parts())),
        "table_of": (np.dtype(np.uint32), trace.table_of.shape, iter([trace.table_of.astype(np.uint32)])),
        "table_rows": (np.dtype(np.uint32), trace.table_rows.shape, iter([trace.table_rows.astype(np.uint32)])),
        "payload": (np.dtype(trace.payload_type), (trace.samples, trace.payload_words),
                    (part.payload for part in trace.parts())),
    }  # fmt: skip
    with whole_file(Path(path)) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (dtype, shape, parts) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for part in parts:
                    member.write(np.ascontiguousarray(part).tobytes())
