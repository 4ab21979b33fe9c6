"""Small combinational helpers, most of them on values made of words."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value


def word_mask(m: Module, count: Value, words: int, bits: int = 32) -> Signal:
    """``words`` words of ``bits`` bits: the first ``count`` all ones, the others 0."""
    mask = Signal(bits * words, name="word_mask")
    for i in range(words):
        m.d.comb += mask[bits * i : bits * i + bits].eq((count > i).replicate(bits))
    return mask


def shift_words(m: Module, value: Value, amount: Value, words: int, bits: int = 32, *, left: bool) -> Signal:
    """``value`` shifted by ``amount`` words, cut to ``words`` words: one multiplexer level per bit."""
    for bit in range(len(amount)):
        distance = bits << bit
        moved = value.shift_left(distance) if left else value.shift_right(distance)
        stage = Signal(bits * words, name=f"shift_{bit}")
        m.d.comb += stage.eq(Mux(amount[bit], moved, value))
        value = stage
    return value


def first_set(mask: Value) -> Value:
    """One-hot: the lowest bit of ``mask`` that is set."""
    return (mask & (~mask + 1))[: len(mask)]


def is_one_of(value: Value, *options) -> Value:
    """Whether ``value`` is equal to any of ``options``."""
    return Cat(value == option for option in options).any()


def count_ones(bits) -> Value:
    """How many of ``bits`` (an iterable of one-bit values) are set."""
    total = 0
    for bit in bits:
        total = total + bit
    return Value.cast(total)


def one_hot_mux(select, values) -> Value:
    """The OR of those ``values`` whose ``select`` bit is set; 0 when none is."""
    result = 0
    for bit, value in zip(select, values, strict=True):
        result = result | Mux(bit, value, 0)
    return Value.cast(result)


def extreme(m: Module, values: list[Value], *, largest: bool) -> Value:
    """The largest or the smallest of ``values`` (all of one width), by a tree of comparators."""
    level = list(values)
    while len(level) > 1:
        following = []
        for a, b in zip(level[::2], level[1::2], strict=False):
            pick = Signal(len(a), name="largest" if largest else "smallest")
            m.d.comb += pick.eq(Mux((a > b) if largest else (a < b), a, b))
            following.append(pick)
        level = following + level[len(level) & ~1 :]
    return level[0]
