"""The AXI managers that a block under test needs around it."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hotline_rtl.config import AcceleratorConfig
from hotline_rtl.interfaces.axi import Axi4ReadSignature, Axi4Signature, Axi4WriteSignature
from hotline_rtl.transfer.backend.read_master import ReadMaster
from hotline_rtl.transfer.backend.write_master import WriteMaster


def _expose(inner: wiring.Component, hidden: set[str]) -> dict:
    return {name: member for name, member in inner.signature.members.items() if name not in hidden}


#: Of the tagged client of the read manager under test.
READ_TAG_BITS = 4


class WithMasters(wiring.Component):
    """``inner`` with a read manager for ``reads`` and a write manager for ``writes`` on port ``bus``.

    ``reads`` and ``writes`` give the port of each client: ``bus``, or ``host`` and ``device`` when both sides are used.
    ``tagged`` is the client with many transfers on their way. Lost answers are given up after ``TIMEOUT`` cycles.
    """

    TIMEOUT = 3000

    def __init__(
        self, config: AcceleratorConfig, inner, reads: dict[str, str], writes: dict[str, str], tagged: str = ""
    ):
        self.config, self.inner, self.reads, self.writes, self.tagged = config, inner, reads, writes, tagged
        sizes = (config.address_bits, config.bus_bits, config.id_bits)
        members = _expose(inner, set(reads) | set(writes))
        self.ports = sorted(set(reads.values()) | set(writes.values()))
        for port in self.ports:
            if port not in writes.values():
                members[port] = Out(Axi4ReadSignature(*sizes))
            elif port not in reads.values():
                members[port] = Out(Axi4WriteSignature(*sizes))
            else:
                members[port] = Out(Axi4Signature(*sizes))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = self.inner
        for name in self.signature.members:
            if name not in self.ports:
                outer, inner = getattr(self, name), getattr(self.inner, name)
                member = self.signature.members[name]
                if member.is_port:
                    m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
                else:
                    wiring.connect(m, wiring.flipped(outer), inner)
        for port in self.ports:
            masters = []
            streams = [n for n, p in self.reads.items() if p == port and n != self.tagged]
            tagged = self.reads.get(self.tagged) == port
            if streams or tagged:
                tag_bits = len(getattr(self.inner, self.tagged).beat_tag) if tagged else 0
                master = ReadMaster(self.config, max(1, len(streams)), tag_bits)
                m.submodules[f"{port}_read"] = master
                for k, name in enumerate(streams):
                    wiring.connect(m, getattr(self.inner, name), master.clients[k])
                if tagged:
                    wiring.connect(m, getattr(self.inner, self.tagged), master.tagged)
                    m.d.comb += master.limit.eq(self.config.outstanding_rows)
                masters.append(master)
            names = [n for n, p in self.writes.items() if p == port]
            if names:
                master = WriteMaster(self.config, len(names))
                m.submodules[f"{port}_write"] = master
                for k, name in enumerate(names):
                    wiring.connect(m, getattr(self.inner, name), master.clients[k])
                masters.append(master)
            for master in masters:
                m.d.comb += master.timeout.eq(self.TIMEOUT)
                for name, member in master.bus.signature.members.items():
                    outer, inner = getattr(getattr(self, port), name), getattr(master.bus, name)
                    m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        return m
