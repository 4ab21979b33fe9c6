"""The preprocessed Terabyte layout: for each day ``day_0_dense.npy``, ``day_0_labels.npy``, and ``day_0_sparse.npy`` or, with
several accesses a table, ``day_0_sparse_multi_hot.npz`` with an array for each table, named 0, 1, ..., as TorchRec makes them.
"""

from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from hotline_golden.layouts import NO_ACCESS

from ..readers.schema import rules
from ..readers.shards import natural
from ..readers.values import ValueFault, log1p
from ..trace import Samples, Trace, TraceError
from .file_array import npy_array, npz_arrays

ONE_HOT, MULTI_HOT = "_sparse.npy", "_sparse_multi_hot.npz"
ENDINGS = (ONE_HOT, MULTI_HOT)
#: Samples of which the largest value is looked for at once.
SCANNED = 1 << 17


class Day:
    """The arrays of one day: ``dense`` [n, features], ``labels`` [n] or [n, 1], ``sparse``: for each table [n, accesses]; one
    array [n, tables] if there is one access a table."""

    def __init__(self, folder: Path, stem: str, ending: str):
        self.path = folder / (stem + ending)
        if ending == ONE_HOT:
            self.sparse = [npy_array(self.path)]
        else:
            found = npz_arrays(self.path, None, "an array for each table, named 0, 1, ..., is right")
            numbers = sorted(found, key=lambda name: (len(name), name))
            if numbers != [str(n) for n in range(len(found))]:
                raise TraceError(
                    f"{self.path}: arrays {', '.join(numbers)}; one for each table, named 0, 1, ..., is right"
                )
            self.sparse = [found[name] for name in numbers]
        self.labels, self.dense = npy_array(folder / f"{stem}_labels.npy"), npy_array(folder / f"{stem}_dense.npy")
        self.dense_path, self.labels_path = folder / f"{stem}_dense.npy", folder / f"{stem}_labels.npy"
        self.samples = len(self.labels)
        if self.labels.shape not in ((self.samples,), (self.samples, 1)):
            raise TraceError(f"{self.labels_path}: {list(self.labels.shape)}; [samples] or [samples, 1] is right")
        for path, array in ((self.dense_path, self.dense), *((self.path, a) for a in self.sparse)):
            if len(array.shape) != 2 or len(array) != self.samples:
                raise TraceError(
                    f"{path}: {list(array.shape)}; [{self.samples}, columns] is right, as there are labels"
                )
        if any(a.dtype.kind not in "iu" for a in self.sparse):
            raise TraceError(f"{self.path}: {self.sparse[0].dtype}; integers are right")
        self.shape = (self.dense.shape[1], [a.shape[1] for a in self.sparse])

    @property
    def widths(self) -> list[int]:
        """Accesses of each table."""
        return [1] * self.sparse[0].shape[1] if self.path.name.endswith(ONE_HOT) else self.shape[1]

    def tables(self, first: int, last: int) -> list[np.ndarray]:
        """uint64 [n, accesses]: values of each table."""
        arrays = [array[first:last] for array in self.sparse]
        if self.path.name.endswith(ONE_HOT):
            arrays = np.split(arrays[0], arrays[0].shape[1], axis=1)
        return [a if a.dtype == np.uint64 else a.astype(np.int64).view(np.uint64) for a in arrays]


