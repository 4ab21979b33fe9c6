"""Lines of a text file, plain or compressed: what it is compressed with is told by its content, not by its name."""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .trace import TraceError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: First bytes of a compressed file, and what opens it as bytes.
COMPRESSIONS: dict[bytes, Callable] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
#: Characters of the longest line that is read.
LONGEST_LINE = 1 << 20


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and lines of ``path``, without their ends; a byte-order mark is left out.

    Raises TraceError, with the line that was reached, for a file that is not there, not text, damaged or truncated, and for
    a line that is longer than LONGEST_LINE.
    """
    number = 0
    try:
        with open(path, "rb") as raw:
            start = raw.read(max(map(len, COMPRESSIONS)))
            raw.seek(0)
            opened = next((opens for magic, opens in COMPRESSIONS.items() if start.startswith(magic)), None)
            with opened(raw, "rb") if opened else raw as binary:
                text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline=None)
                while line := text.readline(LONGEST_LINE):
                    number += 1
                    if len(line) == LONGEST_LINE:
                        raise TraceError(
                            f"{path}, line {number}: longer than {LONGEST_LINE:,} characters: this is no click log"
                        )
                    yield number, line.rstrip("\n")
    except FileNotFoundError:
        raise TraceError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise TraceError(f"{path}: this is a folder; name a file in it") from None
    except UnicodeDecodeError:
        raise TraceError(
            f"{path}: not text after line {number}; text, plain or compressed by gzip, bzip2, xz or zstd, is right"
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, OSError) as e:
        raise TraceError(f"{path}: damaged or truncated after line {number}: {e}") from e


def shortened(text: str, most: int = 24) -> str:
    """``text`` in quotes for a message, cut after ``most`` characters."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}... ({len(text):,} characters)"
