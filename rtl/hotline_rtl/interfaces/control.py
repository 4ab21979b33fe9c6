"""What blocks and the command processor say to each other."""

from amaranth.hdl import Mux, Value
from amaranth.lib import data

from ..config import AcceleratorConfig
from .layouts import COUNT_BITS, Status


def fault_layout() -> data.StructLayout:
    """What went wrong with a command: a Status, and where. ``index`` is a sample, a slot, a row or a word of the command,
    ``access`` one of a sample's; ``address`` that of an error response, or one that the command gives. ``valid``: something did;
    otherwise the others mean nothing."""
    return data.StructLayout({"valid": 1, "status": 8, "index": 32, "access": 32, "address": 64})


def fetch_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The records that a command needs: ``samples`` of them, from ``address`` on."""
    return data.StructLayout({"address": config.address_bits, "samples": COUNT_BITS + 1})


def read_failed(timeout: Value) -> Value:
    """The Status of a read that was answered with an error, or, on ``timeout``, not at all."""
    return Mux(timeout, Status.TIMEOUT, Status.READ_ERROR)


def write_failed(timeout: Value) -> Value:
    """The Status of a write that was answered with an error, or, on ``timeout``, not at all."""
    return Mux(timeout, Status.TIMEOUT, Status.WRITE_ERROR)
