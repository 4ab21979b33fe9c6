"""Keys of rows that are to be moved, with what goes along."""

from amaranth.lib import data

from ..config import AcceleratorConfig
from .layouts import COUNT_BITS, key_layout


def listed_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A key and its place in its list; ``outside``: its table or row does not fit its field."""
    return data.StructLayout({"key": key_layout(config), "number": COUNT_BITS, "outside": 1})


def numbered_key_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A distinct cold key and its number."""
    return data.StructLayout({"key": key_layout(config), "number": range(config.working_rows)})
