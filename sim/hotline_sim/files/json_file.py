"""JSON files that are whole, and that every reader of JSON takes."""

import json
import math
from pathlib import Path

from .whole_file import whole_file


def plain(value):
    """``value`` with null for each number that JSON does not have: NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def write_json(path: Path, numbers: dict) -> None:
    """Writes ``path``, whole or not at all. Numbers that are not finite become null."""
    with whole_file(path) as file:
        file.write_text(json.dumps(plain(numbers), indent=2, allow_nan=False) + "\n")
