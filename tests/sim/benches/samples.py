"""Sample records, and their beats."""

import numpy as np
from benches.common import (
    BEAT_WORDS,
    CONFIG,
)

from hotline_golden.layouts import NO_ACCESS
from hotline_golden.model import Model
from hotline_rtl.interfaces.layouts import beat_layout

BEAT = beat_layout(CONFIG)


def random_samples(model: Model, count: int, salt: int, *, skew: float = 3.0, padding: float = 0.1) -> np.ndarray:
    """uint32 [count, sample_words]; rows are skewed towards 0."""
    g = np.random.default_rng(salt)
    limits = model.rows[np.array(model.table_of)]
    rows = np.minimum((g.random((count, model.accesses)) ** skew * limits), limits - 1).astype(np.uint32)
    rows[g.random(rows.shape) < padding] = NO_ACCESS
    payload = g.integers(0, 1 << 32, (count, model.payload_words)).astype(np.uint32)
    return np.concatenate([payload, rows], axis=1)


def record_beats(
    model: Model, samples: np.ndarray, masks: np.ndarray, *, tables: bool = True, follow: np.ndarray | None = None
) -> list[dict]:
    """beat_layout payloads of whole records; ``masks`` bool [samples, accesses]; ``follow`` bool [samples]: the shadow learns
    from them."""
    beats = []
    followed = np.zeros(len(samples), bool) if follow is None else follow
    per_word_table = [0] * (1 + model.payload_words) + list(model.table_of)
    for number, sample in enumerate(samples.tolist()):
        words = [number, *sample]
        mask = [False] * (1 + model.payload_words) + masks[number].tolist()
        for at in range(0, len(words), BEAT_WORDS):
            part = words[at : at + BEAT_WORDS]
            fill = [0] * (BEAT_WORDS - len(part))
            beats.append({
                "words": part + fill,
                "tables": (per_word_table[at : at + BEAT_WORDS] if tables else [0] * len(part)) + fill,
                "mask": sum(bit << i for i, bit in enumerate(mask[at : at + BEAT_WORDS])),
                "count": len(part),
                "last": int(at + BEAT_WORDS >= len(words)),
                "end": int(at + BEAT_WORDS >= len(words) and number == len(samples) - 1),
                "drop": 0,
                **({"follow": int(followed[number])} if CONFIG.shadow else {}),
            })  # fmt: skip
    return beats
