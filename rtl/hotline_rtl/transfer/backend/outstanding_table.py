"""The outstanding table of a range of AXI read IDs: sends bursts, and finds out to which client each answer belongs.

    transfers ─► burst splitter ─► ID, order list ─► bursts      answers ─► order list ─► owner, last

Transfers take the IDs in turn; all bursts of a transfer have one ID. Each ID has a list of its bursts in order. Answers of one
ID come in that order (IHI 0022 H, A5.3), so any number of transfers may share any number of IDs.
When nothing is answered for ``timeout`` cycles, the table answers every burst on its lists itself, with errors. What memory
still sends of them later is counted off and dropped, so a late answer is never taken for another burst's.
Latency: 7 cycles from a transfer to its burst; 5 from an answer to its owner. Throughput: one beat per cycle, and one burst per
cycle; two bursts of one ID are three cycles apart.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.memory import OfferSignature, transfer_layout
from ...lib.logic import delayed
from ...lib.ram import Ram
from .burst_lists import BurstLists, address_layout, listed_burst_layout
from .lost_bursts import LostBursts, id_state_layout

#: Cycles from an answer (in a register) to its owner.
LOOKUP_CYCLES = 5


class OutstandingTable(wiring.Component):
    """IDs ``base`` to ``base + ids - 1``; owners have ``owner_bits``; an ID's list holds ``bursts`` (a power of two).

    Members
    -------
    i : In(OfferSignature of transfer_layout)
        ``tag``: the owner.
    o : Out(stream of address_layout)
    timeout : In(32)
        Cycles without any answer after which all that is outstanding is given up; 0: never.
    drop : In(1)
        Bursts that have not been sent are forgotten, and so are those that come.
    r_valid, r_id, r_last, r_error : In
        An answer, from a register.
    beat_valid, beat_owner, beat_last, beat_error, beat_timeout : Out
        The answer of LOOKUP_CYCLES before: whose it is; the last of its transfer; an error, given here or by memory.
    hold : Out(1), held : In(1)
        No further answers must be taken; none are.
    outstanding : Out
        Bursts on the lists.
    """

    def __init__(self, config: AcceleratorConfig, base: int, ids: int, owner_bits: int, bursts: int):
        self.config = config
        self.base, self.ids, self.owner_bits, self.bursts = base, ids, owner_bits, bursts
        super().__init__({
            "i": In(OfferSignature(transfer_layout(config, owner_bits))),
            "o": Out(stream.Signature(address_layout(config))),
            "timeout": In(32), "drop": In(1),
            "r_valid": In(1), "r_id": In(config.id_bits), "r_last": In(1), "r_error": In(1),
            "beat_valid": Out(1), "beat_owner": Out(owner_bits), "beat_last": Out(1), "beat_error": Out(1),
            "beat_timeout": Out(1), "hold": Out(1), "held": In(1), "outstanding": Out(range(ids * bursts + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        ids, bursts = self.ids, self.bursts
        id_bits = max(1, ceil_log2(ids))
        place_bits = ceil_log2(bursts)
        state_layout, entry_layout = id_state_layout(bursts), listed_burst_layout(self.owner_bits)
        m.submodules.lists = lists = BurstLists(self.config, self.base, ids, self.owner_bits, bursts)
        m.submodules.lost = lost = LostBursts(ids, bursts)
        m.submodules.states = states = Ram(state_layout.size, max(2, ids))
        m.submodules.order = order = Ram(entry_layout.size, bursts << id_bits)
        wiring.connect(m, wiring.flipped(self.i), lists.i)
        wiring.connect(m, lists.o, wiring.flipped(self.o))

        sweeping = Signal(init=1)  # the lists are emptied after reset
        sweep = Signal(id_bits)
        with m.If(sweeping):
            m.d.sync += [sweep.eq(sweep + 1), sweeping.eq(sweep != ids - 1)]

        # Answers, stage 1: the state of the ID is read. Stage 2: it arrives. Stage 3: it changes. Stage 4: it is written, and
        # the burst looked up. Stage 5: the burst arrives. The states of the three answers before are not in memory yet in
        # stage 1.
        s1_id = Signal(id_bits)
        a2_valid = Signal()
        a2_id = Signal(id_bits, reset_less=True)
        a2_last = Signal(reset_less=True)
        a2_error = Signal(reset_less=True)
        a3_valid = Signal()
        a3_id = Signal(id_bits, reset_less=True)
        a3_last = Signal(reset_less=True)
        a3_error = Signal(reset_less=True)
        a4_valid = Signal()
        a4_id = Signal(id_bits, reset_less=True)
        a4_answers = Signal()
        a4_last = Signal(reset_less=True)
        a4_error = Signal(reset_less=True)
        a5_valid, a5_last, a5_error = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        a6_valid = Signal()
        a6_last = Signal(reset_less=True)
        a6_error = Signal(reset_less=True)
        entry = Signal(entry_layout, reset_less=True)
        read_state = Signal(state_layout, reset_less=True)
        a4_state, a5_state = Signal(state_layout, reset_less=True), Signal(state_layout, reset_less=True)
        is_before = Signal(reset_less=True)
        is_earlier = Signal(reset_less=True)
        is_in_memory_next = Signal(reset_less=True)
        place = Signal(place_bits + id_bits, reset_less=True)  # of the burst that is looked up
        state, following = Signal(state_layout), Signal(state_layout)
        late = state.any_late
        m.d.comb += [
            s1_id.eq(self.r_id - self.base),
            state.eq(Mux(is_before, a4_state, Mux(is_earlier, a5_state, read_state))),
            following.eq(state),
        ]
        with m.If(late):
            m.d.comb += [following.late.eq(state.late - 1), following.any_late.eq(state.late != 1)]
        with m.Else():
            m.d.comb += [
                following.head.eq(state.head + a3_last),
                following.beats.eq(Mux(a3_last, 0, state.beats + 1)),
            ]
        m.d.sync += [
            a2_valid.eq(self.r_valid),
            a2_id.eq(s1_id),
            a2_last.eq(self.r_last),
            a2_error.eq(self.r_error),
            a3_valid.eq(a2_valid),
            a3_id.eq(a2_id),
            a3_last.eq(a2_last),
            a3_error.eq(a2_error),
            is_in_memory_next.eq(a4_valid & (a4_id == s1_id)),
            read_state.eq(Mux(is_in_memory_next, a5_state, states.r_data)),
            is_before.eq(a3_valid & (a3_id == a2_id)),
            is_earlier.eq(a4_valid & (a4_id == a2_id)),
            a4_valid.eq(a3_valid),
            a4_id.eq(a3_id),
            a4_state.eq(following),
            a5_state.eq(a4_state),
            a4_answers.eq(a3_valid & ~late),
            a4_last.eq(a3_last),
            a4_error.eq(a3_error),
            a5_valid.eq(a4_answers),
            a5_last.eq(a4_last),
            a5_error.eq(a4_error),
            a6_valid.eq(a5_valid),
            a6_last.eq(a5_last),
            a6_error.eq(a5_error),
            entry.eq(order.r_data),
        ]

        # What is outstanding, and whose answers are given here.
        synthesising = lost.synthesising
        burst_ends = Mux(synthesising, lost.beat & lost.last, a6_valid & a6_last)
        m.d.sync += self.outstanding.eq(self.outstanding + lists.sent - delayed(m, burst_ends))
        stopped = delayed(m, sweeping | lost.giving_up | self.drop)
        on_the_way = Cat(self.r_valid, a2_valid, a3_valid, a4_valid, a5_valid, a6_valid).any()
        m.d.comb += [
            lists.stopped.eq(stopped),
            lists.drop.eq(self.drop),
            lists.tail_id.eq(lost.id),
            lists.sweeping.eq(sweeping),
            lists.sweep.eq(sweep),
            lost.timeout.eq(self.timeout),
            lost.progress.eq(self.r_valid | (self.outstanding == 0)),
            lost.empty.eq(stopped & self.held & ~on_the_way),
            lost.read_state.eq(states.r_data),
            lost.tail.eq(lists.tail),
            lost.burst_length.eq(entry.length),
            self.hold.eq(lost.giving_up),
            self.beat_valid.eq(Mux(synthesising, lost.beat, a6_valid)),
            self.beat_owner.eq(entry.owner),
            self.beat_last.eq(entry.last & Mux(synthesising, lost.last, a6_last)),
            self.beat_error.eq(synthesising | a6_error),
            self.beat_timeout.eq(synthesising),
        ]

        # The memories.
        new_state = Signal(state_layout)
        m.d.comb += [
            states.r_en.eq(1),
            states.r_addr.eq(Mux(synthesising, lost.id, s1_id)),
            states.w_en.eq(Mux(synthesising, lost.give_back, a4_valid) | sweeping),
            states.w_addr.eq(Mux(sweeping, sweep, Mux(synthesising, lost.id, a4_id))),
            new_state.eq(Mux(sweeping, 0, Mux(synthesising, lost.state, a4_state))),
            states.w_data.eq(new_state),
            lists.head_written.eq(states.w_en),
            lists.head_id.eq(states.w_addr),
            lists.head.eq(new_state.head),
            order.w_en.eq(lists.sent),
            order.w_addr.eq(lists.entry_place),
            order.w_data.eq(lists.entry),
            order.r_en.eq(1),
            order.r_addr.eq(place),
        ]
        m.d.sync += place.eq(
            Mux(synthesising, Cat(lost.state.head[:place_bits], lost.id), Cat(state.head[:place_bits], a3_id))
        )
        return m
