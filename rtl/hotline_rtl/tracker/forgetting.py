"""How a tracker that follows the data forgets: at the end of a SWAP, when as many accesses have missed as it has entries.

The rules are the golden twin's, ``hotline_golden.tracker.forgetting``. The end of an epoch takes a cycle for each set of a
bank's array, and about 15; where counters are halved, as long as a CLEAR besides.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.tracker import BankOp, PortSignature, sweep_bits
from .policies import POLICIES

SILENCE = 6
DRIFT_SHIFT = 6
MAX_SPAN = 64


class Forgetting(wiring.Component):
    """Members
    -------
    cleared : In(1)
        The tracker is being emptied: misses and span become 0.
    jobs : In(stream), results : Out(stream)
        The epoch may end; it has, if it was time.
    port : Out(PortSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "cleared": In(1), "jobs": In(stream.Signature(0)), "results": Out(stream.Signature(0)),
            "port": Out(PortSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, port = self.config, self.port
        # As many misses as there are entries, or more, set the highest bit.
        misses = Signal(config.slot_bits + 1)
        epoch_is_over = misses[-1]
        span = Signal(range(MAX_SPAN + 1))
        lines = 1 << (config.index_bits - config.bank_bits)
        number = Signal(sweep_bits(config))
        answers, forgotten = Signal(range(lines + 1)), Signal(config.slot_bits + 1)
        drifts = Signal()
        with m.If(port.r_forgot):
            m.d.sync += [answers.eq(answers + 1), forgotten.eq(forgotten + port.forgotten)]
        with m.If(~epoch_is_over):
            m.d.sync += misses.eq(misses + port.misses)

        # An entry that has been silent for n epochs is forgotten from this counter on.
        most, weight = 1 << config.state_bits, POLICIES[config.policy](config.state_bits, 1).weight
        for n, least in enumerate(port.least, 1):
            assert SILENCE % n == 0
            bound = span * (SILENCE // n * weight)
            m.d.sync += least.eq(Mux(bound > most, most, bound))

        m.d.comb += [port.op.eq(BankOp.FORGET), port.set.eq(number)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.jobs.ready.eq(1)
                m.d.sync += [number.eq(0), answers.eq(0), forgotten.eq(0)]
                with m.If(self.jobs.valid):
                    m.next = "RESULT"
                    with m.If(epoch_is_over):
                        m.d.sync += [misses.eq(0), span.eq(span + 1)]
                        m.next = "BOUNDS"
            with m.State("BOUNDS"):  # they follow the span
                m.next = "FORGET"
            with m.State("FORGET"):
                m.d.comb += port.valid.eq(1)
                m.d.sync += number.eq(number + 1)
                with m.If(number == lines - 1):
                    m.next = "ANSWERS"
            with m.State("ANSWERS"):
                m.d.sync += number.eq(0)
                with m.If(answers == lines):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += drifts.eq(((forgotten << DRIFT_SHIFT) >= config.tracker_entries) | (span == MAX_SPAN))
                m.next = "HALVE"
            with m.State("HALVE"):
                m.d.comb += [port.valid.eq(drifts), port.op.eq(BankOp.HALVE)]
                m.d.sync += number.eq(number + 1)
                with m.If(~drifts | number.all()):
                    m.d.sync += span.eq(Mux(drifts, span >> 1, span))
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "IDLE"
        with m.If(port.halved):
            m.d.sync += span.eq(span >> 1)
        with m.If(self.cleared):
            m.d.sync += [misses.eq(0), span.eq(0)]
        return m
