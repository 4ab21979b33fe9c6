"""Which sets a SWAP visits: those that the banks have marked, partition by partition, from where the last SWAP was cut short.

Words of marks are asked for one a cycle, as many as there is room for. All sets of a partition lie in one bank, and only when
all that was asked of that has been answered is the next partition's turn: so no two banks ever answer at once. A set a cycle;
about 20 cycles, and one for each word of marks, for a partition.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...lib.credit_fifo import CreditFifo
from ...lib.logic import first_set, one_hot_mux

#: Cycles until a word of marks comes that was asked for.
WORD_CYCLES = 16


def visited_set_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A set to visit; or the ``end``: there are no more."""
    return data.StructLayout({"set": config.set_bits, "end": 1})


class MarkScanner(wiring.Component):
    """Members
    -------
    i : In(stream of set numbers)
        Where to begin.
    o : Out(stream of visited_set_layout)
    drained : In(1)
        Nothing that was asked of a bank because of ``o`` is unanswered; no set of ``o`` waits to be asked for.
    asks : Out(stream of set numbers), r_marks, marks : In
        MARKS of the tracker, see PortSignature.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(config.set_bits)), "o": Out(stream.Signature(visited_set_layout(config))),
            "drained": In(1), "asks": Out(stream.Signature(config.set_bits)), "r_marks": In(1), "marks": In(config.mark_bits),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        p_bits, bit_bits = config.partition_bits, config.mark_bits.bit_length() - 1
        bank_bits = config.bank_bits
        word_bits = config.set_bits - p_bits - bit_bits  # of a word's number in its partition
        place = data.StructLayout({"partition": p_bits, "bit": bit_bits, "word": word_bits})
        begin = Signal(place, reset_less=True)
        partition = Signal(p_bits)
        word, answered = Signal(word_bits), Signal(word_bits)  # the next to be asked for; to come
        last_word, last_pass = Signal(word_bits), Signal()
        is_first = Signal()  # the next answer is that of the first word: what lies before the beginning comes late
        late = Signal(config.mark_bits)
        found = data.StructLayout({"word": word_bits, "marks": config.mark_bits})
        m.submodules.words = words = CreditFifo(found, WORD_CYCLES)

        # The answer.
        before = (1 << begin.bit) - 1
        marks = Mux(is_first, self.marks & ~before, self.marks)
        m.d.comb += [
            words.i.valid.eq(self.r_marks),
            words.i.p.word.eq(answered),
            words.i.p.marks.eq(marks),
        ]
        with m.If(self.r_marks):
            m.d.sync += [answered.eq(answered + 1), is_first.eq(0)]
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
        takes = idle & words.o.valid
        m.d.comb += words.o.ready.eq(idle)
        asked = self.asks.valid & self.asks.ready
        m.d.comb += words.spend.eq(asked)
        with m.If(takes):
            m.d.sync += [here.partition.eq(partition), here.word.eq(words.o.p.word), left.eq(words.o.p.marks)]

        in_bank = Cat(word, partition[bank_bits:])
        m.d.comb += self.asks.p.eq(Cat(partition[:bank_bits], in_bank))
        drained = ~words.busy & idle & self.drained
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [begin.eq(self.i.p), is_first.eq(1), last_pass.eq(0), last_word.eq(~0)]
                with m.If(self.i.valid):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [partition.eq(begin.partition), word.eq(begin.word), answered.eq(begin.word)]
                m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.asks.valid.eq(words.credit)
                with m.If(asked):
                    m.d.sync += word.eq(word + 1)
                    with m.If(word == last_word):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(drained):
                    following = (partition + 1)[:p_bits]
                    m.d.sync += [partition.eq(following), word.eq(0), answered.eq(0)]
                    m.next = "ASK"
                    # Back where it began: the words before the first, and what the first had before the beginning.
                    with m.If(following == begin.partition):
                        m.d.sync += [last_pass.eq(1), last_word.eq(begin.word - 1)]
                    with m.If(last_pass | ((following == begin.partition) & (begin.word == 0))):
                        m.d.sync += [here.eq(begin), left.eq(late)]
                        m.next = "LATE"
            with m.State("LATE"):
                with m.If(idle & self.drained):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += ends.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
