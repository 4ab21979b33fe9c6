"""The row mover: copies rows from one memory to the other, many at a time, with a reorder buffer.

    transfers ─► entry ─► read request      beats ─► entry ... row complete ─► row writer

A transfer is (source, destination, tag); its length is the model's row. Each row on its way has an entry of the buffer, so
answers may come in any order and interleaved. A row leaves when it is complete. There are more entries than reads in flight, so
that freeing an entry takes no time from reading.
Throughput: one request per cycle while entries are free; a row of b beats leaves in b cycles.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.layouts import COUNT_BITS, words_layout
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from ...lib.fifo import StreamFifo
from ...lib.logic import delayed, without_reset
from ...lib.ram import Ram
from ...lib.register_slice import RegisterSlice
from .reorder_buffer import ReorderBuffer, completed_layout, ending_layout
from .row_beats import place_beat, row_beats_layout
from .row_beats import row_beats as row_beats_of
from .row_writer import RowWriter

#: What a memory port says of a beat.
BEAT = ("beat_valid", "beat_tag", "beat_data", "beat_last", "beat_error", "beat_timeout")
#: Rows that may lie in front of the row writer; with the cycles on the way it takes more than 5 for a row a cycle.
DEPARTURES = 16
#: Beats that may be on their way from a reorder-buffer entry to the row writer.
FEED = 16


def move_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A row to be moved between byte addresses (multiples of 4); ``tag`` names it in an error.

    Rows belong to one of two sets, whose ends are told apart.
    """
    return data.StructLayout({
        "source": config.address_bits, "destination": config.address_bits, "tag": COUNT_BITS, "set": 1,
    })  # fmt: skip


