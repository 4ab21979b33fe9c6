"""The blocks under test: some as they are, others with the AXI managers they need around them."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hotline_rtl.classify.classifier import Classifier
from hotline_rtl.classify.fragmenter import Fragmenter
from hotline_rtl.classify.merger import Merger
from hotline_rtl.classify.packer import Packer
from hotline_rtl.classify.records.access_decoder import AccessDecoder
from hotline_rtl.classify.records.record_reader import RecordReader
from hotline_rtl.classify.sample_splitter import SampleSplitter
from hotline_rtl.config import AcceleratorConfig
from hotline_rtl.control.commands.command_check import CommandCheck
from hotline_rtl.control.commands.scoreboard import Scoreboard
from hotline_rtl.control.model_store import ModelStore
from hotline_rtl.control.performance_counters import PerformanceCounters
from hotline_rtl.control.registers.register_block import RegisterBlock
from hotline_rtl.control.rings import CommandRing, CompletionRing
from hotline_rtl.interfaces.axi import Axi4ReadSignature, Axi4Signature, Axi4WriteSignature
from hotline_rtl.interfaces.tracker import connect_lanes
from hotline_rtl.lib.credit_fifo import CreditFifo
from hotline_rtl.lib.delay_line import DelayLine
from hotline_rtl.lib.fifo import StreamFifo
from hotline_rtl.lib.keys import Permutation
from hotline_rtl.lib.logic import delayed
from hotline_rtl.lib.register_slice import RegisterSlice
from hotline_rtl.lib.word_queue import WordQueue
from hotline_rtl.tracker.hot_list import HotList
from hotline_rtl.tracker.tracker import Tracker
from hotline_rtl.transfer.backend.burst_splitter import BurstSplitter
from hotline_rtl.transfer.backend.read_master import ReadMaster
from hotline_rtl.transfer.backend.write_master import WriteMaster
from hotline_rtl.transfer.frontend.gather import Gather
from hotline_rtl.transfer.frontend.key_list import KeyList
from hotline_rtl.transfer.frontend.scatter import Scatter
from hotline_rtl.transfer.frontend.stream_reader import StreamReader
from hotline_rtl.transfer.frontend.stream_writer import StreamWriter
from hotline_rtl.transfer.midend.row_mover import RowMover
from hotline_rtl.working_set.cold_resolver import ColdResolver
from hotline_rtl.working_set.working_set import WorkingSet


def _expose(inner: wiring.Component, hidden: set[str]) -> dict:
    return {name: member for name, member in inner.signature.members.items() if name not in hidden}


class Pipeline(wiring.Component):
    """Five registers that never wait, and what lets them: a ``CreditFifo``."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(37)), "o": Out(stream.Signature(37))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.out_fifo = out_fifo = CreditFifo(37, 5)
        wiring.connect(m, out_fifo.o, wiring.flipped(self.o))
        valid, payload = self.i.valid & out_fifo.credit, self.i.p
        m.d.comb += [self.i.ready.eq(out_fifo.credit), out_fifo.spend.eq(valid)]
        for _ in range(5):
            valid, payload = delayed(m, valid), delayed(m, payload)
        m.d.comb += [out_fifo.i.valid.eq(valid), out_fifo.i.p.eq(payload)]
        return m


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


