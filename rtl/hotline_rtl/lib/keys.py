"""The keyed permutation of keys: a Feistel network, and its inverse.

A bijection on the key bits, so set index and tag together are the key. The golden twin is
``hotline_golden.keys``; the two files state the same arithmetic.
Each round is one multiplication by a 16-bit constant; a pipeline gives it two cycles, and never stalls (`credit_fifo`).
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from .credit_fifo import CreditFifo

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


def round_constants(config: AcceleratorConfig, r: int) -> tuple[int, int]:
    """What round ``r`` XORs its source half with, and the odd number that it multiplies the result by."""
    bits = splitmix64((config.permutation_seed << 8) + r)
    return bits >> 32, (bits & ((1 << MULTIPLIER_BITS) - 1)) | 1


def halves(config: AcceleratorConfig, r: int, key: Value) -> tuple[Value, Value]:
    """The half of ``key`` that round ``r`` reads, and the one that it changes: right and left by turns."""
    right_bits = config.key_bits - config.key_bits // 2
    right, left = key[:right_bits], key[right_bits:]
    return (right, left) if r % 2 == 0 else (left, right)


class Permutation(wiring.Component):
    """Permutes ``count`` keys side by side, or inverts the permutation.

    Latency 2 * ROUNDS + 3 cycles, throughput one payload per cycle; ``extra`` bits go along.

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
        m.submodules.out_fifo = out_fifo = CreditFifo(self.o.p.shape(), 2 * ROUNDS + 1)
        wiring.connect(m, out_fifo.o, wiring.flipped(self.o))
        takes = self.i.valid & out_fifo.credit
        m.d.comb += [self.i.ready.eq(out_fifo.credit), out_fifo.spend.eq(takes), self.busy.eq(out_fifo.busy)]

        valid, payload = Signal(), Signal(self.i.p.shape(), reset_less=True)
        m.d.sync += [valid.eq(takes), payload.eq(self.i.p)]
        for r in range(ROUNDS - 1, -1, -1) if self.inverse else range(ROUNDS):
            # First the product, then what it changes. A round is its own inverse.
            mask, factor = round_constants(self.config, r)
            p_valid, s_valid = Signal(name=f"s{r}_valid"), Signal(name=f"s{r}_done_valid")
            p_payload, s_payload = (
                Signal(payload.shape(), name=f"{name}_payload", reset_less=True) for name in (f"s{r}", f"s{r}_done")
            )
            m.d.sync += [
                p_valid.eq(valid),
                p_payload.eq(payload),
                s_valid.eq(p_valid),
                s_payload.extra.eq(p_payload.extra),
            ]
            for n in range(self.count):
                source, target = halves(self.config, r, payload.keys[n])
                product = Signal(len(target), name=f"s{r}_product_{n}", reset_less=True)
                mixed = source ^ Const(mask & ((1 << len(source)) - 1), len(source))
                m.d.sync += product.eq((mixed * Const(factor, MULTIPLIER_BITS))[PRODUCT_SHIFT:])
                source, target = halves(self.config, r, p_payload.keys[n])
                changed = target ^ product
                m.d.sync += s_payload.keys[n].eq(Cat(source, changed) if r % 2 == 0 else Cat(changed, source))
            valid, payload = s_valid, s_payload
        m.d.comb += [out_fifo.i.valid.eq(valid), out_fifo.i.p.eq(payload)]
        return m
