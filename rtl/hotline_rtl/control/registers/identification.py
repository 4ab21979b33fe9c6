"""What the registers say of the accelerator: its version and its configuration."""

from ... import VERSION_MAJOR, VERSION_MINOR, VERSION_PATCH
from ...config import POLICY_NAMES, AcceleratorConfig

#: "HOTL".
IDENTIFICATION = 0x484F544C


def identification(config: AcceleratorConfig) -> dict[str, int]:
    """Values of the read-only fields, by REGISTER_FIELD."""
    return {
        "id_value": IDENTIFICATION,
        "version_major": VERSION_MAJOR, "version_minor": VERSION_MINOR, "version_patch": VERSION_PATCH,
        "capability_lanes": config.lanes, "capability_bus_words": config.bus_words,
        "capability_ways": config.tracker_ways, "capability_prefetch": 1, "capability_shadow": config.shadow,
        "tracker_sets_value": config.tracker_sets, "working_rows_value": config.working_rows,
        "limits_record_words": config.max_record_words, "limits_row_bytes": config.max_row_bytes,
        "key_fields_table_bits": config.table_bits, "key_fields_row_bits": config.row_bits,
        "key_fields_policy_bits": config.state_bits, "key_fields_address_bits": config.address_bits,
        "tracker_policy_policy": POLICY_NAMES.index(config.policy),
        "tracker_policy_arrays": config.tracker_arrays,
        "tracker_policy_sketch_cells": config.sketch_cells if config.has_sketch else 0,
        "tracker_policy_sketch_bits": config.sketch_bits if config.has_sketch else 0,
        "permutation_seed_value": config.permutation_seed,
    }  # fmt: skip
