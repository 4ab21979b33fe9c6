"""The accelerators that tests run whole. Each takes a minute of processor time to build, so tests share them.

MAIN, MANY and WIDE have the same tracker and keys, so their results must be the same.
"""

from hotline_rtl.config import FROZEN, AcceleratorConfig, preset

#: Two lanes, 64 bits; the hot set follows the data.
MAIN = ["working_rows=2048"]
#: The same, but the hot set is learnt first, and stays.
MAIN_FROZEN = [*MAIN, *FROZEN]
#: One lane, 128 bits, hundreds of reads and writes outstanding, long bursts.
MANY = [
    *MAIN,
    "lanes=1",
    "bus_bits=128",
    "id_bits=6",
    "outstanding_rows=256",
    "outstanding_writes=256",
    "read_ahead_beats=256",
    "burst_beats=64",
]
#: Four lanes of a bank each, 512 bits: a record is shorter than a beat. With register slices on about half of the streams
#: between blocks.
WIDE = [*MAIN, "lanes=4", "banks_per_lane=1", "bus_bits=512", "link_slices=1"]
#: The least value of every size, and of every depth.
LEAST = [
    "lanes=1",
    "banks_per_lane=1",
    "tracker_sets=4",
    "tracker_ways=2",
    "sketch_cells=4",
    "table_bits=2",
    "row_bits=8",
    "id_bits=1",
    "burst_beats=8",
    "read_ahead_beats=16",
    "outstanding_writes=4",
    "outstanding_rows=1",
    "max_row_bytes=64",
    "max_record_words=16",
    "working_rows=16",
    "lane_rows=4",
]
#: One above a power of two, where a size need not be one; one AXI ID for each kind of read; a tracker of few entries; other
#: attributes of memory than those by default, all different. The hot set stays.
ODD = [
    *FROZEN,
    "host_axcache=15",
    "host_axprot=1",
    "device_axcache=2",
    "device_axprot=3",
    "lanes=1",
    "banks_per_lane=1",
    "tracker_sets=8",
    "tracker_ways=2",
    "row_bits=27",
    "id_bits=1",
    "burst_beats=8",
    "outstanding_rows=33",
    "max_row_bytes=68",
    "working_rows=64",
    "lane_rows=4",
]


def tiny(settings: list[str]) -> AcceleratorConfig:
    return preset("tiny").with_settings(settings)


def options(settings: list[str]) -> list[str]:
    """The same configuration on the command line."""
    return ["--preset", "tiny", *(word for setting in settings for word in ("--set", setting))]
