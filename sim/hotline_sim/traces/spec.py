"""Trace SPECs: ``criteo:PATH``, ``npz:PATH``, ``synthetic[:NAME[,key=value ...]]``."""

from pathlib import Path

from .criteo import read_criteo
from .synthetic import generate
from .trace import Trace, TraceError, load_npz

#: What the keys of a synthetic SPEC are read as.
SYNTHETIC_KEYS = {"samples": int, "scale": float, "seed": int, "exponent": float, "correlation": float}
CRITEO_KEYS = {"rule": str, "seed": int, "samples": int}


def open_trace(spec: str) -> Trace:
    """The trace that ``spec`` names. Raises TraceError for what cannot be read, saying why."""
    kind, _, rest = spec.partition(":")
    if kind == "synthetic":
        name, *settings = rest.split(",") if rest else ["criteo-kaggle"]
        if "=" in name:
            name, settings = "criteo-kaggle", [name, *settings]
        return generate(name or "criteo-kaggle", **_settings(spec, settings, SYNTHETIC_KEYS))
    if kind in ("criteo", "npz") and rest:
        if kind == "npz":
            return load_npz(Path(rest))
        path, *settings = rest.split(",")
        return read_criteo(Path(path), **_settings(spec, settings, CRITEO_KEYS))
    raise TraceError(f"trace {spec!r}: use criteo:PATH, npz:PATH or synthetic[:NAME[,key=value...]]")


def _settings(spec: str, settings: list[str], keys: dict) -> dict:
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in keys:
            raise TraceError(f"trace {spec!r}: {setting!r} is not key=value with one of {', '.join(keys)}")
        try:
            found[key] = keys[key](value.replace("_", "") if keys[key] is int else value)
        except ValueError:
            raise TraceError(f"trace {spec!r}: {value!r} is not a {keys[key].__name__}") from None
    return found
