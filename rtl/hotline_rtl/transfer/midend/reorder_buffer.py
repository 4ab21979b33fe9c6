"""The reorder buffer: rows arrive beat by beat, in any order and interleaved; each has an entry of its own.

    free entries ─► request's tag      beats, by tag ─► entry ─► complete entries ─► (read, released) ─► free entries

A beat is stored three cycles after it came. An entry is complete two cycles after its last beat came, and may then be read,
a word three cycles after its address. One beat per cycle.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...lib.fifo import StreamFifo
from ...lib.ram import DeepRam, Ram
from ...lib.register_slice import RegisterSlice


def ending_layout() -> data.StructLayout:
    """How a row came: a beat of it was an error (``failed``); was never answered (``lost``)."""
    return data.StructLayout({"failed": 1, "lost": 1})


def completed_layout(config: AcceleratorConfig) -> data.StructLayout:
    """An entry whose row has come."""
    return data.StructLayout({"slot": config.entry_bits, "ending": ending_layout()})


class ReorderBuffer(wiring.Component):
    """Members
    -------
    free : Out(stream of entry number)
        Entries that a request may take. After reset they come one by one.
    ready : Out(1)
        All entries have been made free after reset.
    beat_valid, beat_tag, beat_data, beat_last, beat_error, beat_timeout : In
        A beat of the row whose entry is ``beat_tag``.
    complete : Out(stream of completed_layout)
        Entries whose last beat has come, in that order.
    place : In, word : Out
        Reads a beat: ``entry * row_beats + beat``; three cycles later.
    release : In(1), released : In
        An entry is free again.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        bits, places = config.entry_bits, config.reorder_entries * config.row_beats
        super().__init__({
            "free": Out(stream.Signature(bits)), "ready": Out(1),
            "beat_valid": In(1), "beat_tag": In(bits), "beat_data": In(config.bus_bits), "beat_last": In(1),
            "beat_error": In(1), "beat_timeout": In(1), "complete": Out(stream.Signature(completed_layout(config))),
            "place": In(range(places)), "word": Out(config.bus_bits), "release": In(1), "released": In(bits),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        entries, row_beats, bits = config.reorder_entries, config.row_beats, config.entry_bits

        # Free entries. After reset they are dealt out one by one, and their counters cleared.
        m.submodules.free = free = StreamFifo(bits, 1 << bits, reserved=True)
        m.submodules.free_slot = free_slot = RegisterSlice(bits)
        wiring.connect(m, free.o, free_slot.i)
        wiring.connect(m, free_slot.o, wiring.flipped(self.free))
        dealing, deal = Signal(init=1), Signal(range(entries))
        m.d.comb += [
            self.ready.eq(~dealing),
            free.i.valid.eq(dealing | self.release),
            free.i.p.eq(Mux(dealing, deal, self.released)),
        ]
        with m.If(dealing):
            m.d.sync += [deal.eq(deal + 1), dealing.eq(deal != entries - 1)]

        # Stage 1: how many beats of this entry have come, and was one of them an error? What is known of the entry of the cycle
        # before is forwarded. Stages 2 and 3: the beat's place; the beat is written there.
        row_so_far = data.StructLayout({"beats": range(row_beats + 1), "ending": ending_layout()})
        m.submodules.buffer = buffer = DeepRam(config.bus_bits, entries * row_beats)
        m.submodules.arrived = arrived = Ram(row_so_far.size, entries)
        m.submodules.complete = complete = StreamFifo(completed_layout(config), 1 << bits, reserved=True)
        wiring.connect(m, complete.o, wiring.flipped(self.complete))
        s1_valid, s1_last = Signal(), Signal(reset_less=True)
        s1_slot, s1_ending = Signal(bits, reset_less=True), Signal(ending_layout(), reset_less=True)
        s1_data, s2_data, s3_data = (Signal(config.bus_bits, name=f"s{n}_data", reset_less=True) for n in (1, 2, 3))
        before, so_far = Signal(row_so_far), Signal(row_so_far)  # this beat; with it
        as_before, just_arrived = Signal(reset_less=True), Signal(row_so_far, reset_less=True)
        s2_valid, s2_first = Signal(), Signal(range(entries * row_beats), reset_less=True)
        s2_beat = Signal(range(row_beats + 1), reset_less=True)
        s3_valid, s3_place = Signal(), Signal.like(s2_first)
        m.d.comb += [
            arrived.r_en.eq(self.beat_valid),
            arrived.r_addr.eq(self.beat_tag),
            before.as_value().eq(Mux(as_before, just_arrived.as_value(), arrived.r_data)),
            so_far.beats.eq(before.beats + 1),
            so_far.ending.eq(before.ending.as_value() | s1_ending.as_value()),
            arrived.w_en.eq(s1_valid | dealing),
            arrived.w_addr.eq(Mux(dealing, deal, s1_slot)),
            arrived.w_data.eq(Mux(dealing | s1_last, 0, so_far.as_value())),
            complete.i.valid.eq(s1_valid & s1_last),
            complete.i.p.slot.eq(s1_slot),
            complete.i.p.ending.eq(so_far.ending),
            buffer.w_en.eq(s3_valid),
            buffer.w_addr.eq(s3_place),
            buffer.w_data.eq(s3_data),
            buffer.r_addr.eq(self.place),
            self.word.eq(buffer.r_data),
        ]
        m.d.sync += [
            s1_valid.eq(self.beat_valid),
            s1_slot.eq(self.beat_tag),
            s1_last.eq(self.beat_last),
            s1_data.eq(self.beat_data),
            s1_ending.failed.eq(self.beat_error),
            s1_ending.lost.eq(self.beat_error & self.beat_timeout),
            as_before.eq(s1_valid & (s1_slot == self.beat_tag)),
            just_arrived.eq(arrived.w_data),
            s2_valid.eq(s1_valid),
            s2_first.eq(s1_slot * row_beats),
            s2_beat.eq(before.beats),
            s2_data.eq(s1_data),
            s3_valid.eq(s2_valid),
            s3_place.eq(s2_first + s2_beat),
            s3_data.eq(s2_data),
        ]
        return m
