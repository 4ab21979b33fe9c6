"""The working set: an on-chip hash set that numbers distinct cold keys in first-use order.

Buckets of four entries, a bucket in one memory word, at most half full; a full bucket overflows into
the next. Emptied in one cycle: a bucket counts only if it carries the present epoch; the memory is
swept when the epoch number starts again, every 255 mini-batches, and after reset.
One probe per cycle; a probe of a bucket that an earlier one is looking at waits up to 5 cycles, and each full bucket
costs about 16. Latency 12 cycles.
The golden twin is ``hotline_golden.working_set``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.keys import looked_up_key_layout, numbered_key_layout
from ..interfaces.layouts import COUNT_BITS, key_layout
from ..lib.countdown import Countdown
from ..lib.fifo import StreamFifo, is_deep
from ..lib.keys import Permutation
from ..lib.logic import delayed, equal, one_hot_mux
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice

BUCKET_ENTRIES = 4
EPOCH_BITS = 8
#: Numbers that may wait to be taken.
NUMBERS = 32


def probe_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A cold key, and the sample that it belongs to (for error reports). ``end``: no key, but the end of the mini-batch."""
    return data.StructLayout({"key": key_layout(config), "sample": COUNT_BITS, "end": 1})


def working_set_job_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Begins a new working set of at most ``limit`` keys (no more than ``working_rows``), or, with ``looks_up``, looks keys up in
    the one that there is."""
    return data.StructLayout({"limit": range(config.working_rows + 1), "looks_up": 1})


def counted_layout(config: AcceleratorConfig) -> data.StructLayout:
    """How many distinct keys a working set holds; whether there were more, first in which sample. Or ``looked_up``: look-ups have
    ended."""
    return data.StructLayout({
        "count": range(config.working_rows + 1), "overflow": 1, "overflow_sample": COUNT_BITS, "looked_up": 1,
    })  # fmt: skip


class WorkingSet(wiring.Component):
    """Members
    -------
    jobs : In(stream of working_set_job_layout)
    ready : Out(1)
        Not sweeping; jobs wait while it does.
    probes : In(stream of probe_layout)
        Keys of the mini-batch. They are taken from its job to its end.
    lookups : In(stream of looked_up_key_layout)
        Keys of which those in the set go to ``keys`` again, with their numbers; behind them an ``end``. In the same way.
    numbers : Out(stream of range(working_rows))
        The number of each probe's key, in order. A key that has no room, and those behind it, get no valid number.
    keys : Out(stream of numbered_key_layout)
        Each distinct key once, in order of number. There is room for all of one working set: keys hold up
        the probes only while many of an earlier set are still here.
    results : Out(stream of counted_layout)
        The end of the probes, or of the look-ups, has gone to ``keys``. The next job waits until this has been taken.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(working_set_job_layout(config))), "ready": Out(1),
            "probes": In(stream.Signature(probe_layout(config))),
            "lookups": In(stream.Signature(looked_up_key_layout(config))),
            "numbers": Out(stream.Signature(range(config.working_rows))),
            "keys": Out(stream.Signature(numbered_key_layout(config))),
            "results": Out(stream.Signature(counted_layout(config))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        buckets = 2 * config.working_rows // BUCKET_ENTRIES
        bucket_bits = ceil_log2(buckets)
        # What a probe is at the end: no key, so that it finds nothing.
        extra = data.StructLayout({"sample": COUNT_BITS, "key": config.key_bits, "lookup": 1, "end": 1})
        m.submodules.hash = hash_ = Permutation(config, extra=extra.size)
        # Room for all keys of a set and for what is inside, so that probes of keys in the set wait for no key to be taken. A deep
        # FIFO holds some more than its depth; any other is made twice as deep.
        key = numbered_key_layout(config)
        depth = config.working_rows if is_deep(key, config.working_rows) else 2 * config.working_rows
        m.submodules.keys = keys = StreamFifo(key, depth, reserved=True)
        wiring.connect(m, keys.o, wiring.flipped(self.keys))
        m.submodules.numbers = numbers = StreamFifo(range(config.working_rows), NUMBERS, reserved=True)
        wiring.connect(m, numbers.o, wiring.flipped(self.numbers))
        entry = data.StructLayout({"key": config.key_bits, "number": range(config.working_rows)})
        bucket = data.StructLayout({
            "epoch": EPOCH_BITS, "used": range(BUCKET_ENTRIES + 1),
            "entries": data.ArrayLayout(entry, BUCKET_ENTRIES),
        })  # fmt: skip
        m.submodules.ram = ram = Ram(bucket.size, buckets)
        sweeping = Signal(init=1)

        # A job: its limit has been there for two cycles when the set begins.
        count, overflow = Signal(range(config.working_rows + 1)), Signal()
        overflow_sample = Signal(COUNT_BITS, reset_less=True)
        opened, probing, looking_up = (
            Signal(),
            Signal(),
            Signal(),
        )  # there is a job; its probes, its look-ups are taken
        limit, looks_up = Signal.like(self.jobs.p.limit, reset_less=True), Signal(reset_less=True)
        taken, begins = Signal(), Signal(3)
        m.d.comb += [
            self.jobs.ready.eq(~opened & ~sweeping),
            taken.eq(self.jobs.valid & self.jobs.ready),
        ]
        m.d.sync += begins.eq(Cat(taken, begins))
        with m.If(taken):
            m.d.sync += [opened.eq(1), limit.eq(self.jobs.p.limit), looks_up.eq(self.jobs.p.looks_up)]
        clear = begins[-1] & ~looks_up
        with m.If(begins[-1]):
            m.d.sync += [probing.eq(~looks_up), looking_up.eq(looks_up)]

        m.d.comb += [
            hash_.i.valid.eq(((self.probes.valid & probing) | (self.lookups.valid & looking_up)) & ~sweeping),
            self.probes.ready.eq(hash_.i.ready & probing & ~sweeping),
            self.lookups.ready.eq(hash_.i.ready & looking_up & ~sweeping),
        ]
        wanted = Mux(probing, self.probes.p.key, self.lookups.p.key)
        is_end = Mux(probing, self.probes.p.end, self.lookups.p.end)
        m.d.comb += [
            hash_.i.p.keys[0].eq(wanted),
            hash_.i.p.extra.eq(Cat(self.probes.p.sample, wanted, looking_up | is_end, is_end)),
        ]
        with m.If(hash_.i.valid & hash_.i.ready & is_end):
            m.d.sync += [probing.eq(0), looking_up.eq(0)]

        # Stage 1: the bucket is read. A probe waits here while an earlier one is looking at the same bucket, which it may
        # change. Stage 2: it arrives. Stage 3: keys are compared. Stage 4: what that means. Stage 5: is there room for a
        # key? Stage 6: the bucket is written.
        stage = data.StructLayout({"bucket": bucket_bits, "extra": extra.size})
        behind = range(2, 7)
        valid = {n: Signal(name=f"s{n}_valid") for n in range(1, 7)}
        s1, s2, s3, s4, s5 = (Signal(stage, name=f"s{n}", reset_less=True) for n in range(1, 6))
        found = Signal(bucket, reset_less=True)
        s4_found = Signal(bucket, reset_less=True)
        s5_found = Signal(bucket, reset_less=True)
        epoch = Signal(EPOCH_BITS, init=1)
        in_use = Signal(BUCKET_ENTRIES, reset_less=True)  # in stage 4, of each entry
        used = Signal(range(BUCKET_ENTRIES + 1), reset_less=True)
        s5_used = Signal(range(BUCKET_ENTRIES + 1), reset_less=True)
        # In stage 5: the key is here; it would go into this bucket; the bucket is full of others.
        hit, fits, over = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        hit_lookup, over_lookup = Signal(reset_less=True), Signal(reset_less=True)  # the same, of a lookup
        known = Signal(range(config.working_rows), reset_less=True)
        go_on, leave, insert, again = Signal(), Signal(), Signal(), Signal()
        enters = Signal()
        room = Signal()  # for the numbers and the keys of all that is inside
        s3_extra, s5_extra = data.View(extra, s3.extra), data.View(extra, s5.extra)

        # A bucket that is full of other keys sends its probe back, for the next one, and with it those behind. They come
        # again one at a time, before any other; one that has come stays first in the list until it has left.
        back_valid, back = Signal(5), [Signal(stage, name=f"back_{n}", reset_less=True) for n in range(5)]
        comes_back, tried = Signal(), Signal()  # the list is not empty; its first is in the stages
        tries = back_valid[0] & ~tried & ~delayed(m, tried)  # what the one before has changed is in memory
        returns = valid[5] & go_on
        candidate = Signal(stage)
        m.d.comb += candidate.eq(Mux(comes_back, back[0].as_value(), s1.as_value()))
        # What is in stage n looks at the bucket of stage 1.
        same = {n: Signal(name=f"same_bucket_{n}", reset_less=True) for n in behind}
        passes = valid[1] & ~comes_back & ~delayed(m, comes_back) & ~Cat(valid[n] & same[n] for n in behind).any()
        moves = passes | tries
        s1_free = ~valid[1] | passes
        m.submodules.slice = entrance = RegisterSlice(stage)
        m.d.comb += [
            entrance.i.valid.eq(hash_.o.valid & room),
            entrance.i.p.bucket.eq(hash_.o.p.keys[0]),
            entrance.i.p.extra.eq(hash_.o.p.extra),
            hash_.o.ready.eq(entrance.i.ready & room),
            enters.eq(hash_.o.valid & hash_.o.ready),
            entrance.o.ready.eq(s1_free),
            ram.r_en.eq(1),
            ram.r_addr.eq(candidate.bucket),
        ]
        with m.If(s1_free):
            m.d.sync += [valid[1].eq(entrance.o.valid), s1.eq(entrance.o.p)]
            m.d.sync += [
                same[n].eq(entrance.o.p.bucket == s.bucket) for n, s in zip(behind, (s1, s2, s3, s4, s5), strict=True)
            ]
        with m.Else():
            m.d.sync += [same[n].eq(same[n - 1]) for n in behind[1:]]
        s3_used = Mux(found.epoch == epoch, found.used, 0)
        # As many parts as one LUT takes together with `in_use`.
        part = -(-config.key_bits // 3)
        match = Cat(equal(m, found.entries[n].key, s3_extra.key, part) for n in range(BUCKET_ENTRIES))
        is_it = Signal(BUCKET_ENTRIES)
        is_here = Signal()
        is_full = Signal()
        is_lookup, s4_end = data.View(extra, s4.extra).lookup, data.View(extra, s4.extra).end
        m.d.comb += [is_it.eq(match & in_use), is_here.eq(is_it.any()), is_full.eq(used == BUCKET_ENTRIES)]
        m.d.sync += [
            valid[2].eq(moves), s2.eq(candidate), valid[3].eq(valid[2]), s3.eq(s2), found.eq(ram.r_data),
            valid[4].eq(valid[3]), s4.eq(s3), s4_found.eq(found),
            used.eq(s3_used), in_use.eq(Cat(s3_used > n for n in range(BUCKET_ENTRIES))),
            valid[5].eq(valid[4]), s5.eq(s4), s5_found.eq(s4_found), s5_used.eq(used),
            hit.eq(is_here & ~is_lookup), hit_lookup.eq(is_here & is_lookup & ~s4_end), fits.eq(~is_here & ~is_full & ~is_lookup),
            over.eq(~is_here & is_full & ~is_lookup), over_lookup.eq(~is_here & is_full & is_lookup & ~s4_end),
            known.eq(one_hot_mux(is_it, [s4_found.entries[n].number for n in range(BUCKET_ENTRIES)])),
        ]  # fmt: skip
        with m.If(tries):
            m.d.sync += tried.eq(1)
        with m.If(comes_back):
            with m.If(tried & valid[5]):
                m.d.sync += tried.eq(0)
            with m.If(tried & valid[5]):
                m.d.sync += back[0].bucket.eq(s5.bucket + 1)  # where it is looked for if it comes back again
            with m.If(delayed(m, tried & leave) | ~back_valid[0]):
                m.d.sync += [
                    back_valid.eq(back_valid[1:]), comes_back.eq(back_valid[1:].any()),
                    *(a.eq(b) for a, b in zip(back, back[1:], strict=False)),
                ]  # fmt: skip
        with m.Else():
            # What would come back is at hand when it is known whether it does.
            came = (1, s5), (valid[4], s4), (valid[3], s3), (valid[2], s2), (passes, s1)
            m.d.sync += [it.eq(there) for it, (_, there) in zip(back, came, strict=True)]
            m.d.sync += back[0].bucket.eq(s5.bucket + 1)
            with m.If(returns):
                m.d.sync += [comes_back.eq(1), back_valid.eq(Cat(is_there for is_there, _ in came))]
                m.d.sync += [valid[n].eq(0) for n in behind if n < 6]
        # Keys that the set may still take; one that was taken in the cycle before is not counted yet.
        m.submodules.countdown = left = Countdown(len(limit), 2)
        none_left, one_left, inserted = Signal(), Signal(), Signal()
        ends = Signal()
        no_room = none_left | (one_left & inserted)

        m.d.comb += [
            go_on.eq((over & ~no_room) | over_lookup),
            leave.eq(valid[5] & ~go_on),
            insert.eq(valid[5] & fits & ~no_room),
            again.eq(valid[5] & hit_lookup),
            ends.eq(valid[5] & s5_extra.end),
        ]

        # No bucket counts whose epoch is 0.
        sweep = Signal(bucket_bits)
        fresh, fresh_bucket = Signal(bucket, reset_less=True), Signal(bucket_bits, reset_less=True)
        m.d.sync += [
            valid[6].eq(insert | sweeping), fresh_bucket.eq(Mux(sweeping, sweep, s5.bucket)),
            fresh.eq(s5_found), fresh.epoch.eq(Mux(sweeping, 0, epoch)), fresh.used.eq(s5_used + 1),
        ]  # fmt: skip
        for n in range(BUCKET_ENTRIES):
            with m.If(s5_used == n):
                m.d.sync += [fresh.entries[n].key.eq(s5_extra.key), fresh.entries[n].number.eq(count)]
        m.d.comb += [ram.w_en.eq(valid[6]), ram.w_addr.eq(fresh_bucket), ram.w_data.eq(fresh)]

        # Both queues have room, a cycle later, too.
        result = Signal(keys.i.p.shape(), reset_less=True)
        m.d.sync += [
            result.key.eq(s5_extra.key), result.number.eq(Mux(hit | hit_lookup, known, count)), result.end.eq(ends),
        ]  # fmt: skip
        m.d.comb += [
            keys.i.valid.eq(delayed(m, insert | again | ends)), keys.i.p.eq(result),
            numbers.i.valid.eq(delayed(m, leave & ~s5_extra.lookup)), numbers.i.p.eq(result.number),
            self.results.p.count.eq(count), self.results.p.overflow.eq(overflow),
            self.results.p.overflow_sample.eq(overflow_sample), self.results.p.looked_up.eq(looks_up),
        ]  # fmt: skip
        with m.If(ends):
            m.d.sync += self.results.valid.eq(1)
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += [self.results.valid.eq(0), opened.eq(0)]
        m.d.comb += [left.start.eq(clear), left.count.eq(limit), left.take.eq(insert)]
        m.d.sync += [inserted.eq(insert), none_left.eq(left.left[0]), one_left.eq(left.left[1])]
        with m.If(insert):
            m.d.sync += count.eq(count + 1)
        with m.If(valid[5] & (fits | over) & no_room & ~overflow):
            m.d.sync += [overflow.eq(1), overflow_sample.eq(s5_extra.sample)]

        # What is inside may fill up both queues, but no more: what enters in two cycles is not counted yet. Room that is given
        # back counts a cycle later.
        keys_reserved, numbers_reserved = Signal(range(keys.capacity + 1)), Signal(range(numbers.capacity + 1))
        known_already = delayed(m, leave & ~insert & ~again & ~ends)
        key_left, number_left = delayed(m, keys.o.valid & keys.o.ready), delayed(m, numbers.o.valid & numbers.o.ready)
        m.d.sync += [
            keys_reserved.eq(keys_reserved + enters - known_already - key_left),
            numbers_reserved.eq(
                numbers_reserved + (enters & ~data.View(extra, hash_.o.p.extra).lookup) - number_left
            ),
            room.eq((keys_reserved <= keys.capacity - 2) & (numbers_reserved <= numbers.capacity - 2)),
        ]

        # Emptying: a new epoch; a sweep when the epochs have run out.
        m.d.comb += self.ready.eq(~sweeping)
        with m.If(sweeping):
            m.d.sync += [sweep.eq(sweep + 1), sweeping.eq(sweep != buckets - 1)]
        with m.If(clear):
            last_epoch = epoch == (1 << EPOCH_BITS) - 1
            m.d.sync += [
                epoch.eq(Mux(last_epoch, 1, epoch + 1)),
                sweeping.eq(last_epoch | sweeping),
                count.eq(0),
                none_left.eq(left.begins[0]),
                one_left.eq(left.begins[1]),
                overflow.eq(0),
            ]
        return m
