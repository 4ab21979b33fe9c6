"""The AXI4 write manager: transfers of several clients in, bursts out, responses accounted for.

A client offers a transfer when its data is at hand and does not depend on any other client, then
the data beats of that transfer. Client ``c`` uses AXI ID ``c``; with fewer IDs than clients, some share one.
What is not answered is given up after ``timeout`` cycles (``write_responses``).
Latency: 2 cycles from a transfer to ``awvalid``, 2 from a beat to ``wvalid``. One beat per cycle across bursts and transfers.
"""

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.axi import BURST_INCR, Axi4WriteSignature
from ...interfaces.memory import WriteClientSignature
from ...lib.fifo import StreamFifo
from ...lib.logic import delayed, one_hot_mux
from ...lib.register_slice import RegisterSlice
from .arbiter import first_of
from .burst_splitter import BurstSplitter
from .write_responses import WriteResponses


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
        # have room.
        ordered = data.StructLayout({"client": self.count, "length": 8})  # one bit is set
        m.submodules.order = order = StreamFifo(ordered, 8)
        m.submodules.current = current = RegisterSlice(ordered)
        wiring.connect(m, order.o, current.i)
        m.submodules.responses = responses = WriteResponses(config, ids, self.count)
        owner = bursts.o.p.tag
        owners = [Signal(name=f"owned_{c}") for c in range(self.count)]  # one bit is set
        m.d.comb += [own.eq(owner == c) for c, own in enumerate(owners)]
        m.submodules.aw = aw = RegisterSlice(bursts.o.p.shape())
        may_issue = order.i.ready & responses.room & aw.i.ready
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

        # Responses, and what clients are told.
        issued, issued_burst = delayed(m, issue), delayed(m, bursts.o.p, reset_less=True)
        m.d.comb += [
            responses.issue.eq(issue),
            responses.burst.address.eq(bursts.o.p.address),
            responses.burst.owners.eq(Cat(owners)),
            responses.burst.last.eq(bursts.o.p.last),
            responses.b_valid.eq(bus.bvalid),
            responses.b_id.eq(bus.bid),
            responses.b_resp.eq(bus.bresp),
            responses.timeout.eq(self.timeout),
            bus.bready.eq(responses.b_ready),
            responses.sent.eq(
                (order.level == 0) & ~current.o.valid & ~aw.o.valid & aw.i.ready & ~w.o.valid & w.i.ready
            ),
        ]
        m.d.sync += self.drained.eq(responses.empty)
        for c, client in enumerate(clients):
            # Transfers that have been taken, and whose last burst has not been issued.
            taken = Signal(range(8), name=f"taken_{c}")
            takes = client.request.valid & client.request.ready
            m.d.sync += taken.eq(taken + takes - (issued & (issued_burst.tag == c) & issued_burst.last))
            with m.If(self.drain):
                m.d.sync += taken.eq(0)
            answer = responses.answers[c]
            m.d.comb += [
                client.idle.eq(~responses.unanswered[c] & (taken == 0)),
                client.answered.eq(answer.answered),
                client.error.eq(answer.error),
                client.timeout.eq(answer.timeout),
                client.error_address.eq(answer.address),
            ]
        return m
