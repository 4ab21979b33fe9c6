"""The files of a log: one, a folder of them, or those that a pattern names, in order."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from ..trace import TraceError

#: Characters that make a path a pattern.
PATTERN = re.compile(r"[*?\[]")


def shards(path: str, endings: Sequence[str] = ()) -> list[Path]:
    """The files that ``path`` names. Those of a folder, or of a pattern, in natural order: ``day_2`` before ``day_10``; hidden
    ones are left out. ``endings``: only those of a folder whose names have one of them. Raises TraceError if there is none.
    """
    place = Path(path)
    if place.is_dir():
        found = [p for p in place.iterdir() if p.is_file() and not p.name.startswith(".")]
        if endings:
            found = [p for p in found if p.name.lower().endswith(tuple(endings))]
        if not found:
            raise TraceError(f"{path}: no {' or '.join(endings) + ' ' if endings else ''}files in this folder")
    elif place.exists():
        return [place]
    elif PATTERN.search(path):
        found = [p for name in glob.glob(path) if (p := Path(name)).is_file()]
        if not found:
            raise TraceError(f"{path}: no file has such a name")
    else:
        raise TraceError(f"{path}: no such file")
    return sorted(found, key=natural)


def natural(path: Path) -> list:
    """A key to sort by, in which numbers count as numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name) if part]


def identity(files: Sequence[Path]) -> list:
    """What tells whether files are still the same: name, bytes, and time of the last change of each."""
    return [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
