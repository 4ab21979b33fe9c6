"""AXI4 and AXI4-Lite interfaces (AMBA AXI and ACE Protocol Specification, IHI 0022, issue H).

Only the signals that this design uses: INCR bursts of full-width beats, no locks, no QoS or regions.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

BURST_INCR = 1
RESP_OKAY = 0
RESP_SLVERR = 2


class Axi4ReadSignature(wiring.Signature):
    """Read channels AR and R, seen from the manager."""

    def __init__(self, address_bits: int, data_bits: int, id_bits: int):
        super().__init__({
            "arvalid": Out(1), "arready": In(1), "arid": Out(id_bits), "araddr": Out(address_bits),
            "arlen": Out(8), "arsize": Out(3), "arburst": Out(2), "arcache": Out(4), "arprot": Out(3),
            "rvalid": In(1), "rready": Out(1), "rid": In(id_bits), "rdata": In(data_bits),
            "rresp": In(2), "rlast": In(1),
        })  # fmt: skip


class Axi4WriteSignature(wiring.Signature):
    """Write channels AW, W and B, seen from the manager."""

    def __init__(self, address_bits: int, data_bits: int, id_bits: int):
        super().__init__({
            "awvalid": Out(1), "awready": In(1), "awid": Out(id_bits), "awaddr": Out(address_bits),
            "awlen": Out(8), "awsize": Out(3), "awburst": Out(2), "awcache": Out(4), "awprot": Out(3),
            "wvalid": Out(1), "wready": In(1), "wdata": Out(data_bits), "wstrb": Out(data_bits // 8),
            "wlast": Out(1),
            "bvalid": In(1), "bready": Out(1), "bid": In(id_bits), "bresp": In(2),
        })  # fmt: skip


class Axi4Signature(wiring.Signature):
    """All five channels, seen from the manager."""

    def __init__(self, address_bits: int, data_bits: int, id_bits: int):
        members = dict(Axi4WriteSignature(address_bits, data_bits, id_bits).members)
        members.update(Axi4ReadSignature(address_bits, data_bits, id_bits).members)
        super().__init__(members)


class Axi4LiteSignature(wiring.Signature):
    """AXI4-Lite with 32-bit data, seen from the manager."""

    def __init__(self, address_bits: int):
        super().__init__({
            "awvalid": Out(1), "awready": In(1), "awaddr": Out(address_bits), "awprot": Out(3),
            "wvalid": Out(1), "wready": In(1), "wdata": Out(32), "wstrb": Out(4),
            "bvalid": In(1), "bready": Out(1), "bresp": In(2),
            "arvalid": Out(1), "arready": In(1), "araddr": Out(address_bits), "arprot": Out(3),
            "rvalid": In(1), "rready": Out(1), "rdata": In(32), "rresp": In(2),
        })  # fmt: skip
