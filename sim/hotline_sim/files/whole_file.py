"""Writing a file beside its place first, so that nobody ever finds half of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields the name to write to. When the block ends without an exception that file becomes ``path``; if not, it is
    deleted, and ``path`` stays as it was. Of two processes that write one file, the last has it, whole."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
