"""Which burst each write response ends, and which client it belongs to.

Bursts of an ID are answered in order (IHI 0022 H, A5.3), so each ID has a list of its unanswered ones. When nothing is answered
for ``timeout`` cycles although all data has been sent, every unanswered burst is given up and counts as answered with an error;
what memory still answers later is counted off and dropped. Latency: 3 cycles from a response to its client.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.axi import RESP_OKAY
from ...lib.fifo import StreamFifo
from ...lib.logic import delayed
from ...lib.watchdog import Watchdog
from .lost_bursts import LATE_BITS


def issued_layout(config: AcceleratorConfig, clients: int) -> data.StructLayout:
    """A burst that has been issued: whose it is, one bit of ``owners``, and whether it is the last of its transfer."""
    return data.StructLayout({"address": config.address_bits, "owners": clients, "last": 1})


def answer_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What a client is told: a transfer has been ``answered``; a burst at ``address`` with an ``error``, or not at all."""
    return data.StructLayout({"answered": 1, "error": 1, "timeout": 1, "address": config.address_bits})


class WriteResponses(wiring.Component):
    """``ids`` AXI IDs for ``count`` clients: client ``c`` uses ID ``c % ids``.

    Members
    -------
    issue : In(1), burst : In(issued_layout)
        A burst is issued. Only with ``room``.
    room : Out(1)
        There is room for one more burst on every list: so whose burst it is decides nothing.
    sent : In(1)
        No address or data of an issued burst is on its way.
    b_valid, b_id, b_resp : In, b_ready : Out(1)
        The B channel.
    answers : Out(answer_layout).array(count), unanswered : Out(1).array(count)
        For each client: what has just been answered, and whether bursts have not been.
    timeout : In(32)
    empty : Out(1)
        No burst is unanswered, and no response is inside.
    """

    def __init__(self, config: AcceleratorConfig, ids: int, count: int):
        self.config, self.ids, self.count = config, ids, count
        super().__init__({
            "issue": In(1), "burst": In(issued_layout(config, count)), "room": Out(1), "sent": In(1),
            "b_valid": In(1), "b_id": In(config.id_bits), "b_resp": In(2), "b_ready": Out(1),
            "answers": Out(answer_layout(config)).array(count), "unanswered": Out(1).array(count), "timeout": In(32),
            "empty": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, ids = self.config, self.ids
        layout = issued_layout(config, self.count)
        lists = []
        for n in range(ids):
            m.submodules[f"unanswered_{n}"] = fifo = StreamFifo(layout, config.outstanding_writes, reserved=True)
            lists.append(fifo)
        giving_up = Signal()
        m.submodules.watchdog = watchdog = Watchdog()
        # What is issued is on its list a cycle later, and counts in `list_room` after three: so there must be room for four.
        list_room = delayed(m, Cat(delayed(m, fifo.level <= fifo.depth - 3) for fifo in lists).all())
        issued = delayed(m, self.issue)
        issued_burst = delayed(m, self.burst, reset_less=True)
        m.d.comb += self.room.eq(list_room & ~giving_up & ~watchdog.expired)

        # Stage 1: a response arrives. A burst is on its ID's list before its last beat leaves. Stage 2: one that is
        # late is dropped, any other ends a burst. While all is given up and nothing arrives, the next burst of each ID ends.
        b_valid, b_error = Signal(), Signal(reset_less=True)
        b_ids = Signal(ids)  # whose it is
        synthesised, ends_error = Signal(reset_less=True), Signal(reset_less=True)
        synthesises = Signal()
        comes = self.b_valid & self.b_ready
        m.d.comb += [self.b_ready.eq(~giving_up), synthesises.eq(giving_up & ~b_valid)]
        m.d.sync += [
            b_valid.eq(comes),
            *(b_ids[n].eq(comes & (self.b_id == n)) for n in range(ids)),
            b_error.eq(self.b_resp != RESP_OKAY),
            synthesised.eq(synthesises),
            ends_error.eq(b_error | synthesises),
        ]
        ends = []
        for n, fifo in enumerate(lists):
            # how many; whether any
            late = Signal(LATE_BITS, name=f"late_{n}")
            any_late = Signal(name=f"any_late_{n}")
            ending, end = Signal(name=f"ending_{n}"), Signal(name=f"end_{n}")
            m.d.sync += ending.eq(synthesises | (b_ids[n] & ~any_late))
            m.d.comb += [
                end.eq(fifo.o.valid & ending),
                fifo.i.valid.eq(issued & Cat(issued_burst.owners[c] for c in range(n, self.count, ids)).any()),
                fifo.i.p.eq(issued_burst),
                fifo.o.ready.eq(ending),
            ]
            # No response arrives while responses are synthesised.
            with m.If(end & synthesised):
                m.d.sync += [late.eq(late + 1), any_late.eq(1)]
            with m.Elif(b_ids[n] & any_late):
                m.d.sync += [late.eq(late - 1), any_late.eq(late != 1)]
            ends.append(end)
        for c in range(self.count):
            fifo, end = lists[c % ids], ends[c % ids]
            own = end & fifo.o.p.owners[c]
            pending = Signal(range(config.outstanding_writes + 4), name=f"pending_{c}")
            answer = Signal(answer_layout(config), name=f"answer_{c}")
            where = Signal(config.address_bits, name=f"where_{c}", reset_less=True)
            m.d.sync += [
                pending.eq(pending + (issued & issued_burst.owners[c]) - own),
                answer.answered.eq(own & fifo.o.p.last),
                answer.error.eq(own & ends_error),
                answer.timeout.eq(synthesised),
                where.eq(fifo.o.p.address),
            ]
            m.d.comb += [
                self.unanswered[c].eq(pending != 0),
                self.answers[c].eq(answer),
                self.answers[c].address.eq(where),
            ]

        # Giving up: only when no address or data is on its way, so that none can follow its burst's answer.
        no_burst = Cat(fifo.level == 0 for fifo in lists).all()
        was_empty, was_sent = delayed(m, no_burst), delayed(m, self.sent & ~issued)
        m.d.comb += [
            watchdog.timeout.eq(self.timeout),
            watchdog.progress.eq(b_valid | was_empty | ~was_sent | giving_up),
            self.empty.eq(was_empty & was_sent & ~b_valid),
        ]
        had_expired = delayed(m, watchdog.expired)
        with m.If(giving_up):
            m.d.sync += giving_up.eq(~no_burst)
        with m.Elif(watchdog.expired & had_expired & was_sent):  # nothing has been issued in the cycle before, nor is
            m.d.sync += giving_up.eq(1)
        return m
