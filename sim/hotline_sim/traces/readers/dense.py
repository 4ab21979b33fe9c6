"""What becomes of dense features."""

import numpy as np


def log1p(numbers: np.ndarray) -> np.ndarray:
    """float32 ``log(1 + max(x, 0))`` of integers or floats, made in float64."""
    return np.log1p(np.maximum(numbers, 0).astype(np.float64)).astype(np.float32)
