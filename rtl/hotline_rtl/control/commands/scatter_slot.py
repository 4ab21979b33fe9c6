"""The SCATTER in the scatter slot: from its job to its completion."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.jobs import scatter_ask_layout
from ...interfaces.layouts import Kind, Opcode, Status, command_layout, completion_layout
from .admission import admitted_layout


class ScatterSlot(wiring.Component):
    """Members
    -------
    i : In(stream of admitted_layout), o : Out(stream of completion_layout)
    now : In(64)
        Cycles, of all time.
    jobs : Out(stream of scatter_ask_layout), results : In(stream of fault_layout)
    looked_up : In(stream)
        Of a SCATTER that passes a SPLIT: all keys have been looked up.
    needs_working_set : Out(1)
        Not all have.
    passes : Out(1)
        The SCATTER that is here passes the SPLIT in the commit slot.
    scattered : Out(1)
        Its rows are in memory, or have failed: in this cycle.
    expired : In(1)
        Commands no longer make progress: what is here ends with TIMEOUT.
    free, completed : Out(1)
        Nothing is here; a SCATTER that has given its completion.
    ended : In(1)
        The completion is in host memory.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(admitted_layout(config))), "o": Out(stream.Signature(completion_layout())), "now": In(64),
            "jobs": Out(stream.Signature(scatter_ask_layout(config))), "results": In(stream.Signature(fault_layout())),
            "looked_up": In(stream.Signature(0)), "needs_working_set": Out(1), "passes": Out(1), "scattered": Out(1),
            "expired": In(1), "free": Out(1), "completed": Out(1), "ended": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        command = Signal(command_layout(), reset_less=True)
        began, cycles = Signal(64, reset_less=True), Signal(64, reset_less=True)
        fault = Signal(fault_layout(), reset_less=True)
        m.d.comb += [
            self.jobs.p.rows.eq(command.working_rows),
            self.jobs.p.keys.eq(command.working_keys),
            self.jobs.p.count.eq(command.samples),
            self.jobs.p.passes.eq(self.passes),
            self.looked_up.ready.eq(self.needs_working_set),
            self.o.p.tag.eq(command.tag),
            self.o.p.status.eq(Mux(fault.valid, fault.status, Status.OK)),
            self.o.p.kind.eq(Kind.WHOLE),
            self.o.p.opcode.eq(Opcode.SCATTER),
            self.o.p.working_rows.eq(Mux(fault.valid, 0, command.samples)),
            self.o.p.cycles.eq(cycles),
            *(getattr(self.o.p, name).eq(Mux(fault.valid, fault[name], 0)) for name in ("index", "address")),
        ]
        with m.If(self.looked_up.valid):
            m.d.sync += self.needs_working_set.eq(0)

        def gives_up():
            with m.If(self.expired):
                m.d.sync += [fault.eq(0), fault.valid.eq(1), fault.status.eq(Status.TIMEOUT)]
                m.next = "END"

        with m.FSM() as fsm:
            with m.State("FREE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    command.eq(self.i.p.command),
                    began.eq(self.now),
                    self.passes.eq(self.i.valid & self.i.p.passes),
                ]
                with m.If(self.i.valid):
                    m.d.sync += self.needs_working_set.eq(self.i.p.passes)
                    m.next = "JOB"
            with m.State("JOB"):
                m.d.comb += self.jobs.valid.eq(1)
                with m.If(self.jobs.ready):
                    m.next = "ROWS"
                gives_up()
            with m.State("ROWS"):
                m.d.comb += self.results.ready.eq(1)
                m.d.sync += fault.eq(self.results.p)
                with m.If(self.results.valid):
                    m.d.comb += self.scattered.eq(self.passes)
                    m.next = "END"
                gives_up()
            with m.State("END"):
                m.d.sync += cycles.eq(self.now - began)
                m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(self.ended):
                    m.d.sync += self.passes.eq(0)
                    m.next = "FREE"
        m.d.comb += [self.free.eq(fsm.ongoing("FREE")), self.completed.eq(fsm.ongoing("DRAIN"))]
        return m
