"""The project's folder of a trace, for large ones: two NumPy arrays and a small JSON file.

    trace.json      format, samples, table_of, table_rows, payload_words, payload (its type), and where it came from
    rows.npy        uint32 [samples, accesses]
    payload.npy     float32 or uint32 [samples, payload words]
    values_000.*    of rule=first-seen: the values of each table, in the order of their rows

It is written beside its place, as ``NAME.partial``, with a note of how far it has come. Whoever was stopped goes on from there.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...files.json_file import write_json
from ...files.new_folder import NewFolder
from ..readers.reader import Reader
from ..trace import PAYLOAD_TYPES, Samples, Trace, TraceError
from .file_array import npy_array

FORMAT, VERSION = "hotline-trace", 1
DESCRIPTION, PROGRESS = "trace.json", "progress.json"
ROWS, PAYLOAD = "rows.npy", "payload.npy"
#: Bytes before the data of an array: the header, which is written again when the number of samples is known.
HEADER = 128
#: Seconds between two notes of how far the writing has come, at least; and how many times longer than writing it takes.
NOTED, NOTE_SHARE = 0.5, 20
HOW = "`hotline trace make SPEC -o FOLDER` makes such a folder"

#: Called with samples written, and the part of the source that has been read.
Progress = Callable[[int, float], None]


class FolderTrace(Trace):
    """A folder that :func:`write_folder` made. Raises TraceError for one that is not whole."""

    def __init__(self, path: Path):
        self.path = path
        found = _description(path)
        rows, payload = npy_array(path / ROWS), npy_array(path / PAYLOAD)
        samples = found["samples"]
        for name, array, dtype, shape in (
            (ROWS, rows, "uint32", (samples, len(found["table_of"]))),
            (PAYLOAD, payload, found["payload"], (samples, found["payload_words"])),
        ):
            if array.dtype != np.dtype(dtype) or array.shape != shape:
                raise TraceError(
                    f"{path / name}: {array.dtype} {list(array.shape)}; {dtype} {list(shape)} is right, as {DESCRIPTION} has it"
                )
        super().__init__(
            str(path),
            samples,
            np.array(found["table_of"], np.int64),
            np.array(found["table_rows"], np.int64),
            found["payload_words"],
            found["payload"],
        )
        self.rows, self.payload = rows, payload

    def _read(self, first: int, last: int) -> Samples:
        return Samples(self.rows[first:last], self.payload[first:last].view(np.uint32))


#: What a description holds, and of what type.
TYPES: dict[str, type] = {"samples": int, "table_of": list, "table_rows": list, "payload_words": int, "payload": str}


def _description(path: Path) -> dict:
    """A folder's description. Raises TraceError."""
    partial = path.with_name(path.name + ".partial")
    if not path.exists() and partial.exists():
        raise TraceError(f"{path}: not complete yet; the same `hotline trace make` again goes on with {partial}")
    if not path.is_dir():
        raise TraceError(f"{path}: {'no folder; ' + HOW if path.exists() else 'no such folder'}")
    if (path / PROGRESS).exists():
        raise TraceError(
            f"{path}: not complete: it holds {PROGRESS}; the same `hotline trace make` again goes on with it"
        )
    file = path / DESCRIPTION
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        raise TraceError(f"{path}: no {DESCRIPTION}; {HOW}") from None
    except (ValueError, OSError) as e:
        raise TraceError(f"{file}: not a JSON file: {e}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise TraceError(f"{file}: not the description of a trace; {HOW}")
    if found.get("version") != VERSION:
        raise TraceError(f"{file}: version {found.get('version')!r}; this program reads {VERSION}")
    for name, kind in TYPES.items():
        value = found.get(name)
        listed = value if isinstance(value, list) else [value] if kind is int else []
        if not isinstance(value, kind) or not all(type(n) is int and 0 <= n < 1 << 40 for n in listed):
            raise TraceError(f"{file}: no usable `{name}`; {HOW}")
    if found["payload"] not in PAYLOAD_TYPES:
        raise TraceError(f"{file}: payload {found['payload']!r}; {' or '.join(PAYLOAD_TYPES)} is right")
    return found


@dataclass
class Noted:
    """How far the writing has come. ``cursor``: for the reader; ``source``: what is being read."""

    source: dict
    samples: int = 0
    cursor: dict | None = None


@dataclass(frozen=True)
class Written:
    """What :func:`write_folder` has done: samples, those of them that were there before, and bytes of values kept in memory."""

    samples: int
    before: int
    memory: int


def write_folder(
    folder: Path,
    spec: str,
    source: Trace | Reader,
    progress: Progress = lambda samples, part: None,
    *,
    restart: bool = False,
) -> Written:
    """Writes ``source``, which ``spec`` names, as ``folder``; goes on where an earlier call for the same source was stopped.

    Raises ValueError for a folder that is there, or that another process writes, and TraceError for a part of another
    source, or one whose files have changed, unless ``restart`` throws it away. Whatever else stops it, what has been written
    stays, to go on with.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder}: there is a {'folder' if folder.is_dir() else 'file'} of this name; name another one"
        )
    of = {"spec": spec, "files": source.identity if isinstance(source, Reader) else []}
    with NewFolder(folder, "-o", resume=True) as new:
        if restart:
            new.empty()
        noted = _noted(new.partial, of)
        before = noted.samples
        with (
            _ArrayFile(new.partial / ROWS, noted.samples, len(source.table_of), "uint32") as rows,
            _ArrayFile(new.partial / PAYLOAD, noted.samples, source.payload_words, source.payload_type) as payload,
        ):
            try:
                _write(new.partial, source, noted, rows, payload, progress)
            except OSError as e:
                raise TraceError(
                    f"{new.partial}: after {noted.samples:,} samples: {e.strerror}. They stay: once there is room, the same "
                    "command goes on from there"
                ) from e
            if not noted.samples:
                new.empty()
                raise TraceError(f"{source.name}: no samples")
            for file in (rows, payload):
                file.finish(noted.samples)
        if isinstance(source, Reader):
            source.save(new.partial)
        write_json(new.partial / DESCRIPTION, {
            "format": FORMAT, "version": VERSION, "samples": noted.samples, "table_of": source.table_of.tolist(),
            "table_rows": source.table_rows.tolist(), "payload_words": source.payload_words,
            "payload": source.payload_type, "source": of,
        })  # fmt: skip
        (new.partial / PROGRESS).unlink()
        new.complete()
    return Written(noted.samples, before, source.memory if isinstance(source, Reader) else 0)


def _write(
    partial: Path, source: Trace | Reader, noted: Noted, rows: "_ArrayFile", payload: "_ArrayFile", progress: Progress
) -> None:
    """All samples after ``noted``, noting now and then how far it has come."""
    if isinstance(source, Reader):
        if noted.samples:
            source.restore(partial)
        chunks = ((c.samples, c.cursor, c.done) for c in source.chunks(noted.cursor, noted.samples))
    else:
        parts = source.after(noted.samples).parts() if noted.samples < source.samples else iter(())
        chunks = ((part, {}, 0.0) for part in parts)
    last, took = time.monotonic(), 0.0
    write_json(partial / PROGRESS, asdict(noted))
    for part, cursor, done in chunks:
        rows.write(part.rows)
        payload.write(part.payload)
        noted.samples, noted.cursor = noted.samples + len(part.rows), cursor
        progress(noted.samples, noted.samples / source.samples if isinstance(source, Trace) else done)
        now = time.monotonic()
        if now - last < max(NOTED, NOTE_SHARE * took):
            continue
        for file in (rows, payload):
            file.flush()
        if isinstance(source, Reader):
            source.save(partial)
        write_json(partial / PROGRESS, asdict(noted))
        last = time.monotonic()
        took = last - now


def _noted(partial: Path, source: dict) -> Noted:
    """What was noted in a folder, if it is of ``source``. Raises TraceError for another."""
    file = partial / PROGRESS
    if not file.exists():
        if any(partial.iterdir()):
            raise TraceError(f"{partial}: holds files, but no note of what they are: remove it, or use --restart")
        return Noted(source)
    try:
        found = Noted(**json.loads(file.read_text()))
        was, now = found.source["spec"], source["spec"]
    except (ValueError, TypeError, KeyError) as e:
        raise TraceError(f"{file}: damaged ({e}): remove {partial}, or use --restart") from None
    if was != now:
        raise TraceError(f"{partial}: the beginning of {was}, not of {now}: name another folder, or use --restart")
    if found.source["files"] != source["files"]:
        raise TraceError(f"{partial}: the files of {was} have changed since it was begun: use --restart")
    return found


class _ArrayFile:
    """A .npy file of ``width`` columns that grows; ``samples`` of it are there already. Raises TraceError if they are not."""

    def __init__(self, path: Path, samples: int, width: int, dtype: str):
        self.path, self.width, self.dtype = path, width, np.dtype(dtype)
        need = HEADER + samples * width * self.dtype.itemsize if samples else 0
        there = path.stat().st_size if path.exists() else 0
        if there < need:
            raise TraceError(f"{path}: {there:,} bytes; {need:,} were written: use --restart")
        self.file = open(path, "r+b" if path.exists() else "w+b")
        self.file.truncate(need)
        self.file.seek(need)
        if not samples:
            self.file.write(self._header(0))

    def __enter__(self) -> "_ArrayFile":
        return self

    def __exit__(self, *exc) -> None:
        self.file.close()

    def _header(self, samples: int) -> bytes:
        text = str({"descr": self.dtype.str, "fortran_order": False, "shape": (samples, self.width)})
        return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11).encode() + b"\n"

    def write(self, array: np.ndarray) -> None:
        """Adds samples."""
        self.file.write(np.ascontiguousarray(array).data)

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self.file.flush()

    def finish(self, samples: int) -> None:
        """Writes the header for ``samples``, and waits until all is on the disk."""
        self.file.seek(0)
        self.file.write(self._header(samples))
        self.file.flush()
        os.fsync(self.file.fileno())
