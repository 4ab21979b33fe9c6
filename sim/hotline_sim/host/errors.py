"""What the driver raises, in words for people."""

from hotline_golden.layouts import BUFFER_ALIGNMENT, MAX_COUNT, Completion, Opcode, RingError, Status
from hotline_golden.memory import MemoryImage

#: What each bit of register ``ring_error`` means to a person.
RING_ADVICE = {
    RingError.COMPLETION_WRITE: "memory refused, or did not answer, the write of a completion",
    RingError.COMMAND_BASE: "the command ring does not begin at a multiple of 64, or not end within the address width",
    RingError.COMPLETION_BASE: "the completion ring does not begin at a multiple of 64, or not end within the address width",
    RingError.DOORBELL: "command_tail was further ahead of command_head than the ring has entries",
    RingError.WATCHDOG: "no command made progress for twice the cycles of register `timeout`: a memory port takes no addresses "
    "or data, or the accelerator is at fault",
    RingError.COMPLETION_HEAD: "completion_head was not within a ring's length behind completion_tail",
}


class DriverError(RuntimeError):
    """The accelerator cannot be used, or did not answer."""


class NoCompletion(DriverError):
    """No completion came within the driver's cycle limit: memory is slower than that, or the accelerator hangs."""


class CommandError(RuntimeError):
    """A command ended with a status other than OK; ``completion`` has all of it."""

    def __init__(self, completion: Completion, host: MemoryImage, device: MemoryImage):
        self.completion = completion
        c = completion
        status = Status(c.status)
        advice = {
            Status.UNKNOWN_OPCODE: f"opcode {c.opcode} is none of {', '.join(f'{o.value} {o.name}' for o in Opcode)}",
            Status.MISALIGNED_ADDRESS: f"{c.address:#x} must be a multiple of {BUFFER_ALIGNMENT}",
            Status.ROW_OUTSIDE_TABLE: f"sample or working row {c.index}, access {c.access}: no such row in its table",
            Status.WORKING_SET_OVERFLOW: f"at sample {c.index}: use smaller mini-batches or a larger working_rows",
            Status.BAD_COUNT: f"the number of samples or rows must be 1 to {MAX_COUNT}",
            Status.READ_ERROR: f"memory answered a read with an error at {c.address:#x}",
            Status.WRITE_ERROR: f"memory answered a write with an error at {c.address:#x}",
            Status.TIMEOUT: f"memory did not answer at {c.address:#x} within the cycles of register `timeout`"
            if c.address
            else "no command made progress for twice the cycles of register `timeout`",
            Status.BAD_HOT_LIST: f"slot {c.index} holds a key that is not this set's, or holds it twice",
            Status.NO_MODEL: "load a model that fits this configuration's limits first; register `model_error` says what of "
            "the last one was refused",
            Status.UNSUPPORTED: "this configuration has no shadow: set shadow=1",
            Status.NO_SUCH_SPLIT: "its `after` is the tag of no SPLIT, among the last few, that went well and has not been "
            "scattered; name one of these, or clear bit 0 of `flags`",
            Status.ADDRESS_OUT_OF_RANGE: f"the buffer at {c.address:#x} (word {c.index} of the command) does not lie within "
            "the address width",
            Status.SCATTER_MISSING: "the next command was not the SCATTER of the SPLIT that it named (or none came within "
            "register `scatter_timeout`): submit that SCATTER directly after it",
        }[status]
        name = Opcode(c.opcode).name if c.opcode in Opcode._value2member_map_ else f"opcode {c.opcode}"
        super().__init__(f"{name} (tag {c.tag}) ended with {status.name}: {advice}")
