"""Trace SPECs: ``criteo:PATH``, ``npz:PATH``, ``synthetic[:NAME[,key=value ...]]``."""

import math
import re
from pathlib import Path

from .criteo import read_criteo
from .synthetic import generate
from .text_lines import shortened
from .trace import Trace, TraceError, load_npz

#: What the keys of a synthetic SPEC are read as.
SYNTHETIC_KEYS = {"samples": int, "scale": float, "seed": int, "exponent": float, "correlation": float}
CRITEO_KEYS = {"rule": str, "seed": int, "samples": int, "rows": str}
#: What a whole number looks like: ASCII digits, in groups by underscores if one likes.
WHOLE_NUMBER = re.compile(r"-?[0-9]+(_[0-9]+)*")


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
        found = _settings(spec, settings, CRITEO_KEYS)
        if "rows" in found:
            found["table_rows"] = [_number(spec, text) for text in found.pop("rows").split(":")]
            if found.get("rule", "hash") != "hash":
                raise TraceError(
                    f"trace {spec!r}: rows=... is for rule=hash; other rules make tables as large as needed"
                )
        return read_criteo(Path(path), **found)
    raise TraceError(f"trace {spec!r}: use criteo:PATH, npz:PATH or synthetic[:NAME[,key=value...]]")


def _settings(spec: str, settings: list[str], keys: dict) -> dict:
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in keys:
            raise TraceError(f"trace {spec!r}: {setting!r} is not key=value with one of {', '.join(keys)}")
        if keys[key] is int:
            found[key] = _number(spec, value)
            continue
        try:
            found[key] = keys[key](value)
        except ValueError:
            raise TraceError(f"trace {spec!r}: {value!r} is not a {keys[key].__name__}") from None
        if keys[key] is float and not math.isfinite(found[key]):
            raise TraceError(f"trace {spec!r}: {key}={value} is not a finite number")
    return found


def _number(spec: str, text: str) -> int:
    """A whole number of at most 26 characters. Raises TraceError for anything else."""
    if len(text) > 26 or not WHOLE_NUMBER.fullmatch(text):
        raise TraceError(f"trace {shortened(spec, 80)}: {shortened(text)} is not a whole number")
    return int(text)
