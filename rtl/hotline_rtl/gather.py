"""The gather engine: reads each working row once from host memory, and lays it down in device memory.

Every row read has a landing slot of its own, which is also its AXI ID, so responses may come in any
order. A row is written when it is complete. One row request per cycle while slots are free.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .fork import fork
from .layouts import key_layout, words_layout
from .model_store import ModelSignature
from .ram import Ram
from .read_master import ReadClientSignature
from .row_address import RowAddress
from .row_writer import RowWriter
from .write_master import WriteClientSignature


class Gather(wiring.Component):
    """Members
    -------
    start : In(1), base : In
        Begins a working set, whose row ``k`` goes to ``base + k * row_bytes``; only when ``idle``.
    model : In(ModelSignature)
    keys : In(stream of key_layout)
        Working keys, in order of number.
    count : In
        How many keys the working set has so far; they may still be on their way here. Keys beyond them
        belong to the next working set, and wait.
    keys_done : Out(1)
        All ``count`` keys have gone to ``key_words``.
    key_words : Out(stream of words_layout)
        The same as (table, row) words, for the list of working keys.
    idle : Out(1)
        The rows of all ``count`` keys are in device memory.
    outstanding : Out
        Rows on their way from host memory, for the performance counters.
    read_error, write_error, error_address : Out
        A row could not be read or written since ``start``; the address of the first such row or burst.
    read : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start": In(1), "base": In(config.address_bits), "model": In(ModelSignature(config)),
            "keys": In(stream.Signature(key_layout(config))), "count": In(range(config.working_rows + 1)),
            "keys_done": Out(1),
            "key_words": Out(stream.Signature(words_layout(config))),
            "idle": Out(1), "outstanding": Out(range(config.outstanding_rows + 1)),
            "read_error": Out(1), "write_error": Out(1), "error_address": Out(config.address_bits),
            "read": Out(ReadClientSignature(config)), "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        slots, row_beats, words = config.outstanding_rows, config.row_beats, config.bus_words
        slot_bits = max(1, ceil_log2(slots))
        shift = ceil_log2(config.bus_bytes)
        row_words = self.model.row_bytes[2:]

        # Each key goes two ways: into the list of working keys, and to its address.
        m.submodules.address = address = RowAddress(config)
        wiring.connect(m, wiring.flipped(self.model), address.model)
        keys_in = Signal(range(config.working_rows + 1))
        m.d.sync += keys_in.eq(keys_in + (self.keys.valid & self.keys.ready))
        mine = stream.Signature(self.keys.p.shape()).create()
        more = (keys_in != self.count) & ~self.start
        m.d.comb += [
            mine.valid.eq(self.keys.valid & more),
            mine.p.eq(self.keys.p),
            self.keys.ready.eq(mine.ready & more),
        ]
        fork(m, mine, [self.key_words, address.i])
        m.d.comb += [
            self.key_words.p.data[:64].eq(
                Cat(
                    self.keys.p.table, Const(0, 32 - config.table_bits),
                    self.keys.p.row, Const(0, 32 - config.row_bits),
                )
            ),
            self.key_words.p.count.eq(2),
            address.i.p.key.eq(self.keys.p),
        ]  # fmt: skip

        # Free slots. After reset they are dealt out one by one, and their counters cleared.
        m.submodules.free = free = StreamFifo(slot_bits, 1 << max(1, ceil_log2(slots)))
        dealing = Signal(init=1)
        deal = Signal(range(slots))
        released = Signal()
        release_slot = Signal(slot_bits)
        m.d.comb += [
            free.i.valid.eq(dealing | released),
            free.i.p.eq(Mux(dealing, deal, release_slot)),
        ]
        with m.If(dealing):
            m.d.sync += [deal.eq(deal + 1), dealing.eq(deal != slots - 1)]

        # Requests: row number and address of each slot are kept until the row has left.
        info = data.StructLayout({"number": range(config.working_rows), "address": config.address_bits})
        m.submodules.info = info_ram = Ram(info.size, max(2, slots))
        number = Signal(range(config.working_rows + 1))
        request = self.read.request
        ask = Signal()
        m.d.comb += [
            request.valid.eq(address.o.valid & free.o.valid & ~dealing),
            ask.eq(request.valid & request.ready),
            address.o.ready.eq(free.o.valid & ~dealing & request.ready),
            free.o.ready.eq(address.o.valid & ~dealing & request.ready),
            request.p.address.eq(address.o.p.address),
            request.p.words.eq(row_words),
            request.p.tag.eq(free.o.p),
            info_ram.w_en.eq(ask),
            info_ram.w_addr.eq(free.o.p),
            info_ram.w_data.eq(Cat(number[: ceil_log2(config.working_rows)], address.o.p.address)),
        ]
        with m.If(ask):
            m.d.sync += number.eq(number + 1)

        # Landing. Two stages: look up how many beats of this slot have come and how many it needs;
        # store the beat. The counter of the slot of the cycle before is forwarded.
        m.submodules.landing = landing = Ram(config.bus_bits, max(2, slots * row_beats))
        m.submodules.needed = needed = Ram(ceil_log2(row_beats + 1), max(2, slots))
        m.submodules.landed = landed = Ram(ceil_log2(row_beats + 1), max(2, slots))
        m.submodules.complete = complete = StreamFifo(
            data.StructLayout({"slot": slot_bits}), 1 << max(1, ceil_log2(slots))
        )
        s1_valid = Signal()
        s1_slot = Signal(slot_bits)
        s1_data = Signal(config.bus_bits, reset_less=True)
        s1_error = Signal()
        m.d.comb += [
            needed.w_en.eq(ask),
            needed.w_addr.eq(free.o.p),
            needed.w_data.eq((address.o.p.address[2:shift] + row_words + (words - 1)) >> (shift - 2)),
            needed.r_en.eq(self.read.beat_valid),
            needed.r_addr.eq(self.read.beat_tag),
            landed.r_en.eq(self.read.beat_valid),
            landed.r_addr.eq(self.read.beat_tag),
        ]
        m.d.sync += [
            s1_valid.eq(self.read.beat_valid),
            s1_slot.eq(self.read.beat_tag),
            s1_data.eq(self.read.beat_data),
            s1_error.eq(self.read.beat_error),
        ]
        beat = Signal(range(row_beats + 1))
        last_slot = Signal(slot_bits)
        last_beat = Signal(range(row_beats + 1))
        last_valid = Signal()
        row_is_complete = Signal()
        m.d.comb += [
            beat.eq(Mux(last_valid & (last_slot == s1_slot), last_beat, landed.r_data)),
            row_is_complete.eq(s1_valid & (beat + 1 == needed.r_data)),
            landing.w_en.eq(s1_valid),
            landing.w_addr.eq(s1_slot * row_beats + beat),
            landing.w_data.eq(s1_data),
            landed.w_en.eq(s1_valid | dealing),
            landed.w_addr.eq(Mux(dealing, deal, s1_slot)),
            landed.w_data.eq(Mux(dealing | row_is_complete, 0, beat + 1)),
            complete.i.valid.eq(row_is_complete),
            complete.i.p.slot.eq(s1_slot),
        ]
        m.d.sync += [last_valid.eq(s1_valid), last_slot.eq(s1_slot), last_beat.eq(landed.w_data)]

        # Leaving: complete rows, one after another, from their slots to the row writer.
        m.submodules.writer = writer = RowWriter(config)
        wiring.connect(m, writer.client, wiring.flipped(self.write))
        m.submodules.rows = rows = StreamFifo(config.address_bits, 4)
        wiring.connect(m, rows.o, writer.rows)
        m.submodules.feed = feed = StreamFifo(words_layout(config), 8)
        wiring.connect(m, feed.o, writer.i)
        m.d.comb += [writer.clear.eq(self.start), writer.row_bytes.eq(self.model.row_bytes)]

        # Two stages on the way: a row's info is read; its destination is computed. With the FIFO's two cycles, and one
        # to leave, it takes more than 5 rows on the way for a row of one beat each cycle.
        departing = data.StructLayout({
            "slot": slot_bits, "address": config.address_bits, "destination": config.address_bits,
        })  # fmt: skip
        m.submodules.departing = departures = StreamFifo(departing, 8)
        d1_valid, d2_valid = Signal(), Signal()
        d1_slot = Signal(slot_bits)
        d2 = Signal(departing)
        row_info = data.View(info, info_ram.r_data)
        look = Signal()
        m.d.comb += [
            look.eq(complete.o.valid & (departures.level + d1_valid + d2_valid < 8)),
            complete.o.ready.eq(look),
            info_ram.r_en.eq(look),
            info_ram.r_addr.eq(complete.o.p.slot),
            departures.i.valid.eq(d2_valid),
            departures.i.p.eq(d2),
        ]
        m.d.sync += [
            d1_valid.eq(look), d1_slot.eq(complete.o.p.slot),
            d2_valid.eq(d1_valid), d2.slot.eq(d1_slot), d2.address.eq(row_info.address),
            d2.destination.eq(self.base + row_info.number * self.model.row_bytes),
        ]  # fmt: skip

        # The destination goes to the writer, and beat after beat from the slot.
        placed = Signal()
        out_beat = Signal(range(row_beats + 1))
        out_done = Signal(range(config.max_row_bytes // 4 + 1))
        leaving = departures.o.p
        offset = leaving.address[2:shift]
        s2_valid = Signal()
        s2_words = Signal(words_layout(config))
        first = out_beat == 0
        space = Mux(first, words - offset, words)
        left = row_words - out_done
        last = left <= space
        count = Mux(last, left, space)
        feed_room = feed.level < feed.depth - 2
        send = Signal()
        m.d.comb += [
            rows.i.valid.eq(departures.o.valid & ~placed),
            rows.i.p.eq(leaving.destination),
            send.eq(departures.o.valid & feed_room & (placed | rows.i.ready)),
            landing.r_en.eq(send),
            landing.r_addr.eq(leaving.slot * row_beats + out_beat),
            departures.o.ready.eq(feed_room & (placed | rows.i.ready) & last),
            released.eq(send & last),
            release_slot.eq(leaving.slot),
            feed.i.valid.eq(s2_valid),
            feed.i.p.eq(s2_words),
            feed.i.p.data.eq(landing.r_data),
        ]
        m.d.sync += s2_valid.eq(send)
        with m.If(rows.i.valid & rows.i.ready):
            m.d.sync += placed.eq(1)
        with m.If(send):
            m.d.sync += [
                s2_words.offset.eq(Mux(first, offset, 0)),
                s2_words.count.eq(count),
                out_beat.eq(Mux(last, 0, out_beat + 1)),
                out_done.eq(Mux(last, 0, out_done + count)),
            ]
            with m.If(last):
                m.d.sync += placed.eq(0)

        # Bookkeeping: keys that have come, and rows handed to the writer.
        sent = Signal(range(config.working_rows + 1))
        m.d.sync += sent.eq(sent + (send & last))
        in_flight = Signal(range(slots + 1))
        m.d.sync += in_flight.eq(in_flight + ask - row_is_complete)
        m.d.comb += [
            self.outstanding.eq(in_flight),
            self.keys_done.eq(keys_in == self.count),
            self.idle.eq((sent == self.count) & ~s2_valid & (feed.level == 0) & (rows.level == 0) & writer.idle),
        ]

        # A read error is reported with the row's address, read back when the row leaves.
        slot_error = Signal(slots)
        with m.If(ask):
            m.d.sync += slot_error.bit_select(free.o.p, 1).eq(0)
        with m.If(s1_valid & s1_error):
            m.d.sync += slot_error.bit_select(s1_slot, 1).eq(1)
        with m.If(send & slot_error.bit_select(leaving.slot, 1) & ~self.read_error & ~self.write_error):
            m.d.sync += [self.read_error.eq(1), self.error_address.eq(leaving.address)]
        with m.If(writer.error & ~self.read_error & ~self.write_error):
            m.d.sync += [self.write_error.eq(1), self.error_address.eq(writer.error_address)]
        with m.If(self.start):
            m.d.sync += [
                number.eq(0), sent.eq(0), keys_in.eq(0),
                self.read_error.eq(0), self.write_error.eq(0),
            ]  # fmt: skip
        return m
