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

from .shapes import SHAPES
from .trace import Samples, Trace, TraceError

NO_ACCESS = np.uint32(0xFFFF_FFFF)
PATTERNS = ("zipf", "uniform", "single-key", "all-distinct", "drift", "ratings")
#: Of the rows of every popularity, this part changes places in each of the STEPS of a drifting trace, unless told otherwise.
DRIFT, STEPS = 0.1, 10
#: Samples that are made at once.
BLOCK = 1 << 17
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


class SyntheticTrace(Trace):
    """A trace of the shape ``kind``. ``scale`` multiplies table sizes above 10 000 rows. Samples are made BLOCK at a time, each
    block by a generator of its own; the last one is held.

    Raises TraceError for an unknown shape or an impossible number.
    """

    def __init__(
        self,
        kind: str = "criteo-kaggle",
        *,
        samples: int = DEFAULT_SAMPLES,
        scale: float = DEFAULT_SCALE,
        seed: int = 1,
        exponent: float | None = None,
        correlation: float | None = None,
        drift: float = DRIFT,
    ):
        if kind not in SHAPES:
            raise TraceError(f"unknown shape {kind!r}; there are {', '.join(SHAPES)}")
        if samples < 1 or not 0 < scale <= 1:
            raise TraceError(f"samples must be at least 1 and scale in (0, 1], not {samples} and {scale}")
        if seed < 0:
            raise TraceError(f"seed={seed}: 0 or more is right")
        self.shape = shape = SHAPES[kind]
        self.seed = seed
        self.exponent = shape.exponent if exponent is None else exponent
        self.correlation = shape.correlation if correlation is None else correlation
        if not 0 <= self.correlation < 1 or self.exponent <= 0 or self.exponent == 1:
            raise TraceError(
                f"correlation must be in [0, 1) and exponent positive and not 1: {self.correlation}, {self.exponent}"
            )
        if not 0 <= drift <= 1:
            raise TraceError(f"drift={drift}: a part of the rows, 0 to 1, is right")
        self.drift = drift
        sizes = np.array(
            [max(round(r * scale), 10_000) if r > 10_000 and shape.scaled else r for r in shape.rows], np.int64
        )
        if shape.pattern == "all-distinct" and samples > sizes.min():
            raise TraceError(f"all-distinct: tables of {sizes.min()} rows give at most {sizes.min()} samples")
        super().__init__(
            f"synthetic:{kind}", samples, np.repeat(np.arange(len(sizes)), shape.hot), sizes, 1 + shape.dense
        )
        self.held: tuple[int, Samples] | None = None
        self.orders: dict[int, list[np.ndarray]] = {}
        self.people: People | None = None

    def _read(self, first: int, last: int) -> Samples:
        blocks = []
        for number in range(first // BLOCK, -(-last // BLOCK)):
            if self.held is None or self.held[0] != number:
                self.held = (number, self._block(number))
            start = number * BLOCK
            blocks.append(Samples(*(a[max(0, first - start) : last - start] for a in self.held[1])))
        if len(blocks) == 1:
            return blocks[0]
        if not blocks:
            return Samples(np.zeros((0, self.accesses), np.uint32), np.zeros((0, self.payload_words), np.uint32))
        return Samples(np.concatenate([b.rows for b in blocks]), np.concatenate([b.payload for b in blocks]))

    def _block(self, number: int) -> Samples:
        """Samples ``number`` * BLOCK on."""
        shape = self.shape
        random = np.random.default_rng([self.seed, number] if number else self.seed)
        first = number * BLOCK
        count = min(BLOCK, self.samples - first)
        rows = self._ratings(first, count, random) if shape.pattern == "ratings" else self._rows(first, count, random)
        for table in shape.padded:
            columns = np.flatnonzero(self.table_of == table)
            lengths = random.integers(0, len(columns) + 1, count)
            block = rows[:, columns]
            block[np.arange(len(columns)) >= lengths[:, None]] = NO_ACCESS
            rows[:, columns] = block
        dense = np.log1p(random.exponential(2.0, (count, shape.dense))).astype(np.float32)
        labels = _labels(rows, self.table_of, dense, random)
        payload = np.ascontiguousarray(np.concatenate([labels[:, None], dense], axis=1)).view(np.uint32)
        return Samples(rows, payload)

    def _rows(self, first: int, count: int, random: np.random.Generator) -> np.ndarray:
        shape = self.shape
        rows = np.empty((count, self.accesses), np.uint32)
        z = random.standard_normal(count)
        for access, table in enumerate(self.table_of):
            size = int(self.table_rows[table])
            if shape.pattern == "single-key":
                rows[:, access] = size // 2
                continue
            if shape.pattern == "all-distinct":
                rows[:, access] = scramble(np.arange(first, first + count), size, int(access))
                continue
            noise = random.standard_normal(count)
            quantile = normal_cdf(np.sqrt(self.correlation) * z + np.sqrt(1 - self.correlation) * noise)
            if shape.pattern == "uniform":
                rows[:, access] = np.minimum(random.random(count) * size, size - 1)
                continue
            own_exponent = self.exponent + shape.spread * ((access * 7 % 26) / 13 - 1)
            if abs(own_exponent - 1) < 0.01:
                own_exponent = 1.01
            ranks = zipf_rank(quantile, size, own_exponent)
            if shape.pattern == "drift":
                ranks = self._drift(access, first, ranks, size, random)
            rows[:, access] = scramble(ranks, size, int(table))
        return rows

    def _drift(
        self, access: int, first: int, ranks: np.ndarray, size: int, random: np.random.Generator
    ) -> np.ndarray:
        """Ranks in an order of popularity that changes in steps, a tenth of the trace each: some rows change places."""
        if self.samples <= BLOCK:
            orders = popularity_orders(size, self.drift, random)
        elif access not in self.orders:  # the same for all blocks
            orders = self.orders[access] = popularity_orders(
                size, self.drift, np.random.default_rng([self.seed, 0, access])
            )
        else:
            orders = self.orders[access]
        bounds = np.cumsum([len(part) for part in np.array_split(np.empty(self.samples, np.uint8), STEPS)])
        step = np.searchsorted(bounds, first + np.arange(len(ranks)), side="right")
        moved = np.empty_like(ranks)
        for number in np.unique(step).tolist():
            mine = step == number
            moved[mine] = orders[number][ranks[mine]]
        return moved

    def _ratings(self, first: int, count: int, random: np.random.Generator) -> np.ndarray:
        """A user rates a film; all other columns are properties of either. Both are chosen by log-normal activities."""
        if first == 0:
            people = People(self.table_rows, count, random)
            user, film = people.chosen
        else:
            people = self.people = self.people or People(self.table_rows, BLOCK, np.random.default_rng(self.seed))
            user, film = people.choose(count, random)
        columns = [user, film, *(p[user] for p in people.of_user), *(p[film] for p in people.of_film)]
        return np.minimum(np.stack(columns, axis=1), self.table_rows - 1).astype(np.uint32)


def popularity_orders(size: int, drift: float, random: np.random.Generator) -> list[np.ndarray]:
    """int32 [size] for each step of a drifting trace: the row of each rank. ``drift``: the part that changes places in a step."""
    orders = [np.arange(size, dtype=np.int32)]
    for _ in range(STEPS):
        chosen = np.flatnonzero(random.random(size) < drift)
        order = orders[-1].copy()
        order[chosen] = order[random.permutation(chosen)]
        orders.append(order)
    return orders[:STEPS]


class People:
    """Users and films: how active they are, what they are like, and the first choices."""

    def __init__(self, sizes: np.ndarray, count: int, random: np.random.Generator):
        users, films = int(sizes[0]), int(sizes[1])
        self.weights = np.exp(random.normal(0, 1.0, users)), np.exp(random.normal(0, 1.7, films))
        self.chosen = self.choose(count, random)
        self.of_user = [
            np.abs(random.normal(25, 12, users)).astype(int),
            (random.random(users) < 0.29).astype(int),
            random.exponential(5, users).astype(int),
            random.integers(0, sizes[5], users),
        ]
        self.of_film = [random.exponential(8, films).astype(int), random.exponential(30, films).astype(int)]

    def choose(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A user and a film for each sample."""
        user, film = (random.choice(len(w), count, p=w / w.sum()) for w in self.weights)
        return user, film


def _labels(rows, table_of, dense, random) -> np.ndarray:
    keys = (table_of.astype(np.uint64)[None, :] << np.uint64(40)) | rows.astype(np.uint64)
    weights = (mix64(keys) >> np.uint64(40)).astype(np.float64) / 2.0**24 - 0.5
    present = rows != NO_ACCESS
    logit = (weights * present).sum(axis=1) * (4 / np.sqrt(rows.shape[1]))
    logit += dense @ np.where(np.arange(dense.shape[1]) % 2 == 0, 0.6, -0.6) - 1.0
    return (random.random(len(rows)) < 1 / (1 + np.exp(-logit))).astype(np.float32)
