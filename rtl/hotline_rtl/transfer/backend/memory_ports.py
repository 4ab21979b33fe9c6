"""Both memory ports: a read manager and a write manager each.

Order of clients is order of priority. All of it is in the domain of its user.
"""

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.axi import Axi4Signature
from ...interfaces.memory import ReadClientSignature, WriteClientSignature
from .read_master import ReadMaster
from .write_master import WriteMaster

#: Channels of an AXI4 port: each has a valid and a ready.
CHANNELS = ("ar", "r", "aw", "w", "b")
#: Clients of each manager, by port and direction, in order of priority. The host port's reads have ``gathered_rows``, too.
CLIENTS = {
    ("host", "read"): ("commands", "records"),
    ("host", "write"): ("completions", "scattered_rows", "hot_list"),
    ("device", "read"): ("working_keys", "working_rows"),
    ("device", "write"): ("popular", "non_popular", "keys", "rows"),
}


class MemoryPorts(wiring.Component):
    """Members
    -------
    host, device : Out(Axi4Signature)
    read_CLIENT : In(ReadClientSignature), write_CLIENT : In(WriteClientSignature)
        One for each of CLIENTS, and ``read_gathered_rows``, whose tags are numbers of reorder-buffer entries.
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

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        axi = Axi4Signature(config.address_bits, config.bus_bits, config.id_bits)
        signatures = {"read": ReadClientSignature(config), "write": WriteClientSignature(config)}
        clients = {
            f"{direction}_{client}": In(signatures[direction])
            for (_, direction), names in CLIENTS.items()
            for client in names
        }
        readers = sum(name.startswith("read") for name in clients) + 1
        super().__init__({
            "host": Out(axi), "device": Out(axi), **clients,
            "read_gathered_rows": In(ReadClientSignature(config, config.entry_bits)),
            "limit": In(16), "timeout": In(32), "drain": In(len(CLIENTS)), "drained": Out(len(CLIENTS)),
            "outstanding": Out(range(2 * config.outstanding_rows + 2)),
            "progress": Out(2 * (len(CHANNELS) + 2) + readers),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        managers = {}
        for (port, direction), clients in CLIENTS.items():
            attributes = {"cache": getattr(config, f"{port}_axcache"), "prot": getattr(config, f"{port}_axprot")}
            manager: ReadMaster | WriteMaster
            if (port, direction) == ("host", "read"):
                manager = host_read = ReadMaster(config, len(clients), config.entry_bits, **attributes)
            else:
                manager = {"read": ReadMaster, "write": WriteMaster}[direction](config, len(clients), **attributes)
            m.submodules[f"{port}_{direction}"] = managers[port, direction] = manager
            for n, client in enumerate(clients):
                wiring.connect(m, wiring.flipped(getattr(self, f"{direction}_{client}")), manager.clients[n])
            for name, member in manager.bus.signature.members.items():
                outer, inner = getattr(getattr(self, port), name), getattr(manager.bus, name)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        for n, manager in enumerate(managers.values()):
            m.d.comb += [manager.timeout.eq(self.timeout), manager.drain.eq(self.drain[n])]
        wiring.connect(m, wiring.flipped(self.read_gathered_rows), host_read.tagged)
        most = config.outstanding_rows
        m.d.sync += host_read.limit.eq(Mux(self.limit == 0, 1, Mux(self.limit < most, self.limit, most)))

        # Handshakes of both ports, answers that are kept away while others are given up, and beats to each reading client.
        progress = []
        for bus in (self.host, self.device):
            progress += [getattr(bus, f"{channel}valid") & getattr(bus, f"{channel}ready") for channel in CHANNELS]
            progress += [~bus.rready, ~bus.bready]
        progress += [getattr(self, name).beat_valid for name in self.signature.members if name.startswith("read_")]
        m.d.comb += [
            self.drained.eq(Cat(manager.drained for manager in managers.values())),
            self.outstanding.eq(host_read.unanswered),
            self.progress.eq(Cat(progress)),
        ]
        return m
