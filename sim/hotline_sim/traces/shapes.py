"""Table sizes and access patterns of well-known data sets, for the generator."""

from dataclasses import dataclass

#: Distinct values of the 26 categorical columns of the Criteo Kaggle (Display Advertising) data, as
#: published with DLRM (Naumov et al., arXiv 1906.00091).
CRITEO_KAGGLE_ROWS = [
    1460,
    583,
    10131227,
    2202608,
    305,
    24,
    12517,
    633,
    3,
    93145,
    5683,
    8351593,
    3194,
    27,
    14992,
    5461306,
    10,
    5652,
    2173,
    4,
    7046547,
    18,
    15,
    286181,
    105,
    142572,
]

#: Criteo Terabyte with indices capped at 10 million, as in MLPerf DLRM v1.
CRITEO_TERABYTE_ROWS = [
    9980333,
    36084,
    17217,
    7378,
    20134,
    3,
    7112,
    1442,
    61,
    9758201,
    1333352,
    313829,
    10,
    2208,
    11156,
    122,
    4,
    970,
    14,
    9994222,
    7267859,
    9946608,
    415421,
    12420,
    101,
    36,
]

#: MLPerf DLRM v2 (DCNv2): table sizes, capped at 40 million, and accesses per table.
MLPERF_V2_ROWS = [
    40000000,
    39060,
    17295,
    7424,
    20265,
    3,
    7122,
    1543,
    63,
    40000000,
    3067956,
    405282,
    10,
    2209,
    11938,
    155,
    4,
    976,
    14,
    40000000,
    40000000,
    40000000,
    590152,
    12973,
    108,
    36,
]
MLPERF_V2_HOT = [3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1]

#: Avazu: hour, C1, banner position, site and app ids, device id, ip, model, type, C14 to C21 (rounded).
AVAZU_ROWS = [
    240,
    7,
    7,
    4737,
    7745,
    26,
    8552,
    559,
    36,
    2686408,
    6729486,
    8251,
    5,
    4,
    2626,
    8,
    9,
    435,
    4,
    68,
    172,
    60,
]

#: Taobao-like: user, item and category, and a history of items and categories per user.
TAOBAO_ROWS = [987994, 4162024, 9439]
TAOBAO_HISTORY = 20
#: Like a data set of film ratings (MovieLens 100K has these numbers): user and film, then age, gender, occupation
#: and post code of the user, year and genres of the film.
RATINGS_ROWS = [943, 1682, 61, 2, 21, 795, 72, 216]


@dataclass(frozen=True)
class Shape:
    """``rows`` of each table, ``hot``: accesses of each, ``dense`` features.

    ``exponent`` of the Zipf laws, which differ by up to ``spread`` from column to column;
    ``correlation`` of the accesses of one sample (see ``synthetic``); ``padded`` tables have
    histories of random length. Tables of shapes that are not ``scaled`` keep their size at any scale. The
    defaults give the skew of the first rows of Criteo Kaggle.
    """

    rows: list[int]
    hot: list[int]
    dense: int
    exponent: float = 1.25
    spread: float = 0.3
    correlation: float = 0.3
    pattern: str = "zipf"
    padded: tuple[int, ...] = ()
    scaled: bool = True


SHAPES = {
    "criteo-kaggle": Shape(CRITEO_KAGGLE_ROWS, [1] * 26, 13),
    "criteo-terabyte": Shape(CRITEO_TERABYTE_ROWS, [1] * 26, 13),
    "avazu": Shape(AVAZU_ROWS, [1] * 22, 1),
    "taobao": Shape(
        [*TAOBAO_ROWS, TAOBAO_ROWS[1], TAOBAO_ROWS[2]],
        [1, 1, 1, TAOBAO_HISTORY, TAOBAO_HISTORY],
        1,
        padded=(3, 4),
    ),
    "mlperf-v2": Shape(MLPERF_V2_ROWS, MLPERF_V2_HOT, 13),
    "uniform": Shape([100_000] * 8, [1] * 8, 2, pattern="uniform"),
    "single-key": Shape([1000] * 4, [1] * 4, 2, pattern="single-key"),
    "all-distinct": Shape([1 << 22] * 8, [1] * 8, 2, pattern="all-distinct"),
    "drift": Shape([200_000] * 8, [1] * 8, 2, pattern="drift"),
    "ratings": Shape(RATINGS_ROWS, [1] * 8, 1, pattern="ratings", scaled=False),
    "independent": Shape([30_000] * 26, [1] * 26, 2, exponent=1.2, spread=0.0, correlation=0.0, scaled=False),
}
