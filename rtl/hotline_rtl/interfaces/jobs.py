"""What the command processor asks of the units, and what they answer."""

import enum

from amaranth.lib import data

from ..config import AcceleratorConfig
from .control import fault_layout, fetch_layout
from .layouts import COUNT_BITS


def batch_fetch_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The records of the next mini-batch; whether it is a SPLIT's, not a LEARN's; and whether that SPLIT learns."""
    return data.StructLayout({"records": fetch_layout(config), "splits": 1, "follows": 1})


def decode_layout() -> data.StructLayout:
    """How many samples a mini-batch has; ``follows``: the shadow learns from those that are sampled."""
    return data.StructLayout({"samples": COUNT_BITS + 1, "follows": 1})


def sampling_layout() -> data.StructLayout:
    """Of every ``1 << shift`` samples the one is sampled whose position ends in the bits of ``seed``."""
    return data.StructLayout({"shift": 4, "seed": 16})


def batch_job_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The mini-batch that has been fetched is learnt; or, with ``splits``, split into its two micro-batches, with a working set
    of at most ``limit`` rows."""
    return data.StructLayout({
        "splits": 1, "limit": range(config.working_rows + 1),
        "popular": config.address_bits, "non_popular": config.address_bits,
    })  # fmt: skip


def batch_result_layout(config: AcceleratorConfig) -> data.StructLayout:
    """All samples of a mini-batch have been learnt, or are on their way to memory. ``fault``: what is wrong with it.

    ``overflow``: the working set had no room for a key, first in sample ``overflow_sample``.
    """
    return data.StructLayout({
        "fault": fault_layout(), "popular": COUNT_BITS + 1, "non_popular": COUNT_BITS + 1,
        "working_rows": range(config.working_rows + 1), "accesses": 32, "hot_accesses": 32,
        "overflow": 1, "overflow_sample": COUNT_BITS,
    })  # fmt: skip


def list_job_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What is to be done with the tracker's contents: CLEAR, DUMP, LOAD or SWAP. ``address``: of the list in host memory.

    ``limit`` and ``worth`` are a SWAP's, see ``hotline_golden.tracker.tracker.Tracker.swap``.
    """
    return data.StructLayout({
        "opcode": 8, "address": config.address_bits, "limit": 32, "worth": 16,
    })  # fmt: skip


def list_result_layout(config: AcceleratorConfig) -> data.StructLayout:
    """``changed``, ``left``: entries of a SWAP that have been taken over, and that have not."""
    count = config.slot_bits + 1
    return data.StructLayout({"fault": fault_layout(), "changed": count, "left": count})


class Ask(enum.IntEnum):
    """What is asked of the gather."""

    SPLIT = 0  #: Rows of the working set of a SPLIT, and its list of working keys.
    GATHER = 1  #: Rows of a list.
    AGAIN = 2  #: Of the SPLIT before, the rows that the SCATTER that has passed it had, too.
    NO_MORE = 3  #: The SPLIT before gets no SCATTER.


def gather_ask_layout(config: AcceleratorConfig) -> data.StructLayout:
    """``rows``, ``keys``: where the working rows and the list of working keys lie; ``count``: keys of a GATHER.

    ``more``: of a SPLIT, an AGAIN or NO_MORE follows before anything else.
    """
    return data.StructLayout({
        "ask": Ask, "more": 1, "rows": config.address_bits, "keys": config.address_bits, "count": COUNT_BITS + 1,
    })  # fmt: skip


def gather_job_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A set of rows: row ``k`` goes to ``base + k * row_bytes``. ``lists``: its keys go to the list of working keys, too."""
    return data.StructLayout({"base": config.address_bits, "lists": 1})


def scatter_ask_layout(config: AcceleratorConfig) -> data.StructLayout:
    """``count`` (at least 1) rows from ``rows`` on go where the list of keys at ``keys`` says. ``passes``: the keys are looked up
    in the working set that there is, too."""
    return data.StructLayout({
        "rows": config.address_bits, "keys": config.address_bits, "count": COUNT_BITS + 1, "passes": 1,
    })  # fmt: skip


def _fault(config: AcceleratorConfig) -> data.StructLayout:
    return fault_layout()


#: Streams of the command processor: its jobs, and what it gets for them. Of each name the layout, from a configuration.
JOBS = {
    "fetches": batch_fetch_layout, "batches": batch_job_layout, "lists": list_job_layout, "gathers": gather_ask_layout,
    "scatters": scatter_ask_layout,
}  # fmt: skip
RESULTS = {
    "batch_results": batch_result_layout, "popular_results": _fault, "non_popular_results": _fault,
    "list_results": list_result_layout, "gather_results": _fault, "scatter_results": _fault,
    "looked_up": lambda config: 0,
}  # fmt: skip
