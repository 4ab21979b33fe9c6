"""NumPy arrays in files, of which only the rows that are asked for come into memory: .npy files, and members of .npz archives."""

import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..trace import TraceError, cause


@dataclass(frozen=True)
class FileArray:
    """An array that lies in ``file`` from byte ``offset`` on, first index first."""

    file: IO[bytes]
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        """A copy of some of its first index. The file is mapped for as long as that takes, so that its pages are not held."""
        if not all(self.shape):
            return np.zeros(self.shape, self.dtype)[part]
        return np.array(np.memmap(self.file, self.dtype, "r", self.offset, self.shape)[part])


def npy_array(path: Path) -> FileArray:
    """The array of a .npy file. Raises TraceError."""
    try:
        file = open(path, "rb")
        size = path.stat().st_size
    except OSError as e:
        raise TraceError(f"{path}: {cause(e)}") from None
    return _array(str(path), file, 0, size)


def npz_arrays(path: Path, names: tuple[str, ...] | None, how: str) -> dict[str, FileArray]:
    """The arrays ``names``, or all, of an archive of NumPy arrays. Raises TraceError; ``how`` says what makes such an archive.

    A compressed array is unpacked into a temporary file that has no name. Python objects are never loaded.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except OSError as e:
        raise TraceError(f"{path}: {cause(e)}") from None
    if magic == b"\x93NUMPY":
        raise TraceError(f"{path}: a single NumPy array (.npy), not an archive of arrays (.npz): {how}")
    if not magic.startswith(b"PK"):
        raise TraceError(f"{path}: not a NumPy .npz archive: {how}")
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy"): archive.getinfo(name) for name in archive.namelist()}
            missing = [name for name in names or () if name not in there]
            if missing:
                raise TraceError(f"{path}: no array {', '.join(missing)}; {how}")
            return {name: _member(path, archive, name, there[name]) for name in names or there}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, OverflowError) as e:
        raise TraceError(f"{path}: a damaged .npz archive: {e}") from e


def _member(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> FileArray:
    where = f"{path}: `{name}`"
    if info.compress_type == zipfile.ZIP_STORED:
        file: IO[bytes] = open(path, "rb")
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise TraceError(f"{path}: a damaged .npz archive: no member where `{name}` should be")
        start = (
            info.header_offset
            + 30
            + int.from_bytes(header[26:28], "little")
            + int.from_bytes(header[28:30], "little")
        )
        return _array(where, file, start, info.file_size)
    file = tempfile.TemporaryFile()
    with archive.open(info) as packed:
        shutil.copyfileobj(packed, file, 1 << 20)
    return _array(where, file, 0, info.file_size)


def _array(where: str, file: IO[bytes], start: int, size: int) -> FileArray:
    """The array whose header begins at byte ``start`` of ``file``; ``size``: bytes of both."""
    file.seek(0, 2)
    end = min(start + size, file.tell())
    file.seek(start)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as e:  # whatever a damaged header makes of NumPy
        raise TraceError(
            f"{where} is not a NumPy array: {str(e).splitlines()[0] if str(e) else 'its header is damaged'}"
        ) from None
    if dtype.hasobject:
        raise TraceError(f"{where} holds Python objects; numbers are right")
    if dtype.kind not in "biuf" or any(n < 0 for n in shape):
        raise TraceError(f"{where} is {dtype} {list(shape)}; numbers are right")
    if fortran and len(shape) > 1:
        raise TraceError(f"{where} is in Fortran order; np.ascontiguousarray makes it what is right")
    if not shape:
        raise TraceError(f"{where} is a single number, not an array")
    need = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    if file.tell() + need > end:
        raise TraceError(f"{where} is damaged or truncated: {end - file.tell():,} bytes of data; {need:,} are right")
    return FileArray(file, dtype, tuple(int(n) for n in shape), file.tell())
