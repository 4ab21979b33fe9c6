"""The working set: an on-chip hash set that numbers distinct cold keys in first-use order.

Buckets of four entries, a bucket in one memory word, at most half full; a full bucket overflows into
the next. Emptied in one cycle: a bucket counts only if it carries the present epoch; the memory is
swept when the epoch number starts again, every 255 mini-batches, and after reset.
One probe per cycle, one more for each overflowing bucket; latency 6 cycles.
The golden twin is ``hotline_golden.working_set``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .keys import Permutation
from .layouts import key_layout
from .ram import Ram
from .words import one_hot_mux

BUCKET_ENTRIES = 4
EPOCH_BITS = 8


def probe_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A cold key, and the sample that it belongs to (for error reports)."""
    return data.StructLayout({"key": key_layout(config), "sample": 20})


def numbered_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A distinct cold key and its number."""
    return data.StructLayout({"key": key_layout(config), "number": range(config.working_rows)})


class WorkingSet(wiring.Component):
    """Members
    -------
    clear : In(1)
        Begins a new working set; nothing is inside.
    ready : Out(1)
        Not sweeping; probes wait while it does.
    limit : In
        The most keys that the set may hold, at most ``working_rows``.
    probes : In(stream of probe_layout)
    lookups : In(stream of key_layout)
        Keys of which those in the set go to ``keys`` again, with their numbers. Only when no probe is inside or comes.
    found : Out(1)
        A lookup's key was in the set.
    numbers : Out(stream of range(working_rows))
        The number of each probe's key, in order.
    keys : Out(stream of numbered_key_layout)
        Each distinct key once, in order of number. There is room for all of one working set: keys hold up
        the probes only while many of an earlier set are still here.
    count : Out
        Distinct keys so far.
    overflow, overflow_sample : Out
        A key came that had no room, first in this sample; it and the following got no valid number.
    busy : Out(1)
        Probes are inside.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "clear": In(1), "ready": Out(1), "limit": In(range(config.working_rows + 1)),
            "probes": In(stream.Signature(probe_layout(config))),
            "lookups": In(stream.Signature(key_layout(config))), "found": Out(1),
            "numbers": Out(stream.Signature(range(config.working_rows))),
            "keys": Out(stream.Signature(numbered_key_layout(config))),
            "count": Out(range(config.working_rows + 1)),
            "overflow": Out(1), "overflow_sample": Out(20), "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        buckets = 2 * config.working_rows // BUCKET_ENTRIES
        bucket_bits = ceil_log2(buckets)
        extra = data.StructLayout({"sample": 20, "key": config.key_bits, "lookup": 1})
        m.submodules.hash = hash_ = Permutation(config, extra=extra.size)
        m.submodules.keys = keys = StreamFifo(numbered_key_layout(config), config.working_rows)
        wiring.connect(m, keys.o, wiring.flipped(self.keys))
        entry = data.StructLayout({"key": config.key_bits, "number": range(config.working_rows)})
        bucket = data.StructLayout({
            "epoch": EPOCH_BITS, "used": range(BUCKET_ENTRIES + 1),
            "entries": data.ArrayLayout(entry, BUCKET_ENTRIES),
        })  # fmt: skip
        m.submodules.ram = ram = Ram(bucket.size, buckets)
        sweeping = Signal(init=1)

        wanted = Mux(self.probes.valid, self.probes.p.key, self.lookups.p)
        m.d.comb += [
            hash_.i.valid.eq((self.probes.valid | self.lookups.valid) & ~sweeping),
            self.probes.ready.eq(hash_.i.ready & ~sweeping),
            self.lookups.ready.eq(hash_.i.ready & ~sweeping & ~self.probes.valid),
            hash_.i.p.keys[0].eq(wanted),
            hash_.i.p.extra.eq(Cat(self.probes.p.sample, wanted, ~self.probes.valid)),
        ]

        # Stage 1: the bucket arrives.
        s1_valid = Signal()
        s1_bucket = Signal(bucket_bits)
        s1_extra = Signal(extra)
        written = Signal()  # by the probe before, to this bucket, this content
        written_bucket = Signal(bucket_bits)
        written_content = Signal(bucket)
        found = Signal(bucket)
        epoch = Signal(EPOCH_BITS, init=1)
        used = Signal(range(BUCKET_ENTRIES + 1))
        m.d.comb += [
            found.eq(Mux(written & (written_bucket == s1_bucket), written_content, ram.r_data)),
            used.eq(Mux(found.epoch == epoch, found.used, 0)),
        ]
        match = Signal(BUCKET_ENTRIES)
        for n in range(BUCKET_ENTRIES):
            m.d.comb += match[n].eq((used > n) & (found.entries[n].key == s1_extra.key))
        hit = match.any()
        full = used == BUCKET_ENTRIES
        no_room = self.count == self.limit
        known = Signal(range(config.working_rows))
        m.d.comb += known.eq(one_hot_mux(match, [found.entries[n].number for n in range(BUCKET_ENTRIES)]))

        out_free = ~self.numbers.valid | self.numbers.ready
        go_on = Signal()  # this bucket is full of other keys: look into the next
        leave = Signal()
        insert = Signal()
        m.d.comb += [
            go_on.eq(s1_valid & ~hit & full & (~no_room | s1_extra.lookup)),
            leave.eq(
                s1_valid
                & ~go_on
                & Mux(s1_extra.lookup, ~hit | keys.i.ready, out_free & (hit | no_room | keys.i.ready))
            ),
            insert.eq(leave & ~hit & ~no_room & ~s1_extra.lookup),
        ]
        enter = Signal()
        m.d.comb += [
            enter.eq(hash_.o.valid & (~s1_valid | leave)),
            hash_.o.ready.eq(~s1_valid | leave),
            ram.r_en.eq(enter | go_on),
            ram.r_addr.eq(Mux(go_on, s1_bucket + 1, hash_.o.p.keys[0])),
        ]
        with m.If(enter):
            m.d.sync += [s1_bucket.eq(hash_.o.p.keys[0]), s1_extra.eq(hash_.o.p.extra)]
        with m.Elif(go_on):
            m.d.sync += s1_bucket.eq(s1_bucket + 1)
        with m.If(enter | leave):
            m.d.sync += s1_valid.eq(enter)

        fresh = Signal(bucket)
        m.d.comb += [fresh.eq(found), fresh.epoch.eq(epoch), fresh.used.eq(used + 1)]
        for n in range(BUCKET_ENTRIES):
            with m.If(used == n):
                m.d.comb += [fresh.entries[n].key.eq(s1_extra.key), fresh.entries[n].number.eq(self.count)]
        with m.If(enter | go_on):
            m.d.sync += [written.eq(insert), written_bucket.eq(s1_bucket), written_content.eq(fresh)]
        again = leave & hit & s1_extra.lookup
        m.d.comb += [
            keys.i.valid.eq(insert | again),
            keys.i.p.key.eq(s1_extra.key),
            keys.i.p.number.eq(Mux(hit, known, self.count)),
            self.found.eq(again),
        ]

        # Stage 2: the number.
        with m.If(leave & ~s1_extra.lookup):
            m.d.sync += [self.numbers.valid.eq(1), self.numbers.p.eq(Mux(hit, known, self.count))]
        with m.Elif(self.numbers.ready):
            m.d.sync += self.numbers.valid.eq(0)
        with m.If(insert):
            m.d.sync += self.count.eq(self.count + 1)
        with m.If(leave & ~hit & no_room & ~s1_extra.lookup & ~self.overflow):
            m.d.sync += [self.overflow.eq(1), self.overflow_sample.eq(s1_extra.sample)]

        # Emptying: a new epoch; a sweep when the epochs have run out.
        sweep = Signal(bucket_bits)
        m.d.comb += [
            self.ready.eq(~sweeping),
            self.busy.eq(hash_.busy | s1_valid | self.numbers.valid),
            ram.w_en.eq(insert | sweeping),
            ram.w_addr.eq(Mux(sweeping, sweep, s1_bucket)),
            ram.w_data.eq(Mux(sweeping, 0, fresh)),
        ]
        with m.If(sweeping):
            m.d.sync += [sweep.eq(sweep + 1), sweeping.eq(sweep != buckets - 1)]
        with m.If(self.clear):
            last_epoch = epoch == (1 << EPOCH_BITS) - 1
            m.d.sync += [
                epoch.eq(Mux(last_epoch, 1, epoch + 1)),
                sweeping.eq(last_epoch | sweeping),
                written.eq(0),
                self.count.eq(0),
                self.overflow.eq(0),
            ]
        return m
