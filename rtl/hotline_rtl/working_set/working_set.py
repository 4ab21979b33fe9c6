"""The working set: an on-chip hash set that numbers distinct cold keys in first-use order.

Keys lie in ``buckets``, which are emptied in one cycle: a bucket counts only if it carries the present epoch. The memory is
swept when the epoch number starts again, every 255 mini-batches, and after reset.
One probe per cycle, unless the buckets let it wait; latency 12 cycles.
The golden twin is ``hotline_golden.working_set``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.keys import answer_members, found_key_layout, looked_up_key_layout, numbered_key_layout
from ..interfaces.layouts import COUNT_BITS, key_layout
from ..lib.countdown import Countdown
from ..lib.fifo import StreamFifo, is_deep
from ..lib.keys import Permutation
from ..lib.logic import delayed
from .buckets import EPOCH_BITS, Buckets, bucket_bits

#: Numbers, and answers to a SWAP, that may wait to be taken.
NUMBERS, QUESTIONS = 32, 16


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
    finds : In(stream of key_layout), found : Out(stream of found_key_layout)
        With a shadow: is a key in the set, and with which number? In order, only between jobs.
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
            "results": Out(stream.Signature(counted_layout(config))), **(answer_members(config) if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        asks = {"asks": 1} if config.shadow else {}
        extra = data.StructLayout({"sample": COUNT_BITS, "key": config.key_bits, "looks_up": 1, "end": 1, **asks})
        m.submodules.hash = hash_ = Permutation(config, extra=extra.size)
        # Room for all keys of a set and for what is inside, so that probes of keys in the set wait for no key to be taken. A deep
        # FIFO holds some more than its depth; any other is made twice as deep.
        key = numbered_key_layout(config)
        depth = config.working_rows if is_deep(key, config.working_rows) else 2 * config.working_rows
        m.submodules.keys = keys = StreamFifo(key, depth, reserved=True)
        wiring.connect(m, keys.o, wiring.flipped(self.keys))
        m.submodules.numbers = numbers = StreamFifo(range(config.working_rows), NUMBERS, reserved=True)
        wiring.connect(m, numbers.o, wiring.flipped(self.numbers))
        m.submodules.buckets = buckets = Buckets(config)
        sweeping, sweep = Signal(init=1), Signal(bucket_bits(config))

        # A job: its limit has been there for two cycles when the set begins.
        count, overflow = Signal(range(config.working_rows + 1)), Signal()
        overflow_sample = Signal(COUNT_BITS, reset_less=True)
        opened = Signal()  # there is a job
        probing, looking_up = Signal(), Signal()  # its probes, its look-ups are taken
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

        about = data.View(extra, hash_.i.p.extra)
        m.d.comb += [
            hash_.i.valid.eq(((self.probes.valid & probing) | (self.lookups.valid & looking_up)) & ~sweeping),
            self.probes.ready.eq(hash_.i.ready & probing & ~sweeping),
            self.lookups.ready.eq(hash_.i.ready & looking_up & ~sweeping),
        ]
        wanted = Mux(probing, self.probes.p.key, self.lookups.p.key)
        is_end = Mux(probing, self.probes.p.end, self.lookups.p.end)
        m.d.comb += [
            hash_.i.p.keys[0].eq(wanted),
            about.sample.eq(self.probes.p.sample),
            about.key.eq(wanted),
            about.looks_up.eq(looking_up),
            about.end.eq(is_end),
        ]
        if config.shadow:
            m.submodules.found = found_keys = StreamFifo(found_key_layout(config), QUESTIONS, reserved=True)
            wiring.connect(m, found_keys.o, wiring.flipped(self.found))
            unanswered = Signal(range(QUESTIONS + 1))
            may_ask = ~opened & ~sweeping & (unanswered != QUESTIONS)
            m.d.comb += self.finds.ready.eq(hash_.i.ready & may_ask)
            with m.If(self.finds.valid & may_ask):
                m.d.comb += [
                    hash_.i.valid.eq(1),
                    hash_.i.p.keys[0].eq(self.finds.p),
                    about.key.eq(self.finds.p),
                    about.looks_up.eq(1),
                    about.asks.eq(1),
                    about.end.eq(0),
                ]
            m.d.sync += unanswered.eq(
                unanswered + (self.finds.valid & self.finds.ready) - (self.found.valid & self.found.ready)
            )
        with m.If(hash_.i.valid & hash_.i.ready & is_end):
            m.d.sync += [probing.eq(0), looking_up.eq(0)]

        # Probes go to the buckets when there is room for the numbers and the keys of all that is inside.
        room, enters = Signal(), Signal()
        probe, came = buckets.i.p, data.View(extra, hash_.o.p.extra)
        m.d.comb += [
            buckets.i.valid.eq(hash_.o.valid & room),
            hash_.o.ready.eq(buckets.i.ready & room),
            enters.eq(hash_.o.valid & hash_.o.ready),
            probe.bucket.eq(hash_.o.p.keys[0]),
            *(getattr(probe, name).eq(getattr(came, name)) for name, _ in extra),
        ]

        # What has become of them. Keys that the set may still take: one that was taken in the cycle before is not counted yet.
        m.submodules.countdown = left = Countdown(len(limit), 2)
        none_left, one_left, inserted = Signal(), Signal(), Signal()
        epoch = Signal(EPOCH_BITS, init=1)
        leaves, outcome = buckets.o_valid, buckets.o
        put, found = leaves & outcome.put, leaves & outcome.found
        answers = leaves & outcome.probe.asks if config.shadow else Const(0)
        again, ends = found & outcome.probe.looks_up & ~answers, leaves & outcome.probe.end
        m.d.comb += [
            buckets.no_room.eq(none_left | (one_left & inserted)),
            buckets.number.eq(count),
            buckets.epoch.eq(epoch),
            buckets.sweeping.eq(sweeping),
            buckets.sweep.eq(sweep),
            left.start.eq(clear),
            left.count.eq(limit),
            left.take.eq(put),
        ]
        m.d.sync += [inserted.eq(put), none_left.eq(left.left[0]), one_left.eq(left.left[1])]
        with m.If(put):
            m.d.sync += count.eq(count + 1)
        with m.If(leaves & outcome.refused & ~overflow):
            m.d.sync += [overflow.eq(1), overflow_sample.eq(outcome.probe.sample)]

        # Both queues have room, a cycle later, too.
        result = Signal(keys.i.p.shape(), reset_less=True)
        m.d.sync += [
            result.key.eq(outcome.probe.key),
            result.number.eq(Mux(outcome.found, outcome.number, count)),
            result.end.eq(ends),
        ]
        m.d.comb += [
            keys.i.valid.eq(delayed(m, put | again | ends)),
            keys.i.p.eq(result),
            numbers.i.valid.eq(delayed(m, leaves & ~outcome.probe.looks_up & ~outcome.probe.end)),
            numbers.i.p.eq(result.number),
            self.results.p.count.eq(count),
            self.results.p.overflow.eq(overflow),
            self.results.p.overflow_sample.eq(overflow_sample),
            self.results.p.looked_up.eq(looks_up),
        ]
        if config.shadow:
            m.d.comb += [
                found_keys.i.valid.eq(answers),
                found_keys.i.p.found.eq(outcome.found),
                found_keys.i.p.number.eq(outcome.number),
            ]
        with m.If(ends):
            m.d.sync += self.results.valid.eq(1)
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += [self.results.valid.eq(0), opened.eq(0)]

        # What is inside may fill up both queues, but no more: what enters in two cycles is not counted yet. Room that is given
        # back counts a cycle later.
        keys_reserved, numbers_reserved = Signal(range(keys.capacity + 1)), Signal(range(numbers.capacity + 1))
        known_already = delayed(m, leaves & ~put & ~again & ~ends)
        key_left, number_left = delayed(m, keys.o.valid & keys.o.ready), delayed(m, numbers.o.valid & numbers.o.ready)
        m.d.sync += [
            keys_reserved.eq(keys_reserved + enters - known_already - key_left),
            numbers_reserved.eq(numbers_reserved + (enters & ~came.looks_up & ~came.end) - number_left),
            room.eq((keys_reserved <= keys.capacity - 2) & (numbers_reserved <= numbers.capacity - 2)),
        ]

        # Emptying: a new epoch; a sweep when the epochs have run out.
        m.d.comb += self.ready.eq(~sweeping)
        with m.If(sweeping):
            m.d.sync += [sweep.eq(sweep + 1), sweeping.eq(~sweep.all())]
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
