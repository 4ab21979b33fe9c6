"""Writing a file beside its place first, so that nobody ever finds half of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields the name to write to. When the block ends without an exception that file becomes ``path``; if not, it is
    deleted, and ``path`` stays as it was."""
    beside = path.with_name(path.name + ".partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
