"""The keyed permutation of keys: a Feistel network, and its inverse.

A bijection on the key bits, so set index and tag together are the key. The golden twin is
``hotline_golden.keys``; the two files state the same arithmetic.
Each round is one multiplication by a 16-bit constant; a pipeline gives it one cycle.
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig

ROUNDS = 4
MULTIPLIER_BITS = 16
PRODUCT_SHIFT = 8


def splitmix64(state: int) -> int:
    """The SplitMix64 output function (Steele, Lea, Flood, OOPSLA 2014) of a 64-bit state."""
    mask = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def feistel_round(config: AcceleratorConfig, r: int, key: Value) -> Value:
    """Round ``r`` of the network on a key; each round is its own inverse."""
    left_bits = config.key_bits // 2
    right_bits = config.key_bits - left_bits
    bits = splitmix64((config.permutation_seed << 8) + r)
    multiplier = (bits & ((1 << MULTIPLIER_BITS) - 1)) | 1
    right, left = key[:right_bits], key[right_bits:]
    source, target_bits = (right, left_bits) if r % 2 == 0 else (left, right_bits)
    mixed = source ^ Const((bits >> 32) & ((1 << len(source)) - 1), len(source))
    product = (mixed * Const(multiplier, MULTIPLIER_BITS))[PRODUCT_SHIFT : PRODUCT_SHIFT + target_bits]
    return Cat(right, left ^ product) if r % 2 == 0 else Cat(right ^ product, left)


class Permutation(wiring.Component):
    """Permutes ``count`` keys side by side, or inverts the permutation.

    Latency ROUNDS cycles, throughput one payload per cycle; ``extra`` bits go along.

    Members
    -------
    i, o : streams of {"keys": count keys, "extra": extra}
    busy : Out(1)
        Something is inside.
    """

    def __init__(self, config: AcceleratorConfig, count: int = 1, extra: int = 0, inverse: bool = False):
        self.config = config
        self.count = count
        self.inverse = inverse
        layout = data.StructLayout({"keys": data.ArrayLayout(config.key_bits, count), "extra": extra})
        super().__init__({
            "i": In(stream.Signature(layout)),
            "o": Out(stream.Signature(layout)),
            "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        step = Signal()
        m.d.comb += [step.eq(~self.o.valid | self.o.ready), self.i.ready.eq(step)]
        rounds = range(ROUNDS - 1, -1, -1) if self.inverse else range(ROUNDS)
        valid, payload = self.i.valid, self.i.p
        in_flight = []
        for r in rounds:
            s_valid = Signal(name=f"s{r}_valid")
            s_payload = Signal(payload.shape(), name=f"s{r}_payload", reset_less=True)
            with m.If(step):
                m.d.sync += [s_valid.eq(valid), s_payload.extra.eq(payload.extra)]
                for n in range(self.count):
                    m.d.sync += s_payload.keys[n].eq(feistel_round(self.config, r, payload.keys[n]))
            valid, payload = s_valid, s_payload
            in_flight.append(s_valid)
        m.d.comb += [self.o.valid.eq(valid), self.o.p.eq(payload), self.busy.eq(Cat(in_flight).any())]
        return m
