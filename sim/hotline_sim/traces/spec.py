"""Trace SPECs: ``SCHEME:PATH[,key=value...]``."""

import os
from collections.abc import Callable
from pathlib import Path

from .mapped.folder import FolderTrace
from .mapped.npy import NpyTrace
from .mapped.npz import NpzTrace
from .readers.reader import Reader
from .readers.schema import KEYS, at_least, decimal, table_sizes
from .shuffle import ShuffledTrace
from .spool import SpooledTrace
from .synthetic import SyntheticTrace
from .trace import Trace, TraceError, shortened

SCHEMES = ("criteo", "csv", "parquet", "arrow", "npy", "libsvm", "npz", "folder", "synthetic")
#: Keys of every SPEC: the first samples only; a seed to shuffle by.
COMMON = ("samples", "shuffle")
#: Those of each scheme. ``schema``: a file with more of them.
SCHEME_KEYS = {
    "criteo": ("label", "rule", "rows", "seed"),
    "csv": ("header", "sep", "list", "schema", *KEYS),
    "parquet": ("schema", *KEYS),
    "arrow": ("schema", *KEYS),
    "npy": ("rule", "rows", "seed", "transform"),
    "libsvm": ("fields", "dense", "threshold"),
    "npz": (),
    "folder": (),
    "synthetic": ("scale", "seed", "exponent", "correlation", "drift"),
}
USE = f"use SCHEME:PATH[,key=value...] with one of {', '.join(SCHEMES)}; `hotline trace --help` has examples"

#: Called with samples, and the part of the log that has been read.
Progress = Callable[[int, float], None]


def open_trace(
    spec: str,
    *,
    samples: int | None = None,
    schema_file: Path | None = None,
    progress: Progress = lambda samples, part: None,
) -> Trace:
    """The trace that ``spec`` names, or the first ``samples`` of it. ``schema_file``: more keys, for logs with named columns.

    A log that can only be read in order is read now, with ``progress``, into temporary files. Raises TraceError for what
    cannot be read, saying why.
    """
    source = open_source(spec, samples=samples, schema_file=schema_file)
    if isinstance(source, Reader):
        return _shuffled(SpooledTrace(source, progress), spec)
    return source


def open_source(spec: str, *, samples: int | None = None, schema_file: Path | None = None) -> Trace | Reader:
    """The same, but a log that can only be read in order is given as its reader, and nothing of it is read yet."""
    scheme, path, keys = split_spec(spec)
    wanted = [at_least(spec, "samples", keys["samples"], 1)] if "samples" in keys else []
    limit = min([*wanted, *([samples] if samples is not None else [])], default=None)
    if schema_file is not None and "schema" not in SCHEME_KEYS[scheme]:
        raise TraceError(f"trace {spec!r}: --schema is for csv:, parquet: and arrow:")
    own = {key: value for key, value in keys.items() if key not in COMMON}
    source: Trace | Reader
    if scheme == "synthetic":
        source, limit = _synthetic(spec, path, own, wanted[0] if wanted else None), samples
    elif scheme in ("npz", "folder"):
        source = NpzTrace(Path(path)) if scheme == "npz" else FolderTrace(Path(path))
    elif scheme == "npy":
        source = _npy(spec, path, own, limit)
    else:
        from .readers.opened import opened_reader  # needs pyarrow

        return opened_reader(spec, scheme, path, own, limit, schema_file)
    if limit is not None:
        source = source.head(limit)
    return _shuffled(source, spec)


def _shuffled(trace: Trace, spec: str) -> Trace:
    """``trace``, in another order if ``spec`` asks for one."""
    seed = split_spec(spec)[2].get("shuffle")
    return trace if seed is None else ShuffledTrace(trace, at_least(spec, "shuffle", seed, 0))


def is_unknown(spec: str) -> bool:
    """Whether it is the name of a file or folder, without a scheme."""
    return spec.partition(":")[0] not in SCHEMES and Path(spec).exists()


def split_spec(spec: str) -> tuple[str, str, dict[str, str]]:
    """Scheme, path and keys. A path may have commas: the longest that is there counts. Raises TraceError."""
    scheme, colon, rest = spec.partition(":")
    if scheme not in SCHEMES:
        hint = f"; is it folder:{spec}?" if Path(spec).is_dir() else ""
        raise TraceError(f"trace {shortened(spec, 80)}: {USE}{hint}")
    allowed = (*COMMON, *SCHEME_KEYS[scheme])
    parts = rest.split(",")
    first = next((n for n in range(len(parts), 0, -1) if os.path.exists(",".join(parts[:n]))), 0)
    if not first:  # no such file, or a pattern
        first = len(parts)
        while first > 1 and "=" in parts[first - 1]:
            first -= 1
    if scheme == "synthetic":
        first = int("=" not in parts[0])
    path, settings = ",".join(parts[:first]), parts[first:]
    if not path and scheme != "synthetic":
        raise TraceError(f"trace {shortened(spec, 80)}: no path; {USE}")
    keys = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in allowed:
            raise TraceError(
                f"trace {shortened(spec, 80)}: {shortened(setting)} is not key=value with one of {', '.join(allowed)}"
            )
        if key in keys:
            raise TraceError(f"trace {shortened(spec, 80)}: {key} is given twice")
        keys[key] = value
    return scheme, path, keys


def _synthetic(spec: str, name: str, keys: dict[str, str], samples: int | None) -> Trace:
    numbers: dict = {"samples": samples} if samples is not None else {}
    for key, value in keys.items():
        numbers[key] = at_least(spec, key, value, 0) if key == "seed" else decimal(spec, key, value)
    return SyntheticTrace(name or "criteo-kaggle", **numbers)


def _npy(spec: str, path: str, keys: dict[str, str], limit: int | None) -> Trace:
    where = f"trace {shortened(spec, 80)}"
    if keys.get("transform", "none") not in ("none", "log1p"):
        raise TraceError(f"{where}: transform={shortened(keys['transform'])}; none or log1p is right")
    return NpyTrace(
        path,
        rule=keys.get("rule", "as-is"),
        seed=at_least(spec, "seed", keys.get("seed", "1"), 0),
        sizes=tuple(table_sizes(where, keys["rows"].split(":"))) if "rows" in keys else (),
        transform=keys.get("transform", "none"),
        samples=limit,
    )
