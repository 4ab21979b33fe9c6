"""Small helpers for the logic inside blocks, most of them combinational, and on values made of words."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, ResetSignal, Signal, Value

#: The Verilog module behind `never`.
CHECK = "hotline_check"


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


def exceeds(value: Value, bits: int) -> Value:
    """Whether ``value`` is more than 2**``bits``."""
    return value[bits + 1 :].any() | (value[bits : bits + 1].any() & value[:bits].any())


def is_one_of(value: Value, *options) -> Value:
    """Whether ``value`` is equal to any of ``options``."""
    return Cat(value == option for option in options).any()


def equal(m: Module, a: Value, b: Value, part: int = 8) -> Value:
    """Whether ``a`` was equal to ``b`` in the cycle before: compared in parts of ``part`` bits, a register for each."""
    parts = [delayed(m, a[n : n + part] == b[n : n + part], reset_less=True) for n in range(0, len(a), part)]
    return Cat(parts).all()


#: From the factors to their product.
PRODUCT_CYCLES = 2


def product(m: Module, a: Value, b: Value, part: int = 18) -> Signal:
    """``a * b``, PRODUCT_CYCLES later: ``a`` is multiplied in parts of ``part`` bits, which one multiplier takes."""
    total = Signal(len(a) + len(b), name="product", reset_less=True)
    partial = []
    for n in range(0, len(a), part):
        some = Signal(len(a[n : n + part]) + len(b), name=f"product_{n}", reset_less=True)
        m.d.sync += some.eq(a[n : n + part] * b)
        partial.append(some << n)
    m.d.sync += total.eq(sum(partial[1:], partial[0]))
    return total


def count_ones(bits) -> Value:
    """How many of ``bits`` (an iterable of one-bit values) are set: a tree of adders."""
    level = [Value.cast(bit) for bit in bits]
    while len(level) > 1:
        level = [level[n] + level[n + 1] for n in range(0, len(level) - 1, 2)] + level[len(level) & ~1 :]
    return level[0] if level else Value.cast(0)


def ranks(mask: Value) -> list[Value]:
    """For each bit of ``mask``: how many bits below it are set. Counts of halves are shared."""
    if len(mask) == 1:
        return [Const(0, 1)]
    half = len(mask) // 2
    low = count_ones(mask[:half])
    return ranks(mask[:half]) + [low + rank for rank in ranks(mask[half:])]


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


def pick(values, index: Value) -> Value:
    """``values[index]``, as a tree of two-way multiplexers; anything beyond the last value."""
    level = [Value.cast(value) for value in values]
    for bit in range(max(0, (len(level) - 1).bit_length())):
        pairs = [level[n : n + 2] for n in range(0, len(level), 2)]
        level = [Mux(index[bit], pair[1], pair[0]) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def rotate(values, amount: Value) -> list[Value]:
    """``values`` (a power of two of them) turned: place ``n`` gets value ``n + amount``, counted round. A level of two-way
    multiplexers for each bit of ``amount``."""
    turned = [Value.cast(value) for value in values]
    count = len(turned)
    for bit in reversed(range((count - 1).bit_length())):
        turned = [Mux(amount[bit], turned[(n + (1 << bit)) % count], turned[n]) for n in range(count)]
    return turned


def without_reset(m: Module, output) -> Signal:
    """The register behind ``output``, a member of an interface. It keeps its value over a reset, so it may count only while
    something else, which is reset, says so. Nearly all flip-flops of a pipeline are such; a reset need not reach them."""
    register = Signal.like(output, name=f"{Value.cast(output).name}_register", reset_less=True)
    m.d.comb += output.eq(register)
    return register


def delayed(m: Module, signal, reset_less: bool = False) -> Signal:
    """``signal`` as it was in the cycle before: a register, without a reset if ``reset_less``, or if ``signal`` is such a one."""
    value = Value.cast(signal)
    after = Signal.like(
        signal,
        name=f"{value.name}_delayed" if isinstance(value, Signal) else "delayed",
        reset_less=reset_less or getattr(value, "reset_less", False),
    )
    m.d.sync += after.eq(signal)
    return after


def least_of(m: Module, values: list[Value], stages: int) -> tuple[Value, Value]:
    """The smallest of ``values``, and its number (the lowest of several), ``stages`` cycles later: a tree of comparators
    with registers between its levels."""
    level = [(Value.cast(value), Const(n, max(1, (len(values) - 1).bit_length()))) for n, value in enumerate(values)]
    levels = (len(values) - 1).bit_length()
    for stage in range(stages):
        for _ in range(-(-levels * (stage + 1) // stages) + -levels * stage // stages):
            following = []
            for (a, a_number), (b, b_number) in zip(level[::2], level[1::2], strict=False):
                smaller = Signal(name="smaller")
                m.d.comb += smaller.eq(b < a)
                following.append((Mux(smaller, b, a), Mux(smaller, b_number, a_number)))
            level = following + level[len(level) & ~1 :]
        registered = []
        for value, number in level:
            after = Signal.like(value, name="least", reset_less=True)
            after_number = Signal.like(number, name="least_number", reset_less=True)
            m.d.sync += [after.eq(value), after_number.eq(number)]
            registered.append((after, after_number))
        level = registered
    return level[0]


def never(m: Module, name: str, fault) -> None:
    """States that ``fault`` (1 bit) is low at every edge of ``sync`` outside reset.

    It is an instance of ``hotline_check.v``, named ``name``. A simulation that defines ``HOTLINE_CHECKS`` stops when ``fault``
    is high; the co-simulation and the cocotb benches define it. In synthesis nothing of it is left.
    """
    m.submodules[name] = Instance(CHECK, i_clk=ClockSignal(), i_rst=ResetSignal(), i_fault=fault)
