"""Keys of rows that are to be moved, with what goes along."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from .layouts import COUNT_BITS, key_layout


def listed_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key and its place in its list; ``outside``: its table or row does not fit its field. ``end``: no key, but the end of the
    list."""
    return data.StructLayout({"key": key_layout(config), "number": COUNT_BITS, "outside": 1, "end": 1})


def routed_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The same, and where it goes: to the scatter engine, or the gather engine; and to be looked up, too."""
    return data.StructLayout({"listed": listed_key_layout(config), "scatters": 1, "looks_up": 1})


def numbered_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A distinct cold key and its number. ``end``: no key, but the end of a working set, or of a list that was looked up."""
    return data.StructLayout({"key": key_layout(config), "number": range(config.working_rows), "end": 1})


def found_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Whether a key is in the working set, and its number there."""
    return data.StructLayout({"found": 1, "number": range(config.working_rows)})


def find_members(config: AcceleratorConfig) -> dict:
    """Members of who asks for the working rows of keys."""
    return {
        "finds": Out(stream.Signature(key_layout(config))), "found": In(stream.Signature(found_key_layout(config))),
    }  # fmt: skip


def answer_members(config: AcceleratorConfig) -> dict:
    """Members of who answers."""
    return {name: member.flip() for name, member in find_members(config).items()}


def looked_up_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key that is looked up in a working set. ``end``: no key, but the end of those that are."""
    return data.StructLayout({"key": key_layout(config), "end": 1})
