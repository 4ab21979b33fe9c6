"""Generated traces whose samples are skewed and correlated as those of real click logs.

Each column follows a bounded Zipf law of its own, with its own order of rows and an exponent near the
shape's. The accesses of one sample are
correlated by a Gaussian copula: sample ``i`` has a normal ``z_i``, access ``j`` of it a normal
``e_ij``, and the access takes the quantile ``Phi(sqrt(c) z_i + sqrt(1 - c) e_ij)`` of its column, so a
sample tends to be wholly popular or rare in several columns at once; ``c`` is the shape's
``correlation``. Ranks become rows by a bijection, so that popular rows lie anywhere in a table.

Labels depend on the features, so a model can learn them: a logistic model with a weight for each
dense feature and a hashed weight for each (table, row).
"""

import numpy as np

from hotline_golden.keys import mix64

from .shapes import SHAPES, Shape
from .trace import Trace, TraceError

NO_ACCESS = np.uint32(0xFFFF_FFFF)
PATTERNS = ("zipf", "uniform", "single-key", "all-distinct", "drift", "ratings")
#: Of the rows of every popularity, this part changes places in each tenth of a drifting trace.
DRIFT = 0.1
DEFAULT_SAMPLES = 20_000
DEFAULT_SCALE = 0.01


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """The standard normal distribution function (Abramowitz and Stegun 26.2.17, error below 1e-7)."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * poly
    return np.where(x >= 0, 1 - tail, tail)


def zipf_rank(quantile: np.ndarray, rows: int, exponent: float) -> np.ndarray:
    """Ranks 0 to rows - 1 of a bounded Zipf law (its continuous form, inverted)."""
    power = 1.0 - exponent
    x = (1.0 + quantile * ((rows + 1.0) ** power - 1.0)) ** (1.0 / power)
    return np.minimum(x.astype(np.int64) - 1, rows - 1)


def scramble(ranks: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """A bijection on 0 to rows - 1: multiplication by a number coprime to ``rows``, and an offset."""
    multiplier = int(mix64(np.array([seed], np.uint64))[0]) % max(rows, 2) | 1
    while np.gcd(multiplier, rows) != 1:
        multiplier += 2
    return (ranks * multiplier + seed % rows) % rows


def generate(name: str = "criteo-kaggle", *, samples: int = DEFAULT_SAMPLES, scale: float = DEFAULT_SCALE,
             seed: int = 1, exponent: float | None = None, correlation: float | None = None) -> Trace:  # fmt: skip
    """A trace of the named shape. ``scale`` multiplies table sizes above 10 000 rows.

    Raises TraceError for an unknown shape or an impossible number.
    """
    if name not in SHAPES:
        raise TraceError(f"unknown shape {name!r}; there are {', '.join(SHAPES)}")
    if samples < 1 or not 0 < scale <= 1:
        raise TraceError(f"samples must be at least 1 and scale in (0, 1], not {samples} and {scale}")
    shape = SHAPES[name]
    exponent = shape.exponent if exponent is None else exponent
    correlation = shape.correlation if correlation is None else correlation
    if not 0 <= correlation < 1 or exponent <= 0 or exponent == 1:
        raise TraceError(f"correlation must be in [0, 1) and exponent positive and not 1: {correlation}, {exponent}")
    random = np.random.default_rng(seed)
    sizes = np.array(
        [max(round(r * scale), 10_000) if r > 10_000 and shape.scaled else r for r in shape.rows], np.int64
    )
    table_of = np.repeat(np.arange(len(sizes)), shape.hot)
    rows = _rows(shape, sizes, table_of, samples, exponent, correlation, random)
    for table in shape.padded:
        columns = np.flatnonzero(table_of == table)
        lengths = random.integers(0, len(columns) + 1, samples)
        block = rows[:, columns]
        block[np.arange(len(columns)) >= lengths[:, None]] = NO_ACCESS
        rows[:, columns] = block
    dense = np.log1p(random.exponential(2.0, (samples, shape.dense))).astype(np.float32)
    labels = _labels(rows, table_of, dense, random)
    payload = np.ascontiguousarray(np.concatenate([labels[:, None], dense], axis=1)).view(np.uint32)
    return Trace(f"synthetic:{name}", rows, table_of, sizes, payload,
                 {"scale": scale, "seed": seed, "exponent": exponent, "correlation": correlation})  # fmt: skip


def _rows(shape: Shape, sizes, table_of, samples: int, exponent: float, correlation: float, random) -> np.ndarray:
    if shape.pattern == "ratings":
        return _ratings(sizes, samples, random)
    rows = np.empty((samples, len(table_of)), np.uint32)
    z = random.standard_normal(samples)
    for access, table in enumerate(table_of):
        size = int(sizes[table])
        if shape.pattern == "single-key":
            rows[:, access] = size // 2
            continue
        if shape.pattern == "all-distinct":
            if samples > size:
                raise TraceError(f"all-distinct: tables of {size} rows give at most {size} samples")
            rows[:, access] = scramble(np.arange(samples), size, int(access))
            continue
        noise = random.standard_normal(samples)
        quantile = normal_cdf(np.sqrt(correlation) * z + np.sqrt(1 - correlation) * noise)
        if shape.pattern == "uniform":
            rows[:, access] = np.minimum(random.random(samples) * size, size - 1)
            continue
        own_exponent = exponent + shape.spread * ((access * 7 % 26) / 13 - 1)
        if abs(own_exponent - 1) < 0.01:
            own_exponent = 1.01
        ranks = zipf_rank(quantile, size, own_exponent)
        if shape.pattern == "drift":
            ranks = _drift(ranks, size, random)
        rows[:, access] = scramble(ranks, size, int(table))
    return rows


def _drift(ranks: np.ndarray, size: int, random) -> np.ndarray:
    """Ranks in a popularity order that changes in steps, a tenth of the trace each: some rows change places."""
    order = np.arange(size)
    moved = np.empty_like(ranks)
    for part in np.array_split(np.arange(len(ranks)), 10):
        moved[part] = order[ranks[part]]
        chosen = np.flatnonzero(random.random(size) < DRIFT)
        order[chosen] = order[random.permutation(chosen)]
    return moved


def _ratings(sizes: np.ndarray, samples: int, random) -> np.ndarray:
    """A user rates a film; all other columns are properties of either. Both are chosen by log-normal activities."""
    users, films = int(sizes[0]), int(sizes[1])
    user_weight, film_weight = np.exp(random.normal(0, 1.0, users)), np.exp(random.normal(0, 1.7, films))
    user = random.choice(users, samples, p=user_weight / user_weight.sum())
    film = random.choice(films, samples, p=film_weight / film_weight.sum())
    of_user = [
        np.abs(random.normal(25, 12, users)).astype(int), (random.random(users) < 0.29).astype(int),
        random.exponential(5, users).astype(int), random.integers(0, sizes[5], users),
    ]  # fmt: skip
    of_film = [random.exponential(8, films).astype(int), random.exponential(30, films).astype(int)]
    columns = [user, film, *(p[user] for p in of_user), *(p[film] for p in of_film)]
    return np.minimum(np.stack(columns, axis=1), sizes - 1).astype(np.uint32)


def _labels(rows, table_of, dense, random) -> np.ndarray:
    keys = (table_of.astype(np.uint64)[None, :] << np.uint64(40)) | rows.astype(np.uint64)
    weights = (mix64(keys) >> np.uint64(40)).astype(np.float64) / 2.0**24 - 0.5
    present = rows != NO_ACCESS
    logit = (weights * present).sum(axis=1) * (4 / np.sqrt(rows.shape[1]))
    logit += dense @ np.where(np.arange(dense.shape[1]) % 2 == 0, 0.6, -0.6) - 1.0
    return (random.random(len(rows)) < 1 / (1 + np.exp(-logit))).astype(np.float32)
