"""The buckets of the working set: finds a key, or puts it where there is room.

Four entries to a bucket, a bucket in one memory word; a full bucket overflows into the next. A bucket counts only if it carries
the present epoch. One probe per cycle; a probe of a bucket that an earlier one is looking at waits up to 5 cycles, and each full
bucket costs about 16. Latency 5 cycles.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.layouts import COUNT_BITS
from ..lib.logic import delayed, equal, one_hot_mux
from ..lib.ram import Ram
from ..lib.register_slice import RegisterSlice

BUCKET_ENTRIES = 4
EPOCH_BITS = 8


def bucket_bits(config: AcceleratorConfig) -> int:
    """Bits of a bucket's number. All buckets together are at most half full."""
    return ceil_log2(2 * config.working_rows // BUCKET_ENTRIES)


def placed_probe_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A probe, and the bucket where it begins to look. ``looks_up``: the key is not put there. ``end``: there is no key.
    ``asks``: of a look-up, its number is asked for."""
    return data.StructLayout({
        "bucket": bucket_bits(config), "sample": COUNT_BITS, "key": config.key_bits, "looks_up": 1, "end": 1,
        **({"asks": 1} if config.shadow else {}),
    })  # fmt: skip


def outcome_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What has become of a probe: its key was ``found``, with its ``number``; or has been ``put``; or was ``refused``, as there
    was no room; or, of a look-up or an end, nothing of that."""
    return data.StructLayout({
        "probe": placed_probe_layout(config), "found": 1, "put": 1, "refused": 1, "number": range(config.working_rows),
    })  # fmt: skip


class Buckets(wiring.Component):
    """Members
    -------
    i : In(stream of placed_probe_layout)
    o_valid : Out(1), o : Out(outcome_layout)
        In order. Always taken.
    no_room : In(1)
        The set takes no more keys.
    number : In
        Of the next key that is put.
    epoch : In(EPOCH_BITS)
        Not 0.
    sweeping : In(1), sweep : In
        Bucket ``sweep`` is emptied. Only while nothing is inside.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(placed_probe_layout(config))), "o_valid": Out(1), "o": Out(outcome_layout(config)),
            "no_room": In(1), "number": In(range(config.working_rows)), "epoch": In(EPOCH_BITS),
            "sweeping": In(1), "sweep": In(bucket_bits(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        entry = data.StructLayout({"key": config.key_bits, "number": range(config.working_rows)})
        bucket = data.StructLayout({
            "epoch": EPOCH_BITS, "used": range(BUCKET_ENTRIES + 1),
            "entries": data.ArrayLayout(entry, BUCKET_ENTRIES),
        })  # fmt: skip
        m.submodules.ram = ram = Ram(bucket.size, 1 << bucket_bits(config))
        stage = placed_probe_layout(config)

        # Stage 1: the bucket is read. A probe waits here while an earlier one is looking at the same bucket, which it may
        # change. Stage 2: it arrives. Stage 3: keys are compared. Stage 4: what that means. Stage 5: is there room for a
        # key? Stage 6: the bucket is written.
        behind = range(2, 7)
        valid = {n: Signal(name=f"s{n}_valid") for n in range(1, 7)}
        s1, s2, s3, s4, s5 = (Signal(stage, name=f"s{n}", reset_less=True) for n in range(1, 6))
        found = Signal(bucket, reset_less=True)
        s4_found = Signal(bucket, reset_less=True)
        s5_found = Signal(bucket, reset_less=True)
        in_use = Signal(BUCKET_ENTRIES, reset_less=True)  # in stage 4, of each entry
        used = Signal(range(BUCKET_ENTRIES + 1), reset_less=True)
        s5_used = Signal(range(BUCKET_ENTRIES + 1), reset_less=True)
        # In stage 5: the key is here; it would go into this bucket; the bucket is full of others.
        hit, fits, over = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        over_lookup = Signal(reset_less=True)  # the last, of a look-up
        known = Signal(range(config.working_rows), reset_less=True)
        go_on, leave, insert = Signal(), Signal(), Signal()

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
        wiring.connect(m, wiring.flipped(self.i), entrance.i)
        m.d.comb += [
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
        s3_used = Mux(found.epoch == self.epoch, found.used, 0)
        # As many parts as one LUT takes together with `in_use`.
        part = -(-config.key_bits // 3)
        match = Cat(equal(m, found.entries[n].key, s3.key, part) for n in range(BUCKET_ENTRIES))
        is_it = Signal(BUCKET_ENTRIES)
        is_here = Signal()
        is_full = Signal()
        finds, puts = s4.looks_up & ~s4.end, ~s4.looks_up & ~s4.end
        m.d.comb += [is_it.eq(match & in_use), is_here.eq(is_it.any()), is_full.eq(used == BUCKET_ENTRIES)]
        m.d.sync += [
            valid[2].eq(moves),
            s2.eq(candidate),
            valid[3].eq(valid[2]),
            s3.eq(s2),
            found.eq(ram.r_data),
            valid[4].eq(valid[3]),
            s4.eq(s3),
            s4_found.eq(found),
            used.eq(s3_used),
            in_use.eq(Cat(s3_used > n for n in range(BUCKET_ENTRIES))),
            valid[5].eq(valid[4]),
            s5.eq(s4),
            s5_found.eq(s4_found),
            s5_used.eq(used),
            hit.eq(is_here & ~s4.end),
            fits.eq(~is_here & ~is_full & puts),
            over.eq(~is_here & is_full & puts),
            over_lookup.eq(~is_here & is_full & finds),
            known.eq(one_hot_mux(is_it, [s4_found.entries[n].number for n in range(BUCKET_ENTRIES)])),
        ]
        with m.If(tries):
            m.d.sync += tried.eq(1)
        with m.If(comes_back):
            with m.If(tried & valid[5]):
                m.d.sync += tried.eq(0)
            with m.If(tried & valid[5]):
                m.d.sync += back[0].bucket.eq(s5.bucket + 1)  # where it is looked for if it comes back again
            with m.If(delayed(m, tried & leave) | ~back_valid[0]):
                m.d.sync += [
                    back_valid.eq(back_valid[1:]),
                    comes_back.eq(back_valid[1:].any()),
                    *(a.eq(b) for a, b in zip(back, back[1:], strict=False)),
                ]
        with m.Else():
            # What would come back is at hand when it is known whether it does.
            came = (1, s5), (valid[4], s4), (valid[3], s3), (valid[2], s2), (passes, s1)
            m.d.sync += [it.eq(there) for it, (_, there) in zip(back, came, strict=True)]
            m.d.sync += back[0].bucket.eq(s5.bucket + 1)
            with m.If(returns):
                m.d.sync += [comes_back.eq(1), back_valid.eq(Cat(is_there for is_there, _ in came))]
                m.d.sync += [valid[n].eq(0) for n in behind if n < 6]

        m.d.comb += [
            go_on.eq((over & ~self.no_room) | over_lookup),
            leave.eq(valid[5] & ~go_on),
            insert.eq(valid[5] & fits & ~self.no_room),
            self.o_valid.eq(leave),
            self.o.probe.eq(s5),
            self.o.found.eq(hit),
            self.o.put.eq(insert),
            self.o.refused.eq((fits | over) & self.no_room),
            self.o.number.eq(known),
        ]

        # No bucket counts whose epoch is 0.
        fresh, fresh_bucket = Signal(bucket, reset_less=True), Signal(bucket_bits(config), reset_less=True)
        m.d.sync += [
            valid[6].eq(insert | self.sweeping),
            fresh_bucket.eq(Mux(self.sweeping, self.sweep, s5.bucket)),
            fresh.eq(s5_found),
            fresh.epoch.eq(Mux(self.sweeping, 0, self.epoch)),
            fresh.used.eq(s5_used + 1),
        ]
        for n in range(BUCKET_ENTRIES):
            with m.If(s5_used == n):
                m.d.sync += [fresh.entries[n].key.eq(s5.key), fresh.entries[n].number.eq(self.number)]
        m.d.comb += [ram.w_en.eq(valid[6]), ram.w_addr.eq(fresh_bucket), ram.w_data.eq(fresh)]
        return m
