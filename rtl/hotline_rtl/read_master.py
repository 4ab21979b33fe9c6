"""The AXI4 read manager: transfers of several clients in, beats out by ID.

A client owns a range of AXI IDs. It asks for a transfer only when it has room for all of its beats,
so ``rready`` is always high and no client can hold up another. Beats of one ID arrive in the order
of its transfers (IHI 0022 H, A5.3); across IDs in any order, interleaved.
Latency: 2 cycles from a request to ``arvalid``; 1 from a data beat to the client.
"""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .axi import BURST_INCR, RESP_OKAY, Axi4ReadSignature
from .burst_cutter import BurstCutter, transfer_layout
from .config import AcceleratorConfig
from .register_slice import RegisterSlice


class ReadClientSignature(wiring.Signature):
    """Seen from the client; ``tag`` counts from the first ID of the client's range.

    ``beat_*``: a data beat of transfer ``beat_tag``; ``beat_error`` when memory answered with one.
    """

    def __init__(self, config: AcceleratorConfig):
        super().__init__({
            "request": Out(stream.Signature(transfer_layout(config, config.id_bits))),
            "beat_valid": In(1), "beat_data": In(config.bus_bits), "beat_tag": In(config.id_bits),
            "beat_error": In(1),
        })  # fmt: skip


class ReadMaster(wiring.Component):
    """``ids`` gives the number of IDs of each client; the first client has the highest priority.

    Members
    -------
    bus : Out(Axi4ReadSignature)
    clients : In(ReadClientSignature).array(len(ids))
    """

    def __init__(self, config: AcceleratorConfig, ids: list[int]):
        if sum(ids) > 1 << config.id_bits:
            raise ValueError(f"{sum(ids)} IDs do not fit id_bits={config.id_bits}")
        self.config = config
        self.ids = ids
        super().__init__({
            "bus": Out(Axi4ReadSignature(config.address_bits, config.bus_bits, config.id_bits)),
            "clients": In(ReadClientSignature(config)).array(len(ids)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.cutter = cutter = BurstCutter(self.config, self.config.id_bits)
        bases = [sum(self.ids[:c]) for c in range(len(self.ids))]

        # Arbitration: the first client that asks. Once offered, a request stays: the cutter takes it
        # in the same cycle.
        for c in reversed(range(len(self.ids))):
            request = self.clients[c].request
            with m.If(request.valid):
                m.d.comb += [
                    cutter.i.valid.eq(1),
                    cutter.i.p.eq(request.p),
                    cutter.i.p.tag.eq(request.p.tag + bases[c]),
                ]
        taken = Const(0, 1)
        for c in range(len(self.ids)):
            request = self.clients[c].request
            m.d.comb += request.ready.eq(cutter.i.ready & ~taken)
            taken = taken | request.valid

        bus = self.bus
        m.submodules.ar = ar = RegisterSlice(cutter.o.p.shape())
        wiring.connect(m, cutter.o, ar.i)
        m.d.comb += [
            bus.arvalid.eq(ar.o.valid),
            ar.o.ready.eq(bus.arready),
            bus.araddr.eq(ar.o.p.address),
            bus.arlen.eq(ar.o.p.length),
            bus.arid.eq(ar.o.p.tag),
            bus.arsize.eq(ceil_log2(self.config.bus_bytes)),
            bus.arburst.eq(BURST_INCR),
            bus.arcache.eq(0b0011),
            bus.rready.eq(1),
        ]

        r_valid = Signal()
        r_id = Signal(self.config.id_bits)
        r_data = Signal(self.config.bus_bits, reset_less=True)
        r_error = Signal()
        m.d.sync += [
            r_valid.eq(bus.rvalid),
            r_id.eq(bus.rid),
            r_data.eq(bus.rdata),
            r_error.eq(bus.rresp != RESP_OKAY),
        ]
        for c, base in enumerate(bases):
            client = self.clients[c]
            mine = (r_id < base + self.ids[c]) & (r_id >= base if base else 1)
            m.d.comb += [
                client.beat_valid.eq(r_valid & mine),
                client.beat_data.eq(r_data),
                client.beat_tag.eq(r_id - base),
                client.beat_error.eq(r_error),
            ]
        return m
