"""The command in the commit slot: waits until what it has written is in memory, and says how it has ended.

A SPLIT completes twice: when the popular micro-batch is in device memory, and when everything is. A SPLIT that names an earlier
one waits for that one's SCATTER, which is the next command and passes it; then the gather fetches once more the rows that both
have.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...config import AcceleratorConfig
from ...interfaces.control import fault_layout
from ...interfaces.jobs import Ask, gather_ask_layout
from ...interfaces.layouts import COUNT_BITS, Kind, Opcode, Status, completion_layout
from ...lib.logic import is_one_of
from ...lib.register_slice import HalfSlice
from .issue_slot import COUNTS, issued_layout


class CommitSlot(wiring.Component):
    """Members
    -------
    i : In(stream of issued_layout)
    o : Out(stream of completion_layout)
    now : In(64)
        Cycles, of all time.
    popular_results, non_popular_results, gather_results : In(streams of fault_layout)
        Of the SPLIT, or GATHER, that is here.
    gathers : Out(stream of gather_ask_layout)
        What follows for the gather, of a SPLIT that names another one.
    named : Out(1), name : Out(32)
        The SPLIT waits for the SCATTER of the SPLIT of that name.
    passes, scattered, abandon : In(1)
        That SCATTER has begun; all of its rows are in memory; or it will not come.
    owes : Out(1)
        The gather has not been told what follows.
    add : Out(1), new_tag, new_rows : Out
        To the scoreboard: a SPLIT has gone well.
    expired : In(1)
        Commands no longer make progress: what is here ends with TIMEOUT.
    free, alone, completed : Out(1)
        Nothing is here; a command that runs alone is; one that has given its last completion.
    second : Out(1)
        The SPLIT's first completion has been given.
    ended : In(1)
        The last completion is in host memory.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        fault = stream.Signature(fault_layout())
        super().__init__({
            "i": In(stream.Signature(issued_layout(config))), "o": Out(stream.Signature(completion_layout())), "now": In(64),
            "popular_results": In(fault), "non_popular_results": In(fault), "gather_results": In(fault),
            "gathers": Out(stream.Signature(gather_ask_layout(config))),
            "named": Out(1), "name": Out(32), "passes": In(1), "scattered": In(1), "abandon": In(1), "owes": Out(1),
            "add": Out(1), "new_tag": Out(32), "new_rows": Out(COUNT_BITS + 1),
            "expired": In(1), "free": Out(1), "alone": Out(1), "completed": Out(1), "second": Out(1), "ended": In(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        here = Signal(issued_layout(config), reset_less=True)
        fault = Signal(fault_layout(), reset_less=True)  # how the command ends
        splits = Signal(reset_less=True)
        came = self.i.p
        came_split = (came.opcode == Opcode.SPLIT) & ~came.refused  # it is carried out
        went_well = came_split & ~came.fault.valid & ~came.overflow
        enters = self.i.valid & self.i.ready
        m.d.comb += [
            self.add.eq(enters & went_well),
            self.new_tag.eq(came.tag),
            self.new_rows.eq(came.working_rows),
            self.name.eq(here.after),
        ]

        # A SPLIT that names another one: first it waits, then it is known what follows for the gather.
        again, missed = Signal(), Signal()
        with m.If(self.passes | self.abandon):
            m.d.sync += self.named.eq(0)
        with m.If(self.scattered):
            m.d.sync += again.eq(1)
        with m.If(self.abandon):
            m.d.sync += missed.eq(1)
        with m.If(self.gathers.valid & self.gathers.ready):
            m.d.sync += self.owes.eq(0)
        with m.If(enters):
            m.d.sync += [
                self.named.eq(went_well & came.names),
                self.owes.eq(came_split & came.names),
                again.eq(0),
                missed.eq(came_split & came.names & ~went_well),
            ]
        m.d.comb += [
            self.gathers.valid.eq(self.owes & (again | missed)),
            self.gathers.p.ask.eq(Mux(again, Ask.AGAIN, Ask.NO_MORE)),
        ]

        # How it ends, and the completion.
        cycles = Signal(64, reset_less=True)
        ok = ~fault.valid
        popular_part = splits & ~self.second
        counts = {name: Mux(ok, here[name], 0) for name in COUNTS}
        counts["working_rows"] = Mux(ok & ~popular_part, here.working_rows, 0)
        m.d.comb += [
            self.o.p.tag.eq(here.tag),
            self.o.p.status.eq(Mux(fault.valid, fault.status, Status.OK)),
            self.o.p.kind.eq(Mux(splits, Mux(self.second, Kind.NON_POPULAR, Kind.POPULAR), Kind.WHOLE)),
            self.o.p.opcode.eq(here.opcode),
            self.o.p.cycles.eq(cycles),
            *(
                getattr(self.o.p, name).eq(Mux(fault.valid, fault[name], 0))
                for name in ("index", "access", "address")
            ),
            *(getattr(self.o.p, name).eq(value) for name, value in counts.items()),
        ]

        def ends_with(status, **where):
            """The command ends so, if nothing was wrong with it before."""
            with m.If(~fault.valid):
                m.d.sync += [fault.eq(0), fault.valid.eq(1), fault.status.eq(status)]
                m.d.sync += [fault[name].eq(value) for name, value in where.items()]

        def gives_up():
            with m.If(self.expired):
                ends_with(Status.TIMEOUT)
                m.next = "END"

        # The rest of a SPLIT: what went wrong first, of writing before gathering.
        m.submodules.rest = rest = HalfSlice(fault_layout())
        written, gathered = self.non_popular_results, self.gather_results
        m.d.comb += [
            rest.i.valid.eq(written.valid & gathered.valid),
            rest.i.p.eq(Mux(written.p.valid, written.p, gathered.p)),
            written.ready.eq(rest.i.valid & rest.i.ready),
            gathered.ready.eq(rest.i.valid & rest.i.ready),
        ]

        with m.FSM() as fsm:
            with m.State("FREE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    here.eq(came),
                    fault.eq(came.fault),
                    splits.eq(came.opcode == Opcode.SPLIT),
                    self.second.eq(0),
                    self.alone.eq(self.i.valid & ~is_one_of(came.opcode, Opcode.LEARN, Opcode.SPLIT)),
                ]
                with m.If(self.i.valid):
                    m.next = "END"
                    with m.If(came_split):
                        m.next = "POPULAR"
                    with m.Elif((came.opcode == Opcode.GATHER) & ~came.refused):
                        m.next = "ROWS"
            for state, results in (("POPULAR", self.popular_results), ("ROWS", self.gather_results)):
                with m.State(state):
                    m.d.comb += results.ready.eq(1)
                    with m.If(results.valid):
                        with m.If(~fault.valid):
                            m.d.sync += fault.eq(results.p)
                        m.next = "END"
                    gives_up()
            with m.State("REST"):
                m.d.comb += rest.o.ready.eq(1)
                with m.If(rest.o.valid):
                    with m.If(~fault.valid):
                        with m.If(here.overflow):
                            ends_with(Status.WORKING_SET_OVERFLOW, index=here.overflow_sample)
                        with m.Elif(rest.o.p.valid):
                            m.d.sync += fault.eq(rest.o.p)
                        with m.Elif(missed):
                            ends_with(Status.SCATTER_MISSING)
                    m.next = "END"
                gives_up()
            with m.State("END"):
                m.d.sync += cycles.eq(self.now - here.began)
                m.next = "COMPLETE"
            with m.State("COMPLETE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "DRAIN"
                    with m.If(popular_part):
                        m.d.sync += self.second.eq(1)
                        m.next = "REST"
                        with m.If(here.refused):
                            m.next = "END"
            with m.State("DRAIN"):
                with m.If(self.ended):
                    m.d.sync += [self.named.eq(0), self.owes.eq(0), self.alone.eq(0)]
                    m.next = "FREE"
        m.d.comb += [self.free.eq(fsm.ongoing("FREE")), self.completed.eq(fsm.ongoing("DRAIN"))]
        return m
