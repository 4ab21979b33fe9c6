"""The whole accelerator: rings, command processor, classification, fragmenter, gather, scatter.

Both AXI4 ports belong to one clock. Ports: ``s_axil_*``, ``m_axi_host_*``, ``m_axi_dev_*``, ``irq``,
``clk`` and ``rst`` (synchronous, active high). The golden twin is ``hotline_golden.machine``.
"""

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .classify.access_decoder import AccessDecoder
from .classify.classifier import Classifier
from .classify.fragmenter import Fragmenter
from .classify.record_reader import RecordReader
from .config import AcceleratorConfig
from .control.command_processor import CommandProcessor
from .control.command_watchdog import CommandWatchdog
from .control.errors import ErrorCollector
from .control.gather_scheduler import GatherScheduler
from .control.interrupts import Interrupts
from .control.model_store import ModelStore
from .control.performance_counters import PerformanceCounters
from .control.record_scheduler import RecordScheduler
from .control.registers.identification import identification
from .control.registers.register_block import ADDRESS_BITS, RegisterBlock
from .control.reset import DOMAINS, ResetSequencer
from .control.rings import CommandRing, CompletionRing
from .interfaces.axi import Axi4LiteSignature, Axi4Signature
from .interfaces.control import read_failed, write_failed
from .interfaces.layouts import Opcode, Status
from .interfaces.tracker import connect_lanes
from .lib.logic import delayed, is_one_of
from .tracker.hot_list import HotList
from .tracker.tracker import Tracker
from .transfer.backend.memory_ports import MemoryPorts
from .transfer.frontend.gather import Gather, GatherError
from .transfer.frontend.key_list import KeyList
from .transfer.frontend.key_router import KeyRouter
from .transfer.frontend.scatter import Scatter
from .transfer.frontend.shared_reader import SharedReader
from .transfer.frontend.stream_writer import StreamWriter
from .working_set.cold_resolver import ColdResolver
from .working_set.working_set import WorkingSet


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

        # The memory ports and the registers.
        ports, registers = MemoryPorts(config), RegisterBlock(identification(config))
        m.submodules.ports, m.submodules.registers = DomainRenamer("port")(ports), DomainRenamer("port")(registers)
        wiring.connect(m, ports.host, wiring.flipped(self.m_axi_host))
        wiring.connect(m, ports.device, wiring.flipped(self.m_axi_dev))
        m.d.comb += [
            reset.rst.eq(self.rst),
            reset.soft_reset.eq(registers.soft_reset_written),
            reset.control_written.eq(registers.control_written),
            reset.drained.eq(ports.drained),
            ports.drain.eq(reset.drain),
            ports.timeout.eq(registers.timeout_value),
            ports.limit.eq(registers.gather_limit_value),
        ]

        # Control.
        m.submodules.commands = commands = CommandRing(config)
        m.submodules.completions = completions = CompletionRing(config)
        m.submodules.processor = processor = CommandProcessor(config)
        wiring.connect(m, wiring.flipped(self.s_axil), registers.axil)
        wiring.connect(m, commands.read, ports.read_commands)
        wiring.connect(m, completions.write, ports.write_completions)
        wiring.connect(m, commands.o, processor.i)
        wiring.connect(m, processor.o, completions.i)
        command, scatter_slot = processor.issue, processor.scatter_slot

        # Data path.
        m.submodules.reader = reader = SharedReader(config)
        m.submodules.records = records = RecordReader(config)
        m.submodules.decoder = decoder = AccessDecoder(config)
        m.submodules.hot_list = hot_list = HotList(config)
        classifier, tracker, fragmenter = Classifier(config), Tracker(config), Fragmenter(config)
        cold, working_set = ColdResolver(config), WorkingSet(config)
        gather, key_list, scatter = Gather(config), KeyList(config), Scatter(config)
        popular_writer, non_popular_writer = (StreamWriter(config, config.beat_words) for _ in range(2))
        keys_writer, hot_list_writer = StreamWriter(config, 2, whole=True), StreamWriter(config, 2)
        domains: dict[str, dict] = {
            "lanes": {"classifier": classifier, "tracker": tracker, "fragmenter": fragmenter},
            "misses": {"cold": cold, "working_set": working_set},
            "takers": {
                "gather": gather, "key_list": key_list, "scatter": scatter, "popular_writer": popular_writer,
                "non_popular_writer": non_popular_writer, "keys_writer": keys_writer, "hot_list_writer": hot_list_writer,
            },
        }  # fmt: skip
        for domain, blocks in domains.items():
            for name, block in blocks.items():
                m.submodules[name] = DomainRenamer(domain)(block)

        wiring.connect(m, reader.client, ports.read_records)
        wiring.connect(m, gather.read, ports.read_gathered_rows)
        wiring.connect(m, scatter.write, ports.write_scattered_rows)
        wiring.connect(m, hot_list_writer.client, ports.write_hot_list)
        wiring.connect(m, key_list.read, ports.read_working_keys)
        wiring.connect(m, scatter.read, ports.read_working_rows)
        wiring.connect(m, popular_writer.client, ports.write_popular)
        wiring.connect(m, non_popular_writer.client, ports.write_non_popular)
        wiring.connect(m, keys_writer.client, ports.write_keys)
        wiring.connect(m, gather.write, ports.write_rows)

        wiring.connect(m, records.o, decoder.i)
        wiring.connect(m, decoder.o, classifier.i)
        wiring.connect(m, classifier.o, fragmenter.i)
        wiring.connect(m, fragmenter.popular, popular_writer.i)
        wiring.connect(m, fragmenter.non_popular, cold.i)
        wiring.connect(m, cold.probes, working_set.probes)
        wiring.connect(m, working_set.numbers, cold.numbers)
        wiring.connect(m, cold.o, non_popular_writer.i)
        wiring.connect(m, gather.key_words, keys_writer.i)
        wiring.connect(m, hot_list.o, hot_list_writer.i)
        wiring.connect(m, hot_list.port, tracker.port)
        connect_lanes(m, classifier, tracker)

        # The model, from the registers to whoever needs it.
        m.submodules.store = store = ModelStore(config)
        store.connect_registers(m, registers)
        model = store.model
        for block in (decoder, gather, scatter):
            for name in model.signature.members:
                m.d.comb += getattr(block.model, name).eq(getattr(model, name))

        # A command begins. What it is has been decoded in the cycle before.
        opcode = {op: Signal(name=f"is_{op.name.lower()}") for op in Opcode}
        m.d.sync += [decoded.eq(command.opcode == op) for op, decoded in opcode.items()]

        def is_a(*opcodes: Opcode):
            return Cat(opcode[op] for op in opcodes).any()

        def begins(*opcodes: Opcode):
            return delayed(m, processor.run & is_a(*opcodes))

        is_batch = Signal()
        m.d.sync += is_batch.eq(is_one_of(command.opcode, Opcode.LEARN, Opcode.SPLIT))
        split_begins = begins(Opcode.SPLIT)
        batch_begins = begins(Opcode.LEARN, Opcode.SPLIT)
        gather_begins = begins(Opcode.GATHER)
        is_load = Signal()
        m.d.sync += is_load.eq(processor.active & (command.opcode == Opcode.LOAD))
        is_learn = opcode[Opcode.LEARN]
        m.submodules.record_scheduler = ahead = RecordScheduler()
        m.submodules.gather_scheduler = gathering = GatherScheduler()
        m.d.comb += [
            classifier.start.eq(batch_begins),
            classifier.learning.eq(is_learn),
            classifier.more.eq(~decoder.ended | decoder.giving),
            fragmenter.start.eq(batch_begins),
            fragmenter.discard.eq(is_learn),
            working_set.clear.eq(split_begins),
            working_set.limit.eq(
                Mux(command.working_limit < config.working_rows, command.working_limit, config.working_rows)
            ),
            scatter.start.eq(processor.scatter_run),
            scatter.count.eq(scatter_slot.samples),
            scatter.base.eq(scatter_slot.working_rows),
            hot_list.clear.eq(begins(Opcode.CLEAR)),
            hot_list.dump.eq(begins(Opcode.DUMP)),
            hot_list.load.eq(begins(Opcode.LOAD)),
            hot_list.address.eq(command.source),
            hot_list.reader_error.eq(reader.error),
        ]
        # The key list serves a GATHER, or a SCATTER.
        gathers_list = Signal()
        m.d.sync += gathers_list.eq(processor.active & (command.opcode == Opcode.GATHER))
        m.submodules.router = router = KeyRouter(config)
        wiring.connect(m, key_list.o, router.listed)
        wiring.connect(m, working_set.keys, router.numbered)
        wiring.connect(m, router.scatter, scatter.keys)
        wiring.connect(m, router.gather, gather.keys)
        wiring.connect(m, router.lookups, working_set.lookups)
        scatters = processor.scatter_busy
        m.d.comb += [
            router.scatters.eq(scatters),
            router.passes.eq(processor.scatter_passes),
            router.gathers_list.eq(gathers_list),
            router.drop.eq(key_list.start),
            key_list.start.eq(delayed(m, processor.scatter_run | gather_begins)),
            key_list.base.eq(Mux(scatters, scatter_slot.working_keys, command.working_keys)),
            key_list.count.eq(Mux(scatters, scatter_slot.samples, command.samples)),
            key_list.abort.eq(Mux(scatters, scatter.stop, gather.bad_key)),
            scatter.keys_busy.eq(key_list.busy),
            scatter.keys_error.eq(key_list.error),
        ]
        popular_begins = delayed(m, split_begins)
        for writer, address, starts in [
            (popular_writer, command.popular, popular_begins),
            (non_popular_writer, command.non_popular, delayed(m, popular_begins)),
            (keys_writer, command.working_keys, gather.start & ~gathers_list),
            (hot_list_writer, command.source, begins(Opcode.DUMP, Opcode.SWAP)),
        ]:
            m.d.comb += [writer.start.eq(starts), writer.address.eq(address)]

        # The reader serves sample records, or the hot list of a LOAD.
        wiring.connect(m, processor.fetch, reader.fetch)
        wiring.connect(m, hot_list.reader_start, reader.list_start)
        wiring.connect(m, reader.records, records.i)
        wiring.connect(m, reader.hot_list, hot_list.i)
        m.d.comb += [
            reader.loads.eq(is_load),
            reader.sample_words.eq(model.sample_words),
            reader.begin.eq(ahead.begin),
            reader.end.eq(decoder.ended),
        ]

        # When the records of the next mini-batch are decoded.
        m.d.comb += [
            ahead.asked.eq(processor.asked),
            ahead.active.eq(processor.active),
            ahead.split.eq(opcode[Opcode.SPLIT]),
            ahead.next_split.eq(processor.next.opcode == Opcode.SPLIT),
            ahead.read_over.eq(reader.over),
            ahead.decoded.eq(decoder.ended & ~decoder.giving & ~decoder.bad_row & ~reader.error),
            ahead.coming.eq(classifier.coming),
            ahead.batch_begins.eq(batch_begins),
            classifier.hold.eq(ahead.hold),
        ]
        # Counts of the command in the issue slot, also while the next one is being decoded.
        accesses = Signal.like(decoder.accesses, reset_less=True)
        resident = Signal.like(decoder.resident, reset_less=True)
        with m.If(~ahead.ahead):
            m.d.sync += [accesses.eq(decoder.accesses), resident.eq(decoder.resident)]
        m.d.comb += [
            processor.decoding.eq(ahead.ahead),
            records.start.eq(ahead.begin),
            records.samples.eq(processor.next.samples),
            records.sample_words.eq(model.sample_words),
            decoder.start.eq(ahead.begin),
            decoder.fail.eq(reader.error),
        ]

        # A command leaves the issue slot when all that it has to say is with the writers and the gather.
        classified = delayed(m, fragmenter.classified & (ahead.ahead | reader.over))
        resolved = delayed(m, classified & ~cold.busy & ~working_set.busy)
        listed_all = delayed(m, ~hot_list.busy)
        m.d.comb += [
            popular_writer.flush.eq(classified),
            non_popular_writer.flush.eq(resolved),
            hot_list_writer.flush.eq(listed_all),
        ]
        # Each kind of command has a register for it; the processor allows for that.
        learnt = delayed(m, classified & ~classifier.busy)
        split_over = delayed(m, resolved & ~gathering.waits) & delayed(
            m, popular_writer.flushed & non_popular_writer.flushed
        )
        gathered = delayed(m, gather.idle & ~key_list.busy & ~router.listed_waits & ~router.gather_waits)
        list_done = listed_all & delayed(m, hot_list_writer.idle)
        m.d.comb += processor.issue_done.eq(
            Mux(opcode[Opcode.LEARN], learnt,
                Mux(opcode[Opcode.SPLIT], split_over,
                    Mux(opcode[Opcode.GATHER], gathered, list_done)))
        )  # fmt: skip

        split_swaps = processor.commits & opcode[Opcode.SPLIT]
        m.d.comb += [
            gathering.split_begins.eq(split_begins),
            gathering.gather_begins.eq(gather_begins),
            gathering.split_active.eq(processor.active & opcode[Opcode.SPLIT]),
            gathering.gathers_list.eq(gathers_list),
            gathering.commit_split.eq(processor.commit_split),
            gathering.commit_names.eq(processor.commit_names),
            gathering.scattered.eq(processor.scattered),
            gathering.missed.eq(processor.missed),
            gathering.swaps.eq(split_swaps),
            gathering.scatters.eq(scatters),
            gathering.count.eq(working_set.count),
            gathering.found.eq(working_set.found),
            gathering.list_count.eq(command.samples),
            gathering.keys_done.eq(gather.keys_done),
            gathering.idle.eq(gather.idle),
            gathering.earlier_idle.eq(gather.earlier_idle),
            gathering.keys_flushed.eq(keys_writer.flushed),
            gathering.keys_drained.eq(keys_writer.previous_drained),
            gathering.keys_idle.eq(keys_writer.idle),
            gather.start.eq(gathering.start),
            gather.hold.eq(gathering.hold),
            gather.count.eq(gathering.total),
            gather.active.eq(gathering.active),
            gather.complete.eq(gathering.complete),
            gather.base.eq(command.working_rows),
            gather.listing.eq(~gathers_list & ~gathering.refetches),
            # Records of the same mini-batch go before its rows, in and out: its popular part must not wait for them.
            gather.pause.eq(~gathering.own & ~gathers_list & ~ahead.ahead & reader.low_watermark),
            gather.hold_writes.eq(
                ~gathering.own & ~gathers_list & (popular_writer.has_burst | non_popular_writer.has_burst)
            ),
            keys_writer.swap.eq(gather.start & ~gathers_list),
            keys_writer.flush.eq(gathering.flush_keys),
            popular_writer.swap.eq(split_swaps),
            non_popular_writer.swap.eq(split_swaps),
        ]
        # Of the SPLIT in the commit slot.
        overflow, overflow_sample = Signal(), Signal.like(working_set.overflow_sample)
        with m.If(split_swaps):
            m.d.sync += [overflow.eq(working_set.overflow), overflow_sample.eq(working_set.overflow_sample)]
        written = delayed(m, popular_writer.previous_drained & non_popular_writer.previous_drained)
        m.d.comb += [
            processor.scatter_done.eq(delayed(m, scatter.idle)),
            processor.scatter_probed.eq(scatter.all_given & ~router.lookup_waits & ~working_set.busy),
            processor.overflow.eq(working_set.overflow),
            processor.scatter_timeout.eq(registers.scatter_timeout_value),
            processor.popular_done.eq(popular_writer.previous_drained),
            processor.commit_done.eq(written & gathering.done),
        ]

        # What went wrong: the first cause of each list, told a cycle late.
        writes_list = is_a(Opcode.DUMP, Opcode.SWAP)
        is_gather = opcode[Opcode.GATHER]
        reads = is_batch | opcode[Opcode.LOAD]

        def gather_failed(when, error):
            return [
                (when & (error.kind == GatherError.READ), read_failed(error.timeout), error.index, 0, error.address),
                (when & (error.kind == GatherError.WRITE), write_failed(error.timeout), 0, 0, error.address),
            ]

        causes = {
            "issue": [
                (reads & ~ahead.ahead & reader.error, read_failed(reader.timeout), 0, 0, reader.error_address),
                (is_batch & ~ahead.ahead & decoder.bad_row, Status.ROW_OUTSIDE_TABLE, decoder.bad_sample, decoder.bad_access, 0),
                (opcode[Opcode.LOAD] & hot_list.bad_list, Status.BAD_HOT_LIST, hot_list.bad_slot, 0, 0),
                (writes_list & hot_list_writer.error, write_failed(hot_list_writer.timeout), 0, 0,
                 hot_list_writer.error_address),
                (is_gather & key_list.error, read_failed(key_list.timeout), 0, 0, key_list.error_address),
                (is_gather & gather.bad_key, Status.ROW_OUTSIDE_TABLE, gather.bad_index, 0, 0),
                *gather_failed(is_gather, gather.error),
            ],
            "scatter": [
                (key_list.error, read_failed(key_list.timeout), 0, 0, key_list.error_address),
                (scatter.read_error, read_failed(scatter.timeout), 0, 0, scatter.error_address),
                (scatter.bad_key, Status.ROW_OUTSIDE_TABLE, scatter.bad_index, 0, 0),
                (scatter.write_error, write_failed(scatter.timeout), 0, 0, scatter.error_address),
            ],
            "popular": [
                (popular_writer.previous_error, write_failed(popular_writer.previous_timeout), 0, 0,
                 popular_writer.previous_address),
            ],
            "commit": [
                (overflow, Status.WORKING_SET_OVERFLOW, overflow_sample, 0, 0),
                (non_popular_writer.previous_error, write_failed(non_popular_writer.previous_timeout), 0, 0,
                 non_popular_writer.previous_address),
                (~gathering.moved_on & keys_writer.error, write_failed(keys_writer.timeout), 0, 0, keys_writer.error_address),
                (gathering.moved_on & keys_writer.previous_error, write_failed(keys_writer.previous_timeout), 0, 0,
                 keys_writer.previous_address),
                *gather_failed(~gathering.moved_on, gather.error),
                *gather_failed(gathering.moved_on, gather.earlier),
            ],
        }  # fmt: skip
        m.submodules.errors = errors = ErrorCollector(config, {part: len(some) for part, some in causes.items()})
        for part, some in causes.items():
            for cause, (valid, status, index, access, address) in zip(
                getattr(errors, f"{part}_causes"), some, strict=True
            ):
                m.d.comb += [
                    cause.valid.eq(valid),
                    cause.status.eq(status),
                    cause.index.eq(index),
                    cause.access.eq(access),
                    cause.address.eq(address),
                ]
            m.d.comb += getattr(processor, f"{part}_fault").eq(getattr(errors, part))

        m.d.comb += [
            processor.popular.eq(fragmenter.popular_count),
            processor.non_popular.eq(fragmenter.non_popular_count),
        ]
        with m.If(is_batch):
            m.d.comb += [
                processor.working_rows.eq(Mux(is_learn, 0, working_set.count)),
                processor.accesses.eq(accesses),
                processor.hot_accesses.eq(resident + classifier.hits),
            ]
        with m.Else():
            m.d.comb += [processor.popular.eq(0), processor.non_popular.eq(0)]
            with m.If(is_gather):
                m.d.comb += processor.working_rows.eq(command.samples)

        if config.shadow:
            room = command.working_limit
            m.d.comb += [
                hot_list.swap.eq(begins(Opcode.SWAP)),
                hot_list.halve.eq(command.flags[0]),
                hot_list.limit.eq(Mux(room < registers.swap_limit_value, room, registers.swap_limit_value)),
                hot_list.worth.eq(registers.swap_worth_value),
            ]
            with m.If(opcode[Opcode.SWAP]):
                m.d.comb += [processor.working_rows.eq(hot_list.changed), processor.accesses.eq(hot_list.left)]

        # What tells that commands make progress: transfers, accesses, sweeps, completions.
        progress = Cat(
            ports.progress, tracker.requests.any(), classifier.filtered.any(), hot_list.port.valid, ~working_set.ready,
            processor.o.valid & processor.o.ready,
        )  # fmt: skip
        m.submodules.watchdog = watchdog = CommandWatchdog(len(progress))
        m.d.comb += [
            watchdog.timeout.eq(registers.timeout_value),
            watchdog.busy.eq(processor.busy),
            watchdog.waits.eq(processor.waits_for_host | completions.full),
            watchdog.progress.eq(progress),
            processor.expired.eq(watchdog.expired),
        ]

        # What has stopped the rings, or is wrong with the model.
        m.submodules.interrupts = interrupts = Interrupts()
        ring_errors = {
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
            interrupts.model_errors.eq(store.errors),
            interrupts.completion_pending.eq(registers.irq_status_completion),
            interrupts.error_pending.eq(registers.irq_status_error),
            interrupts.completion_enable.eq(registers.control_irq_enable),
            interrupts.error_enable.eq(registers.control_error_irq_enable),
        ]

        # Registers: rings, status, interrupt, identification.
        swept = Signal()
        with m.If(~hot_list.busy & working_set.ready):
            m.d.sync += swept.eq(1)
        m.d.comb += [
            *(
                getattr(processor, f"{of}{name}").eq(getattr(model, name))
                for of, name in (("model_", "valid"), ("", "sample_words"), ("", "row_bytes"))
            ),
            commands.hold.eq(store.busy),
            commands.stop.eq(interrupts.stopped),
            commands.completions_outside.eq(completions.outside),
            commands.enable.eq(registers.control_enable & swept & reset.armed),
            processor.ready.eq(swept & ~hot_list.busy & working_set.ready),
            commands.base.eq(Cat(registers.command_base_lo_value, registers.command_base_hi_value)),
            commands.log2_entries.eq(registers.command_ring_log2_entries),
            commands.tail.eq(registers.command_tail_value),
            registers.command_head_value.eq(commands.head),
            completions.base.eq(Cat(registers.completion_base_lo_value, registers.completion_base_hi_value)),
            completions.log2_entries.eq(registers.completion_ring_log2_entries),
            completions.head.eq(registers.completion_head_value),
            registers.completion_tail_value.eq(completions.tail),
            registers.irq_status_completion_set.eq(completions.written),
            registers.irq_status_error_set.eq(interrupts.error),
            registers.lock.eq(delayed(m, processor.working | commands.active)),
            registers.status_busy.eq(delayed(m, processor.busy | commands.waiting)),
            registers.status_ready.eq(swept & ~reset.resetting),
            registers.status_resetting.eq(reset.resetting | reset.resets[-1]),
            registers.status_ring_error.eq(interrupts.stopped),
            self.irq.eq(interrupts.irq),
        ]
        # Performance counters.
        batch_ends = delayed(m, processor.commits & is_batch)
        host, device = self.m_axi_host, self.m_axi_dev
        events = {
            "cycles_busy": processor.busy,
            "accesses_seen": Mux(batch_ends, processor.accesses, 0),
            "hot_accesses": Mux(batch_ends, processor.hot_accesses, 0),
            "tracker_requests": tracker.requests,
            "filtered_accesses": classifier.filtered,
            "evictions": tracker.evictions,
            "lane_cycles": classifier.lane_cycles,
            "lane_rows": classifier.lane_rows,
            "stall_banks": classifier.stall_banks,
            "stall_input": classifier.stall_input,
            "stall_output": classifier.stall_output,
            "gathered_rows": Mux(batch_ends, processor.working_rows, 0),
            "gather_cycles": gather.active,
            "gather_asks": gather.asks,
            "gather_waits": gather.waits,
            "gather_stall_keys": gather.stall_keys,
            "gather_stall_records": gather.stall_records,
            "gather_stall_slots": gather.stall_slots,
            "gather_stall_port": gather.stall_port,
            "outstanding_rows": ports.outstanding,
            # Ports lie at the edges of the part, counters in the middle: a register on the way.
            "host_read_beats": delayed(m, host.rvalid & host.rready),
            "host_write_beats": delayed(m, host.wvalid & host.wready),
            "device_read_beats": delayed(m, device.rvalid & device.rready),
            "device_write_beats": delayed(m, device.wvalid & device.wready),
            "device_write_offered": delayed(m, device.wvalid),
        }
        m.submodules.counters = counters = PerformanceCounters({name: len(value) for name, value in events.items()})
        for name, value in events.items():
            m.d.comb += getattr(counters, f"add_{name}").eq(value)
        counters.connect_registers(m, registers)
        return m
