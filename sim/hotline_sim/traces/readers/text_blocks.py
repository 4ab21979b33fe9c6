"""Text files in blocks of whole lines, plain or compressed: what they are compressed with is told by their content."""

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..trace import TraceError


def _open_zstd(file, mode: str):
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.open(file, "rb")


#: First bytes of a compressed file, and what opens it as bytes.
COMPRESSIONS: dict[bytes, Callable] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
LINE_FEED = ord("\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Bytes that are read at once, and of the longest line that is taken.
BLOCK, LONGEST_LINE = 8 << 20, 1 << 20
TOO_LONG = f"longer than {LONGEST_LINE:,} characters: this is no click log"


@dataclass(frozen=True)
class Block:
    """Whole lines, each with its end ``\\n``. ``line``: the number of the first one, from 1; ``cursor``: where the next block
    begins, for :func:`text_blocks`; ``done``: the part of all bytes, as they are stored, that has been read then."""

    path: Path
    data: bytes
    line: int
    cursor: dict
    done: float

    def where(self, row: int) -> str:
        """File and line of the ``row``-th line."""
        return f"{self.path}, line {self.line + row}"


def text_blocks(
    files: list[Path], cursor: dict | None = None, most: int | None = None, *, header: bool = False, size: int = BLOCK
) -> Iterator[Block]:
    """The lines of ``files``, at most ``most``, as blocks of about ``size`` bytes.

    A byte-order mark, CR before LF, and blank lines at the end of a file are left out, and the first line of each if it is a
    ``header``. Raises TraceError, with the line, for a blank line elsewhere, a line that is too long, a lone CR or a NUL, and
    for a file that is damaged or cannot be read.
    """
    at = cursor or {"file": 0, "byte": 0, "line": 1}
    total = sum(file.stat().st_size for file in files) or 1
    before = sum(file.stat().st_size for file in files[: at["file"]])
    for number in range(at["file"], len(files)):
        byte, line = (at["byte"], at["line"]) if number == at["file"] else (0, 1)
        for data, first, next_byte, next_line, stored in _blocks(files[number], byte, line, header, size):
            if most is not None:
                data, most = _first_lines(data, most)
            after = {"file": number, "byte": next_byte, "line": next_line}
            yield Block(files[number], data, first, after, (before + stored) / total)
            if most == 0:
                return
        before += files[number].stat().st_size


def _first_lines(data: bytes, most: int) -> tuple[bytes, int]:
    """At most ``most`` lines of ``data``, and how many more are wanted."""
    lines = data.count(b"\n")
    if lines <= most:
        return data, most - lines
    end = 0
    for _ in range(most):
        end = data.index(b"\n", end) + 1
    return data[:end], 0


def _blocks(path: Path, byte: int, line: int, header: bool, size: int) -> Iterator[tuple[bytes, int, int, int, int]]:
    """Lines, the number of the first, byte and line of what follows, and how much has been read of the file as stored."""
    start = line
    try:
        with open(path, "rb") as raw:
            magic = raw.read(max(map(len, COMPRESSIONS)))
            raw.seek(0)
            opened = next((opens for m, opens in COMPRESSIONS.items() if magic.startswith(m)), None)
            with opened(raw, "rb") if opened else raw as file:
                if byte:
                    file.seek(byte)
                elif header:
                    text = _header(path, file)
                    byte, line = len(text), 2
                blank = 0  # the first of the blank lines that have come last
                while lines := _whole_lines(path, file, size, line):
                    start, byte, line = line, byte + len(lines), line + lines.count(b"\n")
                    data, blank = _checked(path, lines, start, blank)
                    if data:
                        yield data, start, byte, line, raw.tell()
    except FileNotFoundError:
        raise TraceError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise TraceError(f"{path}: this is a folder; name a file in it") from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as e:
        raise TraceError(f"{path}: damaged or truncated after line {line - 1}: {e}") from e
    except Exception as e:
        if type(e).__name__ != "ZstdError":  # of a module that is there only where it is needed
            raise
        raise TraceError(f"{path}: damaged or truncated after line {line - 1}: {e}") from e


def _whole_lines(path: Path, file: BinaryIO, size: int, line: int) -> bytes:
    """About ``size`` bytes that end where a line does, with or without its end at the end of the file; empty there."""
    data = file.read(size)
    if data and not data.endswith(b"\n"):
        rest = file.readline(LONGEST_LINE)
        if len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            number = line + data.count(b"\n")
            raise TraceError(f"{path}, line {number}: {TOO_LONG}")
        data += rest
    return data


def _checked(path: Path, lines: bytes, first: int, blank: int) -> tuple[bytes, int]:
    """``lines``, whose first is number ``first``, as lines that end with LF, and the number of the first blank line of those
    at their end, or 0; ``blank``: that of the lines before them."""
    data = lines if lines.endswith(b"\n") else lines + b"\n"
    if first == 1 and data.startswith(BYTE_ORDER_MARK):
        data = data[len(BYTE_ORDER_MARK) :]
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")

    def place(at: int) -> str:
        number = first + data.count(b"\n", 0, at)
        return f"{path}, line {number}"

    for byte, what in ((b"\r", "a carriage return (CR) that no line feed follows"), (b"\0", "a NUL; text is right")):
        if (at := data.find(byte)) >= 0:
            raise TraceError(f"{place(at)}: {what}")
    # No line is too long in a block whose every LONGEST_LINE bytes hold an end.
    for at in range(0, len(data) - LONGEST_LINE, LONGEST_LINE):
        if data.find(b"\n", at, at + LONGEST_LINE) < 0:
            start = data.rfind(b"\n", 0, at) + 1
            if data.find(b"\n", start) - start >= LONGEST_LINE:
                raise TraceError(f"{place(start)}: {TOO_LONG}")
    kept = data.rstrip(b"\n")
    if not kept:
        return b"", blank or first
    if blank or data.startswith(b"\n"):
        raise TraceError(f"{path}, line {blank or first}: a blank line; only at the end of a file is one right")
    text = np.frombuffer(kept, np.uint8)
    if (twice := (text[1:] == LINE_FEED) & (text[:-1] == LINE_FEED)).any():
        raise TraceError(f"{place(int(twice.argmax()) + 1)}: a blank line; only at the end of a file is one right")
    ends = len(data) - len(kept)
    return kept + b"\n", first + data.count(b"\n") - ends + 1 if ends > 1 else 0


def _header(path: Path, file: BinaryIO) -> bytes:
    """The first line as it is stored."""
    text = file.readline(LONGEST_LINE)
    if not text.endswith(b"\n") and len(text) == LONGEST_LINE:
        raise TraceError(f"{path}, line 1: {TOO_LONG}")
    return text


def check_utf8(block: Block) -> str:
    """The block as text. Raises TraceError, with the line, for what is not UTF-8."""
    try:
        return block.data.decode()
    except UnicodeDecodeError as e:
        row = block.data.count(b"\n", 0, e.start)
        raise TraceError(f"{block.where(row)}: not UTF-8 text") from None


def first_lines(path: Path, count: int) -> list[str]:
    """The first ``count`` lines, without their ends. Raises TraceError as :func:`text_blocks`, and for what is not UTF-8."""
    return [
        line for block in text_blocks([path], most=count, size=1 << 16) for line in check_utf8(block).split("\n")[:-1]
    ]
