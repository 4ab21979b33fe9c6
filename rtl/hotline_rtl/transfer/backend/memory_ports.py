"""Both memory ports: a read manager and a write manager each.

Order of clients is order of priority. All of it is in the domain of its user.
"""

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.axi import Axi4Signature
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from .read_master import ReadMaster
from .write_master import WriteMaster

#: Channels of an AXI4 port: each has a valid and a ready.
CHANNELS = ("ar", "r", "aw", "w", "b")
#: Clients of each manager, in order of priority; the tagged one of ``host_read`` is ``gathered_rows``.
CLIENTS = {
    "host_read": ("commands", "records"),
    "host_write": ("completions", "scattered_rows", "hot_list"),
    "device_read": ("working_keys", "working_rows"),
    "device_write": ("popular", "non_popular", "keys", "rows"),
}


class MemoryPorts(wiring.Component):
    """``tag_bits``: of the client ``gathered_rows``.

    Members
    -------
    host, dev : Out(Axi4Signature)
    read_CLIENT : In(ReadClientSignature), write_CLIENT : In(WriteClientSignature)
        One for each of CLIENTS, and ``read_gathered_rows``.
    limit : In
        Most bursts of ``gathered_rows`` that are unanswered; 0 counts as 1, and what is too much as the most there can be.
    timeout : In(32)
        Cycles without an answer after which what is outstanding is given up; 0: never.
    drain, drained : In(4), Out(4)
        For each manager, in the order of CLIENTS: requests not yet sent are forgotten; every sent one has been answered.
    outstanding : Out
        Bursts of ``gathered_rows`` on their way, a cycle ago.
    progress : Out
        What tells that transfers move, also those that are given up: a bit for each part.
    """

    def __init__(self, config: AcceleratorConfig, tag_bits: int):
        self.config, self.tag_bits = config, tag_bits
        axi = Axi4Signature(config.address_bits, config.bus_bits, config.id_bits)
        clients: dict = {}
        for manager, names in CLIENTS.items():
            read = manager.endswith("read")
            for name in names:
                clients[f"{'read' if read else 'write'}_{name}"] = In(
                    ReadClientSignature(config) if read else WriteClientSignature(config)
                )
        super().__init__({
            "host": Out(axi), "dev": Out(axi), **clients, "read_gathered_rows": In(ReadClientSignature(config, tag_bits)),
            "limit": In(16), "timeout": In(32), "drain": In(len(CLIENTS)), "drained": Out(len(CLIENTS)),
            "outstanding": Out(range(2 * config.outstanding_rows + 2)), "progress": Out(self._progress_bits()),
        })  # fmt: skip

    @staticmethod
    def _progress_bits() -> int:
        readers = sum(len(clients) for name, clients in CLIENTS.items() if name.endswith("read"))
        return 2 * (len(CHANNELS) + 2) + readers + 1

    def _progress(self) -> Value:
        """Handshakes of both ports, answers that are kept away while others are given up, and beats to each reading client."""
        bits = []
        for port in (self.host, self.dev):
            bits += [getattr(port, f"{channel}valid") & getattr(port, f"{channel}ready") for channel in CHANNELS]
            bits += [~port.rready, ~port.bready]
        for name, clients in CLIENTS.items():
            if name.endswith("read"):
                bits += [getattr(self, f"read_{client}").beat_valid for client in clients]
        return Cat(*bits, self.read_gathered_rows.beat_valid)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.d.comb += self.progress.eq(self._progress())
        attributes = {
            port: {"cache": getattr(config, f"{port}_axcache"), "prot": getattr(config, f"{port}_axprot")}
            for port in ("host", "device")
        }
        managers = {}
        for name, clients in CLIENTS.items():
            port = name.split("_")[0]
            if name == "host_read":
                manager: ReadMaster | WriteMaster = ReadMaster(
                    config, len(clients), self.tag_bits, **attributes[port]
                )
            else:
                kind = ReadMaster if name.endswith("read") else WriteMaster
                manager = kind(config, len(clients), **attributes[port])
            m.submodules[name] = managers[name] = manager
            direction = "read" if name.endswith("read") else "write"
            for n, client in enumerate(clients):
                wiring.connect(m, wiring.flipped(getattr(self, f"{direction}_{client}")), manager.clients[n])
            outer_bus = self.host if port == "host" else self.dev
            for member, flow in ((k, v.flow) for k, v in manager.bus.signature.members.items()):
                outer, inner = getattr(outer_bus, member), getattr(manager.bus, member)
                m.d.comb += outer.eq(inner) if flow == Out else inner.eq(outer)
        for n, manager in enumerate(managers.values()):
            m.d.comb += [manager.timeout.eq(self.timeout), manager.drain.eq(self.drain[n])]
        host_read = managers["host_read"]
        wiring.connect(m, wiring.flipped(self.read_gathered_rows), host_read.tagged)
        most = config.outstanding_rows
        m.d.sync += host_read.limit.eq(Mux(self.limit == 0, 1, Mux(self.limit < most, self.limit, most)))
        m.d.comb += [
            self.drained.eq(Cat(manager.drained for manager in managers.values())),
            self.outstanding.eq(host_read.unanswered),
        ]
        return m
