"""A 64-bit value for each text, by a stated rule."""

import numpy as np
import pyarrow as pa

from hotline_golden.keys import mix64


def text_values(texts: pa.Array) -> np.ndarray:
    """uint64 [n]: a value for each of ``texts``, an Arrow array of strings or binaries without nulls.

    ``h = length``; then for each 8 bytes of its UTF-8, little-endian, the last ones padded with zeros: ``h = mix64(h ^ word)``.
    """
    texts = texts.cast(pa.large_binary())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashes = lengths.astype(np.uint64)
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    powers = np.uint64(8) * np.arange(8, dtype=np.uint64)
    for at in range(0, int(lengths.max(initial=0)), 8):
        more = np.flatnonzero(lengths > at)
        places = (starts[more] + at)[:, None] + np.arange(8)
        words = padded[places].astype(np.uint64)
        words[np.arange(at, at + 8) >= lengths[more, None]] = 0
        hashes[more] = mix64(hashes[more] ^ (words << powers).sum(axis=1, dtype=np.uint64))
    return hashes
