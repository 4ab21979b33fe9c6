"""Finds what can be seen to be wrong with a command before it begins.

Each buffer that the command may touch must begin at a multiple of 64 bytes and lie within ``address_bits``, as long as it
can become: a sum of address and length that wraps is found too. The golden twin is ``hotline_golden.machine.Machine.check``;
when several things are wrong, both name the same one.

Latency: 13 cycles from ``start`` to ``done``. One command at a time.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import BUFFER_ALIGNMENT, AcceleratorConfig
from ...interfaces.layouts import ADDRESS_WORDS, COUNT_BITS, DELTA_WORDS, FOLLOW_FLAG, Opcode, Status, command_layout
from ...lib.logic import delayed, exceeds, is_one_of, pick, product, without_reset

#: Which commands use each buffer, in the order of the command's words.
USED_BY = {
    "source": (Opcode.LEARN, Opcode.DUMP, Opcode.LOAD, Opcode.SPLIT, Opcode.SWAP),
    "popular": (Opcode.SPLIT,),
    "non_popular": (Opcode.SPLIT,),
    "working_keys": (Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER),
    "working_rows": (Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER),
}
#: Bytes of an entry of the hot list, and of a working key.
PAIR_BYTES = 8
#: Cycles from a buffer's choice until it is known what is wrong with it.
CHECK_CYCLES = 5


class CommandCheck(wiring.Component):
    """Members
    -------
    command : In(command_layout)
    start : In(1)
        ``command`` is a new one from the next cycle on, and stable.
    model_valid : In(1), sample_words, row_bytes : In
        Of the model: sizes are read when the command uses them.
    done : Out(1)
        What follows is of this command, until the next ``start``.
    status : Out(8), index : Out(4), address : Out(64)
        Status.OK, or what is wrong; which word of the command holds the address that is, and that address.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "command": In(command_layout()), "start": In(1), "model_valid": In(1),
            "sample_words": In(range(config.max_record_words + 1)), "row_bytes": In(range(config.max_row_bytes + 1)),
            "done": Out(1), "status": Out(8), "index": Out(4), "address": Out(64),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, command = self.config, self.command

        def is_a(*opcodes: Opcode):
            return is_one_of(command.opcode, *opcodes)

        # Stage 1: what the command is, and how long its buffers can become: `count` times `unit` bytes.
        count_bits = max(COUNT_BITS + 1, config.slot_bits + 1)
        is_list = delayed(m, is_a(Opcode.DUMP, Opcode.LOAD))
        is_swap, is_split = delayed(m, is_a(Opcode.SWAP)), delayed(m, is_a(Opcode.SPLIT))
        follows = delayed(m, command.flags[FOLLOW_FLAG])
        uses = [delayed(m, is_a(*opcodes)) for opcodes in USED_BY.values()]
        unknown = delayed(m, ~is_a(*Opcode))
        needs_model = delayed(m, is_a(Opcode.LEARN, Opcode.SPLIT, Opcode.SCATTER, Opcode.GATHER))
        samples = delayed(m, command.samples[:count_bits])
        limit = command.working_limit
        changes = delayed(m, Mux(limit < config.tracker_entries, limit, config.tracker_entries)[:count_bits])
        rows = delayed(m, Mux(limit < config.working_rows, limit, config.working_rows)[:count_bits])
        bad_count = delayed(m, (command.samples == 0) | (command.samples > 1 << COUNT_BITS))
        sample_bytes = delayed(m, self.sample_words << 2)
        record_bytes = delayed(m, (self.sample_words + 1) << 2)
        listed = Mux(is_split, rows, samples)
        lengths = {
            "source": (
                Mux(is_list, config.tracker_entries, Mux(is_swap, changes, samples)),
                Mux(is_list, PAIR_BYTES, Mux(is_swap, 4 * DELTA_WORDS, sample_bytes)),
            ),
            "popular": (samples, record_bytes),
            "non_popular": (samples, record_bytes),
            "working_keys": (listed, Const(PAIR_BYTES)),
            "working_rows": (listed, self.row_bytes),
        }

        # Stage 2: a buffer each cycle, in order. A bit moves through `turn`: it says whose turn it is, and when all have been
        # checked, the first of them kept, and the status chosen.
        turn = Signal(1 + len(USED_BY) + CHECK_CYCLES + 1)
        chosen = Signal(range(len(USED_BY)))
        s2_used, s2_address = Signal(reset_less=True), Signal(64, reset_less=True)
        s2_count = Signal(count_bits, reset_less=True)
        s2_unit = Signal(max(len(record_bytes), len(self.row_bytes), 5), reset_less=True)
        m.d.sync += [turn.eq(Cat(self.start, turn)), chosen.eq(Mux(turn[0], 0, chosen + 1))]
        m.d.sync += [
            s2_used.eq(pick(uses, chosen) & turn[1 : 1 + len(USED_BY)].any()),
            s2_address.eq(pick([getattr(command, name) for name in USED_BY], chosen)),
            s2_count.eq(pick([count for count, _ in lengths.values()], chosen)),
            s2_unit.eq(pick([unit for _, unit in lengths.values()], chosen)),
        ]

        # Stages 3 and 4: its bytes. Stage 5: its end. Stage 6: what is wrong with it.
        size = product(m, s2_count, s2_unit)
        s4_used, s4_address = delayed(m, delayed(m, s2_used)), delayed(m, delayed(m, s2_address))
        s5_used, s5_address = delayed(m, s4_used), delayed(m, s4_address)
        s5_end = delayed(m, s4_address[: config.address_bits] + size)
        s5_outside = delayed(m, s4_address[config.address_bits :].any())
        alignment_bits = ceil_log2(BUFFER_ALIGNMENT)
        s6_address = delayed(m, s5_address)
        s6_word = Signal(4, reset_less=True)
        s6_wrong = {
            Status.MISALIGNED_ADDRESS: delayed(m, s5_used & s5_address[:alignment_bits].any()),
            Status.ADDRESS_OUT_OF_RANGE: delayed(m, s5_used & (s5_outside | exceeds(s5_end, config.address_bits))),
        }
        first_word = min(ADDRESS_WORDS.values())
        m.d.sync += s6_word.eq(Mux(turn[CHECK_CYCLES], first_word, s6_word + 2))

        # The first of each kind is kept.
        kept = {}
        for why, wrong in s6_wrong.items():
            found = Signal(name=f"found_{why.name.lower()}", reset_less=True)
            first_word_of = Signal(4, name=f"word_{why.name.lower()}", reset_less=True)
            first_address = Signal(64, name=f"of_{why.name.lower()}", reset_less=True)
            with m.If(self.start):
                m.d.sync += found.eq(0)
            with m.Elif(wrong & ~found):
                m.d.sync += [found.eq(1), first_word_of.eq(s6_word), first_address.eq(s6_address)]
            kept[why] = found, first_word_of, first_address

        status, index, address = (without_reset(m, getattr(self, name)) for name in ("status", "index", "address"))
        m.d.sync += status.eq(Status.OK)
        m.d.sync += [index.eq(0), address.eq(0)]

        def refuse(why: Status):
            m.d.sync += status.eq(why)
            if why in kept:
                m.d.sync += [index.eq(kept[why][1]), address.eq(kept[why][2])]

        with m.If(unknown):
            refuse(Status.UNKNOWN_OPCODE)
        with m.Elif((is_swap | (is_split & follows)) & (not config.shadow)):
            refuse(Status.UNSUPPORTED)
        with m.Elif(kept[Status.MISALIGNED_ADDRESS][0]):
            refuse(Status.MISALIGNED_ADDRESS)
        with m.Elif(needs_model & ~self.model_valid):
            refuse(Status.NO_MODEL)
        with m.Elif(needs_model & bad_count):
            refuse(Status.BAD_COUNT)
        with m.Elif(kept[Status.ADDRESS_OUT_OF_RANGE][0]):
            refuse(Status.ADDRESS_OUT_OF_RANGE)
        with m.If(self.start):
            m.d.sync += self.done.eq(0)
        with m.Elif(turn[-1]):
            m.d.sync += self.done.eq(1)
        return m
