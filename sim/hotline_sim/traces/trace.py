"""A trace: samples of a click log as row numbers and payload words, whatever they came from."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hotline_golden.layouts import NO_ACCESS

from ..files.whole_file import whole_file


class TraceError(ValueError):
    """Input that cannot be used; the message names file, line or sample, column, and what would be right."""


@dataclass(frozen=True)
class Trace:
    """``rows`` uint32 [samples, accesses], ``table_of`` int64 [accesses], ``table_rows`` int64 [tables],
    ``payload`` uint32 [samples, payload_words] (float32 values by their bits, the label first).

    ``NO_ACCESS`` in ``rows`` is padding. Raises :class:`TraceError` for arrays that do not fit together,
    or a row that its table does not have.
    """

    name: str
    rows: np.ndarray
    table_of: np.ndarray
    table_rows: np.ndarray
    payload: np.ndarray
    notes: dict = field(default_factory=dict)

    def __post_init__(self):
        def need(ok: bool, message: str) -> None:
            if not ok:
                raise TraceError(f"{self.name}: {message}")

        need(self.rows.ndim == 2 and self.rows.dtype == np.uint32,
             f"`rows` must be uint32 [samples, accesses], not {self.rows.dtype} {list(self.rows.shape)}")  # fmt: skip
        samples, accesses = self.rows.shape
        need(samples > 0 and accesses > 0, "no samples or no accesses")
        need(self.table_of.shape == (accesses,),
             f"`table_of` must have {accesses} entries, one for each access, not {list(self.table_of.shape)}")  # fmt: skip
        need(self.table_rows.ndim == 1 and len(self.table_rows) > 0, "`table_rows` must list the tables' rows")
        need(bool((self.table_rows >= 1).all() and (self.table_rows < NO_ACCESS).all()),
             f"every table must have 1 to {NO_ACCESS - 1} rows")  # fmt: skip
        need(bool((self.table_of >= 0).all() and (self.table_of < len(self.table_rows)).all()),
             f"`table_of` must name tables 0 to {len(self.table_rows) - 1}")  # fmt: skip
        need(self.payload.ndim == 2 and len(self.payload) == samples and self.payload.dtype == np.uint32,
             f"`payload` must be 32-bit [{samples}, words], not {self.payload.dtype} {list(self.payload.shape)}")  # fmt: skip
        bad = (self.rows != NO_ACCESS) & (self.rows >= self.table_rows[self.table_of])
        if bad.any():
            sample, access = divmod(int(bad.argmax()), accesses)
            table = int(self.table_of[access])
            raise TraceError(
                f"{self.name}: sample {sample}, access {access}: row {self.rows[sample, access]} is outside "
                f"table {table}, which has rows 0 to {self.table_rows[table] - 1}"
            )

    @property
    def samples(self) -> int:
        return len(self.rows)

    @property
    def accesses(self) -> int:
        return self.rows.shape[1]

    @property
    def payload_words(self) -> int:
        return self.payload.shape[1]

    def head(self, samples: int) -> "Trace":
        """The first ``samples`` samples."""
        return Trace(self.name, self.rows[:samples], self.table_of, self.table_rows, self.payload[:samples],
                     self.notes)  # fmt: skip

    def after(self, samples: int) -> "Trace":
        """The samples after the first ``samples``."""
        return Trace(self.name, self.rows[samples:], self.table_of, self.table_rows, self.payload[samples:],
                     self.notes)  # fmt: skip

    def save(self, path: Path) -> None:
        """Writes the ``npz`` format (docs/traces.md); nothing is left behind when it fails."""
        with whole_file(Path(path)) as beside, open(beside, "wb") as file:
            np.savez_compressed(
                file, rows=self.rows, table_of=self.table_of.astype(np.uint32),
                table_rows=self.table_rows.astype(np.uint32), payload=self.payload.view(np.float32),
            )  # fmt: skip


def load_npz(path: Path) -> Trace:
    """Reads the ``npz`` format. Raises TraceError for a file that is not of it, saying what would be right."""
    names = ("rows", "table_of", "table_rows", "payload")
    how = "numpy.savez(FILE, rows=..., table_of=..., table_rows=..., payload=...) writes one; see docs/traces.md"
    arrays = archive_arrays(path, names, how)
    rows = _whole(path, "rows", arrays["rows"], NO_ACCESS)
    table_of = _whole(path, "table_of", arrays["table_of"], NO_ACCESS)
    table_rows = _whole(path, "table_rows", arrays["table_rows"], NO_ACCESS)
    payload = arrays["payload"]
    if payload.dtype not in (np.float32, np.uint32):
        raise TraceError(f"{path}: `payload` must be float32 or uint32, not {payload.dtype}")
    return Trace(
        str(path), np.ascontiguousarray(rows.astype(np.uint32)), table_of.astype(np.int64), table_rows.astype(np.int64),
        np.ascontiguousarray(payload).view(np.uint32), {"payload": str(payload.dtype)},
    )  # fmt: skip


def archive_arrays(path: Path, names: tuple[str, ...], how: str) -> dict[str, np.ndarray]:
    """The arrays ``names`` of an archive of NumPy arrays; Python objects are never loaded. Raises TraceError; ``how`` says
    what makes such an archive."""
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except OSError as e:
        raise TraceError(f"{path}: {'no such file' if isinstance(e, FileNotFoundError) else e.strerror}") from None
    if magic == b"\x93NUMPY":
        raise TraceError(f"{path}: a single NumPy array (.npy), not an archive of arrays (.npz): {how}")
    if not magic.startswith(b"PK"):
        raise TraceError(f"{path}: not a NumPy .npz archive: {how}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [n for n in names if n not in archive.files]
            if missing:
                raise TraceError(f"{path}: no array {', '.join(missing)}; {how}")
            arrays = {}
            for name in names:
                try:
                    arrays[name] = archive[name]
                except ValueError as e:
                    if "pickle" not in str(e):
                        raise
                    raise TraceError(f"{path}: `{name}` holds Python objects; numbers are right") from None
    except TraceError:
        raise
    except Exception as e:
        raise TraceError(f"{path}: a damaged .npz archive: {e}") from e
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # a member that is no array comes as its bytes
            raise TraceError(f"{path}: `{name}` is not an array")
    return arrays


def _whole(path: Path, name: str, array: np.ndarray, most: int) -> np.ndarray:
    """``array`` if its values are whole numbers from 0 to ``most``, whatever its dtype."""
    if not np.issubdtype(array.dtype, np.integer):
        raise TraceError(f"{path}: `{name}` must hold integers, not {array.dtype}")
    bad = (array < 0) | (array > most)
    if bad.any():
        where = ", ".join(str(int(n)) for n in np.argwhere(bad)[0])
        raise TraceError(
            f"{path}: `{name}[{where}]` is {int(array[bad][0])}; 0 to {most} is right"
            + (f", where {NO_ACCESS} pads a shorter list" if name == "rows" else "")
        )
    return array
