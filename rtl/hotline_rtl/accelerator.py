"""The whole accelerator: control, the units that carry out commands, and the memory ports.

                ┌──────────────── control unit: registers, rings, command processor ────────────────┐
                │ jobs ▼  ▲ results           │ jobs ▼  ▲ results               │ jobs ▼  ▲ results │
    shared ─► mini-batch unit ── keys ──► row unit                            list unit ◄─ shared reader
    reader      LEARN, SPLIT                gather, SCATTER                     CLEAR, DUMP, LOAD, SWAP
                └── tracker ◄───────────────────────────────────────────────────┘

Both AXI4 ports belong to one clock. Ports: ``s_axil_*``, ``m_axi_host_*``, ``m_axi_dev_*``, ``irq``,
``clk`` and ``rst`` (synchronous, active high). The golden twin is ``hotline_golden.machine``.
"""

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .control.control_unit import ControlUnit
from .control.registers.register_block import ADDRESS_BITS
from .control.reset import DOMAINS, ResetSequencer
from .interfaces.axi import Axi4LiteSignature, Axi4Signature
from .lib.logic import delayed
from .lib.streams import link
from .transfer.backend.memory_ports import MemoryPorts
from .transfer.frontend.shared_reader import SharedReader
from .units.list_unit import ListUnit
from .units.mini_batch_unit import MiniBatchUnit
from .units.row_unit import RowUnit


class Accelerator(wiring.Component):
    """Members: ``clk``, ``rst``, ``s_axil``, ``m_axi_host``, ``m_axi_dev``, ``irq``.

    Inside, resets come from registers, one cycle after ``rst``, and end one to four cycles after it. No valid is high from the
    cycle after ``rst`` rises until then, so one cycle of ``rst`` is enough.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        axi = Axi4Signature(config.address_bits, config.bus_bits, config.id_bits)
        super().__init__({
            "clk": In(1), "rst": In(1),
            "s_axil": In(Axi4LiteSignature(ADDRESS_BITS)),
            "m_axi_host": Out(axi), "m_axi_dev": Out(axi), "irq": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.domains.boot = boot = ClockDomain(local=True, reset_less=True)
        m.d.comb += boot.clk.eq(self.clk)
        m.submodules.reset = reset = ResetSequencer()
        for n, name in enumerate(("port", *DOMAINS)):
            domain = ClockDomain(name, local=True)
            m.domains += domain
            m.d.comb += [domain.clk.eq(self.clk), domain.rst.eq(reset.resets[n])]

        ports = MemoryPorts(config)
        m.submodules.ports = DomainRenamer("port")(ports)
        m.submodules.reader = reader = SharedReader(config)
        m.submodules.batches = batches = MiniBatchUnit(config)
        m.submodules.rows = rows = RowUnit(config)
        m.submodules.lists = lists = ListUnit(config)
        events = self._events(m, ports, batches, rows)
        progress = Cat(ports.progress, batches.progress, lists.progress)
        widths = {name: len(value) for name, value in events.items()}
        m.submodules.control = control = ControlUnit(config, widths, len(progress))

        # Memory and software.
        wiring.connect(m, ports.host, wiring.flipped(self.m_axi_host))
        wiring.connect(m, ports.device, wiring.flipped(self.m_axi_dev))
        wiring.connect(m, wiring.flipped(self.s_axil), control.axil)
        m.d.comb += self.irq.eq(control.irq)
        for client, port in [
            (control.read_commands, ports.read_commands),
            (control.write_completions, ports.write_completions),
            (reader.client, ports.read_records),
            (rows.read_rows, ports.read_gathered_rows),
            (rows.write_scattered_rows, ports.write_scattered_rows),
            (lists.write, ports.write_hot_list),
            (rows.read_keys, ports.read_working_keys),
            (rows.read_working_rows, ports.read_working_rows),
            (batches.write_popular, ports.write_popular),
            (batches.write_non_popular, ports.write_non_popular),
            (rows.write_keys, ports.write_keys),
            (rows.write_rows, ports.write_rows),
        ]:
            wiring.connect(m, client, port)

        # Jobs, and results.
        for source, sink in [
            (control.fetches, batches.fetches),
            (control.batches, batches.jobs),
            (control.lists, lists.jobs),
            (control.gathers, rows.gathers),
            (control.scatters, rows.scatters),
            (batches.results, control.batch_results),
            (batches.popular_results, control.popular_results),
            (lists.results, control.list_results),
            (batches.non_popular_results, control.non_popular_results),
            (rows.gather_results, control.gather_results),
            (rows.scatter_results, control.scatter_results),
            (batches.looked_up, control.looked_up),
        ]:
            wiring.connect(m, source, sink)

        # Data from unit to unit.
        link(m, config, "reads", batches.reads, reader.fetches)
        link(m, config, "begins", batches.begins, reader.begins)
        link(m, config, "lists", lists.lists, reader.lists)
        wiring.connect(m, reader.records, batches.words)
        link(m, config, "list_words", reader.hot_list, lists.words)
        wiring.connect(m, batches.keys, rows.keys)
        link(m, config, "looks_up", rows.looks_up, batches.looks_up)
        wiring.connect(m, rows.lookups, batches.lookups)
        wiring.connect(m, lists.tracker, batches.tracker)
        if config.shadow:
            wiring.connect(m, lists.finds, batches.finds)
            wiring.connect(m, batches.found, lists.found)
            m.d.comb += batches.sampling.eq(control.sampling)
        for unit in (batches, rows):
            wiring.connect(m, control.model, unit.model)
        m.d.comb += [
            reader.sample_words.eq(control.model.sample_words),
            batches.read_fault.eq(reader.fault),
            lists.read_fault.eq(reader.fault),
            # Records of a mini-batch go before its rows, in and out: its popular part must not wait for them.
            rows.pause.eq(control.gathers_own & reader.low_watermark & ~batches.ahead),
            rows.hold_writes.eq(control.gathers_own & batches.has_burst),
        ]

        # Reset, limits, progress, events.
        m.d.comb += [
            reset.rst.eq(self.rst),
            reset.soft_reset.eq(control.soft_reset),
            reset.control_written.eq(control.control_written),
            reset.drained.eq(ports.drained),
            ports.drain.eq(reset.drain),
            ports.timeout.eq(control.timeout),
            ports.limit.eq(control.gather_limit),
            control.armed.eq(reset.armed),
            control.resetting.eq(reset.resetting | reset.resets[-1]),
            control.ready.eq(lists.ready & batches.ready),
            control.progress.eq(progress),
            *(getattr(control, f"add_{name}").eq(value) for name, value in events.items()),
        ]
        return m

    def _events(self, m: Module, ports, batches, rows) -> dict[str, Value]:
        """What each performance counter adds in a cycle."""
        host, device = self.m_axi_host, self.m_axi_dev
        return {
            **{name: getattr(unit.events, name) for unit in (batches, rows) for name, _ in unit.events.shape()},
            "outstanding_rows": ports.outstanding,
            # Ports lie at the edges of the part, counters in the middle: a register on the way.
            "host_read_beats": delayed(m, host.rvalid & host.rready),
            "host_write_beats": delayed(m, host.wvalid & host.wready),
            "device_read_beats": delayed(m, device.rvalid & device.rready),
            "device_write_beats": delayed(m, device.wvalid & device.wready),
            "device_write_offered": delayed(m, device.wvalid),
        }