class NpyTrace(Trace):
    """Days in natural order. ``rule``: as-is (default), modulo or hash. Where rows are taken as they are and ``sizes`` not given,
    all of them are read once, to find the largest. Raises TraceError."""

    def __init__(
        self,
        place: str,
        *,
        rule: str = "as-is",
        sizes: tuple[int, ...] = (),
        seed: int = 1,
        null: str = "refuse",
        transform: str = "none",
        samples: int | None = None,
    ):
        self.days = days(place)
        self.transform = transform
        for day in self.days:
            if day.shape != self.days[0].shape:
                raise TraceError(f"{day.path}: columns {day.shape}; {self.days[0].path} has {self.days[0].shape}")
        if rule == "first-seen":
            raise TraceError(
                f"npy:{place}: rule=first-seen is for files of text and columns; use as-is, modulo or hash"
            )
        widths = self.days[0].widths
        self.starts = np.cumsum([0, *(day.samples for day in self.days)])
        count = int(self.starts[-1]) if samples is None else min(samples, int(self.starts[-1]))
        if rule == "as-is" and not sizes:
            sizes = self._largest(len(widths), count)
        self.rules = rules(rule, len(widths), sizes, seed, null)
        super().__init__(
            f"npy:{place}",
            count,
            np.repeat(np.arange(len(widths)), widths),
            np.array([r.table_rows() for r in self.rules], np.int64),
            1 + self.days[0].shape[0],
        )

    def _largest(self, tables: int, count: int) -> tuple[int, ...]:
        """The largest value of each table and one more."""
        most = [0] * tables
        for day, first, last in self._spans(0, count):
            for at in range(first, last, SCANNED):
                for table, values in enumerate(day.tables(at, min(last, at + SCANNED))):
                    most[table] = max(most[table], int(values.max()) if values.size else 0)
        bad = [n for n in most if n >= NO_ACCESS]
        if bad:
            raise TraceError(
                f"{self.days[0].path}: rows up to {bad[0]}; 0 to {NO_ACCESS - 1} is right; rule=hash takes all"
            )
        return tuple(n + 1 for n in most)

    def _spans(self, first: int, last: int):
        """(day, first and last of its samples) for samples ``first`` to ``last`` - 1."""
        for day, start in zip(self.days, self.starts.tolist(), strict=False):
            low, high = max(first, start), min(last, start + day.samples)
            if low < high:
                yield day, low - start, high - start

    def _read(self, first: int, last: int) -> Samples:
        parts = [self._of_day(day, low, high) for day, low, high in self._spans(first, last)]
        none = Samples(np.zeros((0, self.accesses), np.uint32), np.zeros((0, self.payload_words), np.uint32))
        return parts[0] if len(parts) == 1 else Samples(*(np.concatenate(a) for a in zip(none, *parts, strict=True)))

    def _of_day(self, day: Day, first: int, last: int) -> Samples:
        labels = day.labels[first:last].reshape(-1)
        if (bad := (labels != 0) & (labels != 1)).any():
            row = int(bad.argmax())
            raise TraceError(f"{day.labels_path}, row {first + row}: label {labels[row]}; 0 or 1 is right")
        dense = day.dense[first:last]
        with np.errstate(over="ignore", invalid="ignore"):
            dense = log1p(dense) if self.transform == "log1p" else dense.astype(np.float32)
        if not (good := np.isfinite(dense)).all():
            row, column = divmod(int(good.argmin()), dense.shape[1])
            raise TraceError(
                f"{day.dense_path}, row {first + row}, column {column}: {dense[row, column]}; a finite float32 is right"
            )
        payload = np.concatenate([labels.astype(np.float32)[:, None], dense], axis=1)
        rows = np.empty((last - first, self.accesses), np.uint32)
        at = 0
        for table, (rule, values) in enumerate(zip(self.rules, day.tables(first, last), strict=True)):
            try:
                rows[:, at : at + values.shape[1]] = rule.rows(values.reshape(-1), None).reshape(values.shape)
            except ValueFault as e:
                row = first + e.place // values.shape[1]
                raise TraceError(f"{day.path}, row {row}, table {table}: {e.what}") from None
            at += values.shape[1]
        return Samples(rows, payload.view(np.uint32))


def days(place: str) -> list[Day]:
    """The days of a folder, or those whose names fit the last part of ``place``: ``DIR/day_1?``. Raises TraceError."""
    folder, pattern = (Path(place), "*") if Path(place).is_dir() else (Path(place).parent, Path(place).name)
    if not folder.is_dir():
        raise TraceError(f"{folder}: no such folder")
    found: dict[str, str] = {}
    for ending in ENDINGS:
        for path in folder.glob(f"*{ending}"):
            stem = path.name.removesuffix(ending)
            if not fnmatch(stem, pattern):
                continue
            if stem in found:
                raise TraceError(f"{folder}: {stem} has {ONE_HOT} and {MULTI_HOT}; keep them in folders of their own")
            found[stem] = ending
    if not found:
        raise TraceError(
            f"{place}: no day's files; day_0{ONE_HOT} or day_0{MULTI_HOT}, day_0_dense.npy and day_0_labels.npy are right"
        )
    return [Day(folder, stem, found[stem]) for stem in sorted(found, key=lambda s: natural(Path(s)))]