class ColdPath(wiring.Component):
    """Cold resolver and working set, as they work together."""

    def __init__(self, config: AcceleratorConfig):
        self.cold, self.working_set = ColdResolver(config), WorkingSet(config)
        super().__init__(
            {
                **{name: self.cold.signature.members[name] for name in ("i", "o")},
                **{name: self.working_set.signature.members[name] for name in ("jobs", "lookups", "keys", "results")},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.cold, m.submodules.working_set = cold, working_set = self.cold, self.working_set
        wiring.connect(m, wiring.flipped(self.i), cold.i)
        wiring.connect(m, cold.probes, working_set.probes)
        wiring.connect(m, working_set.numbers, cold.numbers)
        wiring.connect(m, cold.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.jobs), working_set.jobs)
        wiring.connect(m, wiring.flipped(self.lookups), working_set.lookups)
        wiring.connect(m, working_set.keys, wiring.flipped(self.keys))
        wiring.connect(m, working_set.results, wiring.flipped(self.results))
        return m


class LanesAndTracker(wiring.Component):
    """Lanes, tracker and hot-list engine."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.classifier, self.hot_list = Classifier(config), HotList(config)
        lanes, hot_list = self.classifier.signature.members, self.hot_list.signature.members
        super().__init__({
            **{name: lanes[name] for name in ("arrivals", "jobs", "results", "i", "o")},
            **{f"list_{name}": hot_list[name] for name in ("jobs", "results", "i", "o")},
            "lists": hot_list["lists"], "read_fault": hot_list["read_fault"],
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.classifier, m.submodules.hot_list = classifier, hot_list = self.classifier, self.hot_list
        m.submodules.tracker = tracker = Tracker(self.config)
        wiring.connect(m, hot_list.port, tracker.port)
        connect_lanes(m, classifier, tracker)
        for block, prefix, names in [
            (classifier, "", ("arrivals", "jobs", "results", "i", "o")),
            (hot_list, "list_", ("jobs", "results", "i", "o")),
            (hot_list, "", ("lists",)),
        ]:
            for name in names:
                wiring.connect(m, getattr(block, name), wiring.flipped(getattr(self, prefix + name)))
        m.d.comb += hot_list.read_fault.eq(self.read_fault)
        return m


#: Block under test by name: (what makes it, bench module, names of its cocotb tests).
BLOCKS = {
    "fifo": (lambda c: StreamFifo(37, 8), "bench_streams", "fifo_keeps_order_and_loses_nothing"),
    "delay_line": (lambda c: DelayLine(37, 5), "bench_streams", "delay_line_gives_what_came_five_cycles_ago"),
    "register_slice": (
        lambda c: RegisterSlice(37), "bench_streams", "register_slice_keeps_order_and_loses_nothing",
    ),
    "credit_fifo": (lambda c: Pipeline(), "bench_streams", "credit_fifo_pipeline_keeps_order_and_pace"),
    "word_queue": (lambda c: WordQueue(c.bus_words, c.beat_words, extra=10), "bench_streams", "word_queue_widens"),
    "word_queue_narrow": (
        lambda c: WordQueue(c.beat_words, c.bus_words, extra=10), "bench_streams", "word_queue_narrows",
    ),
    "word_queue_masked": (
        lambda c: WordQueue(c.beat_words, c.beat_words, extra=10, masked_in=True, masked_out=True),
        "bench_streams", "word_queue_takes_marked_words",
    ),
    "keys": (lambda c: Permutation(c, 2, 5), "bench_streams", "permutation_equals_golden"),
    "burst_splitter": (lambda c: BurstSplitter(c, 3), "bench_streams", "bursts_keep_the_rules_of_axi"),
    "registers": (lambda c: RegisterBlock(), "bench_control",
        "registers_answer_as_the_map_says,what_sets_an_interrupt_wins_over_what_clears_it"),
    "counters": (lambda c: PerformanceCounters({"a": 1, "b": 5}), "bench_control", "counters_add_up"),
    "scoreboard": (lambda c: Scoreboard(), "bench_control", "the_newest_splits_can_be_named"),
    "register_strobes": (
        lambda c: RegisterBlock(), "bench_control", "a_write_changes_the_bytes_that_it_enables_and_nothing_else",
    ),
    "model_store": (
        ModelStore, "bench_model_store",
        "a_table_is_passed_on_whole_or_refused_by_name,accesses_sizes_and_writes_at_the_wrong_time",
    ),
    "command_check": (CommandCheck, "bench_command_check", "commands_are_refused_as_golden_refuses_them"),
    "command_ring": (
        lambda c: WithMasters(c, CommandRing(c), {"read": "bus"}, {}),
        "bench_control",
        "commands_come_in_ring_order,what_a_host_may_not_say_stops_the_command_ring,"
        "a_ring_that_ends_with_the_address_space_is_fetched",
    ),
    "completion_ring": (
        lambda c: WithMasters(c, CompletionRing(c), {}, {"write": "bus"}),
        "bench_control",
        "completions_wait_for_room_and_count_when_acknowledged,what_stops_the_completion_ring_is_not_counted",
    ),
    "stream_reader": (
        lambda c: WithMasters(c, StreamReader(c), {"client": "bus"}, {}),
        "bench_memory", "reader_delivers_the_buffer",
    ),
    "stream_writer": (
        lambda c: WithMasters(c, StreamWriter(c, c.bus_words), {}, {"client": "bus"}),
        "bench_memory", "writer_fills_the_buffers_and_nothing_else,a_buffer_that_cannot_be_written_says_where",
    ),
    "read_master": (
        lambda c: ReadMaster(c, 1, READ_TAG_BITS), "bench_memory", "every_transfer_comes_whole_under_its_tag",
    ),
    "read_master_timeout": (
        lambda c: ReadMaster(c, 1, READ_TAG_BITS), "bench_memory", "lost_answers_are_given_up_and_late_ones_dropped",
    ),
    "write_master": (lambda c: WriteMaster(c, 1), "bench_memory",
        "an_answer_at_the_last_moment_ends_one_burst,late_answers_end_nothing_however_many_there_are,"
        "no_more_bursts_are_issued_than_can_be_listed"),
    "row_mover": (
        lambda c: WithMasters(c, RowMover(c), {"read": "host"}, {"write": "device"}, "read"),
        "bench_memory", "rows_are_moved_to_where_they_belong",
    ),
    "key_list": (
        lambda c: WithMasters(c, KeyList(c), {"read": "bus"}, {}), "bench_memory", "keys_come_with_their_numbers",
    ),
    "gather": (
        lambda c: WithMasters(c, Gather(c), {"read": "host"}, {"write": "device"}, "read"),
        "bench_memory", "each_row_lands_in_its_place,a_list_ends_at_a_key_that_names_no_row",
    ),
    "scatter": (
        lambda c: WithMasters(c, Scatter(c), {"read": "device"}, {"write": "host"}),
        "bench_memory", "each_row_goes_back_to_its_table",
    ),
    "record_reader": (RecordReader, "bench_records", "records_are_aligned"),
    "access_decoder": (AccessDecoder, "bench_records", "every_word_is_recognised"),
    "packer": (Packer, "bench_records", "keys_are_packed_into_rows_in_trace_order"),
    "sample_splitter": (SampleSplitter, "bench_records", "pieces_hold_keys_of_one_sample"),
    "merger": (lambda c: Merger(c, 64), "bench_records", "results_return_to_their_words"),
    "tracker": (LanesAndTracker, "bench_records", "tracker_equals_golden"),
    "fragmenter": (Fragmenter, "bench_records", "samples_go_to_the_right_micro_batch"),
    "working_set": (ColdPath, "bench_records",
        "working_rows_are_numbered_in_first_use_order,a_working_set_takes_as_many_keys_as_its_limit_and_no_more,"
        "keys_of_the_set_are_found,numbers_wait_for_their_records"),
}  # fmt: skip
