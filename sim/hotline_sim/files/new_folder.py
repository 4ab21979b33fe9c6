"""Folders that one process at a time writes; and those that appear under their name only when they are complete."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked_folder(directory: Path, option: str, name: Path | None = None) -> Iterator[None]:
    """Makes ``directory``, if it is not there, and locks it. Raises ValueError, which says ``option`` and ``name``, when another
    process has. The lock is the folder's own: a new name does not matter to it, and it goes when this process ends."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(lock), os.stat(directory))
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise ValueError(
                f"{option} {name or directory}: another run is writing there; wait for it, or name another folder"
            )
        yield
    finally:
        os.close(lock)


class NewFolder:
    """Use as a context manager around the writing: files go into ``partial``, and :meth:`complete` gives it its name.

    What was left in ``partial`` by somebody else is removed first; with ``resume`` it stays, and also after a failure. Raises
    ValueError, which names ``option``, when another process writes there.
    """

    def __init__(self, directory: Path, option: str, *, resume: bool = False):
        self.directory, self.resume = directory, resume
        self.partial = directory.with_name(directory.name + ".partial")
        self.lock = locked_folder(self.partial, option, directory)

    def __enter__(self) -> "NewFolder":
        self.lock.__enter__()
        if not self.resume:
            self.empty()
        return self

    def __exit__(self, kind, *exc) -> None:
        if kind is not None and not self.resume:
            shutil.rmtree(self.partial, ignore_errors=True)
        self.lock.__exit__(None, None, None)

    def empty(self) -> None:
        """Removes what is in it."""
        for left in self.partial.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    def complete(self) -> None:
        """Gives the folder its name, which only an empty folder may have."""
        if self.directory.exists():
            self.directory.rmdir()
        self.partial.rename(self.directory)
