"""The whole accelerator: rings, command processor, classification, fragmenter, gather, scatter.

Both AXI4 ports belong to one clock. Ports: ``s_axil_*``, ``m_axi_host_*``, ``m_axi_dev_*``, ``irq``,
``clk`` and ``rst`` (synchronous, active high). The golden twin is ``hotline_golden.machine``.
"""

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import VERSION_MAJOR, VERSION_MINOR, VERSION_PATCH
from .access_decoder import AccessDecoder
from .axi import Axi4LiteSignature, Axi4Signature
from .classifier import Classifier, connect_port
from .cold_resolver import ColdResolver
from .command_processor import CommandProcessor
from .config import POLICY_NAMES, AcceleratorConfig
from .control.command_watchdog import CommandWatchdog, handshakes
from .control.model_store import ERRORS as MODEL_ERRORS
from .control.model_store import ModelStore
from .counters import Counters
from .fork import fork
from .fragmenter import Fragmenter
from .gather import Gather, GatherError
from .hot_list import HotList
from .key_list import KeyList
from .layouts import COUNT_BITS, Opcode, Status
from .read_master import ReadMaster
from .record_reader import RecordReader
from .register_slice import RegisterSlice
from .registers import ADDRESS_BITS, RegisterBlock
from .rings import CommandRing, CompletionRing
from .scatter import Scatter
from .stream_reader import StreamReader
from .stream_writer import StreamWriter
from .words import delayed, is_one_of, no_reset, product
from .working_set import WorkingSet
from .write_master import WriteMaster

