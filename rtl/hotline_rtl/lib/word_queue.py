"""Regroups words: groups of any number of words in, any other grouping out.

Words lie in columns, small memories that are written and read round and round; so any words of a group can be
written, or read, in one cycle. Going in and coming out, each column and each output word choose what they take:

    group ─► which word, for each column ─► columns (16 rows) ─► which column, for each output word ─► group

A group in and a group out per cycle; a word can be taken 2 cycles after it came (3, if groups are masked), and is at
the output 4 cycles after it was taken. Nothing inside waits for the output (`credit_fifo`).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .credit_fifo import CreditFifo
from .logic import delayed, one_hot_mux, pick, rotate
from .ram import Ram

#: Words of a column.
ROWS = 16


def group_layout(words: int, word_bits: int = 32) -> data.StructLayout:
    """``count`` of ``words`` words, from word ``offset`` on; the others mean nothing."""
    return data.StructLayout({
        "data": word_bits * words, "offset": range(max(2, words)), "count": range(words + 1),
    })  # fmt: skip


def ended_layout(words: int, word_bits: int = 32) -> data.StructLayout:
    """Words of a buffer, ``group``; ``end``: they are its last ones. The last group may have none."""
    return data.StructLayout({"group": group_layout(words, word_bits), "end": 1})


def masked_layout(words: int, word_bits: int = 32) -> data.StructLayout:
    """Those ``count`` of ``words`` words that ``mask`` marks; ``ranks``: how many marked ones lie below each."""
    return data.StructLayout({
        "data": word_bits * words, "mask": words, "ranks": data.ArrayLayout(range(max(2, words)), words),
        "count": range(words + 1),
    })  # fmt: skip


def take_layout(words: int, extra: int = 0) -> data.StructLayout:
    """Asks for the next ``count`` words (at least 1), placed from word ``offset`` of a group on; ``extra`` goes along. It is
    taken when there are so many."""
    return data.StructLayout({"offset": range(max(2, words)), "count": range(words + 1), **_extra(extra)})


def masked_take_layout(words: int, extra: int = 0) -> data.StructLayout:
    """Asks for the next ``count`` words (at least 1): word ``n`` of the group is the one after ``ranks[n]`` others."""
    return data.StructLayout({
        "ranks": data.ArrayLayout(range(max(2, words)), words), "count": range(words + 1), **_extra(extra),
    })  # fmt: skip


def taken_layout(words: int, word_bits: int, extra: int) -> data.StructLayout:
    """The words that were asked for, in their places; the others mean nothing."""
    return data.StructLayout({"data": word_bits * words, **_extra(extra)})


def _extra(bits: int) -> dict:
    """A field of no bits is none."""
    return {"extra": bits} if bits else {}


class WordQueue(wiring.Component):
    """A queue of words of ``word_bits`` bits; groups of up to ``in_words`` enter, of ``out_words`` leave.

    ``masked_in``, ``masked_out``: groups are not contiguous words but those that a mask marks. ``whole_in``: all groups
    but the last before ``clear`` are full and have offset 0; ``whole_out``: the same of takes. Either saves its choice.
    ``depth``: of the FIFO at the output, if it shall be deeper than throughput needs.

    Members
    -------
    i : In(stream of group_layout, or masked_layout)
        Words to append.
    take : In(stream of take_layout, or masked_take_layout)
        What the next output group must hold. It is taken when so many words are there: a cycle late, if they are fewer than
        two groups. With ``counted`` whoever asks sees to it that ``count`` is never more than ``level``.
    o : Out(stream of taken_layout)
    level : Out
        Words that can be taken.
    coming : Out(1)
        Words are on their way into the level.
    arrived : Out(1), out_level : Out
        A group has just been formed; those that have been, and wait at the output.
    leaving : Out(1)
        A group has been asked for, and not been taken from the output.
    forming : Out(1)
        Words are inside that have not come to the output.
    busy : Out(1)
        Something is inside, or at the output.
    clear : In(1)
        Forgets all words that have not been taken.
    drop : In(1)
        With ``clear``: forgets those on their way to the output, and there, too.
    """

    def __init__(
        self,
        in_words: int,
        out_words: int,
        word_bits: int = 32,
        *,
        extra: int = 0,
        masked_in: bool = False,
        masked_out: bool = False,
        whole_in: bool = False,
        whole_out: bool = False,
        counted: bool = False,
        depth: int = 0,
    ):
        self.in_words, self.out_words, self.word_bits, self.extra = in_words, out_words, word_bits, extra
        self.masked_in, self.masked_out, self.whole_in, self.whole_out = masked_in, masked_out, whole_in, whole_out
        self.counted = counted
        self.columns = max(2, in_words, out_words)
        self.capacity = self.columns * ROWS
        self.out_fifo = CreditFifo(taken_layout(out_words, word_bits, extra), 2, depth)
        super().__init__({
            "i": In(stream.Signature((masked_layout if masked_in else group_layout)(in_words, word_bits))),
            "take": In(stream.Signature((masked_take_layout if masked_out else take_layout)(out_words, extra))),
            "o": Out(stream.Signature(taken_layout(out_words, word_bits, extra))),
            "level": Out(range(self.capacity + 1)), "coming": Out(1), "arrived": Out(1),
            "out_level": Out(self.out_fifo.level.shape()), "leaving": Out(1), "forming": Out(1), "busy": Out(1),
            "clear": In(1), "drop": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        columns, bits = self.columns, self.word_bits
        column_bits = ceil_log2(columns)
        row_bits = ceil_log2(ROWS)
        pointer_bits = column_bits + row_bits + 1  # one more tells full from empty
        rams = []
        for c in range(columns):
            m.submodules[f"column_{c}"] = ram = Ram(bits, ROWS)
            rams.append(ram)

        # A group comes. Of each column: is it written, in which row, and how many words of the group go before its own?
        tail, head = Signal(pointer_bits), Signal(pointer_bits)
        in_count, out_count = self.i.p.count, self.take.p.count
        tail_column, tail_row = tail[:column_bits], tail[column_bits : column_bits + row_bits]
        inside, room = Signal(pointer_bits), Signal()  # words; both a cycle late
        enter = Signal()
        in_data = Signal(bits * self.in_words, reset_less=True)
        in_level = Signal(range(self.in_words + 1))  # words that go into the columns
        write = Signal(columns)
        rows = [Signal(row_bits, name=f"row_{c}", reset_less=True) for c in range(columns)]
        before = [Signal(column_bits, name=f"before_{c}", reset_less=True) for c in range(columns)]
        m.d.comb += [enter.eq(self.i.valid & room), self.i.ready.eq(room)]
        m.d.sync += [
            in_data.eq(self.i.p.data),
            in_level.eq(Mux(enter, in_count, 0)),
            inside.eq(tail - head),
            room.eq(inside <= self.capacity - 3 * self.in_words),
        ]
        for c in range(columns):
            words_before = Signal(column_bits, name=f"words_before_{c}")
            m.d.comb += words_before.eq(c - tail_column)
            m.d.sync += [
                before[c].eq(words_before),
                rows[c].eq(tail_row + (tail_column > c)),
                write[c].eq(enter & (words_before < in_count)),
            ]
        with m.If(enter):
            m.d.sync += tail.eq(tail + in_count)

        # Its words go to the columns: all turned alike, or each marked one to where it belongs.
        came = in_level != 0
        given = [in_data.word_select(j, bits) for j in range(self.in_words)]
        word_bits = ceil_log2(self.in_words)
        if self.masked_in:
            # Of the n-th marked word.
            places = [Signal(word_bits, name=f"place_{n}", reset_less=True) for n in range(self.in_words)]
            for n, place in enumerate(places):
                is_it = [self.i.p.mask[j] & (self.i.p.ranks[j] == n) for j in range(self.in_words)]
                m.d.sync += place.eq(one_hot_mux(is_it, [Const(j, word_bits) for j in range(self.in_words)]))
            chosen = [Signal(word_bits, name=f"chosen_{c}", reset_less=True) for c in range(columns)]
            m.d.sync += [chosen[c].eq(pick(places, before[c])) for c in range(columns)]
            in_data, in_level, write = (delayed(m, signal) for signal in (in_data, in_level, write))
            came |= in_level != 0
            rows = [delayed(m, row, reset_less=True) for row in rows]
            given = [in_data.word_select(j, bits) for j in range(self.in_words)]
            words = [pick(given, chosen[c]) for c in range(columns)]
        else:
            turn = Signal(max(1, word_bits), reset_less=True)
            m.d.sync += turn.eq(0 if self.whole_in else self.i.p.offset - tail)
            words = rotate(given, turn) * (columns // self.in_words)
        for ram, enable, row, word in zip(rams, write, rows, words, strict=True):
            m.d.comb += [ram.w_en.eq(enable), ram.w_addr.eq(row), ram.w_data.eq(word)]

        # A group is taken: the columns are read.
        m.submodules.out_fifo = out_fifo = self.out_fifo
        wiring.connect(m, out_fifo.o, wiring.flipped(self.o))
        new_head = Signal(pointer_bits)
        leave = Signal()
        ready = out_fifo.credit
        if not self.counted:
            # There are two groups, of which one may leave meanwhile; or enough for this one, which has not left.
            many, enough = Signal(), Signal()
            m.d.sync += [
                many.eq(self.level >= 2 * self.out_words),
                enough.eq(self.take.valid & ~leave & (self.level >= out_count)),
            ]
            ready = out_fifo.credit & (many | enough)
        m.d.comb += [
            self.take.ready.eq(ready),
            leave.eq(self.take.valid & ready),
            out_fifo.spend.eq(leave),
            out_fifo.clear.eq(self.drop),
        ]
        o1_valid, o2_valid = Signal(), Signal()
        o2 = Signal(out_fifo.i.p.shape(), reset_less=True)
        m.d.sync += [o1_valid.eq(leave), o2_valid.eq(o1_valid)]
        m.d.comb += [out_fifo.i.valid.eq(o2_valid), out_fifo.i.p.eq(o2)]
        if self.extra:
            o1_extra = Signal(self.extra, reset_less=True)
            m.d.sync += [o1_extra.eq(self.take.p.extra), o2.extra.eq(o1_extra)]
        o1_columns = [Signal(column_bits, name=f"o1_column_{n}", reset_less=True) for n in range(self.out_words)]
        next_row = Signal(row_bits, init=1)  # after the one of ``head``
        for c in range(columns):
            row = Mux(head[:column_bits] > c, next_row, head[column_bits : column_bits + row_bits])
            m.d.comb += [rams[c].r_en.eq(1), rams[c].r_addr.eq(row)]
        o1_turn = Signal(column_bits, reset_less=True)
        if self.masked_out:
            for column, rank in zip(o1_columns, self.take.p.ranks, strict=True):
                m.d.sync += column.eq(head + rank)
        else:
            m.d.sync += o1_turn.eq(head if self.whole_out else head - self.take.p.offset)
        with m.If(leave):
            m.d.comb += new_head.eq(head + out_count)
            m.d.sync += [head.eq(new_head), next_row.eq(new_head[column_bits:] + 1)]

        # Which column goes to which word.
        read = [ram.r_data for ram in rams]
        if self.masked_out:
            words = [pick(read, column) for column in o1_columns]
        elif self.whole_out:
            words = [
                pick(read[n :: self.out_words], o1_turn[ceil_log2(self.out_words) :]) for n in range(self.out_words)
            ]
        else:
            words = rotate(read, o1_turn)[: self.out_words]
        m.d.sync += o2.data.eq(Cat(words))

        # Both outcomes are at hand when it is known whether a group leaves.
        level_if, level_else = Signal.like(self.level), Signal.like(self.level)
        m.d.comb += [
            level_else.eq(self.level + in_level),
            level_if.eq(self.level + in_level - out_count),
            self.coming.eq(came),
            self.arrived.eq(o2_valid),
            self.out_level.eq(out_fifo.level),
            self.leaving.eq(out_fifo.busy),
            self.forming.eq((tail != head) | o1_valid | o2_valid),
            self.busy.eq(self.forming | out_fifo.o.valid | (out_fifo.level != 0)),
        ]
        m.d.sync += self.level.eq(Mux(leave, level_if, level_else))
        with m.If(self.clear):
            if not self.counted:
                m.d.sync += [many.eq(0), enough.eq(0)]
            m.d.sync += [
                tail.eq(0),
                head.eq(0),
                next_row.eq(1),
                inside.eq(0),
                write.eq(0),
                in_level.eq(0),
                self.level.eq(0),
            ]
        with m.If(self.drop):
            m.d.sync += [o1_valid.eq(0), o2_valid.eq(0)]
        return m
