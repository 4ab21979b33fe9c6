"""The sending side of an outstanding table: gives each transfer an ID, and puts its bursts on that ID's list, if there is room.

    transfers ─► burst splitter ─► 1: ID, look-up ─► 2: is there room? ─► 3: on the list, and out; or it looks again

Latency: 7 cycles from a transfer to its burst. A burst per cycle; two bursts of one ID are three cycles apart.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.memory import OfferSignature, transfer_layout
from ...lib.ram import Ram
from ...lib.register_slice import RegisterSlice
from .burst_splitter import BurstSplitter


def address_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A burst for the AR channel."""
    return data.StructLayout({"address": config.address_bits, "length": 8, "id": config.id_bits})


def listed_burst_layout(owner_bits: int) -> data.StructLayout:
    """A burst on its list: ``length`` beats and one; ``last``: of its transfer."""
    return data.StructLayout({"owner": owner_bits, "length": 8, "last": 1})


class BurstLists(wiring.Component):
    """IDs ``base`` to ``base + ids - 1``; owners have ``owner_bits``; an ID's list holds ``bursts`` (a power of two).

    Members
    -------
    i : In(OfferSignature of transfer_layout)
        ``tag``: the owner.
    o : Out(stream of address_layout)
    drop : In(1)
        Bursts that have not been sent are forgotten, and so are those that come.
    stopped : In(1)
        None is sent. From a register.
    sent : Out(1), entry : Out(listed_burst_layout), entry_place : Out
        A burst goes on its list: what is to be remembered, at place ``entry_place`` of all lists, one behind the other.
    head_written : In(1), head_id, head : In
        The list of an ID begins at ``head`` now.
    tail_id : In, tail : Out
        Where the list of an ID ends, in the next cycle. Only while ``stopped``.
    sweeping : In(1), sweep : In
        The list of ID ``sweep`` is emptied.
    """

    def __init__(self, config: AcceleratorConfig, base: int, ids: int, owner_bits: int, bursts: int):
        self.config = config
        self.base, self.ids, self.owner_bits, self.bursts = base, ids, owner_bits, bursts
        id_bits, place_bits = max(1, ceil_log2(ids)), ceil_log2(bursts)
        super().__init__({
            "i": In(OfferSignature(transfer_layout(config, owner_bits))), "o": Out(stream.Signature(address_layout(config))),
            "drop": In(1), "stopped": In(1),
            "sent": Out(1), "entry": Out(listed_burst_layout(owner_bits)), "entry_place": Out(place_bits + id_bits),
            "head_written": In(1), "head_id": In(id_bits), "head": In(place_bits + 1),
            "tail_id": In(id_bits), "tail": Out(place_bits + 1), "sweeping": In(1), "sweep": In(id_bits),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, ids, bursts = self.config, self.ids, self.bursts
        id_bits = len(self.head_id)
        place_bits = ceil_log2(bursts)
        pointer_bits = place_bits + 1  # one more tells full from empty
        m.submodules.splitter = splitter = BurstSplitter(config, self.owner_bits)
        m.submodules.tails = tails = Ram(pointer_bits, max(2, ids))
        # One copy of the heads looks for the ID whose turn it is, the other for that of stage 3.
        m.submodules.heads = heads = Ram(pointer_bits, max(2, ids))
        m.submodules.heads_3 = heads_3 = Ram(pointer_bits, max(2, ids))
        m.submodules.slice = out = RegisterSlice(address_layout(config))
        wiring.connect(m, wiring.flipped(self.i), splitter.i)
        m.submodules.bursts = bursts_in = RegisterSlice(splitter.o.p.shape())
        wiring.connect(m, splitter.o, bursts_in.i)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        # Stage 1: a burst gets its transfer's ID, whose list is looked up; not while one of that ID is in the stages
        # behind. Stage 2: is there room? Stage 3: it goes on the list and out, or waits and looks again.
        turn = Signal(id_bits)
        few_ids, stays = Const(ids < 4, 1), Signal()  # the ID of the burst before is this one's, too
        s2_valid = Signal()
        s2_id = Signal(id_bits, reset_less=True)
        s2_burst = Signal(splitter.o.p.shape(), reset_less=True)
        s3_valid = Signal()
        s3_id = Signal(id_bits, reset_less=True)
        s3_burst = Signal(splitter.o.p.shape(), reset_less=True)
        s2_tail = Signal(pointer_bits, reset_less=True)
        s3_tail = Signal(pointer_bits, reset_less=True)
        s2_has_room, s3_full = Signal(), Signal(reset_less=True)
        enter, go_on, send = Signal(), Signal(), self.sent
        # What has been looked up is of the burst in stage 2; its head is of the one in stage 3.
        found_2, found_3 = Signal(), Signal()
        tail, head = Signal(pointer_bits), Signal(pointer_bits)
        head_written, head_3_written, written_head = Signal(), Signal(), Signal(pointer_bits, reset_less=True)
        m.d.comb += [
            splitter.drop.eq(self.drop),
            bursts_in.drop.eq(self.drop),
            go_on.eq(~s3_valid | send),
            bursts_in.o.ready.eq((~s2_valid | go_on) & ~((few_ids | stays) & (s2_valid | s3_valid)) & ~self.stopped),
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
            tails.r_addr.eq(Mux(self.stopped, self.tail_id, turn)),
            self.tail.eq(tails.r_data),
            tail.eq(Mux(found_2, tails.r_data, s2_tail)),
            send.eq(s3_valid & ~s3_full & out.i.ready & ~self.stopped),
            out.i.valid.eq(send),
            out.i.p.address.eq(s3_burst.address),
            out.i.p.length.eq(s3_burst.length),
            out.i.p.id.eq(s3_id + self.base),
            tails.w_en.eq(send | self.sweeping),
            tails.w_addr.eq(Mux(self.sweeping, self.sweep, s3_id)),
            tails.w_data.eq(Mux(self.sweeping, 0, s3_tail + 1)),
            self.entry.owner.eq(s3_burst.tag),
            self.entry.length.eq(s3_burst.length),
            self.entry.last.eq(s3_burst.last),
            self.entry_place.eq(Cat(s3_tail[:place_bits], s3_id)),
            *(ram.w_en.eq(self.head_written) for ram in (heads, heads_3)),
            *(ram.w_addr.eq(self.head_id) for ram in (heads, heads_3)),
            *(ram.w_data.eq(self.head) for ram in (heads, heads_3)),
        ]
        m.d.sync += [
            found_2.eq(enter),
            found_3.eq(~enter & ~go_on),
            s2_tail.eq(tail),
            head_written.eq(self.head_written & (self.head_id == turn)),
            head_3_written.eq(self.head_written & (self.head_id == s3_id)),
            written_head.eq(self.head),
        ]
        with m.If(enter):
            m.d.sync += [s2_burst.eq(bursts_in.o.p), s2_id.eq(turn), stays.eq(~bursts_in.o.p.last)]
            with m.If(bursts_in.o.p.last):
                m.d.sync += turn.eq(Mux(turn == ids - 1, 0, turn + 1))
        # A list that has been found to have room keeps it: no other burst of its ID is in the stages. One whose head is not known
        # counts as full, until it has been looked up.
        full = (tail - head)[:pointer_bits] == bursts
        with m.If(found_2):
            m.d.sync += s2_has_room.eq(~full)
        with m.If(enter | go_on):
            m.d.sync += [s2_valid.eq(enter), s2_has_room.eq(0)]
        with m.If(go_on):
            m.d.sync += [
                s3_valid.eq(s2_valid),
                s3_id.eq(s2_id),
                s3_burst.eq(s2_burst),
                s3_tail.eq(tail),
                s3_full.eq(Mux(found_2, full, ~s2_has_room)),
            ]
        with m.Elif(found_3):
            m.d.sync += s3_full.eq((s3_tail - head)[:pointer_bits] == bursts)
        with m.If(self.drop):
            m.d.sync += [s2_valid.eq(0), s3_valid.eq(0)]
        return m
