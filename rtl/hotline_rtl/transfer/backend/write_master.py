"""The AXI4 write manager: transfers of several clients in, bursts out, responses accounted for.

A client offers a transfer when its data is at hand and does not depend on any other client, then
the data beats of that transfer. Client ``c`` uses AXI ID ``c``; with fewer IDs than clients, some share one.
When nothing is answered for ``timeout`` cycles although all data has been sent, every unanswered burst is given up
and counts as answered with an error; what memory still answers later is counted off and dropped.
Latency: 2 cycles from a transfer to ``awvalid``, 2 from a beat to ``wvalid``. One beat per cycle across bursts and transfers.
"""

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.axi import BURST_INCR, RESP_OKAY, Axi4WriteSignature
from ...interfaces.memory import WriteClientSignature
from ...lib.fifo import StreamFifo
from ...lib.logic import delayed, one_hot_mux, without_reset
from ...lib.register_slice import RegisterSlice
from ...lib.watchdog import Watchdog
from .arbiter import first_of
from .burst_splitter import BurstSplitter
from .outstanding_table import LATE_BITS


class WriteMaster(wiring.Component):
    """``count`` clients; the first has the highest priority. ``cache`` and ``prot``: AWCACHE and AWPROT.

    Members
    -------
    bus : Out(Axi4WriteSignature)
    clients : In(WriteClientSignature).array(count)
    timeout : In(32)
        Cycles without an answer after which what is unanswered is given up; 0: never.
    drain : In(1), drained : Out(1)
        While high requests not yet sent are forgotten, and so are those that come; the data that those sent still need is
        made up of beats that write nothing. Every sent one has been answered.
    """

    def __init__(self, config: AcceleratorConfig, count: int, *, cache: int = 0b0011, prot: int = 0):
        self.config = config
        self.cache, self.prot = cache, prot
        self.count = count
        super().__init__({
            "bus": Out(Axi4WriteSignature(config.address_bits, config.bus_bits, config.id_bits)),
            "clients": In(WriteClientSignature(config)).array(count),
            "timeout": In(32), "drain": In(1), "drained": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        ids = min(self.count, 1 << config.id_bits)
        client_bits = max(1, ceil_log2(self.count))
        m.submodules.splitter = splitter = BurstSplitter(config, client_bits)
        m.submodules.bursts = bursts = RegisterSlice(splitter.o.p.shape())
        wiring.connect(m, splitter.o, bursts.i)
        bus, clients = self.bus, self.clients

        def sliced(name: str, source):
            """A client's stream, behind a register slice that is empty while all drains."""
            m.submodules[name] = register_slice = RegisterSlice(source.p.shape())
            wiring.connect(m, wiring.flipped(source), register_slice.i)
            m.d.comb += register_slice.drop.eq(self.drain)
            return register_slice.o

        first_of(m, {c: sliced(f"request_{c}", client.request) for c, client in enumerate(clients)}, splitter.i)

        # A burst is issued when its address channel, the queue that orders the data, and the lists of unanswered bursts all
        # have room: that of another ID, too, so that whose burst it is decides nothing.
        ordered = data.StructLayout({"client": self.count, "length": 8})  # one bit is set
        m.submodules.order = order = StreamFifo(ordered, 8)
        m.submodules.current = current = RegisterSlice(ordered)
        wiring.connect(m, order.o, current.i)
        unanswered = []
        for n in range(ids):
            layout = data.StructLayout({"address": config.address_bits, "last": 1, "client": client_bits})
            m.submodules[f"unanswered_{n}"] = fifo = StreamFifo(layout, config.outstanding_writes, reserved=True)
            unanswered.append(fifo)
        giving_up = Signal()
        m.submodules.watchdog = watchdog = Watchdog()
        owner = bursts.o.p.tag
        owners = [Signal(name=f"owned_{c}") for c in range(self.count)]  # one bit is set
        m.d.comb += [own.eq(owner == c) for c, own in enumerate(owners)]
        # What is issued is on its list a cycle later, and counts in `list_room` after three: so there must be room for four.
        list_room = delayed(m, Cat(delayed(m, fifo.level <= fifo.depth - 3) for fifo in unanswered).all())
        m.submodules.aw = aw = RegisterSlice(bursts.o.p.shape())
        may_issue = order.i.ready & list_room & aw.i.ready & ~giving_up & ~watchdog.expired
        issue = Signal()
        m.d.comb += [
            splitter.drop.eq(self.drain),
            bursts.drop.eq(self.drain),
            issue.eq(bursts.o.valid & may_issue),
            bursts.o.ready.eq(may_issue),
            aw.i.valid.eq(issue),
            aw.i.p.eq(bursts.o.p),
            aw.o.ready.eq(bus.awready),
            # As AXI4 asks, A3.1.2: the reset comes a cycle after the port's.
            bus.awvalid.eq(aw.o.valid & ~ResetSignal()),
            bus.awaddr.eq(aw.o.p.address),
            bus.awlen.eq(aw.o.p.length),
            bus.awid.eq(aw.o.p.tag if ids == self.count else aw.o.p.tag[: ceil_log2(ids)]),
            order.i.valid.eq(issue),
            order.i.p.client.eq(Cat(owners)),
            order.i.p.length.eq(bursts.o.p.length),
            bus.awsize.eq(ceil_log2(config.bus_bytes)),
            bus.awburst.eq(BURST_INCR),
            bus.awcache.eq(self.cache),
            bus.awprot.eq(self.prot),
        ]

        # Data beats in the order of the addresses.
        beat = Signal(8)
        mine = [current.o.p.client[c] for c in range(self.count)]
        source = Signal(clients[0].data.p.shape())
        waiting = [sliced(f"data_{c}", client.data) for c, client in enumerate(clients)]
        source_valid = Cat(own & beats.valid for own, beats in zip(mine, waiting, strict=True)).any()
        m.d.comb += source.as_value().eq(one_hot_mux(mine, [beats.p.as_value() for beats in waiting]))
        w_layout = data.StructLayout({"data": config.bus_bits, "strobe": config.bus_bytes, "last": 1})
        m.submodules.w = w = RegisterSlice(w_layout)
        room = w.i.ready
        move = Signal()
        last = beat == current.o.p.length
        m.d.comb += [move.eq(current.o.valid & (source_valid | self.drain) & room), current.o.ready.eq(move & last)]
        for c in range(self.count):
            m.d.comb += waiting[c].ready.eq(current.o.valid & room & mine[c])
        m.d.comb += [
            w.i.valid.eq(move),
            w.i.p.data.eq(source.data),
            w.i.p.strobe.eq(Mux(self.drain, 0, source.strobe)),
            w.i.p.last.eq(last),
            w.o.ready.eq(bus.wready),
            bus.wvalid.eq(w.o.valid & ~ResetSignal()),
            bus.wdata.eq(w.o.p.data),
            bus.wstrb.eq(w.o.p.strobe),
            bus.wlast.eq(w.o.p.last),
        ]
        with m.If(move):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))

        # Responses, stage 1: one arrives. A burst is on its ID's list before its last beat leaves. Stage 2: one that is
        # late is dropped, any other ends a burst. While all is given up and nothing arrives, the next burst of each ID ends.
        b_valid, b_error = Signal(), Signal(reset_less=True)
        b_ids = Signal(ids)  # whose it is
        synthesised, ends_error = Signal(reset_less=True), Signal(reset_less=True)
        synthesises = Signal()
        m.d.comb += [bus.bready.eq(~giving_up), synthesises.eq(giving_up & ~b_valid)]
        m.d.sync += [
            b_valid.eq(bus.bvalid & bus.bready),
            *(b_ids[n].eq(bus.bvalid & bus.bready & (bus.bid == n)) for n in range(ids)),
            b_error.eq(bus.bresp != RESP_OKAY),
            synthesised.eq(synthesises), ends_error.eq(b_error | synthesises),
        ]  # fmt: skip
        issued = Signal()
        issued_by = Signal(self.count, reset_less=True)
        issued_burst = Signal(bursts.o.p.shape(), reset_less=True)
        m.d.sync += [issued.eq(issue), issued_by.eq(Cat(owners)), issued_burst.eq(bursts.o.p)]
        ends = []
        for n, fifo in enumerate(unanswered):
            # how many; whether any
            late = Signal(LATE_BITS, name=f"late_{n}")
            any_late = Signal(name=f"any_late_{n}")
            ending, end = Signal(name=f"ending_{n}"), Signal(name=f"end_{n}")
            m.d.sync += ending.eq(synthesises | (b_ids[n] & ~any_late))
            m.d.comb += [
                end.eq(fifo.o.valid & ending),
                fifo.i.valid.eq(issued & Cat(issued_by[c] for c in range(n, self.count, ids)).any()),
                fifo.i.p.address.eq(issued_burst.address),
                fifo.i.p.last.eq(issued_burst.last),
                fifo.i.p.client.eq(issued_burst.tag),
                fifo.o.ready.eq(ending),
            ]
            # No response arrives while responses are synthesised.
            with m.If(end & synthesised):
                m.d.sync += [late.eq(late + 1), any_late.eq(1)]
            with m.Elif(b_ids[n] & any_late):
                m.d.sync += [late.eq(late - 1), any_late.eq(late != 1)]
            ends.append(end)
        for c, client in enumerate(clients):
            fifo, end = unanswered[c % ids], ends[c % ids]
            own = end & (fifo.o.p.client == c)
            pending = Signal(range(config.outstanding_writes + 4), name=f"pending_{c}")
            # Transfers that have been taken, and whose last burst has not been issued.
            taken = Signal(range(8), name=f"taken_{c}")
            takes = client.request.valid & client.request.ready
            m.d.sync += [
                pending.eq(pending + (issued & issued_by[c]) - own),
                taken.eq(taken + takes - (issued & issued_by[c] & issued_burst.last)),
            ]
            with m.If(self.drain):
                m.d.sync += taken.eq(0)
            m.d.comb += [
                client.idle.eq((pending == 0) & (taken == 0)),
            ]
            m.d.sync += [
                client.error.eq(own & ends_error),
                without_reset(m, client.timeout).eq(synthesised),
                without_reset(m, client.error_address).eq(fifo.o.p.address),
                client.answered.eq(own & fifo.o.p.last),
            ]

        # Giving up: only when no address or data is on its way, so that none can follow its burst's answer.
        empty = Cat(fifo.level == 0 for fifo in unanswered).all()
        moved = (order.level == 0) & ~current.o.valid
        sent = ~issued & moved & ~aw.o.valid & aw.i.ready & ~w.o.valid & w.i.ready
        was_empty, was_sent = delayed(m, empty), delayed(m, sent)
        m.d.sync += self.drained.eq(was_empty & was_sent & ~b_valid)
        m.d.comb += [
            watchdog.timeout.eq(self.timeout), watchdog.progress.eq(b_valid | was_empty | ~was_sent | giving_up),
        ]  # fmt: skip
        had_expired = delayed(m, watchdog.expired)
        with m.If(giving_up):
            m.d.sync += giving_up.eq(~empty)
        with m.Elif(watchdog.expired & had_expired & was_sent):  # nothing has been issued in the cycle before, nor is
            m.d.sync += giving_up.eq(1)
        return m
