"""Ends the bursts of an outstanding table that memory does not answer.

ID after ID, burst after burst, an error is given for each beat that has not come. What memory still sends of them later is
counted, so that it is never taken for another burst's.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...lib.logic import delayed
from ...lib.watchdog import Watchdog

#: Bits of the number of bursts of an ID that have been given up, and whose answers may still come.
LATE_BITS = 16


def id_state_layout(bursts: int) -> data.StructLayout:
    """Of an ID: where its list begins; beats of its first burst that have come; bursts whose answers come late, and whether any
    do."""
    return data.StructLayout({"head": ceil_log2(bursts) + 1, "beats": 8, "late": LATE_BITS, "any_late": 1})


class LostBursts(wiring.Component):
    """``ids`` lists of up to ``bursts`` bursts (a power of two).

    Members
    -------
    timeout : In(32)
        Cycles without any answer after which all that is outstanding is given up; 0: never.
    progress : In(1)
        An answer has come, or none is outstanding.
    empty : In(1)
        Nothing is on its way through the table's stages.
    giving_up : Out(1)
        Nothing must be sent, and no answer taken.
    synthesising : Out(1)
        Answers come from here.
    id : Out
        Whose list is being ended. ``state``, ``tail`` and ``burst_length`` are its own, at most four cycles later.
    read_state : In(id_state_layout), tail : In, burst_length : In(8)
        The ID's state, and where its list ends; the length of the first burst on the list.
    state : Out(id_state_layout), give_back : Out(1)
        The ID's state as it becomes; its list has been ended, and its state is to be written.
    beat : Out(1), last : Out(1)
        An error is given; for the last beat of the first burst on the list.
    """

    def __init__(self, ids: int, bursts: int):
        self.ids, self.bursts = ids, bursts
        state = id_state_layout(bursts)
        super().__init__({
            "timeout": In(32), "progress": In(1), "empty": In(1), "giving_up": Out(1), "synthesising": Out(1),
            "id": Out(max(1, ceil_log2(ids))), "read_state": In(state), "tail": In(ceil_log2(bursts) + 1), "burst_length": In(8),
            "state": Out(state), "give_back": Out(1), "beat": Out(1), "last": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        state, tail = Signal(id_state_layout(self.bursts), reset_less=True), Signal.like(self.tail, reset_less=True)
        # Known two cycles after what they compare has changed.
        list_ends = delayed(m, state.head == tail)
        m.submodules.watchdog = watchdog = Watchdog()
        m.d.comb += [
            watchdog.timeout.eq(self.timeout),
            watchdog.progress.eq(self.progress | self.giving_up),
            self.last.eq(delayed(m, state.beats == self.burst_length)),
            self.state.eq(state),
        ]
        with m.FSM():
            with m.State("RUN"):
                with m.If(watchdog.expired):
                    m.d.sync += [self.giving_up.eq(1), self.id.eq(0)]
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(self.empty):
                    m.d.sync += self.synthesising.eq(1)
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "LOOKED"
            with m.State("LOOKED"):
                m.d.sync += [state.eq(self.read_state), tail.eq(self.tail)]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "LIST"
            with m.State("LIST"):
                m.next = "READ"
                with m.If(list_ends):
                    m.d.comb += self.give_back.eq(1)
                    m.d.sync += self.id.eq(self.id + 1)
                    m.next = "LOOK"
                    with m.If(self.id == self.ids - 1):
                        m.d.sync += [self.giving_up.eq(0), self.synthesising.eq(0)]
                        m.next = "RUN"
            with m.State("READ"):
                m.next = "ARRIVE"
            with m.State("ARRIVE"):
                m.next = "BEAT"
            with m.State("BEAT"):
                m.next = "BURST"
            with m.State("BURST"):
                m.d.comb += self.beat.eq(1)
                m.d.sync += [state.beats.eq(state.beats + 1), state.late.eq(state.late + 1), state.any_late.eq(1)]
                m.next = "BEAT"
                with m.If(self.last):
                    m.d.sync += [state.beats.eq(0), state.head.eq(state.head + 1)]
                    m.next = "COMPARE"
        return m
