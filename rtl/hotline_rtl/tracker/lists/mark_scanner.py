"""Which sets a SWAP visits: those that the banks have marked, partition by partition, from where the last SWAP was cut short.

Words of marks are asked for one a cycle, as many as there is room for; their sets come one a cycle. So it takes a cycle for each
word, or each set, if those are more, and about 30.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...lib.credit_fifo import CreditFifo
from ...lib.logic import first_set, one_hot_mux

#: Cycles until a word of marks comes that was asked for.
WORD_CYCLES = 17


def visited_set_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A set to visit; or the ``end``: there are no more."""
    return data.StructLayout({"set": config.set_bits, "end": 1})


class MarkScanner(wiring.Component):
    """Members
    -------
    i : In(stream of set numbers)
        Where to begin.
    o : Out(stream of visited_set_layout)
    asks : Out(stream of set numbers), r_marks, marks : In
        MARKS of the tracker, see PortSignature.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(config.set_bits)), "o": Out(stream.Signature(visited_set_layout(config))),
            "asks": Out(stream.Signature(config.set_bits)), "r_marks": In(1), "marks": In(config.mark_bits),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        p_bits, bit_bits = config.partition_bits, config.mark_bits.bit_length() - 1
        word_bits = config.set_bits - p_bits - bit_bits  # of a word's number in its partition
        place = data.StructLayout({"partition": p_bits, "bit": bit_bits, "word": word_bits})  # of a set
        turn = data.StructLayout({"word": word_bits, "partition": p_bits})  # of a word, in the order they come
        begin = Signal(place, reset_less=True)
        asking, answered = Signal(turn), Signal(turn)  # the word to be asked for next; the one to come
        left_to_ask = Signal(range((1 << word_bits + p_bits) + 1))
        is_first = Signal()  # the next answer is that of the first word: what lies before the beginning comes late
        late = Signal(config.mark_bits)
        found = data.StructLayout({"turn": turn, "marks": config.mark_bits})
        m.submodules.words = words = CreditFifo(found, WORD_CYCLES)

        # The answer.
        before = (1 << begin.bit) - 1
        m.d.comb += [
            words.i.valid.eq(self.r_marks),
            words.i.p.turn.eq(answered),
            words.i.p.marks.eq(Mux(is_first, self.marks & ~before, self.marks)),
        ]
        with m.If(self.r_marks):
            m.d.sync += [answered.as_value().eq(answered.as_value() + 1), is_first.eq(0)]
            with m.If(is_first):
                m.d.sync += late.eq(self.marks & before)

        # Sets of a word, one a cycle: first the mark, then its number.
        here, left = Signal(place, reset_less=True), Signal(config.mark_bits)
        lowest = first_set(left)
        chosen, chosen_valid = Signal(config.mark_bits, reset_less=True), Signal()
        ends = Signal()
        number = one_hot_mux(chosen, [Const(n, bit_bits) for n in range(config.mark_bits)])
        step = ~chosen_valid | self.o.ready
        m.d.comb += [
            self.o.valid.eq(chosen_valid | ends),
            self.o.p.set.eq(Cat(here.partition, number, here.word)),
            self.o.p.end.eq(~chosen_valid),
        ]
        with m.If(step):
            m.d.sync += [chosen_valid.eq(left.any()), chosen.eq(lowest), left.eq(left & ~lowest)]
        idle = (left == 0) & ~chosen_valid
        m.d.comb += words.o.ready.eq(idle)
        with m.If(idle & words.o.valid):
            came = words.o.p
            m.d.sync += [here.partition.eq(came.turn.partition), here.word.eq(came.turn.word), left.eq(came.marks)]

        in_bank = Cat(asking.word, asking.partition[config.bank_bits :])
        m.d.comb += [
            self.asks.valid.eq((left_to_ask != 0) & words.credit),
            self.asks.p.eq(Cat(asking.partition[: config.bank_bits], in_bank)),
            words.spend.eq(self.asks.valid & self.asks.ready),
        ]
        with m.If(words.spend):
            m.d.sync += [asking.as_value().eq(asking.as_value() + 1), left_to_ask.eq(left_to_ask - 1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [begin.eq(self.i.p), is_first.eq(1)]
                with m.If(self.i.valid):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                for words_turn in (asking, answered):
                    m.d.sync += [words_turn.partition.eq(begin.partition), words_turn.word.eq(begin.word)]
                m.d.sync += left_to_ask.eq(1 << word_bits + p_bits)
                m.next = "ASK"
            with m.State("ASK"):
                with m.If((left_to_ask == 0) & ~words.busy & idle):
                    m.d.sync += [here.eq(begin), left.eq(late)]
                    m.next = "LATE"
            with m.State("LATE"):
                with m.If(idle):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += ends.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
