"""The AXI4 write manager: transfers of several clients in, bursts out, responses accounted for.

A client offers a transfer when its data is at hand and does not depend on any other client, then
the data beats of that transfer. Client ``c`` uses AXI ID ``c``.
Latency: 2 cycles from a transfer to ``awvalid``. One beat per cycle across bursts and transfers.
"""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .axi import BURST_INCR, RESP_OKAY, Axi4WriteSignature
from .burst_cutter import BurstCutter, transfer_layout
from .config import AcceleratorConfig
from .fifo import StreamFifo
from .register_slice import RegisterSlice


class WriteClientSignature(wiring.Signature):
    """Seen from the client.

    ``idle``: nothing of this client is on its way; every burst has been answered. ``answered`` marks the
    answer to a transfer's last burst; transfers are answered in order. ``error`` marks an answer that was
    an error, for the burst at ``error_address``. Both last one cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "request": Out(stream.Signature(transfer_layout(config, 1))),
            "data": Out(stream.Signature(data.StructLayout({
                "data": config.bus_bits, "strobe": config.bus_bytes,
            }))),
            "idle": In(1), "answered": In(1), "error": In(1), "error_address": In(config.address_bits),
        })  # fmt: skip


class WriteMaster(wiring.Component):
    """``count`` clients; the first has the highest priority.

    Members
    -------
    bus : Out(Axi4WriteSignature)
    clients : In(WriteClientSignature).array(count)
    """

    def __init__(self, config: AcceleratorConfig, count: int):
        if count > 1 << config.id_bits:
            raise ValueError(f"{count} write clients do not fit id_bits={config.id_bits}")
        self.config = config
        self.count = count
        super().__init__({
            "bus": Out(Axi4WriteSignature(config.address_bits, config.bus_bits, config.id_bits)),
            "clients": In(WriteClientSignature(config)).array(count),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        client_bits = max(1, ceil_log2(self.count))
        m.submodules.cutter = cutter = BurstCutter(self.config, client_bits)
        bus, clients = self.bus, self.clients

        taken = 0
        for c in range(self.count):
            m.d.comb += clients[c].request.ready.eq(cutter.i.ready & ~taken)
            taken = taken | clients[c].request.valid
        for c in reversed(range(self.count)):
            with m.If(clients[c].request.valid):
                m.d.comb += [
                    cutter.i.valid.eq(1),
                    cutter.i.p.address.eq(clients[c].request.p.address),
                    cutter.i.p.words.eq(clients[c].request.p.words),
                    cutter.i.p.tag.eq(c),
                ]

        # A burst is issued when its address channel, the queue that orders the data, and its
        # client's list of unanswered bursts all have room.
        m.submodules.order = order = StreamFifo(data.StructLayout({"client": client_bits, "length": 8}), 8)
        unanswered = []
        for c in range(self.count):
            fifo = StreamFifo(
                data.StructLayout({"address": self.config.address_bits, "last": 1}), self.config.outstanding_writes
            )
            m.submodules[f"unanswered_{c}"] = fifo
            unanswered.append(fifo)
        list_room = Array(fifo.i.ready for fifo in unanswered)[cutter.o.p.tag]
        m.submodules.aw = aw = RegisterSlice(cutter.o.p.shape())
        issue = Signal()
        m.d.comb += [
            issue.eq(cutter.o.valid & order.i.ready & list_room & aw.i.ready),
            cutter.o.ready.eq(order.i.ready & list_room & aw.i.ready),
            aw.i.valid.eq(issue),
            aw.i.p.eq(cutter.o.p),
            aw.o.ready.eq(bus.awready),
            bus.awvalid.eq(aw.o.valid),
            bus.awaddr.eq(aw.o.p.address),
            bus.awlen.eq(aw.o.p.length),
            bus.awid.eq(aw.o.p.tag),
            order.i.valid.eq(issue),
            order.i.p.client.eq(cutter.o.p.tag),
            order.i.p.length.eq(cutter.o.p.length),
        ]
        m.d.comb += [
            bus.awsize.eq(ceil_log2(self.config.bus_bytes)),
            bus.awburst.eq(BURST_INCR),
            bus.awcache.eq(0b0011),
        ]

        # Data beats in the order of the addresses.
        beat = Signal(8)
        source = Array(clients[c].data for c in range(self.count))[order.o.p.client]
        w_layout = data.StructLayout({"data": self.config.bus_bits, "strobe": self.config.bus_bytes, "last": 1})
        m.submodules.w = w = RegisterSlice(w_layout)
        room = w.i.ready
        move = Signal()
        last = beat == order.o.p.length
        m.d.comb += [move.eq(order.o.valid & source.valid & room), order.o.ready.eq(move & last)]
        for c in range(self.count):
            m.d.comb += clients[c].data.ready.eq(order.o.valid & room & (order.o.p.client == c))
        m.d.comb += [
            w.i.valid.eq(move),
            w.i.p.data.eq(source.p.data),
            w.i.p.strobe.eq(source.p.strobe),
            w.i.p.last.eq(last),
            w.o.ready.eq(bus.wready),
            bus.wvalid.eq(w.o.valid),
            bus.wdata.eq(w.o.p.data),
            bus.wstrb.eq(w.o.p.strobe),
            bus.wlast.eq(w.o.p.last),
        ]
        with m.If(move):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))

        # Responses. A burst is on its client's list before its last beat leaves.
        m.d.comb += bus.bready.eq(1)
        b_valid = Signal()
        b_id = Signal(self.config.id_bits)
        b_error = Signal()
        m.d.sync += [b_valid.eq(bus.bvalid), b_id.eq(bus.bid), b_error.eq(bus.bresp != RESP_OKAY)]
        for c, fifo in enumerate(unanswered):
            answered = b_valid & (b_id == c)
            m.d.comb += [
                fifo.i.valid.eq(issue & (cutter.o.p.tag == c)),
                fifo.i.p.address.eq(cutter.o.p.address),
                fifo.i.p.last.eq(cutter.o.p.last),
                fifo.o.ready.eq(answered),
                clients[c].idle.eq((fifo.level == 0) & ~(cutter.o.valid & (cutter.o.p.tag == c))),
                clients[c].error.eq(answered & b_error),
                clients[c].error_address.eq(fifo.o.p.address),
                clients[c].answered.eq(answered & fifo.o.p.last),
            ]
        return m