class RowMover(wiring.Component):
    """Members
    -------
    row_bytes : In
    i : In(stream of move_layout)
    hold_writes : In(1)
        No row begins to be written.
    done, done_set : Out(1)
        A row is in memory, or has failed; and its set.
    read_failed : Out(1), failed : Out(move_layout), read_timeout : Out(1)
        A row could not be read; which; no answer came. Before its ``done``.
    write_failed, write_timeout : Out(1), write_address : Out
        A burst of a row of ``done_set`` could not be written; no answer came; its address. No later than its ``done``.
    stall_slots : Out(1)
        A row waits for a reorder-buffer entry.
    read : Out(ReadClientSignature), write : Out(WriteClientSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "row_bytes": In(range(config.max_row_bytes + 1)),
            "i": In(stream.Signature(move_layout(config))), "hold_writes": In(1), "done": Out(1), "done_set": Out(1),
            "read_failed": Out(1), "failed": Out(move_layout(config)), "read_timeout": Out(1),
            "write_failed": Out(1), "write_timeout": Out(1), "write_address": Out(config.address_bits),
            "stall_slots": Out(1),
            "read": Out(ReadClientSignature(config, config.entry_bits)), "write": Out(WriteClientSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, slot_bits = self.config, self.config.entry_bits
        slots, row_beats = config.reorder_entries, config.row_beats
        shift = ceil_log2(config.bus_bytes)
        row_words = self.row_bytes[2:]

        # Rows arrive in the reorder buffer.
        m.submodules.buffer = buffer = ReorderBuffer(config)
        m.d.comb += [getattr(buffer, name).eq(getattr(self.read, name)) for name in BEAT]
        released, release_slot = Signal(), Signal(slot_bits, reset_less=True)

        # Asking. Where a row comes from and goes to is kept until it leaves.
        m.submodules.moves = moves = Ram(move_layout(config).size, slots)
        m.submodules.request = request_slice = RegisterSlice(self.read.request.p.shape())
        wiring.connect(m, request_slice.o, wiring.flipped(self.read.request))
        request = request_slice.i
        ask = Signal()
        m.d.comb += [
            request.valid.eq(self.i.valid & buffer.free.valid & buffer.ready),
            ask.eq(request.valid & request.ready),
            self.i.ready.eq(ask),
            buffer.free.ready.eq(ask),
            request.p.address.eq(self.i.p.source),
            request.p.words.eq(row_words),
            request.p.tag.eq(buffer.free.p),
            moves.w_en.eq(ask),
            moves.w_addr.eq(buffer.free.p),
            moves.w_data.eq(self.i.p),
            self.stall_slots.eq(self.i.valid & ~buffer.free.valid),
        ]

        # Leaving: complete rows, one after another. Their moves are looked up on the way.
        m.submodules.writer = writer = RowWriter(config)
        m.submodules.rows = rows = StreamFifo(config.address_bits, 4)
        m.submodules.feed = feed = StreamFifo(words_layout(config), FEED, reserved=True)
        wiring.connect(m, writer.client, wiring.flipped(self.write))
        wiring.connect(m, rows.o, writer.rows)
        wiring.connect(m, feed.o, writer.i)
        departing = data.StructLayout({
            "slot": slot_bits, "first": range(slots * row_beats), "beats": row_beats_layout(config),
            "move": move_layout(config), "ending": ending_layout(), "single": 1,
        })  # fmt: skip
        m.submodules.departures = departures = StreamFifo(departing, DEPARTURES, reserved=True)
        d0_valid, d0 = Signal(), Signal(completed_layout(config), reset_less=True)
        d1_valid, d1 = Signal(), Signal(completed_layout(config), reset_less=True)
        look, room = Signal(), Signal()
        found = data.View(move_layout(config), moves.r_data)
        d2_valid = Signal()
        d2 = Signal(completed_layout(config), reset_less=True)
        d2_move = Signal(move_layout(config), reset_less=True)
        d3_valid, d3 = Signal(), Signal(departing, reset_less=True)
        m.d.comb += [
            writer.row_bytes.eq(self.row_bytes),
            look.eq(buffer.complete.valid & room),
            buffer.complete.ready.eq(look),
            moves.r_en.eq(1),
            moves.r_addr.eq(d0.slot),
            departures.i.valid.eq(d3_valid),
            departures.i.p.eq(d3),
            departures.i.p.single.eq(d3.beats.last_beat == 0),
        ]
        m.d.sync += [
            room.eq(departures.level + d0_valid + d1_valid + d2_valid + d3_valid + look < DEPARTURES),
            d0_valid.eq(look),
            d0.eq(buffer.complete.p),
            d1_valid.eq(d0_valid),
            d1.eq(d0),
            d2_valid.eq(d1_valid),
            d2.eq(d1),
            d2_move.eq(found),
            d3_valid.eq(d2_valid),
            d3.slot.eq(d2.slot),
            d3.first.eq(d2.slot * row_beats),
            d3.move.eq(d2_move),
            d3.ending.eq(d2.ending),
            d3.beats.eq(row_beats_of(config, d2_move.source[2:shift], row_words)),
        ]

        # The destination goes to the writer, and beat after beat from the slot.
        placed = Signal()
        out_beat = Signal(range(row_beats))
        first, ends_row = Signal(init=1), Signal()  # the next beat is its row's first; or not, but its last
        leaving = departures.o.p
        last = Mux(first, leaving.single, ends_row)
        place = place_beat(m, config, leaving.beats, first, last)
        feed_room, send = Signal(), Signal()
        # A beat arrives from its reorder-buffer entry four cycles after it was sent for.
        at_slot = Signal.like(buffer.place, reset_less=True)
        arrives, offset, count = send, Value.cast(place.offset), Value.cast(place.count)
        for _ in range(4):
            arrives = delayed(m, arrives)
            offset, count = (delayed(m, value, reset_less=True) for value in (offset, count))
        may_send = placed | (rows.i.ready & ~self.hold_writes)
        m.d.comb += [
            rows.i.valid.eq(departures.o.valid & ~placed & ~self.hold_writes),
            rows.i.p.eq(leaving.move.destination),
            send.eq(departures.o.valid & feed_room & may_send),
            buffer.place.eq(at_slot),
            departures.o.ready.eq(feed_room & may_send & last),
            feed.i.valid.eq(arrives),
            feed.i.p.data.eq(buffer.word),
            feed.i.p.offset.eq(offset),
            feed.i.p.count.eq(count),
            buffer.release.eq(released),
            buffer.released.eq(release_slot),
        ]
        m.d.sync += [
            feed_room.eq(feed.level < feed.depth - 7),
            released.eq(send & last),
            release_slot.eq(leaving.slot),
            at_slot.eq(leaving.first + out_beat),
        ]
        with m.If(rows.i.valid & rows.i.ready):
            m.d.sync += placed.eq(1)
        with m.If(send):
            m.d.sync += [
                out_beat.eq(Mux(last, 0, out_beat + 1)),
                first.eq(last),
                ends_row.eq(out_beat + 1 == leaving.beats.last_beat),
            ]
            with m.If(last):
                m.d.sync += placed.eq(0)

        # Rows given to the writer are answered in that order: whose set each is.
        m.submodules.sets = sets = StreamFifo(1, max(32, 2 * config.outstanding_writes), reserved=True)
        m.d.comb += [
            sets.i.valid.eq(delayed(m, rows.i.valid & rows.i.ready)),
            sets.i.p.eq(delayed(m, leaving.move.set)),
            sets.o.ready.eq(self.write.answered),
        ]
        done_set = without_reset(m, self.done_set)
        write_timeout = without_reset(m, self.write_timeout)
        write_address = without_reset(m, self.write_address)
        m.d.sync += [
            self.done.eq(self.write.answered),
            done_set.eq(sets.o.p),
            self.write_failed.eq(self.write.error),
            write_timeout.eq(self.write.timeout),
            write_address.eq(self.write.error_address),
        ]

        # A read error is told when its row leaves, which then is written all the same.
        read_timeout = without_reset(m, self.read_timeout)
        failed = without_reset(m, self.failed)
        m.d.sync += [
            self.read_failed.eq(send & last & leaving.ending.failed),
            read_timeout.eq(leaving.ending.lost),
            failed.eq(leaving.move),
        ]
        return m
