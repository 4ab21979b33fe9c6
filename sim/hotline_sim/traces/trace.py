"""A trace: samples of a click log as row numbers and payload words, whatever they came from."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hotline_golden.layouts import NO_ACCESS


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
        path = Path(path)
        temporary = path.with_name(path.name + ".partial")
        try:
            with open(temporary, "wb") as file:
                np.savez_compressed(
                    file, rows=self.rows, table_of=self.table_of.astype(np.uint32),
                    table_rows=self.table_rows.astype(np.uint32), payload=self.payload.view(np.float32),
                )  # fmt: skip
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def load_npz(path: Path) -> Trace:
    """Reads the ``npz`` format. Raises TraceError for a file that is not of it."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [n for n in ("rows", "table_of", "table_rows", "payload") if n not in archive.files]
            if missing:
                raise TraceError(f"{path}: no array {', '.join(missing)}; see docs/traces.md for the format")
            arrays = {name: archive[name] for name in ("rows", "table_of", "table_rows", "payload")}
    except TraceError:
        raise
    except Exception as e:
        raise TraceError(f"{path}: not a NumPy .npz archive: {e}") from e
    rows, payload = arrays["rows"], arrays["payload"]
    if rows.dtype != np.uint32:
        raise TraceError(f"{path}: `rows` must be uint32, not {rows.dtype}")
    if payload.dtype not in (np.float32, np.uint32):
        raise TraceError(f"{path}: `payload` must be float32 or uint32, not {payload.dtype}")
    for name in ("table_of", "table_rows"):
        if not np.issubdtype(arrays[name].dtype, np.integer):
            raise TraceError(f"{path}: `{name}` must hold integers, not {arrays[name].dtype}")
    payload = np.ascontiguousarray(payload).view(np.uint32)
    return Trace(str(path), np.ascontiguousarray(rows), arrays["table_of"].astype(np.int64),
                 arrays["table_rows"].astype(np.int64), payload)  # fmt: skip
