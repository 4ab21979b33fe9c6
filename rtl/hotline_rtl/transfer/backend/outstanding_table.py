"""The outstanding table of a range of AXI read IDs: sends bursts, and finds out to which client each answer belongs.

    transfers ─► burst splitter ─► ID, order list ─► bursts      answers ─► order list ─► owner, last

Transfers take the IDs in turn; all bursts of a transfer have one ID. Each ID has a list of its bursts in order. Answers of one
ID come in that order (IHI 0022 H, A5.3), so any number of transfers may share any number of IDs.
When nothing is answered for ``timeout`` cycles, the table answers every burst on its lists itself, with errors. What memory
still sends of them later is counted off and dropped, so a late answer is never taken for another burst's.
Latency: 7 cycles from a transfer to its burst; 5 from an answer to its owner. Throughput: one beat per cycle, and one burst per
cycle; two bursts of one ID are three cycles apart.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.memory import OfferSignature, transfer_layout
from ...lib.logic import delayed
from ...lib.ram import Ram
from ...lib.register_slice import RegisterSlice
from ...lib.watchdog import Watchdog
from .burst_splitter import BurstSplitter

#: Cycles from an answer (in a register) to its owner.
LOOKUP_CYCLES = 5
LATE_BITS = 16


def address_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A burst for the AR channel."""
    return data.StructLayout({"address": config.address_bits, "length": 8, "id": config.id_bits})


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
        An answer, from a register. ``hold`` keeps further ones away.
    beat_valid, beat_owner, beat_last, beat_error, beat_timeout : Out
        The answer of LOOKUP_CYCLES before: whose it is; the last of its transfer; an error, given here or by memory.
    hold : Out(1)
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
            "beat_timeout": Out(1), "hold": Out(1), "outstanding": Out(range(ids * bursts + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, ids, bursts = self.config, self.ids, self.bursts
        id_bits = max(1, ceil_log2(ids))
        place_bits = ceil_log2(bursts)
        pointer_bits = place_bits + 1  # one more tells full from empty
        state_layout = data.StructLayout({"head": pointer_bits, "beats": 8, "late": LATE_BITS, "any_late": 1})
        entry_layout = data.StructLayout({"owner": self.owner_bits, "length": 8, "last": 1})
        m.submodules.splitter = splitter = BurstSplitter(config, self.owner_bits)
        m.submodules.tails = tails = Ram(pointer_bits, max(2, ids))
        m.submodules.states = states = Ram(state_layout.size, max(2, ids))
        # The states' heads, for the sending side: one looks for the ID whose turn it is, the other for that of stage 3.
        m.submodules.heads = heads = Ram(pointer_bits, max(2, ids))
        m.submodules.heads_3 = heads_3 = Ram(pointer_bits, max(2, ids))
        m.submodules.order = order = Ram(entry_layout.size, bursts << id_bits)
        m.submodules.slice = out = RegisterSlice(address_layout(config))
        wiring.connect(m, wiring.flipped(self.i), splitter.i)
        m.submodules.bursts = bursts_in = RegisterSlice(splitter.o.p.shape())
        wiring.connect(m, splitter.o, bursts_in.i)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        giving_up = Signal()  # nothing is sent or taken
        synthesising = Signal()  # answers come from here
        sweeping = Signal(init=1)  # the lists are emptied after reset
        sweep = Signal(id_bits)
        with m.If(sweeping):
            m.d.sync += [sweep.eq(sweep + 1), sweeping.eq(sweep != ids - 1)]

        # Sending, stage 1: a burst gets its transfer's ID, whose list is looked up; not while one of that ID is in the stages
        # behind. Stage 2: is there room? Stage 3: it goes on the list and out, or waits and looks again.
        turn = Signal(id_bits)
        few_ids, stays = Const(ids < 4, 1), Signal()  # the ID of the burst before is this one's, too
        stopped = Signal()
        s2_valid = Signal()
        s2_id = Signal(id_bits, reset_less=True)
        s2_burst = Signal(splitter.o.p.shape(), reset_less=True)
        s3_valid = Signal()
        s3_id = Signal(id_bits, reset_less=True)
        s3_burst = Signal(splitter.o.p.shape(), reset_less=True)
        s2_tail = Signal(pointer_bits, reset_less=True)
        s3_tail = Signal(pointer_bits, reset_less=True)
        s3_full = Signal(reset_less=True)
        enter, go_on, send = Signal(), Signal(), Signal()
        # What has been looked up is of the burst in stage 2; its head is of the one in stage 3.
        found_2, found_3 = Signal(), Signal()
        tail, head = Signal(pointer_bits), Signal(pointer_bits)
        head_written, head_3_written, written_head = Signal(), Signal(), Signal(pointer_bits, reset_less=True)
        lost = Signal(id_bits)
        new_entry = Signal(entry_layout)
        m.d.comb += [
            splitter.drop.eq(self.drop),
            bursts_in.drop.eq(self.drop),
            go_on.eq(~s3_valid | send),
            bursts_in.o.ready.eq((~s2_valid | go_on) & ~((few_ids | stays) & (s2_valid | s3_valid)) & ~stopped),
            enter.eq(bursts_in.o.valid & bursts_in.o.ready),
            heads.r_en.eq(1),
            heads.r_addr.eq(turn),
            heads_3.r_en.eq(1),
            heads_3.r_addr.eq(s3_id),
            head.eq(
                Mux(
                    Mux(found_2, head_written, head_3_written),
                    written_head,
                    Mux(found_2, heads.r_data, heads_3.r_data),
                )
            ),
            tails.r_en.eq(1),
            tails.r_addr.eq(Mux(synthesising, lost, turn)),
            tail.eq(Mux(found_2, tails.r_data, s2_tail)),
            send.eq(s3_valid & ~s3_full & out.i.ready & ~stopped),
            out.i.valid.eq(send),
            out.i.p.address.eq(s3_burst.address),
            out.i.p.length.eq(s3_burst.length),
            out.i.p.id.eq(s3_id + self.base),
            tails.w_en.eq(send | sweeping),
            tails.w_addr.eq(Mux(sweeping, sweep, s3_id)),
            tails.w_data.eq(Mux(sweeping, 0, s3_tail + 1)),
            new_entry.owner.eq(s3_burst.tag),
            new_entry.length.eq(s3_burst.length),
            new_entry.last.eq(s3_burst.last),
            order.w_en.eq(send),
            order.w_addr.eq(Cat(s3_tail[:place_bits], s3_id)),
            order.w_data.eq(new_entry),
        ]
        m.d.sync += [
            found_2.eq(enter), found_3.eq(~enter & ~go_on), s2_tail.eq(tail), stopped.eq(sweeping | giving_up | self.drop),
        ]  # fmt: skip
        with m.If(enter):
            m.d.sync += [s2_burst.eq(bursts_in.o.p), s2_id.eq(turn), stays.eq(~bursts_in.o.p.last)]
            with m.If(bursts_in.o.p.last):
                m.d.sync += turn.eq(Mux(turn == ids - 1, 0, turn + 1))
        with m.If(enter | go_on):
            m.d.sync += s2_valid.eq(enter)
        with m.If(go_on):
            # A list whose head is not known counts as full, until it has been looked up.
            m.d.sync += [
                s3_valid.eq(s2_valid), s3_id.eq(s2_id), s3_burst.eq(s2_burst), s3_tail.eq(tail),
                s3_full.eq(~found_2 | ((tail - head)[:pointer_bits] == bursts)),
            ]  # fmt: skip
        with m.Elif(found_3):
            m.d.sync += s3_full.eq((s3_tail - head)[:pointer_bits] == bursts)
        with m.If(self.drop):
            m.d.sync += [s2_valid.eq(0), s3_valid.eq(0)]

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
            a2_valid.eq(self.r_valid), a2_id.eq(s1_id), a2_last.eq(self.r_last), a2_error.eq(self.r_error),
            a3_valid.eq(a2_valid), a3_id.eq(a2_id), a3_last.eq(a2_last), a3_error.eq(a2_error),
            is_in_memory_next.eq(a4_valid & (a4_id == s1_id)),
            read_state.eq(Mux(is_in_memory_next, a5_state, states.r_data)),
            is_before.eq(a3_valid & (a3_id == a2_id)), is_earlier.eq(a4_valid & (a4_id == a2_id)),
            a4_valid.eq(a3_valid), a4_id.eq(a3_id), a4_state.eq(following), a5_state.eq(a4_state),
            a4_answers.eq(a3_valid & ~late), a4_last.eq(a3_last), a4_error.eq(a3_error),
            a5_valid.eq(a4_answers), a5_last.eq(a4_last), a5_error.eq(a4_error),
            a6_valid.eq(a5_valid), a6_last.eq(a5_last), a6_error.eq(a5_error),
            entry.eq(order.r_data),
        ]  # fmt: skip

        # Giving up: ID after ID, burst after burst, an error for each beat that has not come.
        settle = Signal(range(LOOKUP_CYCLES + 6))
        lost_state, lost_tail = Signal(state_layout, reset_less=True), Signal(pointer_bits, reset_less=True)
        synthesise, give_back = Signal(), Signal()
        # Known two cycles after what they compare has changed.
        synthesised_last = delayed(m, lost_state.beats == entry.length)
        list_ends = delayed(m, lost_state.head == lost_tail)
        burst_ends = Mux(synthesising, synthesise & synthesised_last, a6_valid & a6_last)
        m.d.sync += self.outstanding.eq(self.outstanding + send - delayed(m, burst_ends))
        m.submodules.watchdog = watchdog = Watchdog()
        m.d.comb += [
            watchdog.timeout.eq(self.timeout), watchdog.progress.eq(self.r_valid | (self.outstanding == 0) | giving_up),
        ]  # fmt: skip
        state_id, state_write, new_state = Signal(id_bits), Signal(), Signal(state_layout)
        m.d.comb += [
            self.hold.eq(giving_up),
            self.beat_valid.eq(Mux(synthesising, synthesise, a6_valid)),
            self.beat_owner.eq(entry.owner),
            self.beat_last.eq(entry.last & Mux(synthesising, synthesised_last, a6_last)),
            self.beat_error.eq(synthesising | a6_error),
            self.beat_timeout.eq(synthesising),
            states.r_en.eq(1),
            states.r_addr.eq(Mux(synthesising, lost, s1_id)),
            state_write.eq(Mux(synthesising, give_back, a4_valid) | sweeping),
            state_id.eq(Mux(sweeping, sweep, Mux(synthesising, lost, a4_id))),
            new_state.eq(Mux(sweeping, 0, Mux(synthesising, lost_state, a4_state))),
            states.w_en.eq(state_write), states.w_addr.eq(state_id), states.w_data.eq(new_state),
            heads.w_en.eq(state_write), heads.w_addr.eq(state_id), heads.w_data.eq(new_state.head),
            heads_3.w_en.eq(state_write), heads_3.w_addr.eq(state_id), heads_3.w_data.eq(new_state.head),
            order.r_en.eq(1),
            order.r_addr.eq(place),
        ]  # fmt: skip
        m.d.sync += [
            place.eq(Mux(synthesising, Cat(lost_state.head[:place_bits], lost), Cat(state.head[:place_bits], a3_id))),
            head_written.eq(state_write & (state_id == turn)),
            head_3_written.eq(state_write & (state_id == s3_id)),
            written_head.eq(new_state.head),
        ]
        with m.FSM():
            with m.State("RUN"):
                with m.If(watchdog.expired):
                    m.d.sync += [giving_up.eq(1), settle.eq(0), lost.eq(0)]
                    m.next = "SETTLE"
            with m.State("SETTLE"):  # what is on its way through the stages arrives
                m.d.sync += settle.eq(settle + 1)
                with m.If(settle == LOOKUP_CYCLES + 5):
                    m.d.sync += synthesising.eq(1)
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "LOOKED"
            with m.State("LOOKED"):
                m.d.sync += [lost_state.eq(states.r_data), lost_tail.eq(tails.r_data)]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "LIST"
            with m.State("LIST"):
                m.next = "READ"
                with m.If(list_ends):
                    m.d.comb += give_back.eq(1)
                    m.d.sync += lost.eq(lost + 1)
                    m.next = "LOOK"
                    with m.If(lost == ids - 1):
                        m.d.sync += [giving_up.eq(0), synthesising.eq(0)]
                        m.next = "RUN"
            with m.State("READ"):
                m.next = "ARRIVE"
            with m.State("ARRIVE"):
                m.next = "BEAT"
            with m.State("BEAT"):
                m.next = "BURST"
            with m.State("BURST"):
                m.d.comb += synthesise.eq(1)
                m.d.sync += [
                    lost_state.beats.eq(lost_state.beats + 1),
                    lost_state.late.eq(lost_state.late + 1),
                    lost_state.any_late.eq(1),
                ]
                m.next = "BEAT"
                with m.If(synthesised_last):
                    m.d.sync += [lost_state.beats.eq(0), lost_state.head.eq(lost_state.head + 1)]
                    m.next = "COMPARE"
        return m
