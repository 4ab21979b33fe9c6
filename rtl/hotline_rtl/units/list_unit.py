"""CLEAR, DUMP, LOAD and SWAP: the hot-list engine and its writer."""

from amaranth.hdl import DomainRenamer, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.control import fault_layout
from ..interfaces.jobs import list_job_layout, list_result_layout
from ..interfaces.keys import find_members
from ..interfaces.layouts import WORDS_BITS, Opcode, words_layout
from ..interfaces.memory import WriteClientSignature
from ..interfaces.tracker import PortSignature
from ..lib.logic import is_one_of
from ..lib.streams import fork, link
from ..tracker.lists.hot_list import HotList
from ..transfer.frontend.stream_writer import StreamWriter


class ListUnit(wiring.Component):
    """Members
    -------
    jobs : In(stream of list_job_layout)
        After reset a CLEAR begins by itself.
    results : Out(stream of list_result_layout)
        The job is done, and its list in host memory.
    lists : Out(stream of {address, words}), words : In(stream of words_layout), read_fault : In(fault_layout)
        Asks for the list of a LOAD; the list; it could not be read.
    tracker : Out(PortSignature)
    write : Out(WriteClientSignature)
    finds : Out(stream of key_layout), found : In(stream of found_key_layout)
        With a shadow: a SWAP asks for the working rows of keys.
    ready : Out(1)
        The tracker has been cleared after reset.
    progress : Out(1)
        For the watchdog.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(list_job_layout(config))),
            "results": Out(stream.Signature(list_result_layout(config))),
            "lists": Out(stream.Signature(data.StructLayout({"address": config.address_bits, "words": WORDS_BITS}))),
            "words": In(stream.Signature(words_layout(config))), "read_fault": In(fault_layout()),
            "tracker": Out(PortSignature(config)), "write": Out(WriteClientSignature(config)),
            "ready": Out(1), "progress": Out(1), **(find_members(config) if config.shadow else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.hot_list = hot_list = HotList(config)
        writer = StreamWriter(config, 2)
        m.submodules.writer = DomainRenamer("takers")(writer)
        wiring.connect(m, hot_list.lists, wiring.flipped(self.lists))
        wiring.connect(m, wiring.flipped(self.words), hot_list.i)
        wiring.connect(m, hot_list.port, wiring.flipped(self.tracker))
        wiring.connect(m, writer.client, wiring.flipped(self.write))
        link(m, config, "listed", hot_list.o, writer.i)
        m.d.comb += hot_list.read_fault.eq(self.read_fault)
        if config.shadow:
            wiring.connect(m, hot_list.finds, wiring.flipped(self.finds))
            wiring.connect(m, wiring.flipped(self.found), hot_list.found)

        job, writes = self.jobs.p, Signal(reset_less=True)
        is_written = is_one_of(job.opcode, Opcode.DUMP, Opcode.SWAP)
        fork(m, self.jobs, [hot_list.jobs, writer.jobs], [1, is_written])
        with m.If(self.jobs.valid):
            m.d.sync += writes.eq(is_written)
        result = hot_list.results
        m.d.comb += [
            hot_list.jobs.p.eq(job),
            writer.jobs.p.eq(job.address),
            self.results.valid.eq(result.valid & (writer.results.valid | ~writes)),
            self.results.p.eq(result.p),
            result.ready.eq(self.results.valid & self.results.ready),
            writer.results.ready.eq(self.results.valid & self.results.ready & writes),
            self.ready.eq(hot_list.ready),
            self.progress.eq(hot_list.port.valid),
        ]
        with m.If(writes):
            m.d.comb += self.results.p.fault.eq(Mux(result.p.fault.valid, result.p.fault, writer.results.p))
        return m
