"""What stops the rings, what is wrong with the model, and the interrupt line.

Each error bit raises the error interrupt once, when it is set. An interrupt that is enabled holds ``irq`` high until software
clears its bit.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..lib.logic import delayed
from .model_store import ERRORS as MODEL_ERRORS

#: Fields of register ``ring_error``, from bit 0 on.
RING_ERRORS = ("completion_write", "command_base", "completion_base", "doorbell", "completion_head", "watchdog")


class Interrupts(wiring.Component):
    """Members
    -------
    RING_ERROR : In(1)
        One for each of RING_ERRORS: it has happened. A level, until reset.
    model_errors : In
        A bit for each of ``hotline_rtl.control.model_store.ERRORS``.
    stopped : Out(1)
        The rings stand still: a ring error has happened.
    error : Out(1)
        An error bit has just been set.
    completion_pending, error_pending, completion_enable, error_enable : In(1)
        Interrupts that have happened and have not been cleared; that software wants.
    irq : Out(1)
    """

    def __init__(self):
        super().__init__({
            **{name: In(1) for name in RING_ERRORS}, "model_errors": In(len(MODEL_ERRORS)),
            "stopped": Out(1), "error": Out(1), "completion_pending": In(1), "error_pending": In(1),
            "completion_enable": In(1), "error_enable": In(1), "irq": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        ring_errors = Cat(getattr(self, name) for name in RING_ERRORS)
        errors = Signal(len(RING_ERRORS) + len(MODEL_ERRORS))
        m.d.comb += [
            errors.eq(Cat(ring_errors, self.model_errors)),
            self.stopped.eq(ring_errors.any()),
            self.error.eq(delayed(m, (errors & ~delayed(m, errors)).any())),
            self.irq.eq(
                (self.completion_pending & self.completion_enable) | (self.error_pending & self.error_enable)
            ),
        ]
        return m