IDENTIFICATION = 0x484F544C
#: Fields of register ``ring_error``, from bit 0 on.
RING_ERRORS = ("completion_write", "command_base", "completion_base", "doorbell", "completion_head", "watchdog")
#: Channels of an AXI4 port: each has a valid and a ready.
AXI4_CHANNELS = ("ar", "r", "aw", "w", "b")
#: Cycles with nothing under way after which a soft reset ends.
RESET_CYCLES = 16


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
        # A soft reset waits until nothing is under way at the memory ports, which it therefore leaves alone.
        m.domains.boot = boot = ClockDomain(local=True, reset_less=True)
        boot.clk = self.clk
        resetting, armed = Signal(), Signal()
        # The ports stop one after the other, then all that uses them is reset: as with resets, no register serves all.
        drains = [Signal(name=f"drain_{n}") for n in range(4)]

        def reset_by(name: str, *causes) -> Signal:
            """A new clock domain's reset: any of ``causes`` in the cycle before."""
            domain = ClockDomain(name, local=True)
            domain.clk, domain.rst = self.clk, Signal(init=1, name=f"{name}_rst")
            m.domains += domain
            m.d.boot += domain.rst.eq(Cat(causes).any())
            return domain.rst

        # One reset for all would have to cross the part in a cycle. All begin together; they end one after the other, and
        # whoever takes is out of it before whoever gives.
        cause = self.rst | drains[-1]
        reset_by("port", self.rst)
        takers = reset_by("takers", cause)
        misses = reset_by("misses", cause, takers)
        lanes = reset_by("lanes", cause, misses)
        reset = reset_by("sync", cause, lanes)

        # The memory ports. Order of clients is order of priority.
        gather = Gather(config)
        host_read = ReadMaster(config, 2, gather.mover.slot_bits)
        host_write = WriteMaster(config, 3)
        device_read = ReadMaster(config, 2)
        device_write = WriteMaster(config, 4)
        registers = RegisterBlock()
        masters: dict = {
            "host_read": host_read, "host_write": host_write, "device_read": device_read, "device_write": device_write,
        }  # fmt: skip
        for name, block in {**masters, "registers": registers}.items():
            m.submodules[name] = DomainRenamer("port")(block)
        for port, bus in [
            (self.m_axi_host, host_read.bus), (self.m_axi_host, host_write.bus),
            (self.m_axi_dev, device_read.bus), (self.m_axi_dev, device_write.bus),
        ]:  # fmt: skip
            for name, member in bus.signature.members.items():
                outer, inner = getattr(port, name), getattr(bus, name)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)

        # Control.
        m.submodules.commands = commands = CommandRing(config)
        m.submodules.completions = completions = CompletionRing(config)
        m.submodules.processor = processor = CommandProcessor(config)
        wiring.connect(m, wiring.flipped(self.s_axil), registers.axil)
        wiring.connect(m, commands.read, host_read.clients[0])
        wiring.connect(m, completions.write, host_write.clients[0])
        wiring.connect(m, commands.o, processor.i)
        wiring.connect(m, processor.o, completions.i)
        command, side = processor.front, processor.side

        # Data path.
        m.submodules.reader = reader = StreamReader(config)
        m.submodules.read = read = RegisterSlice(reader.o.p.shape())
        wiring.connect(m, reader.o, read.i)
        m.submodules.records = records = RecordReader(config)
        m.submodules.decoder = decoder = AccessDecoder(config)
        m.submodules.hot_list = hot_list = HotList(config)
        classifier, fragmenter = Classifier(config), Fragmenter(config)
        cold, working_set = ColdResolver(config), WorkingSet(config)
        key_list, scatter = KeyList(config), Scatter(config)
        popular_writer, non_popular_writer = (StreamWriter(config, config.beat_words) for _ in range(2))
        keys_writer, hot_list_writer = StreamWriter(config, 2, whole=True), StreamWriter(config, 2)
        domains: dict[str, dict] = {
            "lanes": {"classifier": classifier, "fragmenter": fragmenter},
            "misses": {"cold": cold, "working_set": working_set},
            "takers": {
                "gather": gather, "key_list": key_list, "scatter": scatter, "popular_writer": popular_writer,
                "non_popular_writer": non_popular_writer, "keys_writer": keys_writer, "hot_list_writer": hot_list_writer,
            },
        }  # fmt: skip
        for domain, blocks in domains.items():
            for name, block in blocks.items():
                m.submodules[name] = DomainRenamer(domain)(block)

        wiring.connect(m, reader.client, host_read.clients[1])
        wiring.connect(m, gather.read, host_read.tagged)
        wiring.connect(m, scatter.write, host_write.clients[1])
        wiring.connect(m, hot_list_writer.client, host_write.clients[2])
        wiring.connect(m, key_list.read, device_read.clients[0])
        wiring.connect(m, scatter.read, device_read.clients[1])
        wiring.connect(m, popular_writer.client, device_write.clients[0])
        wiring.connect(m, non_popular_writer.client, device_write.clients[1])
        wiring.connect(m, keys_writer.client, device_write.clients[2])
        wiring.connect(m, gather.write, device_write.clients[3])

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
        connect_port(m, config, hot_list, classifier)

        # The model, from the registers to whoever needs it.
        m.submodules.store = store = ModelStore(config)
        self._connect_model(m, registers, store)
        model = store.model
        for block in (decoder, gather, scatter):
            for name in model.signature.members:
                m.d.comb += getattr(block.model, name).eq(getattr(model, name))

        limit = registers.gather_limit_value
        m.d.port += host_read.limit.eq(
            Mux(limit == 0, 1, Mux(limit < config.outstanding_rows, limit, config.outstanding_rows))
        )
        for master, drain, cause_of_it in zip(masters.values(), drains, [resetting, *drains], strict=False):
            m.d.port += drain.eq(cause_of_it)
            m.d.comb += [master.timeout.eq(registers.timeout_value), master.drain.eq(drain)]
        held_reset, drained = Signal(range(RESET_CYCLES)), Signal()
        m.d.port += drained.eq(Cat(master.drained for master in masters.values()).all())
        with m.If(registers.soft_reset_written):
            m.d.port += [resetting.eq(1), held_reset.eq(0), armed.eq(0)]
        with m.Elif(resetting):
            m.d.port += held_reset.eq(Mux(drained, held_reset + 1, 0))
            with m.If(drained & (held_reset == RESET_CYCLES - 1)):
                m.d.port += resetting.eq(0)
        with m.Elif(registers.control_written):
            m.d.port += armed.eq(1)

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
        ahead, decoding_begins = Signal(), Signal()  # the records in the decoder are of the command that comes next
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
            scatter.start.eq(processor.side_run),
            scatter.count.eq(side.samples),
            scatter.base.eq(side.working_rows),
            hot_list.clear.eq(begins(Opcode.CLEAR)),
            hot_list.dump.eq(begins(Opcode.DUMP)),
            hot_list.load.eq(begins(Opcode.LOAD)),
            hot_list.address.eq(command.source),
            hot_list.reader_error.eq(reader.error),
        ]
        # The key list serves a GATHER, or a SCATTER. Of one that passes a SPLIT, each key is also looked up in that
        # one's working set: rows that both have are gathered again.
        gathers_list = Signal()
        m.d.sync += gathers_list.eq(processor.active & (command.opcode == Opcode.GATHER))
        m.submodules.listed = listed = RegisterSlice(key_list.o.p.shape())
        wiring.connect(m, key_list.o, listed.i)
        scatters = processor.side_busy
        m.d.comb += [
            key_list.start.eq(delayed(m, processor.side_run | gather_begins)),
            listed.drop.eq(key_list.start),
            key_list.base.eq(Mux(scatters, side.working_keys, command.working_keys)),
            key_list.count.eq(Mux(scatters, side.samples, command.samples)),
            key_list.abort.eq(Mux(scatters, scatter.stop, gather.bad_key)),
            scatter.keys.p.eq(listed.o.p),
            scatter.keys_busy.eq(key_list.busy),
            scatter.keys_error.eq(key_list.error),
        ]
        to_scatter = stream.Signature(0).create()
        looked_up = stream.Signature(0).create()
        m.submodules.lookups = lookups = RegisterSlice(listed.o.p.key.shape())
        wiring.connect(m, lookups.o, working_set.lookups)
        m.d.comb += [
            to_scatter.valid.eq(listed.o.valid & scatters),
            looked_up.ready.eq(lookups.i.ready | ~processor.side_passes),
            lookups.i.valid.eq(looked_up.valid & processor.side_passes),
            lookups.i.p.eq(listed.o.p.key),
        ]
        fork(m, to_scatter, [scatter.keys, looked_up])
        numbered = working_set.keys
        m.submodules.to_gather = to_gather = RegisterSlice(listed.o.p.shape())
        wiring.connect(m, to_gather.o, gather.keys)
        m.d.comb += [
            to_gather.i.valid.eq(Mux(gathers_list, listed.o.valid, numbered.valid)),
            to_gather.i.p.eq(listed.o.p),
            listed.o.ready.eq(Mux(scatters, to_scatter.ready, to_gather.i.ready & gathers_list)),
            numbered.ready.eq(to_gather.i.ready & ~gathers_list),
        ]
        with m.If(~gathers_list):
            m.d.comb += [
                to_gather.i.p.key.eq(numbered.p.key),
                to_gather.i.p.number.eq(numbered.p.number),
                to_gather.i.p.outside.eq(0),
            ]
        popular_begins = delayed(m, split_begins)
        for writer, address, starts in [
            (popular_writer, command.popular, popular_begins),
            (non_popular_writer, command.non_popular, delayed(m, popular_begins)),
            (keys_writer, command.working_keys, gather.start & ~gathers_list),
            (hot_list_writer, command.source, begins(Opcode.DUMP, Opcode.SWAP)),
        ]:
            m.d.comb += [writer.start.eq(starts), writer.address.eq(address)]

        # The reader serves sample records, or the hot list of a LOAD. Records are asked for some cycles after their command
        # has come, so how many words they are is known by then.
        record_words = product(
            m, delayed(m, processor.next.samples[: COUNT_BITS + 1]), delayed(m, model.sample_words)
        )
        m.d.comb += [
            reader.start.valid.eq(Mux(is_load, hot_list.reader_start.valid, processor.fetch.valid)),
            hot_list.reader_start.ready.eq(is_load & reader.start.ready),
            processor.fetch.ready.eq(~is_load & reader.start.ready),
            reader.start.p.address.eq(Mux(is_load, hot_list.reader_start.p.address, processor.next.source)),
            reader.start.p.words.eq(Mux(is_load, hot_list.reader_start.p.words, record_words)),
            reader.go.eq(is_load | decoding_begins),
            records.i.p.eq(read.o.p),
            hot_list.i.p.eq(read.o.p),
            records.i.valid.eq(read.o.valid & ~is_load),
            hot_list.i.valid.eq(read.o.valid & is_load),
            read.o.ready.eq(Mux(is_load, hot_list.i.ready, records.i.ready)),
            reader.abort.eq(decoder.ended & ~is_load),
        ]

        # Records are decoded ahead, while the command before is still in front, once all of its own have been. SPLITs leave the
        # tracker as it is, so one's accesses follow those of another into the lanes; those of a LEARN, and those behind
        # it, wait until the lanes have no others.
        read_over = delayed(m, ~reader.busy & ~read.o.valid)
        decoded_well = delayed(m, decoder.ended & ~decoder.giving & ~decoder.bad_row & ~reader.error)
        splits = delayed(m, processor.active & opcode[Opcode.SPLIT] & (processor.next.opcode == Opcode.SPLIT))
        coming = delayed(m, classifier.coming)
        free = delayed(m, ~processor.active | (decoded_well & read_over & (splits | ~coming)))
        m.d.sync += decoding_begins.eq(processor.asked & free & ~ahead & ~decoding_begins)
        with m.If(batch_begins):
            m.d.sync += [ahead.eq(0), classifier.hold.eq(0)]
        with m.If(decoding_begins):
            m.d.sync += [ahead.eq(1), classifier.hold.eq(~splits)]
        # Of the command in front, whatever is decoded.
        accesses, resident = Signal.like(decoder.accesses), Signal.like(decoder.resident)
        no_reset(accesses, resident)
        with m.If(~ahead):
            m.d.sync += [accesses.eq(decoder.accesses), resident.eq(decoder.resident)]
        m.d.comb += [
            processor.decoding.eq(ahead),
            records.start.eq(decoding_begins),
            records.samples.eq(processor.next.samples),
            records.sample_words.eq(model.sample_words),
            decoder.start.eq(decoding_begins),
            decoder.fail.eq(reader.error),
        ]

        # A command leaves the front when all that it has to say is with the writers and the gather.
        classified = delayed(m, fragmenter.classified & (ahead | read_over))
        resolved = delayed(m, classified & ~cold.busy & ~working_set.busy)
        gather_waits = Signal()  # the SPLIT in front has not got the gather yet
        listed_all = delayed(m, ~hot_list.busy)
        m.d.comb += [
            popular_writer.flush.eq(classified),
            non_popular_writer.flush.eq(resolved),
            hot_list_writer.flush.eq(listed_all),
        ]
        # Each kind of command has a register for it; the processor allows for that.
        learnt = delayed(m, classified & ~classifier.busy)
        split_over = delayed(m, resolved & ~gather_waits) & delayed(
            m, popular_writer.flushed & non_popular_writer.flushed
        )
        gathered = delayed(m, gather.idle & ~key_list.busy & ~listed.o.valid & ~to_gather.o.valid)
        list_done = listed_all & delayed(m, hot_list_writer.idle)
        m.d.comb += processor.front_done.eq(
            Mux(opcode[Opcode.LEARN], learnt,
                Mux(opcode[Opcode.SPLIT], split_over,
                    Mux(opcode[Opcode.GATHER], gathered, list_done)))
        )  # fmt: skip

        # The gather, and the list of working keys, serve one SPLIT from its begin in front to its end in
        # back; the next one's keys wait in the working set meanwhile, until all of its own have been taken. It begins
        # when the SCATTER before it has ended.
        # When a SCATTER has passed, the rows found in both working sets follow, `again`.
        back_count = Signal.like(working_set.count)
        overflow, overflow_sample = Signal(), Signal.like(working_set.overflow_sample)
        moved_on = Signal()  # the gather has gone on to the SPLIT in front, while rows of the one in back still come
        in_back = processor.back_split & ~moved_on
        split_hands_over = processor.hand_over & opcode[Opcode.SPLIT]
        again, again_count = Signal(), Signal.like(working_set.count)
        gather_active = Signal()
        first_count = Mux(in_back, back_count, working_set.count)
        # By then the gather knows that there are more keys.
        none_again = ~processor.back_names | processor.missed | delayed(m, delayed(m, delayed(m, again)))
        refetches = again & in_back
        keys_covered = delayed(m, keys_writer.flushed & keys_writer.settled)
        all_begun = delayed(m, in_back & gather.keys_done & none_again)
        gather_free = delayed(m, ~processor.back_split | (all_begun & keys_covered))
        # Once the gather may begin nothing takes that back, so it may be told later.
        gather_starts = Signal()
        m.d.sync += gather_starts.eq((gather_waits & gather_free & ~scatters & ~gather_starts) | gather_begins)
        m.d.comb += gather.start.eq(gather_starts)
        with m.If(working_set.found):
            m.d.sync += again_count.eq(again_count + 1)
        keys_written = delayed(m, keys_writer.idle)
        first_rows_are_there = delayed(m, in_back & gather.idle & gather.keys_done) & keys_written
        with m.If(processor.scattered & in_back & first_rows_are_there):
            m.d.sync += again.eq(1)
        with m.If(~processor.back_split):
            m.d.sync += [again.eq(0), again_count.eq(0), moved_on.eq(0)]
        m.d.comb += [
            gather.hold.eq(gather_waits & ~processor.back_split),
            keys_writer.hand_over.eq(gather.start & ~gathers_list),
            # Records of the same mini-batch go before its rows, in and out: its popular part must not wait for them.
            gather.pause.eq(~in_back & ~gathers_list & ~ahead & reader.hungry),
            gather.give_way.eq(~in_back & ~gathers_list & (popular_writer.eager | non_popular_writer.eager)),
            gather.base.eq(command.working_rows),
            gather.listing.eq(~gathers_list & ~refetches),
            gather_active.eq(
                gathers_list
                | Mux(
                    in_back,
                    ~gather.idle,
                    processor.active & opcode[Opcode.SPLIT] & ~gather_waits,
                )
            ),
            popular_writer.hand_over.eq(split_hands_over),
            non_popular_writer.hand_over.eq(split_hands_over),
            keys_writer.flush.eq(in_back & gather.keys_done),
        ]
        m.d.sync += [gather.active.eq(gather_active), gather.complete.eq(gathers_list | in_back)]
        counted, counted_again = delayed(m, first_count), delayed(m, Mux(refetches, again_count, 0))
        m.d.sync += gather.count.eq(Mux(gathers_list, command.samples, counted + counted_again))
        with m.If(gather.start):
            m.d.sync += [gather_waits.eq(0), moved_on.eq(processor.back_split)]
        with m.If(split_begins):
            m.d.sync += gather_waits.eq(1)
        with m.If(split_hands_over):
            m.d.sync += [
                back_count.eq(working_set.count),
                overflow.eq(working_set.overflow),
                overflow_sample.eq(working_set.overflow_sample),
            ]
        written = delayed(m, popular_writer.settled & non_popular_writer.settled)
        earlier_over = delayed(m, keys_writer.settled & gather.earlier_idle & ~gather.start)
        rows_are_there = delayed(m, gather.keys_done & gather.idle & none_again) & keys_written
        m.d.comb += [
            processor.side_done.eq(delayed(m, scatter.idle)),
            processor.side_probed.eq(scatter.all_given & ~lookups.o.valid & ~working_set.busy),
            processor.overflow.eq(working_set.overflow),
            processor.scatter_timeout.eq(registers.scatter_timeout_value),
            processor.popular_done.eq(popular_writer.settled),
            processor.back_done.eq(written & Mux(moved_on, earlier_over, rows_are_there)),
        ]

        # What went wrong: the first cause of each list, told a cycle late.
        writes_list = is_a(Opcode.DUMP, Opcode.SWAP)
        is_gather = opcode[Opcode.GATHER]
        reads = is_batch | opcode[Opcode.LOAD]

        def read_failed(timeout):
            return Mux(timeout, Status.TIMEOUT, Status.READ_ERROR)

        def write_failed(timeout):
            return Mux(timeout, Status.TIMEOUT, Status.WRITE_ERROR)

        def gather_failed(when, error):
            return [
                (when & (error.kind == GatherError.READ), read_failed(error.timeout), error.index, 0, error.address),
                (when & (error.kind == GatherError.WRITE), write_failed(error.timeout), 0, 0, error.address),
            ]

        causes = {
            "front": [
                (reads & ~ahead & reader.error, read_failed(reader.timeout), 0, 0, reader.error_address),
                (is_batch & ~ahead & decoder.bad_row, Status.ROW_OUTSIDE_TABLE, decoder.bad_sample, decoder.bad_access, 0),
                (opcode[Opcode.LOAD] & hot_list.bad_list, Status.BAD_HOT_LIST, hot_list.bad_slot, 0, 0),
                (writes_list & hot_list_writer.error, write_failed(hot_list_writer.timeout), 0, 0,
                 hot_list_writer.error_address),
                (is_gather & key_list.error, read_failed(key_list.timeout), 0, 0, key_list.error_address),
                (is_gather & gather.bad_key, Status.ROW_OUTSIDE_TABLE, gather.bad_index, 0, 0),
                *gather_failed(is_gather, gather.error),
            ],
            "side": [
                (key_list.error, read_failed(key_list.timeout), 0, 0, key_list.error_address),
                (scatter.read_error, read_failed(scatter.timeout), 0, 0, scatter.error_address),
                (scatter.bad_key, Status.ROW_OUTSIDE_TABLE, scatter.bad_index, 0, 0),
                (scatter.write_error, write_failed(scatter.timeout), 0, 0, scatter.error_address),
            ],
            "popular": [
                (popular_writer.settled_error, write_failed(popular_writer.settled_timeout), 0, 0,
                 popular_writer.settled_address),
            ],
            "back": [
                (overflow, Status.WORKING_SET_OVERFLOW, overflow_sample, 0, 0),
                (non_popular_writer.settled_error, write_failed(non_popular_writer.settled_timeout), 0, 0,
                 non_popular_writer.settled_address),
                (~moved_on & keys_writer.error, write_failed(keys_writer.timeout), 0, 0, keys_writer.error_address),
                (moved_on & keys_writer.settled_error, write_failed(keys_writer.settled_timeout), 0, 0,
                 keys_writer.settled_address),
                *gather_failed(~moved_on, gather.error),
                *gather_failed(moved_on, gather.earlier),
            ],
        }  # fmt: skip
        for part, some in causes.items():
            for happened, status, index, access, address in reversed(some):
                with m.If(delayed(m, happened)):
                    found = {"status": status, "index": index, "access": access, "address": address}
                    for name, value in found.items():
                        if hasattr(processor, f"{part}_{name}"):
                            m.d.comb += getattr(processor, f"{part}_{name}").eq(value)

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

        # What tells that commands make progress: transfers, also those given up; accesses; sweeps; completions.
        progress = []
        for port in (self.m_axi_host, self.m_axi_dev):
            progress += [
                handshakes(*((getattr(port, f"{channel}valid"), getattr(port, f"{channel}ready")) for channel in AXI4_CHANNELS)),
                ~port.rready, ~port.bready,
            ]  # fmt: skip
        for master in (host_read, device_read):
            progress.append(Cat(client.beat_valid for client in master.clients))
        progress += [host_read.tagged.beat_valid, classifier.requests.any(), classifier.filtered.any()]
        progress += [classifier.port_valid, ~working_set.ready, processor.o.valid & processor.o.ready]
        m.submodules.watchdog = watchdog = CommandWatchdog(len(Cat(progress)))
        m.d.comb += [
            watchdog.timeout.eq(registers.timeout_value),
            watchdog.busy.eq(processor.busy),
            watchdog.waits.eq(processor.waits_for_host | completions.full),
            watchdog.progress.eq(Cat(progress)),
            processor.expired.eq(watchdog.expired),
        ]

        # What has stopped the rings, or is wrong with the model: each bit that is set raises the interrupt once.
        ring_errors = Cat(
            completions.write_error,
            commands.base_error,
            commands.completion_base_error | completions.base_error,
            commands.doorbell_error,
            completions.head_error,
            watchdog.expired,
        )
        for n, name in enumerate(RING_ERRORS):
            m.d.comb += getattr(registers, f"ring_error_{name}").eq(ring_errors[n])
        errors = Signal(len(RING_ERRORS) + len(MODEL_ERRORS))
        m.d.comb += errors.eq(Cat(ring_errors, store.errors))

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
            commands.stop.eq(ring_errors.any()),
            commands.completions_outside.eq(completions.outside),
            commands.enable.eq(registers.control_enable & swept & armed),
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
            registers.irq_status_error_set.eq(delayed(m, (errors & ~delayed(m, errors)).any())),
            registers.lock.eq(delayed(m, processor.working | commands.active)),
            registers.status_busy.eq(delayed(m, processor.busy | commands.waiting)),
            registers.status_ready.eq(swept & ~resetting),
            registers.status_resetting.eq(resetting | reset),
            registers.status_ring_error.eq(ring_errors.any()),
            self.irq.eq(
                (registers.irq_status_completion & registers.control_irq_enable)
                | (registers.irq_status_error & registers.control_error_irq_enable)
            ),
        ]
        for name, value in {
            "id_value": IDENTIFICATION,
            "version_major": VERSION_MAJOR, "version_minor": VERSION_MINOR, "version_patch": VERSION_PATCH,
            "capability_lanes": config.lanes, "capability_bus_words": config.bus_words,
            "capability_ways": config.tracker_ways, "capability_prefetch": 1, "capability_shadow": config.shadow,
            "tracker_sets_value": config.tracker_sets, "working_rows_value": config.working_rows,
            "limits_record_words": config.max_record_words, "limits_row_bytes": config.max_row_bytes,
            "key_fields_table_bits": config.table_bits, "key_fields_row_bits": config.row_bits,
            "key_fields_policy_bits": config.state_bits, "key_fields_address_bits": config.address_bits,
            "tracker_policy_policy": POLICY_NAMES.index(config.policy),
            "tracker_policy_arrays": config.tracker_arrays,
            "tracker_policy_sketch_cells": config.sketch_cells if config.has_sketch else 0,
            "tracker_policy_sketch_bits": config.sketch_bits if config.has_sketch else 0,
            "permutation_seed_value": config.permutation_seed,
        }.items():  # fmt: skip
            m.d.comb += getattr(registers, name).eq(value)

        # Performance counters.
        batch_ends = delayed(m, processor.hand_over & is_batch)
        host, device = self.m_axi_host, self.m_axi_dev
        events = {
            "cycles_busy": processor.busy,
            "accesses_seen": Mux(batch_ends, processor.accesses, 0),
            "hot_accesses": Mux(batch_ends, processor.hot_accesses, 0),
            "tracker_requests": classifier.requests,
            "filtered_accesses": classifier.filtered,
            "evictions": classifier.evictions,
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
            "outstanding_rows": host_read.unanswered,
            # Ports lie at the edges of the part, counters in the middle: a register on the way.
            "host_read_beats": delayed(m, host.rvalid & host.rready),
            "host_write_beats": delayed(m, host.wvalid & host.wready),
            "device_read_beats": delayed(m, device.rvalid & device.rready),
            "device_write_beats": delayed(m, device.wvalid & device.wready),
            "device_write_offered": delayed(m, device.wvalid),
        }
        m.submodules.counters = counters = Counters({name: len(value) for name, value in events.items()})
        for name, value in events.items():
            total = getattr(counters, name)
            m.d.comb += [
                getattr(counters, f"add_{name}").eq(value),
                getattr(registers, f"{name}_lo_value").eq(total[:32]),
                getattr(registers, f"{name}_hi_value").eq(total[32:]),
            ]
        return m

    def _connect_model(self, m: Module, registers: RegisterBlock, store: ModelStore) -> None:
        """From the registers to the store of the model."""
        m.d.comb += [
            *(
                getattr(store, name).eq(getattr(registers, f"{name}_value"))
                for name in ("payload_words", "accesses", "row_bytes")
            ),
            store.sizes_written.eq(
                registers.payload_words_written | registers.accesses_written | registers.row_bytes_written
            ),
            store.table_base.eq(Cat(registers.table_base_lo_value, registers.table_base_hi_value)),
            store.table_rows.eq(registers.table_rows_value),
            store.table_stride.eq(registers.table_stride_value),
            store.table_first_slot.eq(registers.table_first_slot_value),
            store.table_resident.eq(registers.table_flags_resident),
            store.table_commit.eq(registers.table_commit_written),
            store.table_number.eq(registers.table_commit_table),
            store.access_commit.eq(registers.access_commit_written),
            store.access.eq(registers.access_commit_access),
            store.access_table.eq(registers.access_commit_table),
            store.reset.eq(registers.model_reset_written),
            store.refused.eq(registers.refused),
            registers.hold.eq(store.busy),
            registers.model_error_place.eq(store.place),
            *(getattr(registers, f"model_error_{name}").eq(store.errors[n]) for n, name in enumerate(MODEL_ERRORS)),
            registers.status_model_error.eq(store.errors.any()),
        ]
