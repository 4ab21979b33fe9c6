"""What software sees, and what carries out its commands: registers, rings, command processor, model, interrupts, counters."""

from amaranth.hdl import Cat, DomainRenamer, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.axi import Axi4LiteSignature
from ..interfaces.jobs import JOBS, RESULTS, sampling_layout
from ..interfaces.memory import ReadClientSignature, WriteClientSignature
from ..interfaces.model import ModelSignature
from ..lib.logic import delayed
from ..lib.streams import link
from .command_watchdog import CommandWatchdog
from .commands.command_processor import CommandProcessor
from .interrupts import Interrupts
from .model_store import ModelStore
from .performance_counters import PerformanceCounters
from .registers.identification import identification
from .registers.register_block import ADDRESS_BITS, RegisterBlock
from .rings import CommandRing, CompletionRing


class ControlUnit(wiring.Component):
    """``events``: for each performance counter but ``cycles_busy``, the bits of what is added to it in a cycle. ``sources``: how
    many parts tell of their progress.

    Members
    -------
    axil : In(Axi4LiteSignature)
    read_commands : Out(ReadClientSignature), write_completions : Out(WriteClientSignature)
    fetches, batches, lists, gathers, scatters : Out(streams)
        Jobs, see ``hotline_rtl.interfaces.jobs``.
    batch_results, popular_results, non_popular_results, list_results, gather_results, scatter_results, looked_up : In(streams)
        Results.
    model : Out(ModelSignature)
    gathers_own : Out(1)
        The gather serves the SPLIT that is still being classified.
    add_NAME : In
        Events for the performance counters.
    progress : In(sources)
        A part has done something, a bit for each.
    ready : In(1)
        All units have been cleared after reset.
    armed, resetting : In(1)
        Of the reset sequencer.
    soft_reset, control_written : Out(1)
        To it.
    timeout : Out(32), gather_limit : Out(16)
        Of the memory ports.
    sampling : Out(sampling_layout)
        Of the mini-batch unit, with a shadow.
    irq : Out(1)
    """

    def __init__(self, config: AcceleratorConfig, events: dict[str, int], sources: int):
        self.config, self.events, self.sources = config, events, sources
        super().__init__({
            "axil": In(Axi4LiteSignature(ADDRESS_BITS)),
            "read_commands": Out(ReadClientSignature(config)), "write_completions": Out(WriteClientSignature(config)),
            **{name: Out(stream.Signature(layout(config))) for name, layout in JOBS.items()},
            **{name: In(stream.Signature(layout(config))) for name, layout in RESULTS.items()},
            "model": Out(ModelSignature(config)), "gathers_own": Out(1),
            **{f"add_{name}": In(width) for name, width in events.items()},
            "progress": In(sources), "ready": In(1), "armed": In(1), "resetting": In(1),
            "soft_reset": Out(1), "control_written": Out(1), "timeout": Out(32), "gather_limit": Out(16), "irq": Out(1),
            **({"sampling": Out(sampling_layout())} if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        registers = RegisterBlock(identification(config))
        m.submodules.registers = DomainRenamer("port")(registers)
        m.submodules.commands = commands = CommandRing(config)
        m.submodules.completions = completions = CompletionRing(config)
        m.submodules.processor = processor = CommandProcessor(config)
        m.submodules.store = store = ModelStore(config)
        m.submodules.interrupts = interrupts = Interrupts()
        m.submodules.watchdog = watchdog = CommandWatchdog(self.sources + 1)
        m.submodules.counters = counters = PerformanceCounters({"cycles_busy": 1, **self.events})
        wiring.connect(m, wiring.flipped(self.axil), registers.axil)
        wiring.connect(m, commands.read, wiring.flipped(self.read_commands))
        wiring.connect(m, completions.write, wiring.flipped(self.write_completions))
        link(m, config, "commands", commands.o, processor.i)
        link(m, config, "completions", processor.o, completions.i)
        link(m, config, "acknowledged", completions.acknowledged, processor.acknowledged)
        for name in JOBS:
            link(m, config, name, getattr(processor, name), wiring.flipped(getattr(self, name)), rare=True)
        for name in RESULTS:
            link(m, config, name, wiring.flipped(getattr(self, name)), getattr(processor, name), rare=True)

        # The model, from the registers to whoever needs it.
        store.connect_registers(m, registers)
        wiring.connect(m, store.model, wiring.flipped(self.model))
        m.d.comb += [
            processor.model_valid.eq(store.model.valid),
            processor.sample_words.eq(store.model.sample_words),
            processor.row_bytes.eq(store.model.row_bytes),
        ]

        # Rings, and what stops them.
        ready = Signal()
        with m.If(self.ready):
            m.d.sync += ready.eq(1)
        ring_errors: dict[str, Value] = {
            "completion_write": completions.write_error,
            "command_base": commands.base_error,
            "completion_base": commands.completion_base_error | completions.base_error,
            "doorbell": commands.doorbell_error,
            "completion_head": completions.head_error,
            "watchdog": watchdog.expired,
        }
        for name, error in ring_errors.items():
            m.d.comb += [getattr(interrupts, name).eq(error), getattr(registers, f"ring_error_{name}").eq(error)]
        m.d.comb += [
            commands.hold.eq(store.busy),
            commands.stop.eq(delayed(m, interrupts.stopped)),
            commands.completions_outside.eq(completions.outside),
            commands.enable.eq(registers.control_enable & ready & self.armed),
            commands.base.eq(Cat(registers.command_base_lo_value, registers.command_base_hi_value)),
            commands.log2_entries.eq(registers.command_ring_log2_entries),
            commands.tail.eq(registers.command_tail_value),
            registers.command_head_value.eq(commands.head),
            completions.base.eq(Cat(registers.completion_base_lo_value, registers.completion_base_hi_value)),
            completions.log2_entries.eq(registers.completion_ring_log2_entries),
            completions.head.eq(registers.completion_head_value),
            registers.completion_tail_value.eq(completions.tail),
        ]

        # Interrupts.
        m.d.comb += [
            interrupts.model_errors.eq(store.errors),
            interrupts.completion_pending.eq(registers.irq_status_completion),
            interrupts.error_pending.eq(registers.irq_status_error),
            interrupts.completion_enable.eq(registers.control_irq_enable),
            interrupts.error_enable.eq(registers.control_error_irq_enable),
            registers.irq_status_completion_set.eq(completions.written),
            registers.irq_status_error_set.eq(interrupts.error),
            self.irq.eq(interrupts.irq),
        ]

        # What registers say and set.
        m.d.comb += [
            registers.lock.eq(delayed(m, processor.working | commands.active)),
            registers.status_busy.eq(delayed(m, processor.busy | commands.waiting)),
            registers.status_ready.eq(ready & ~self.resetting),
            registers.status_resetting.eq(self.resetting),
            registers.status_ring_error.eq(interrupts.stopped),
            self.soft_reset.eq(registers.soft_reset_written),
            self.control_written.eq(registers.control_written),
            self.timeout.eq(registers.timeout_value),
            self.gather_limit.eq(registers.gather_limit_value),
            processor.scatter_timeout.eq(registers.scatter_timeout_value),
            self.gathers_own.eq(processor.gathers_own),
        ]
        if config.shadow:
            m.d.comb += [
                processor.swap_limit.eq(registers.swap_limit_value),
                processor.swap_worth.eq(registers.swap_worth_value),
                self.sampling.shift.eq(registers.follow_sampling_shift),
                self.sampling.seed.eq(registers.follow_sampling_seed),
            ]

        # Progress, and events.
        m.d.comb += [
            watchdog.timeout.eq(registers.timeout_value),
            watchdog.busy.eq(processor.busy),
            watchdog.waits.eq(processor.waits_for_host | completions.full),
            watchdog.progress.eq(Cat(self.progress, processor.o.valid & processor.o.ready)),
            processor.expired.eq(watchdog.expired),
            counters.add_cycles_busy.eq(processor.busy),
            *(getattr(counters, f"add_{name}").eq(getattr(self, f"add_{name}")) for name in self.events),
        ]
        counters.connect_registers(m, registers)
        return m
