"""Moves the marked words of a group together, and back to where they came from.

A network of log2(words) multiplexer levels ("compress", Warren, Hacker's Delight, 7-4): level ``b``
moves a word down by ``2**b`` if its distance, the number of unmarked words below it, has that bit.
No two words ever meet. The way back sets the same levels in the opposite order.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.utils import ceil_log2

from .words import count_ones


class Compaction:
    """The network for ``mask``, which has one bit for each word; ``count`` of them are set."""

    def __init__(self, m: Module, mask: Value, name: str = "compact"):
        words = len(mask)
        self.words = words
        self.count = Signal(range(words + 1), name=f"{name}_count")
        m.d.comb += self.count.eq(count_ones(mask))
        valid = [mask[i] for i in range(words)]
        distance: list[Value] = []
        below: Value = Value.cast(0)
        for i in range(words):
            here = Signal(range(words), name=f"{name}_distance_{i}")
            m.d.comb += here.eq(below)
            distance.append(here)
            below = here + ~mask[i]
        # For each level: does the word at this place move down?
        self.levels: list[tuple[int, list[Value]]] = []
        for b in range(ceil_log2(words)):
            step = 1 << b
            moves = []
            for i in range(words):
                move = Signal(name=f"{name}_move_{b}_{i}")
                m.d.comb += move.eq(valid[i] & distance[i][b] if i >= step else 0)
                moves.append(move)
            self.levels.append((step, moves))
            next_valid, next_distance = [], []
            for i in range(words):
                v = Signal(name=f"{name}_valid_{b}_{i}")
                d = Signal(range(words), name=f"{name}_distance_{b}_{i}")
                if i + step < words:
                    m.d.comb += [
                        v.eq(moves[i + step] | (valid[i] & ~moves[i])),
                        d.eq(Mux(moves[i + step], distance[i + step], distance[i])),
                    ]
                else:
                    m.d.comb += [v.eq(valid[i] & ~moves[i]), d.eq(distance[i])]
                next_valid.append(v)
                next_distance.append(d)
            valid, distance = next_valid, next_distance

    def pack(self, m: Module, values: list, name: str = "packed") -> list[Value]:
        """``values`` of marked words at places 0 to ``count`` - 1; the others mean nothing."""
        values = [Value.cast(value) for value in values]
        for b, (step, moves) in enumerate(self.levels):
            level = []
            for i in range(self.words):
                out = Signal(len(values[i]), name=f"{name}_{b}_{i}")
                m.d.comb += out.eq(
                    Mux(moves[i + step], values[i + step], values[i]) if i + step < self.words else values[i]
                )
                level.append(out)
            values = level
        return values

    def unpack(self, m: Module, values: list, name: str = "unpacked") -> list[Value]:
        """The opposite: the value at place ``k`` goes to the ``k``-th marked word."""
        values = [Value.cast(value) for value in values]
        for b, (step, moves) in reversed(list(enumerate(self.levels))):
            level = []
            for i in range(self.words):
                out = Signal(len(values[i]), name=f"{name}_{b}_{i}")
                m.d.comb += out.eq(Mux(moves[i], values[i - step], values[i]) if i >= step else values[i])
                level.append(out)
            values = level
        return values
